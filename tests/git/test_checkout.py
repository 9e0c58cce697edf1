"""Questions to a checkout that the node's own code may have prepared for us."""

import os
import subprocess
from datetime import UTC, datetime

import pytest
from support.pipes import talking_pipe

from governance import git
from governance.base.errors import GovError
from governance.code import head


def ask_all(path):
    return (
        git.is_repository(path),
        git.head(path),
        git.origin(path),
        git.commit_date(path),
        git.modified(path),
        git.tracked(path, ""),
    )


def test_what_a_checkout_tells(node, monkeypatch):
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2024-02-29T12:00:00 +0800")
    commit = node.commit(**{"custom_nodes__a.py": "1", "custom_nodes__b__c.py": "1"})
    node.git("remote", "add", "origin", "https://me:secret@host/a/b.git")
    assert git.is_repository(node.path)
    assert git.head(node.path) == commit
    assert git.origin(node.path) == "https://host/a/b.git"
    assert git.commit_date(node.path) == datetime(2024, 2, 29, 4, 0, tzinfo=UTC)
    assert git.tracked(node.path, "custom_nodes") == {"a.py", "b"}
    assert git.tracked(node.path, "custom_nodes/b/") == {"c.py"}
    assert git.tracked(node.path, "absent") == set()
    assert git.tracked(node.path, "") == {"nodes.py", "requirements.txt", "custom_nodes"}


def test_a_lock_goes_where_head_is_there_already(node, monkeypatch):
    """Power may go between git's two last acts: the ref is moved, the lock of HEAD is left."""
    monkeypatch.setattr(head, "_PATIENCE_SECONDS", 0)
    commit = node.commit(**{"a.py": "1"})
    lock = node.path / ".git/HEAD.lock"
    lock.touch()
    head.move_head(node.path, commit)
    assert not lock.exists()


def test_modified(node):
    (node.path / "untracked").touch()
    assert not git.modified(node.path)
    os.utime(node.path / "requirements.txt", (1, 1))
    assert not git.modified(node.path)
    (node.path / "requirements.txt").write_text("y\n")
    assert git.modified(node.path)
    node.git("add", "-A")
    assert git.modified(node.path)
    node.git("commit", "-q", "-m", "x")
    assert not git.modified(node.path)
    (node.path / "requirements.txt").unlink()
    assert git.modified(node.path)


def test_asking_changes_nothing(node):
    (node.path / "requirements.txt").touch()
    before = {path: path.stat().st_mtime_ns for path in node.path.rglob("*")}
    ask_all(node.path)
    assert {path: path.stat().st_mtime_ns for path in node.path.rglob("*")} == before


@pytest.mark.parametrize("kind", ["missing", "plain", "file", "inside", "broken", "unborn"])
def test_what_is_no_checkout(node, make, tmp_path, kind):
    place = {
        "missing": tmp_path / "missing",
        "plain": tmp_path / "plain",
        "file": node.path / "requirements.txt",
        "inside": node.path / "sub",
        "broken": tmp_path / "broken",
        "unborn": make("unborn").path,
    }[kind]
    if kind in ("plain", "inside"):
        place.mkdir()
    if kind == "broken":
        (place / ".git").mkdir(parents=True)
        (place / ".git" / "HEAD").write_text("garbage")
    assert ask_all(place)[1:] == (None, None, None, False, set())
    assert git.is_repository(place) is (kind == "unborn")


@pytest.mark.parametrize("name", ["HEAD", "refs/heads/main"])
def test_a_pipe_is_not_waited_for(node, name):
    """Node code may write into its own clone; `gov verify` hung."""
    text = "ref: refs/heads/main\n" if name == "HEAD" else "f" * 40
    node.git("branch", "-M", "main")
    talking_pipe(node.path / ".git" / name, text)
    assert git.head(node.path) is None


def test_a_head_without_end_is_not_read(node):
    (node.path / ".git/HEAD").unlink()
    (node.path / ".git/HEAD").symlink_to("/dev/zero")
    assert git.head(node.path) is None


def test_names_that_mislead(node):
    commit = node.commit(HEAD="a file", **{"-": "x"})
    node.git("branch", "HEAD", "HEAD~1", check=False)
    node.git("update-ref", "refs/heads/HEAD", "HEAD~1")
    assert git.head(node.path) == commit


def test_packed_refs_worktrees_and_submodules(node, make, tmp_path):
    commit = node.git("rev-parse", "HEAD")
    node.git("pack-refs", "--all", "--prune")
    assert git.head(node.path) == commit
    node.git("worktree", "add", "-q", "-b", "other", tmp_path / "worktree")
    (tmp_path / "worktree" / "requirements.txt").write_text("changed\n")
    assert git.is_repository(tmp_path / "worktree")
    assert git.head(tmp_path / "worktree") == commit
    assert git.modified(tmp_path / "worktree")
    assert not git.modified(node.path)


def test_a_replaced_commit_is_not_believed(node):
    real = node.git("rev-parse", "HEAD:")
    forged = node.git("commit-tree", real, "-m", "x", "-p", "HEAD")
    node.git("commit", "-q", "--allow-empty", "-m", "y", "--date=2020-01-01T00:00:00Z")
    date = git.commit_date(node.path)
    node.git("replace", "HEAD", forged)
    assert git.commit_date(node.path) == date


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_checkout_of_another_owner(node, naive):
    for path in (node.path, *node.path.rglob("*")):
        os.chown(path, 65534, 65534)
    assert "dubious ownership" in naive("status", cwd=node.path).stderr
    assert git.head(node.path)
    assert not git.modified(node.path)


