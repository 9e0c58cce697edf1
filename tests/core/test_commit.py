"""Several documents, the prod link and node code change as one: all old or all new, always."""

import os

import pytest

from core.death import dying
from core.house import make_bare
from governance.base.errors import Damaged
from governance.boundaries import store
from governance.operations import recovery
from governance.truth import redo

NEW = {
    "pyproject.toml": b'[project]\nname = "new"\n[tool.gov]\n',
    "uv.lock": b"version = 2\n",
    "state/plugins.json": b'["new"]\n',
    "state/receipt.json": b'{"new": true}\n',
}


def workspace_with_code(root):
    space = make_bare(root)
    (space.work / "clone").mkdir()
    (space.work / "clone/__init__.py").write_text("code")
    (root / "custom_nodes").mkdir()
    return space


def change_of(space):
    move = redo.Move(space.work / "clone", space.root / "custom_nodes/node")
    return redo.Record("tx promote", NEW, "new", (move,))


def seen(space):
    """Everything that the change touches, straight from the disk."""
    files = {name: store.file_digest(space.root / name) for name in NEW}
    code = (space.root / "custom_nodes/node/__init__.py").is_file()
    return {**files, "prod": os.readlink(space.prod), "code": code}


def read(space):
    """The documents as a reader sees them before any recovery."""
    found = {}
    for name in NEW:
        try:
            found[name] = redo.read_document(space, space.root / name)
        except FileNotFoundError:
            found[name] = None
    return found


@pytest.fixture
def states(tmp_path):
    """What is seen before the change and after it."""
    before = workspace_with_code(tmp_path / "before")
    after = workspace_with_code(tmp_path / "after")
    redo.commit(after, change_of(after))
    return seen(before), seen(after), read(before), read(after)


def acts_of(monkeypatch, function, *arguments):
    with dying(monkeypatch) as clock:
        function(*arguments)
    return clock.acts


def test_a_change_is_whole(tmp_path):
    space = workspace_with_code(tmp_path / "w")
    redo.commit(space, change_of(space))
    assert {name: (space.root / name).read_bytes() for name in NEW} == NEW
    assert os.readlink(space.prod) == ".generations/new"
    assert (space.root / "custom_nodes/node/__init__.py").read_text() == "code"
    assert redo.pending(space) is None


def test_killed_anywhere_it_is_all_old_or_all_new(tmp_path, monkeypatch, states):
    old, new, read_old, read_new = states
    space = workspace_with_code(tmp_path / "count")
    acts = acts_of(monkeypatch, redo.commit, space, change_of(space))
    outcomes = []
    for at in range(acts + 1):
        space = workspace_with_code(tmp_path / f"kill-{at}")
        with dying(monkeypatch, at):
            redo.commit(space, change_of(space))
        intended = redo.pending(space) is not None
        assert read(space) in (read_old, read_new), f"a reader after a kill at {at}"
        assert not intended or read(space) == read_new
        redo.recover(space)
        assert seen(space) in (old, new), f"after a kill at {at}"
        assert not intended or seen(space) == new
        assert redo.pending(space) is None
        assert redo.recover(space) is None
        outcomes.append(seen(space) == new)
    assert outcomes == sorted(outcomes), "old up to the commit point, new from there on"
    assert set(outcomes) == {False, True}


def test_an_interrupted_recovery_is_repeated(tmp_path, monkeypatch, states):
    _, new, _, _ = states
    space = workspace_with_code(tmp_path / "count")
    acts = acts_of(monkeypatch, redo.commit, space, change_of(space))
    tried = 0
    for at in range(0, acts, 3):
        for again in range(0, acts, 2):
            space = workspace_with_code(tmp_path / f"{at}-{again}")
            with dying(monkeypatch, at):
                redo.commit(space, change_of(space))
            if redo.pending(space) is None:
                break
            with dying(monkeypatch, again):
                redo.recover(space)
            redo.recover(space)
            assert seen(space) == new, f"killed at {at}, its recovery at {again}"
            tried += 1
    assert tried > 20


def cut_off(space, monkeypatch):
    """The change stopped right after its commit point."""

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(redo, "_apply", stop)
        with pytest.raises(KeyboardInterrupt):
            redo.commit(space, change_of(space))


