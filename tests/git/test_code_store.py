"""The workspace's store of code: commits that are kept, whatever a person's git does there."""

import os
import subprocess
import time

import pytest

from governance.code import capture, glance, repository
from governance.sample import world as sample


def test_commits_are_known_after_a_gc_and_can_be_dropped(tmp_path):
    clone = sample.write_node(tmp_path, "node", {"__init__.py": "a = 1\n"})
    first = sample.git(clone, "rev-parse", "HEAD")
    sample.write_node(tmp_path, "node", {"__init__.py": "a = 2\n"})
    second = sample.git(clone, "rev-parse", "HEAD")
    store = repository.Repository(tmp_path / "node.git")
    for commit in (first, second):
        store.take(clone, commit)
    subprocess.run(["git", "-C", store.path, "gc", "-q"], check=True)
    assert (store.has(first), store.commits()) == (True, sorted([first, second]))
    store.drop([first])
    assert (store.has(first), store.has(second)) == (False, True)
    assert store.read(second, "__init__.py") == b"a = 2\n"
    assert store.read(first, "__init__.py") is None


@pytest.fixture
def seen(tmp_path, monkeypatch):
    """(clone, store, what its state is) of a clone whose files count as left alone."""
    monkeypatch.setattr(repository, "_LEFT_ALONE", 0.0)
    clone = sample.write_node(tmp_path, "node", {"__init__.py": "a = 1\n", "b.py": "b = 1\n"})
    for path in clone.iterdir():
        os.utime(path, (0, 0))  # else git looks twice, since they may be younger than its list
    store = repository.Repository(tmp_path / "node.git")
    return clone, store, lambda: capture.capture(store, clone)


def kept(store):
    return list((store.path / "seen").glob("*"))


def test_an_edit_is_seen_though_size_and_time_were_put_back(seen):
    clone, store, state = seen
    assert state().modified == ()
    assert glance.is_as_seen(*kept(store), clone)
    file = clone / "b.py"
    facts = file.stat()
    time.sleep(1.1)  # gov waits for longer than that before it keeps a list
    file.write_text("b = 2\n")
    assert not glance.is_as_seen(*kept(store), clone)
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (facts.st_size, facts.st_mtime_ns)
    assert state().modified == ("b.py",)
    file.unlink()
    assert state().modified == ("b.py",)


def test_what_has_not_changed_is_not_read_again(seen, monkeypatch):
    clone, _, state = seen
    state()
    asked = []
    monkeypatch.setattr(repository.Repository, "_are_old", lambda *_: asked.append(1))
    state()
    assert asked == [], "git had nothing to add to what it knew"
    os.utime(clone / "b.py")
    state()
    assert asked == [1]


def test_a_file_that_was_written_a_moment_ago_is_read_each_time(seen, monkeypatch):
    """What somebody holds in their memory may change without another time."""
    _, store, state = seen
    monkeypatch.setattr(repository, "_LEFT_ALONE", 60.0)
    assert state().modified == ()
    assert kept(store) == []


def test_only_the_commit_that_lies_there_is_kept(seen):
    clone, store, state = seen
    state()
    sample.write_node(clone.parent, "node", {"__init__.py": "a = 2\n"})
    head = state().head
    assert [path.name for path in kept(store)] == [head]


@pytest.mark.parametrize("data", [b"", b"x" * 1000, None])
def test_a_list_that_was_torn_is_made_anew(seen, data):
    clone, store, state = seen
    state()
    (clone / "b.py").write_text("b = 2\n")
    (torn,) = kept(store)
    torn.write_bytes(torn.read_bytes()[:-30] if data is None else data)
    assert state().modified == ("b.py",)
    (clone / "b.py").write_text("b = 1\n")
    assert state().modified == ()