def touch_all(repository):
    """Make git look at contents, not only at sizes and times."""
    for path in repository.path.glob("*.*"):
        os.utime(path, (1, 1))


def plant_fsmonitor(node, trap):
    node.add_config(f"[core]\nfsmonitor = {trap.program}\n")


def plant_included_fsmonitor(node, trap):
    (node.path / ".git" / "more").write_text(f"[core]\nfsmonitor = {trap.program}\n")
    node.add_config("[include]\npath = more\n")


def plant_filter(node, trap):
    node.add_config(f'[filter "evil"]\nclean = {trap.program}\n')
    (node.path / ".git" / "info").mkdir(exist_ok=True)
    (node.path / ".git" / "info" / "attributes").write_text("* filter=evil\n")


def plant_filter_by_its_own_attributes(node, trap):
    node.add_config(f'[filter "evil"]\nprocess = {trap.program}\n')
    (node.path / ".gitattributes").write_text("* filter=evil\n")


def plant_hook(node, trap):
    node.add_config(f"[core]\nhooksPath = {trap.program.parent}\n")
    trap.program.rename(trap.program.with_name("post-index-change"))


def plant_submodule(node, trap):
    """The inner repository's fsmonitor runs when the outer one looks whether it is clean."""
    inner = node.path / "inner"
    subprocess.run(["git", "init", "-q", inner], check=True)
    (inner / "file").write_text("x")
    for arguments in (
        ["config", "user.email", "x"],
        ["add", "-A"],
        ["commit", "-q", "-m", "x"],
    ):
        subprocess.run(["git", "-C", inner, *arguments], check=True)
    node.git("-c", "advice.addEmbeddedRepo=false", "add", "inner")
    with (inner / ".git" / "config").open("a") as stream:
        stream.write(f"[core]\nfsmonitor = {trap.program}\n")


PLANTED = [
    plant_fsmonitor,
    plant_included_fsmonitor,
    plant_filter,
    plant_filter_by_its_own_attributes,
    plant_hook,
    plant_submodule,
]


@pytest.mark.parametrize("plant", PLANTED)
def test_programs_planted_in_the_checkout(node, trap, naive, plant):
    plant(node, trap)
    touch_all(node)
    trap.fired()
    naive("status", cwd=node.path)
    assert trap.fired()
    touch_all(node)
    expected = node.git("rev-parse", "HEAD")
    trap.fired()
    told = ask_all(node.path)
    assert told[:2] == (True, expected)
    assert told[-1] >= {"requirements.txt"}
    assert not trap.fired()


@pytest.mark.parametrize("plant", [plant_fsmonitor, plant_included_fsmonitor, plant_hook])
def test_every_call_switches_these_off(node, trap, plant):
    """Even a call that does work on the checkout's own `.git`."""
    from governance.git import call

    plant(node, trap)
    touch_all(node)
    trap.fired()
    own = {"GIT_DIR": f"{node.path}/.git", "GIT_WORK_TREE": str(node.path)}
    unlocked = {"GIT_OPTIONAL_LOCKS": "1"}  # else the index is not written and no hook is due
    assert call.run(["status"], call.environment() | own | unlocked).ok
    assert not trap.fired()


def test_a_missing_object_is_not_fetched_by_a_command(node, trap, naive):
    tree = node.git("rev-parse", "HEAD:")
    (node.path / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    node.add_config(
        "[core]\nrepositoryformatversion = 1\n[extensions]\npartialClone = evil\n"
        f'[remote "evil"]\npromisor = true\nurl = {node.path}\nuploadpack = {trap.program}\n'
    )
    naive("ls-tree", "HEAD", cwd=node.path)
    assert trap.fired()
    assert git.head(node.path)
    with pytest.raises(GovError) as caught:
        git.tracked(node.path, "")
    assert str(node.path) in caught.value.message
    with pytest.raises(GovError):
        git.modified(node.path)
    assert not trap.fired()


def test_a_work_tree_elsewhere(node, make):
    """core.worktree makes git compare with another folder than the one that was asked for."""
    node.add_config(f"[core]\nworktree = {make('other').path}\n")
    assert not git.modified(node.path)


def test_a_file_that_blocks_the_reader_ends_in_an_error(node, monkeypatch):
    from governance.git import call

    index = node.path / ".git" / "index"
    index.unlink()
    os.mkfifo(index)
    monkeypatch.setattr(call, "LOCAL_SECONDS", 0.5)
    with pytest.raises(GovError) as caught:
        git.modified(node.path)
    assert caught.value.code == "timed_out"


def test_control_characters_in_an_origin(node):
    node.git("remote", "add", "origin", "https://host/\x1b[2Ja")
    assert git.origin(node.path) is None


def test_the_first_url_of_several_is_the_one_that_is_fetched(node):
    node.git("remote", "add", "origin", "https://host/a")
    node.git("remote", "set-url", "--add", "origin", "https://host/b")
    assert git.origin(node.path) == "https://host/a"
