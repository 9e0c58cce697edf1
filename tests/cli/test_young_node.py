"""A young node on an old ComfyUI, explained by version: releases of the sample by their tags."""

import pytest

from governance.base.errors import GovError
from governance.changes import comfyui_fit, comfyui_own
from governance.changes.comfyui_own import Wanted
from governance.sample import world

YOUNG = 'requires-comfyui = ">=0.4"\n'


def tagged(comfyui):
    """0.4.0 has comfy.young, and lost comfy.aged; the checkout stays at its own 0.3.64."""
    now = world.git(comfyui, "rev-parse", "HEAD")
    (comfyui / "comfy/aged.py").write_text("")
    (comfyui / "comfyui_version.py").write_text('__version__ = "0.3.60"\n')
    world.commit(comfyui, "0.3.60")
    world.git(comfyui, "tag", "v0.3.60")
    (comfyui / "comfy/aged.py").unlink()
    for version in ("0.4.0", "0.4.1"):
        (comfyui / "comfy/young.py").write_text(
            "try:\n    from os import sep as Name\nfinally:\n    pass\n"
        )
        (comfyui / "comfyui_version.py").write_text(f'__version__ = "{version}"\n')
        world.commit(comfyui, version)
        world.git(comfyui, "tag", "--annotate", "--message=x", f"v{version}")
    world.git(comfyui, "reset", "--quiet", "--hard", now)
    return now


@pytest.fixture
def checkout(tmp_path):
    folder = world.write_comfyui(tmp_path / "ComfyUI")
    tagged(folder)
    return folder


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted("comfy.young"), ("0.4.0", "")),
        (Wanted("comfy", "young"), ("0.4.0", "")),
        (Wanted("comfy.young", "Name"), ("0.4.0", "")),
        (Wanted("comfy.aged"), ("", "0.3.60")),
        (Wanted("comfy.young", "Other"), ("", "")),
        (Wanted("comfy.cli_args"), ("", "")),
    ],
)
def test_the_version_that_has_it_is_looked_up_in_the_tags(checkout, wanted, found):
    assert comfyui_own.versions_with(checkout, "0.3.64", wanted) == found


def test_a_commit_that_was_fetched_and_is_in_no_release(checkout):
    now = world.git(checkout, "rev-parse", "HEAD")
    (checkout / "comfy/newest.py").write_text("")
    newest = world.commit(checkout, "newest")
    world.git(checkout, "update-ref", "refs/remotes/origin/main", newest)
    world.git(checkout, "reset", "--quiet", "--hard", now)
    found = comfyui_own.versions_with(checkout, "0.3.64", Wanted("comfy.newest"))
    assert found == (f"commit {newest[:12]}", "")


def test_no_history_is_no_answer(tmp_path):
    with pytest.raises(GovError):
        comfyui_own.versions_with(tmp_path, "0.3.64", Wanted("comfy.young"))


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        ("No module named 'comfy.x'; 'comfy' is not a package", Wanted("comfy.x")),
        ("cannot import name 'Y' from 'comfy.x' (/a/comfy/x.py)", Wanted("comfy.x", "Y")),
        ("module 'folder_paths' has no attribute 'z'", Wanted("folder_paths", "z")),
        ("boom", None),
    ],
)
def test_what_an_error_names(error, wanted):
    assert comfyui_own.wanted_in(error) == wanted


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        (b'[tool.comfy]\nrequires-comfyui = ">=0.4"\n', ">=0.4"),
        (b"[tool.comfy]\n", ""),
        (b"tool = 1\n", ""),
        (b"[", ""),
        (None, ""),
    ],
)
def test_the_range_of_a_pyproject(text, asked):
    assert comfyui_fit.required(text) == asked


def test_who_is_admitted():
    assert comfyui_fit.unfit("n", ">=0.4", "0.3.64") == (
        "n is made for ComfyUI >=0.4, and this is 0.3.64"
    )
    for asked, version in ((">=0.4", "0.4.0"), ("", "1"), ("new", "1"), (">=1", None)):
        assert comfyui_fit.unfit("n", asked, version) is None


def test_a_young_node_is_explained_and_an_older_commit_of_it_is_offered(workspace):
    tagged(workspace.comfyui)
    fits = world.git(workspace.world.add("young", {"README": "x"}), "rev-parse", "HEAD")
    loading = (workspace.world.repos / "young/__init__.py").read_text()
    files = {
        "__init__.py": f"import comfy.young\n{loading}",
        "pyproject.toml": f"[tool.comfy]\n{YOUNG}",
    }
    world.write_node(workspace.world.repos, "young", files)
    unfit = "young is made for ComfyUI >=0.4, and this is 0.3.64"
    checked = workspace.gov.json("node", "check", workspace.world.repos / "young").ok()
    assert checked.data["unfit"] == unfit
    added = workspace.gov("node", "add", workspace.world.repos / "young").ok()
    assert f"warning: {unfit}" in added.problems("warning")
    ended = workspace.gov("tx", "run", "young")
    assert f"  warning: {unfit}\n" in ended.out
    assert (
        "No module named 'comfy.young', which ComfyUI has since 0.4.0; yours is 0.3.64" in ended.out
    )
    assert f"next: gov node update young --to {fits[:12]} (an earlier commit" in ended.out
    assert "next: gov comfyui update (it has comfy.young since 0.4.0)" in ended.out
    assert "--with" not in ended.out
    workspace.gov("node", "update", "young", "--to", fits[:12]).ok()
