"""gov init: a workspace for a ComfyUI, or what is missing in it."""

import os
import shutil
import tomllib

import pytest
from support.fingerprint import differences, fingerprint
from support.gov import Gov
from support.refusal import assert_refused, assert_told

from governance.boundaries import store

MADE = ("bin/gov", "bin/doit", "dodo.py", "config.toml", "pyproject.toml", "uv.lock", ".venv-prod")
STATE = ("state/plugins.json", "state/snapshots_index.json", "state/transactions", "state/logs")


@pytest.fixture
def bare(tmp_path, world):
    """A ComfyUI and no workspace yet; init as a stranger types it."""
    shutil.copytree(world.comfyui, tmp_path / "ComfyUI", symlinks=True)
    return tmp_path


def files_of(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_it_makes_all_of_a_workspace(bare, world):
    """Beside a ComfyUI it need not be named; uv's cache is the workspace's own."""
    folder = bare / "comfy_env"
    options = ("--index", world.wheels, "--resolution-date", "none")
    ended = Gov(None)("init", folder, *options, "--json").ok()
    assert all((folder / name).exists() for name in (*MADE, *STATE, ".uv-cache"))
    data = ended.data
    assert data["root"] == str(folder)
    assert data["lock_sha256"] == store.file_digest(folder / "uv.lock")
    assert data["generation"] == (folder / ".venv-prod").readlink().name
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    core = project["dependency-groups"]["core"]
    assert core == (bare / "ComfyUI/requirements.txt").read_text().split()
    assert project["project"]["requires-python"].startswith(f"=={data['python']}.")
    assert project["tool"]["uv"]["package"] is False
    assert project["tool"]["uv"]["default-groups"] == "all"
    assert len(project["tool"]["uv"]["environments"]) == 1
    done = Gov(None).process("status", program=folder / "bin/gov", cwd="/").ok()
    assert str(folder) in done.out


def test_again_it_changes_nothing(settled):
    before = fingerprint(settled.site.root, settled.site.comfyui)
    told = settled.site.gov("init").ok()
    assert f"workspace ready: {settled.site.root}" in told.out
    assert "not governed yet" not in told.out
    assert differences(before, fingerprint(settled.site.root, settled.site.comfyui)) == []


@pytest.mark.parametrize("name", ["uv.lock", "pyproject.toml", "state/plugins.json"])
def test_a_missing_file_of_the_truth_comes_back(settled, name):
    path = settled.site.root / name
    settled.site.gov("tx", "promote", settled.completed).ok()
    good = path.read_bytes()
    path.unlink()
    told = settled.site.gov("init").ok()
    assert f"{path.name} was missing" in told.problems("warning")[0]
    assert path.read_bytes() == good


def test_missing_launchers_and_folders_come_back(settled):
    root = settled.site.root
    for name in ("bin", "state/logs", "state/work", ".venv-candidate"):
        store.remove_tree(root / name)
    settled.site.gov("init").ok()
    assert os.access(root / "bin/gov", os.X_OK)
    assert all((root / name).is_dir() for name in ("state/logs", "state/work", ".venv-candidate"))


def test_a_missing_link_comes_back(settled):
    before = (settled.site.root / ".venv-prod").readlink()
    (settled.site.root / ".venv-prod").unlink()
    settled.site.gov("init").ok()
    assert (settled.site.root / ".venv-prod").readlink() == before


def test_what_is_not_governed_is_listed(settled):
    place = settled.site.nodes / "by-hand"
    place.mkdir()
    (place / "__init__.py").write_text("NODE_CLASS_MAPPINGS = {}\n")
    assert "not governed yet: by-hand" in settled.site.gov("init").ok().out
    assert settled.site.gov.json("init").ok().data["ungoverned"] == ["by-hand"]


def test_changed_requirements_of_comfyui_are_taken_in_behind_the_gate(workspace):
    declared = workspace.comfyui / "requirements.txt"
    declared.write_text(declared.read_text() + "cowsay\n")
    workspace.gov("init").ok()
    assert list((workspace.root / ".venv-prod").resolve().rglob("cowsay/__init__.py"))
    declared.write_text(declared.read_text() + "numpy<2\n")
    ended = assert_told(workspace.gov("init"), 3, "numpy 2.4.1 -> 1.26.4")
    assert "--approve-core" in ended.problems("hint")[0]
    workspace.gov("init", "--approve-core", "--reason", "ComfyUI asks for it").ok()


def test_an_old_comfyui_is_resolved_as_of_its_own_date(bare, world):
    """Said so, since packages of today may not start it; nothing here is uploaded later."""
    ended = Gov(None)("init", bare / "w", "--index", world.wheels)
    assert "resolved as of 2025-10-13" in ended.ok().out
    assert "2025-10-13" in (bare / "w/pyproject.toml").read_text()


@pytest.mark.parametrize("argument", ["missing", "no main.py", "file"])
def test_a_missing_comfyui_makes_nothing(bare, argument):
    (bare / "no main.py").mkdir()
    (bare / "file").write_text("")
    before = files_of(bare)
    ended = Gov(None)("init", bare / "w", "--comfyui-dir", bare / argument)
    assert_told(ended, 2, argument)
    assert files_of(bare) == before


def test_no_comfyui_named_and_none_around(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = assert_told(Gov(None)("init", tmp_path / "w"), 2)
    assert "--comfyui-dir" in ended.problems("hint")[0]
    assert files_of(tmp_path) == []


@pytest.mark.parametrize("text", ['[project]\nname = "mine"\n', "", "broken = ["])
def test_somebody_elses_project_is_never_taken_over(bare, text):
    (bare / "mine").mkdir()
    (bare / "mine/pyproject.toml").write_text(text)
    before = files_of(bare)
    ended = Gov(None)("init", bare / "mine", "--comfyui-dir", bare / "ComfyUI", "--json")
    assert (ended.code, ended.error["code"]) == (2, "foreign_project")
    assert files_of(bare) == before


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--python", "9.9"], 2, "9.9"),
        (["--python", "/nowhere/python"], 2, "/nowhere/python"),
        (["--resolution-date", "yesterday"], 2, "yesterday"),
        (["--resolution-date", "2025-13-45"], 2, "2025-13-45"),
        (["--index", "/nowhere/wheels"], 2, "/nowhere/wheels"),
        (["--index", "https://me:secret@127.0.0.1:1/simple"], 2, "credentials"),
        (["--index", "http://127.0.0.1:1/simple"], 1, ""),
    ],
)
def test_bad_options_leave_no_truth(bare, options, code, says):
    folder = bare / "w"
    ended = Gov(None)("init", folder, "--comfyui-dir", bare / "ComfyUI", *options)
    assert_told(ended, code, says)
    assert "secret" not in ended.err
    made = [name for name in (*MADE[4:], "state/snapshots_index.json") if (folder / name).exists()]
    assert made == []


