"""Cloning: which commit, how the clone is left, and that a failure leaves nothing."""

import os

import pytest

from governance import git
from governance.base.errors import GovError, Refused, UsageError
from governance.git import tree


def clone_config(path, key):
    return git.checkout._ask(path, "config", "--get", key).text().strip()


def test_a_plain_clone_is_what_manager_users_expect(node, clone, tmp_path):
    cloned = clone(node.path)
    place = tmp_path / "clone"
    assert cloned == git.Cloned(node.git("rev-parse", "HEAD"), "default", None, "main")
    assert (place / "requirements.txt").read_text() == "x\n"
    assert clone_config(place, "remote.origin.url") == str(node.path)
    assert clone_config(place, "branch.main.merge") == "refs/heads/main"
    assert (git.head(place), git.modified(place)) == (cloned.commit, False)


def test_a_clone_can_be_pulled_later(node, clone, naive, tmp_path):
    clone(node.path)
    newer = node.commit(new="1")
    assert naive("pull", "-q", cwd=tmp_path / "clone").returncode == 0
    assert git.head(tmp_path / "clone") == newer


@pytest.fixture
def history(node):
    """Commits by the names that lead to them."""
    first = node.git("rev-parse", "HEAD")
    node.git("tag", "light")
    node.git("tag", "-a", "annotated", "-m", "x")
    node.git("switch", "-q", "-c", "feature/x")
    second = node.commit(more="2")
    node.git("switch", "-q", "main")
    third = node.commit(more="3")
    node.git("switch", "-q", "--detach")
    pull = node.commit(more="4")
    node.git("update-ref", "refs/pull/7/head", pull)
    node.git("switch", "-q", "main")
    return {"first": first, "second": second, "third": third, "pull": pull}


@pytest.mark.parametrize(
    ("ref", "commit", "kind", "branch"),
    [
        (None, "third", "default", "main"),
        ("HEAD", "third", "default", "main"),
        ("main", "third", "branch", "main"),
        ("feature/x", "second", "branch", "feature/x"),
        ("refs/heads/feature/x", "second", "branch", "feature/x"),
        ("light", "first", "tag", None),
        ("annotated", "first", "tag", None),
        ("refs/tags/annotated", "first", "tag", None),
        ("refs/pull/7/head", "pull", "commit", None),
    ],
)
def test_refs_lead_to_commits(node, history, clone, tmp_path, ref, commit, kind, branch):
    cloned = clone(node.path, ref)
    assert (cloned.commit, cloned.ref_kind, cloned.branch) == (history[commit], kind, branch)
    assert (cloned.ref, git.head(tmp_path / "clone")) == (ref, history[commit])
    assert not git.modified(tmp_path / "clone")
    if branch:
        assert clone_config(tmp_path / "clone", f"branch.{branch}.remote") == "origin"


@pytest.mark.parametrize("length", [7, 40])
def test_commits_by_id(node, history, clone, length):
    cloned = clone(node.path, history["first"][:length].upper())
    assert (cloned.commit, cloned.ref_kind) == (history["first"], "commit")


def test_a_tag_wins_over_a_branch_of_its_name(node, history, clone):
    node.git("tag", "feature/x", history["first"])
    cloned = clone(node.path, "feature/x")
    assert (cloned.commit, cloned.ref_kind) == (history["first"], "tag")
    assert "refs/heads/feature/x" in cloned.notes[0]
    assert clone(node.path, "refs/heads/feature/x", to="b").commit == history["second"]


def test_a_ref_that_moves_meanwhile_is_not_followed(node, history, clone, monkeypatch):
    """The commit is the one that was listed, though the branch is elsewhere when it is fetched."""
    listed = git.remote._refs

    def list_then_move(remote):
        refs = listed(remote)
        node.git("branch", "-f", "feature/x", history["third"])
        node.git("tag", "-f", "light", history["third"])
        return refs

    monkeypatch.setattr(git.remote, "_refs", list_then_move)
    assert clone(node.path, "light").commit == history["first"]
    node.git("branch", "-f", "feature/x", history["second"])
    assert clone(node.path, "feature/x", to="b").commit == history["second"]


def test_a_detached_remote_and_a_hostile_default_branch(node, clone, tmp_path):
    commit = node.git("rev-parse", "HEAD")
    node.git("switch", "-q", "--detach")
    assert clone(node.path).branch is None
    node.git("update-ref", "refs/heads/-x", commit)
    node.git("symbolic-ref", "HEAD", "refs/heads/-x")
    cloned = clone(node.path, to="b")
    assert (cloned.commit, cloned.branch) == (commit, None)
    assert git.head(tmp_path / "b") == commit


def test_sha256_repositories(make, clone, tmp_path):
    repository = make("big", "--object-format=sha256")
    commit = repository.commit(a="1")
    assert clone(repository.path).commit == commit
    assert git.head(tmp_path / "clone") == commit
    assert git.modified(tmp_path / "clone") is False


