"""gov export --format: what other programs can read."""

import json
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement
from support.refusal import assert_refused

from governance.boundaries import uv
from governance.bundle import formats
from governance.bundle.foreign import forms

from .conftest import git


def exported(site, tmp_path, form, name="out"):
    path = tmp_path / name
    done = site.gov.json("export", path, "--format", form).ok()
    assert done.data["format"] == form
    return path


@pytest.mark.parametrize("form", formats.NAMES)
def test_two_exports_are_the_same_bytes_and_name_nothing_of_here(origin, tmp_path, form):
    one, other = (exported(origin, tmp_path, form, name) for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()
    assert str(origin.root.parent) not in one.read_text()
    assert str(origin.world.repos) not in one.read_text()


@pytest.mark.parametrize("form", ["pylock", "requirements", "cyclonedx"])
def test_a_folder_of_packages_is_not_named(settled, tmp_path, form):
    text = exported(settled.site, tmp_path, form).read_text()
    assert str(settled.site.world.wheels) not in text


def test_pylock_installs(origin, tmp_path):
    """By uv itself, and it tells whose a package is."""
    path = exported(origin, tmp_path, "pylock", "pylock.toml")
    document = tomllib.loads(path.read_text())
    assert {"cowsay", "lark"} <= {row["name"] for row in document["packages"]}
    gov = document["tool"]["gov"]
    assert "lark" in gov["groups"]["node-three-packages"]
    assert [row["id"] for row in gov["node"] if not row["enabled"]] == ["shares-cowsay"]
    venv = tmp_path / "venv"
    run = [uv.executable(), "--cache-dir", str(tmp_path / "cache")]
    subprocess.run([*run, "venv", "-q", "--python", sys.executable, venv], check=True)
    subprocess.run(
        [*run, "pip", "sync", "-q", "--python", venv / "bin/python", path],
        check=True,
        cwd=tmp_path,
    )
    assert [*venv.glob("lib/*/site-packages/lark-*")]


def test_requirements_have_hashes(origin, tmp_path):
    text = exported(origin, tmp_path, "requirements").read_text()
    lines = [line for line in text.replace("\\\n", "").splitlines() if line[:1].isalpha()]
    names = {Requirement(line.partition(" --hash=")[0]).name for line in lines}
    assert {"numpy", "cowsay", "lark"} <= names
    assert all("--hash=sha256:" in line for line in lines)
    assert f"# ComfyUI  {git(origin.comfyui, 'rev-parse', 'HEAD')}" in text
    assert "# node shares-cowsay" in text


def test_cyclonedx_knows_nodes_and_comfyui(origin, tmp_path):
    document = json.loads(exported(origin, tmp_path, "cyclonedx").read_text())
    assert document["specVersion"] == "1.5"
    rows = {row["bom-ref"]: row for row in document["components"]}
    assert rows["ComfyUI"]["version"] == git(origin.comfyui, "rev-parse", "HEAD")
    assert rows["node:three-packages"]["type"] == "application"
    refs = {row["ref"]: row.get("dependsOn", []) for row in document["dependencies"]}
    assert any(ref.startswith("lark") for ref in refs["node:three-packages"])
    assert "node:loose" in refs[document["metadata"]["component"]["bom-ref"]]
    assert set(refs) == {*rows, document["metadata"]["component"]["bom-ref"]}


@pytest.mark.parametrize(
    ("origin_url", "wanted"),
    [
        ("https://github.com/Kijai/ComfyUI-KJNodes.git", "pkg:github/kijai/comfyui-kjnodes@abc"),
        ("https://git.example/o/n", "pkg:generic/n@abc?vcs_url=git%2Bhttps%3A%2F%2Fgit.example"),
        (None, "pkg:generic/n@abc"),
    ],
)
def test_a_purl(origin_url, wanted):
    assert formats._purl("n", origin_url, "abc").startswith(wanted)


def test_a_snapshot_that_the_manager_reads(origin, tmp_path):
    """And gov again: what it wrote comes back."""
    path = exported(origin, tmp_path, "manager-snapshot", "x.json")
    document = json.loads(path.read_text())
    assert document["file_custom_nodes"] == [{"filename": "single.py", "disabled": False}]
    assert document["pips"]["lark==1.2.2"] == ""
    found = forms.read(path)
    assert found.versions["cowsay"] == "6.1"
    assert found.comfyui == git(origin.comfyui, "rev-parse", "HEAD")


def test_a_dockerfile(origin, tmp_path):
    text = exported(origin, tmp_path, "dockerfile").read_text()
    assert "FROM python:3." in text
    assert "gov init /comfy/env --comfyui-dir /comfy/ComfyUI --from" in text
    assert '"run", "--"' in text


def test_a_document_holds_no_code(origin, tmp_path):
    words = ["export", tmp_path / "x", "--format", "pylock", "--with-code"]
    assert_refused(origin, *words, code=2)
