"""What gov writes down is for the operator's eyes alone, whatever the umask."""

import os
import stat

import pytest

from core.house import make_bare
from governance import installation
from governance.boundaries import store
from governance.operations import recovery
from governance.truth import ledger, snapshots


def modes(*folders):
    """Of all below, as octal text, except links."""
    found = {}
    for folder in folders:
        for path in (folder, *folder.rglob("*")):
            if not path.is_symlink():
                found[str(path)] = stat.S_IMODE(path.stat().st_mode)
    return found


def open_to_others(space):
    return [f"{path} {mode:o}" for path, mode in modes(*space.private).items() if mode & 0o077]


@pytest.fixture
def any_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def test_all_that_is_written_is_private_whatever_the_umask(tmp_path, any_umask):
    space = make_bare(tmp_path / "space")
    with recovery.exclusive(space, "test"):
        tx = ledger.begin(space, None, kind="add")
        ledger.save(space, tx)
        snapshots.take(space, reason="manual", generation=None)
        store.make_folder(space.work / "deep")
        store.write(space.work / "deep/file", b"x")
        store.append_line(space.history, {"id": "x"})
        assert open_to_others(space) == []
        assert modes(space.state)[str(space.state)] == 0o700
        assert modes(space.state)[str(space.history)] == 0o600
    assert open_to_others(space) == []


def test_the_truth_stays_readable(tmp_path, any_umask):
    space = make_bare(tmp_path / "space")
    space.root.chmod(0o755)
    with recovery.exclusive(space, "test"):
        store.write(space.pyproject, b"x")
    assert stat.S_IMODE(space.pyproject.stat().st_mode) == 0o644


def test_a_workspace_of_an_earlier_gov_is_mended_at_the_next_write(tmp_path):
    space = make_bare(tmp_path / "space")
    (space.logs / "old.log").write_text("secret")
    (space.logs / "old.log").chmod(0o664)
    (space.state / "link").symlink_to(tmp_path)
    tmp_path.chmod(0o755)
    for folder in (*space.private, space.logs):
        folder.chmod(0o775)
    with recovery.exclusive(space, "test"):
        pass
    assert open_to_others(space) == []
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_init_makes_a_private_state(tmp_path, any_umask):
    comfyui = tmp_path / "ComfyUI"
    (comfyui / "custom_nodes").mkdir(parents=True)
    (comfyui / "main.py").write_text("")
    space = installation.prepare(tmp_path / "space", comfyui)
    assert open_to_others(space) == []