@pytest.mark.parametrize(
    ("option", "bad", "named"),
    [
        ("--resolution-date", "soon", "bad_date"),
        ("--index", "/nowhere/wheels", "bad_index"),
        ("--torch-backend", "cuda13", "bad_torch_backend"),
        ("--torch-backend", "https://me:secret@127.0.0.1:1/whl", "credentials_in_url"),
    ],
)
def test_what_is_wrong_as_typed_makes_no_folder(bare, option, bad, named):
    ended = Gov(None)("init", bare / "w", "--comfyui-dir", bare / "ComfyUI", option, bad, "--json")
    assert (ended.code, ended.error["code"]) == (2, named)
    assert "secret" not in ended.out
    assert not (bare / "w").exists()


def test_a_wrong_torch_backend_never_enters_the_truth(settled):
    assert_refused(
        settled.site,
        "init",
        "--torch-backend",
        "zzz",
        code=2,
        says="zzz",
        named="bad_torch_backend",
    )


def test_a_file_in_the_place_of_the_folder(bare):
    (bare / "w").write_text("mine")
    ended = Gov(None)("init", bare / "w", "--comfyui-dir", bare / "ComfyUI")
    assert_told(ended, 2, "w is a file")
    assert (bare / "w").read_text() == "mine"


def test_a_workspace_belongs_to_one_comfyui(settled, tmp_path):
    other = shutil.copytree(settled.site.comfyui, tmp_path / "Other", symlinks=True)
    argv = ("init", settled.site.root, "--comfyui-dir", other)
    assert_refused(settled.site, *argv, code=2, named="other_comfyui")


@pytest.mark.family(1)
@pytest.mark.parametrize("line", ['comfyui_dir = ""\n', ""])
def test_a_config_without_a_comfyui_gets_the_one_that_is_named(bare, world, line):
    """The hint of `names no comfyui_dir` must lead out; what was set stays, comments too."""
    folder = bare / "w"
    folder.mkdir()
    text = f'{line}[tx]\n# mine\nsettle_seconds = 0.2\n[storage]\nuv_cache_dir = "{world.cache}"\n'
    (folder / "config.toml").write_text(text)
    options = ("--comfyui-dir", bare / "ComfyUI", "--index", world.wheels)
    Gov(None)("init", folder, *options, "--resolution-date", "none").ok()
    written = (folder / "config.toml").read_text()
    assert tomllib.loads(written) == {
        "comfyui_dir": str(bare / "ComfyUI"),
        "tx": {"settle_seconds": 0.2},
        "storage": {"uv_cache_dir": str(world.cache)},
    }
    assert "# mine" in written


def test_requirements_that_do_not_lock_leave_no_truth(bare, world):
    declared = bare / "ComfyUI/requirements.txt"
    declared.write_text(declared.read_text() + "humanize<4\nhumanize>=4.9\n")
    ended = Gov(None)("init", bare / "w", "--index", world.wheels, "--resolution-date", "none")
    assert_told(ended, 4, "humanize")
    assert not (bare / "w/uv.lock").exists()
    assert not (bare / "w/pyproject.toml").exists()


def test_a_conflict_of_the_first_init_can_be_resolved(bare, world):
    declared = bare / "ComfyUI/requirements.txt"
    declared.write_text(declared.read_text() + "humanize<4\nhumanize>=4.9\n")
    gov = Gov(bare / "w")
    ended = Gov(None)("init", bare / "w", "--index", world.wheels, "--resolution-date", "none")
    assert "gov resolve" in ended.problems("hint")[0]
    told = gov("resolve", "last", "--suggest").ok().out
    assert "humanize: ComfyUI <4 against ComfyUI >=4.9; ComfyUI contradicts itself\n" in told
    gov("resolve", "last", "--pin", "humanize==4.9.0").ok()
    done = gov.json("tx", "promote", "last").ok().data
    assert "humanize" in [change["name"] for change in done["changes"]]
    assert gov.json("tx", "inspect", "last").data["status"] == "promoted"
    assert gov.json("status").data["transactions_pending"] == 0
    gov("verify").ok()