def tree(root):
    return {
        str(path.relative_to(root)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


@pytest.mark.parametrize("name", sorted(NEW))
def test_neither_old_nor_new_stops_and_touches_nothing(tmp_path, monkeypatch, name):
    space = workspace_with_code(tmp_path / "w")
    cut_off(space, monkeypatch)
    (space.root / name).write_bytes(b"edited meanwhile")
    before = tree(space.root)
    with pytest.raises(Damaged) as caught:
        redo.recover(space)
    assert str(space.root / name) in caught.value.message
    assert caught.value.code == "recovery_blocked"
    assert tree(space.root) == before


def test_a_link_that_leads_elsewhere_stops_recovery(tmp_path, monkeypatch):
    space = workspace_with_code(tmp_path / "w")
    cut_off(space, monkeypatch)
    space.prod.unlink()
    space.prod.symlink_to(".generations/third")
    before = tree(space.root)
    with pytest.raises(Damaged, match="venv-prod"):
        redo.recover(space)
    assert tree(space.root) == before


def test_code_that_is_gone_stops_recovery(tmp_path, monkeypatch):
    space = workspace_with_code(tmp_path / "w")
    cut_off(space, monkeypatch)
    store.remove_tree(space.work / "clone")
    before = tree(space.root)
    with pytest.raises(Damaged, match="clone"):
        redo.recover(space)
    assert tree(space.root) == before


def test_an_intent_that_was_altered_is_not_carried_out(tmp_path, monkeypatch):
    space = workspace_with_code(tmp_path / "w")
    cut_off(space, monkeypatch)
    text = space.intent.read_text().replace("version = 2", "version = 3")
    space.intent.write_text(text)
    before = tree(space.root)
    with pytest.raises(Damaged, match=r"intent\.json"):
        redo.recover(space)
    assert tree(space.root) == before


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "{", '{"verb": "x"}', '{"documents": 3}',
        '{"verb": "x", "link": null, "moves": [], "documents": [{"path": "uv.lock", "before": null,'
        r' "after": "aa", "text": "\udc80"}]}',
    ],
)  # fmt: skip
def test_a_damaged_intent_is_an_error_that_names_it(tmp_path, content):
    space = workspace_with_code(tmp_path / "w")
    space.intent.write_text(content)
    before = tree(space.root)
    with pytest.raises(Damaged, match=r"intent\.json"):
        redo.recover(space)
    assert tree(space.root) == before


def test_every_writing_command_recovers_first(tmp_path, monkeypatch, states):
    _, new, _, _ = states
    space = workspace_with_code(tmp_path / "w")
    cut_off(space, monkeypatch)
    with recovery.exclusive(space, "status") as told:
        assert seen(space) == new
    assert told == ["finished the interrupted `gov tx promote`"]


def test_the_change_is_durable_before_the_intent_goes(tmp_path, monkeypatch):
    """Without one of these syncs a power loss was seen to leave a mixed state."""
    space = workspace_with_code(tmp_path / "w")
    events = recorded(monkeypatch)
    redo.commit(space, change_of(space))
    gone = events.index(("gone", space.intent))
    point = events.index(("renamed", space.intent))
    assert events[point - 1] == ("synced", space.intent)
    assert events[point + 1] == ("folder", space.state)
    link = events.index(("renamed", space.prod))
    assert point + 1 < link < gone
    for name in NEW:
        path = space.root / name
        written = events.index(("renamed", path))
        assert ("synced", path) in events[link:written], f"{name} is renamed before it is synced"
        assert ("folder", path.parent) in events[written:gone], f"the folder of {name}"
    moved = events.index(("renamed", space.root / "custom_nodes/node"))
    assert ("folder", space.root / "custom_nodes") in events[moved:gone]
    assert ("folder", space.work) in events[moved:gone]
    assert ("folder", space.root) in events[link:gone]


def recorded(monkeypatch):
    """(`synced`|`renamed`|`folder`|`gone`, path) in the order of the acts."""
    events, pathlib_path = [], type(store.Path())
    real = {name: getattr(pathlib_path, name) for name in ("replace", "rename", "unlink")}
    fsync = os.fsync

    def synced(descriptor):
        path = store.Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.is_dir():
            events.append(("folder", path))
        else:
            final = path.name.removeprefix(store.TEMPORARY).rpartition("-")[0]
            events.append(("synced", path.with_name(final)))
        fsync(descriptor)

    def renamed(name):
        def act(self, target):
            events.append(("renamed", store.Path(target)))
            return real[name](self, target)

        return act

    def gone(self, missing_ok=False):
        if self.exists():
            events.append(("gone", self))
        real["unlink"](self, missing_ok=missing_ok)

    monkeypatch.setattr(os, "fsync", synced)
    for name in ("replace", "rename"):
        monkeypatch.setattr(store.Path, name, renamed(name))
    monkeypatch.setattr(store.Path, "unlink", gone)
    return events


def test_a_sync_that_fails_after_the_last_act_is_no_failure(tmp_path, states, monkeypatch):
    """The change is made and durable; only the end of its intent may be lost."""
    space = workspace_with_code(tmp_path / "here")
    real = store.sync_folder

    def failing(path):
        if path == space.state and not space.intent.exists() and seen(space) != states[0]:
            raise store.disk_error(path, OSError(5, "Input/output error"))
        real(path)

    monkeypatch.setattr(store, "sync_folder", failing)
    redo.commit(space, change_of(space))
    assert seen(space) == states[1] and not space.intent.exists()
