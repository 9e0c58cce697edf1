"""gov export: one file that tells all and nothing of this machine."""

import filecmp
import json
import subprocess

import pytest
from support.refusal import assert_refused

from .conftest import FILE, git, listing, members, told


def test_two_exports_are_one_file(origin, bundle, tmp_path):
    """The second after git has packed the code anew, and by another umask."""
    for store in (origin.root / ".code").glob("*.git"):
        subprocess.run(["git", "-C", store, "repack", "-a", "-d", "-q"], check=True)
    again = tmp_path / "again.tar"
    data = origin.gov.json("export", again, "--with-code", "--with-wheels").ok().data
    assert filecmp.cmp(bundle, again, shallow=False)
    assert data["bytes"] == bundle.stat().st_size
    digest = subprocess.run(["sha256sum", again], capture_output=True, text=True, check=True)
    assert data["sha256"] == digest.stdout.split()[0]


def test_what_it_holds(bundle, origin):
    made = told(bundle)
    assert made["schema"] == 1
    assert made["made_by"].startswith("gov ")
    nodes = {node["id"]: node for node in made["nodes"]}
    assert {name: node["kind"] for name, node in nodes.items()} == {
        "sample-captioner": "clone",
        "three-packages": "clone",
        "shares-cowsay": "clone",
        "loose": "folder",
        "single": "file",
    }
    captioner = nodes["sample-captioner"]
    assert captioner["commit"] == origin.head("sample-captioner")
    assert captioner["code"] != captioner["commit"], "it was edited"
    assert nodes["three-packages"]["additions"] == ["lark"]
    assert not nodes["shares-cowsay"]["enabled"]
    assert made["comfyui"]["commit"] == git(origin.comfyui, "rev-parse", "HEAD")
    held = members(bundle)
    assert held["uv.lock"] == (origin.root / "uv.lock").read_bytes()
    assert set(made["files"]) == set(held) - {"bundle.json"}
    story = json.loads(held["story.json"])
    assert [row["verb"] for row in story["changes"]][:1] == ["init"]
    assert story["snapshot"]["reason"] == "disable_post"


def test_nothing_of_this_machine_is_in_it(bundle, origin, tmp_path):
    for line in listing(bundle).splitlines():
        assert line.startswith("-rw-r--r-- 0/0"), line
        assert "1970-01-01 00:00" in line, line
    held = members(bundle)
    for name in ("bundle.json", "pyproject.toml", "uv.lock", "plugins.json", "story.json"):
        text = held[name].decode()
        for word in (str(origin.root), str(origin.world.repos), "/tmp/", '"user"', '"host"'):
            assert word not in text, (name, word)


def test_the_code_is_readable_by_git(bundle, tmp_path):
    (tmp_path / "x.bundle").write_bytes(members(bundle)["code/nodes/loose.bundle"])
    subprocess.run(["git", "init", "-q", tmp_path / "x"], check=True)
    git(tmp_path / "x", "fetch", "-q", str(tmp_path / "x.bundle"), "refs/gov/code:refs/heads/x")
    assert "class LooseOne" in git(tmp_path / "x", "show", "x:__init__.py")


def test_without_code_what_nobody_could_fetch_is_refused(origin, tmp_path):
    ended = assert_refused(
        origin, "export", tmp_path / FILE, code=3, says="local edits", named="code_needed"
    )
    assert "--with-code" in ended.error["hint"]
    reasons = "\n".join(ended.error["facts"]["reasons"])
    assert "loose is no git clone (folder)" in reasons
    assert "three-packages comes from a folder of this machine" in reasons
    assert not (tmp_path / FILE).exists()


def test_a_snapshot_of_before(origin, tmp_path):
    first = origin.gov.json("snapshot", "list").ok().data["snapshots"][0]["id"]
    origin.gov("export", tmp_path / FILE, first).ok()
    made = told(tmp_path / FILE)
    assert made["nodes"] == []
    story = json.loads(members(tmp_path / FILE)["story.json"])
    assert story["snapshot"]["id"] == first
    assert [row["verb"] for row in story["changes"]] == ["init"]


@pytest.mark.parametrize("where", ["taken", "no folder", "no snapshot"])
def test_where_it_cannot_be_written(origin, tmp_path, where):
    path = tmp_path / FILE
    words = ["--with-code"]
    if where == "taken":
        path.write_text("mine")
    elif where == "no folder":
        path = tmp_path / "nowhere" / FILE
    else:
        words = ["20200101T000000Z-snap-000000"]
    assert_refused(origin, "export", path, *words, code=2)
    assert where != "taken" or path.read_text() == "mine"


def test_an_edited_pyproject_is_not_exported(settled, tmp_path):
    site = settled.site
    with (site.root / "pyproject.toml").open("a") as stream:
        stream.write("# by hand\n")
    assert_refused(site, "export", tmp_path / FILE, "--with-code", code=1, named="edited")


def test_a_folder_of_packages_is_told_and_not_named(settled, tmp_path):
    site = settled.site
    done = site.gov("export", tmp_path / FILE, "--with-code").ok()
    assert any("--index" in line for line in done.problems("warning")), done
    held = members(tmp_path / FILE)
    assert str(site.world.wheels) not in "".join(
        held[name].decode() for name in ("pyproject.toml", "uv.lock")
    )
    assert 'url = "wheels"' in held["pyproject.toml"].decode()


def test_a_password_in_a_url_stays_here(settled, tmp_path):
    site = settled.site
    for name in ("pyproject.toml", "uv.lock"):
        path = site.root / name
        text = path.read_text().replace(
            str(site.world.wheels), "https://ann:s3cret@packages.example/simple"
        )
        path.write_text(text.replace('format = "flat"\n', ""))
    _settle(site)
    done = site.gov("export", tmp_path / FILE, "--with-code").ok()
    assert any("credentials" in line for line in done.problems("warning")), done
    assert b"s3cret" not in (tmp_path / FILE).read_bytes()


def _settle(site):
    """As if gov had written the truth that lies there."""
    from governance.truth import snapshots
    from governance.truth.workspace import Workspace

    space = Workspace(site.root.resolve())
    row = json.loads(space.receipt.read_text())
    row |= snapshots.truth(space).digests()
    space.receipt.write_text(json.dumps(row))
