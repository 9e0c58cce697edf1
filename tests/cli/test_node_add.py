"""gov node add: a clone, a record, and nothing of either when it fails."""

import json
import os
import subprocess

import pytest
from support.refusal import assert_refused

from governance.sample import world as sample

FIELDS = {
    "id", "git_url", "ref", "commit", "path", "group", "enabled", "managed_deps",
    "last_txid", "last_snapshot", "created_at", "updated_at",
}  # fmt: skip


def registered(site):
    return {row["id"]: row for row in json.loads((site.root / "state/plugins.json").read_text())}


@pytest.fixture
def site(settled):
    return settled.site


@pytest.fixture
def repo(tmp_path):
    """Two commits: tag v1 at the first, branch `side` at the first, main at the second."""
    path = sample.write_node(tmp_path, "ComfyUI_Two.Commits", {"__init__.py": "one = 1\n"})
    sample.git(path, "tag", "v1")
    sample.git(path, "branch", "side")
    sample.write_node(tmp_path, path.name, {"__init__.py": "one = 2\n"})
    return path


def test_it_clones_and_registers_with_the_commit(site, repo):
    told = site.gov("node", "add", repo).ok()
    head = sample.git(repo, "rev-parse", "HEAD")
    assert f"added {repo.name} at {head[:12]}" in told.out
    assert "before it is promoted" in told.problems("warning")[0]
    row = registered(site)[repo.name]
    assert set(row) >= FIELDS
    assert (row["commit"], row["ref"], row["group"]) == (head, None, "node-comfyui-two-commits")
    assert row["path"] == str(site.nodes / repo.name)
    assert (site.nodes / repo.name / "__init__.py").read_text() == "one = 2\n"


@pytest.mark.parametrize("ref", ["v1", "side", "commit", "short"])
def test_ref_may_be_a_tag_a_branch_or_a_commit(site, repo, ref):
    first = sample.git(repo, "rev-parse", "v1")
    named = {"commit": first, "short": first[:10]}.get(ref, ref)
    node = site.gov.json("node", "add", repo, "--ref", named, "--id", "mine").ok().data["node"]
    assert (node["id"], node["commit"], node["ref"]) == ("mine", first, named)
    assert (site.nodes / "mine/__init__.py").read_text() == "one = 1\n"


def test_a_path_is_taken_relative_to_the_current_folder(site, repo, monkeypatch):
    monkeypatch.chdir(repo.parent)
    site.gov("node", "add", f"./{repo.name}").ok()
    assert registered(site)[repo.name]["git_url"] == str(repo)


def test_a_file_url_is_taken_too(site, repo):
    site.gov("node", "add", repo.as_uri(), "--id", "by-url").ok()
    assert (site.nodes / "by-url/__init__.py").is_file()


def test_a_clone_that_is_there_is_adopted(site, repo):
    """As people have it who come from cloning by hand; with the same origin, and as it is."""
    subprocess.run(["git", "clone", "-q", repo, site.nodes / repo.name], check=True)
    mine = site.nodes / repo.name / "mine.txt"
    mine.write_text("kept")
    data = site.gov.json("node", "add", repo).ok().data
    assert data["adopted"] is True
    assert mine.read_text() == "kept"
    assert repo.name in registered(site)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://example.invalid/x.git", 3),
        ("ftp://example.invalid/x.git", 3),
        ("git://example.invalid/x.git", 3),
        ("ext::sh -c touch% /tmp/x", 3),
        ("fd::17", 3),
        ("", 2),
        ("/nowhere/at/all", 2),
        ("https://user:secret@127.0.0.1:1/x.git", 1),
    ],
)
def test_a_source_that_is_not_taken(site, url, code):
    ended = assert_refused(site, "node", "add", url, code=code)
    assert "secret" not in ended.out + ended.err


def test_a_folder_that_is_no_repository(site, tmp_path):
    (tmp_path / "plain").mkdir()
    assert_refused(site, "node", "add", tmp_path / "plain", code=1, says="plain")


@pytest.mark.parametrize("ref", ["nowhere", "0" * 40, "--upload-pack=x", "", "a..b"])
def test_a_bad_ref_leaves_no_clone(site, repo, ref):
    assert_refused(site, "node", "add", repo, f"--ref={ref}", code=2)
    assert not (site.nodes / repo.name).exists()


def test_a_broken_repository_leaves_no_clone(site, repo):
    for path in (repo / ".git/objects").rglob("??????????????????????????????????????"):
        path.chmod(0o600)
        path.write_bytes(b"broken")
    assert_refused(site, "node", "add", repo, code=1, says=repo.name)


@pytest.mark.parametrize("node_id", ["../../x", "..", ".hidden", "a/b", "-x", "", "con", "x.py"])
def test_an_id_that_is_no_folder_of_custom_nodes(site, repo, node_id):
    assert_refused(site, "node", "add", repo, f"--id={node_id}", code=2, named="bad_node_id")


@pytest.mark.parametrize("node_id", ["sample-captioner", "Sample_Captioner", "SAMPLE.captioner"])
def test_an_id_that_is_taken(site, repo, node_id):
    ended = assert_refused(site, "node", "add", repo, "--id", node_id, code=2, named="node_exists")
    assert "gov node remove sample-captioner" in ended.error["hint"]


@pytest.mark.parametrize("kind", ["folder", "file", "link", "other clone", "dangling"])
def test_a_place_that_is_taken_by_something_else(site, repo, kind, tmp_path):
    place = site.nodes / "mine"
    if kind == "folder":
        place.mkdir()
        (place / "notes.txt").write_text("nothing that ComfyUI would load")
    elif kind == "file":
        place.write_text("")
    elif kind == "other clone":
        subprocess.run(["git", "clone", "-q", site.world.repos / "import-fails", place], check=True)
    else:
        place.symlink_to(repo if kind == "link" else tmp_path / "nowhere")
    assert_refused(site, "node", "add", repo, "--id", "mine", code=2, named="folder_exists")


@pytest.mark.parametrize("kind", ["registry", "folder", "file", "link"])
def test_what_is_no_clone_is_adopted_as_what_it_is(site, tmp_path, kind):
    """As ComfyUI-Manager unpacks it, as somebody copied it, as a developer links it."""
    name = "mine.py" if kind == "file" else "mine"
    code = (site.world.repos / "loads-two-classes/__init__.py").read_text()
    place = (tmp_path if kind == "link" else site.nodes) / name
    if kind == "file":
        place.write_text(code)
    else:
        place.mkdir()
        (place / "__init__.py").write_text(code)
    if kind == "registry":
        (place / ".tracking").write_text("__init__.py\n")
    if kind == "link":
        (site.nodes / name).symlink_to(place)
    data = site.gov.json("node", "add", name).ok().data
    assert (data["adopted"], data["node"]["kind"], data["node"]["id"]) == (True, kind, "mine")
    assert data["node"]["commit"], "it has a commit, and so a way back"
    assert site.gov.json("node", "show", "mine").ok().data["kind"] == kind


def test_protocols_are_the_operators_choice(site, repo):
    site.set(policy__git_protocols=["https"])
    assert_refused(site, "node", "add", repo, code=3, says="'file'")


def test_hooks_and_filters_of_the_repository_do_not_run(site, repo, tmp_path):
    trap = tmp_path / "trap"
    hook = repo / ".git/hooks/post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {trap}\n")
    hook.chmod(0o755)
    os.environ["GIT_TEMPLATE_DIR"] = str(repo / ".git")
    try:
        site.gov("node", "add", repo).ok()
    finally:
        del os.environ["GIT_TEMPLATE_DIR"]
    assert not trap.exists()