@pytest.mark.parametrize(
    "ref",
    ["-u", "--upload-pack=x", "", "a b", "a..b", "main~1", "main^{}", "v1:x", "@{-1}", "a\n", "@"],
)
def test_refs_that_are_no_plain_names(node, clone, tmp_path, ref):
    with pytest.raises(UsageError, match="cannot be a branch, tag or commit"):
        clone(node.path, ref)
    assert not (tmp_path / "clone").exists()


@pytest.mark.parametrize("ref", ["featur/x", "f" * 40, "abcd123"])
def test_unknown_refs_name_the_near_ones(node, history, clone, tmp_path, ref):
    with pytest.raises(UsageError) as caught:
        clone(node.path, ref)
    assert caught.value.code == "unknown_ref"
    assert str(node.path) in caught.value.message
    assert not (tmp_path / "clone").exists()
    if "/" in ref:
        assert "feature/x" in caught.value.hint


def test_an_empty_repository(make, clone, tmp_path):
    with pytest.raises(UsageError, match="HEAD") as caught:
        clone(make("empty").path)
    assert "empty" in caught.value.hint
    assert not (tmp_path / "clone").exists()


def test_a_folder_that_is_no_repository(clone, tmp_path):
    (tmp_path / "plain").mkdir()
    with pytest.raises(GovError) as caught:
        clone(tmp_path / "plain")
    assert caught.value.code == "git_failed"
    assert f"{tmp_path}/plain" in caught.value.message
    assert "no git repository" in caught.value.hint


@pytest.mark.parametrize("address", ["https://127.0.0.1:1/a/b", "ssh://me@127.0.0.1:1/a"])
def test_an_unreachable_host(clone, tmp_path, address):
    with pytest.raises(GovError) as caught:
        clone(address)
    assert "cannot be reached" in caught.value.hint
    assert "onnect" in caught.value.message
    assert not (tmp_path / "clone").exists()


def test_what_is_there_already_is_left_alone(node, clone, tmp_path):
    (tmp_path / "clone").mkdir()
    (tmp_path / "clone" / "mine").touch()
    with pytest.raises(GovError, match="exists already"):
        clone(node.path)
    assert (tmp_path / "clone" / "mine").exists()


@pytest.mark.parametrize("broken", ["entries", "notes"])
def test_an_interruption_leaves_nothing(node, clone, tmp_path, monkeypatch, broken):
    def interrupted(*_):
        assert (tmp_path / "clone").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(tree, broken, interrupted)
    with pytest.raises(KeyboardInterrupt):
        clone(node.path)
    assert not (tmp_path / "clone").exists()


def test_names_that_are_not_utf8_and_old_dates(make, clone, tmp_path):
    repository = make()
    (repository.path / os.fsdecode(b"caf\xe9")).write_text("1")
    repository.commit(a="1")
    clone(repository.path)
    assert git.tracked(tmp_path / "clone", "") == {"a", os.fsdecode(b"caf\xe9")}


def test_listing(node, history):
    source = git.source(str(node.path), protocols=["file"], cwd=node.path)
    refs = git.list_refs(source, protocols=["file"])
    assert (refs.head, refs.default_branch) == (history["third"], "main")
    assert refs.tags == {"light": history["first"], "annotated": history["first"]}
    assert refs.branches == {"main": history["third"], "feature/x": history["second"]}
    assert refs.by_full_name["refs/pull/7/head"] == history["pull"]


def test_progress_is_told(node, clone, host):
    heard = []
    clone(host(delay=0.3).url("node"), protocols=["http"], progress=heard.append)
    assert any("Cloning" in line for line in heard)
    assert all(line.isprintable() for line in heard)


def test_an_interruption_in_the_midst_of_a_transfer_leaves_nothing(node, clone, host, tmp_path):
    def interrupt(_):
        assert (tmp_path / "clone").exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        clone(host(delay=0.3).url("node"), protocols=["http"], progress=interrupt)
    assert not (tmp_path / "clone").exists()


def test_an_old_git_is_named(node, clone, tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "git").write_text("#!/bin/sh\necho git version 2.30.2\n")
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    with pytest.raises(GovError, match=r"2\.32 or newer is needed; this is git version 2\.30\.2"):
        clone(node.path)


def test_no_git_at_all(node, clone, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GovError) as caught:
        clone(node.path)
    assert caught.value.code == "program_missing"


def test_policy_holds_for_the_call_itself(node, tmp_path):
    """Even a Source that was made under another policy does not get out."""
    source = git.source(str(node.path), protocols=["file"], cwd=tmp_path)
    with pytest.raises(GovError, match="transport 'file' not allowed"):
        git.list_refs(source, protocols=["https"])


def test_too_large_for_the_policy(node, clone, tmp_path):
    node.commit(big="x")
    (node.path / "noise").write_bytes(os.urandom(3_000_000))
    node.commit(more="x")
    with pytest.raises(Refused) as caught:
        clone(node.path, max_bytes=2_000_000)
    assert (caught.value.code, caught.value.exit_code) == ("too_large", 3)
    assert "clone_limit_mb" in caught.value.hint
    assert not (tmp_path / "clone").exists()
