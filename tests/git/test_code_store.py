"""The workspace's store of code: commits that are kept, whatever a person's git does there."""

import subprocess

from governance.code import repository
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
