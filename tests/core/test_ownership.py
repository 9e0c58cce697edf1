"""What belongs to another user is neither run nor believed."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from core.house import CHECKOUT, make_bare
from governance import installation
from governance.base.errors import Refused, UsageError
from governance.boundaries import operator, ownership
from governance.truth import inventory, registry, workspace
from governance.truth.documents import Plugin

OTHER = 54321
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture(autouse=True)
def _nobody_is_trusted(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("GOV_SAFE_DIRECTORY", "GOV_SIGNING_KEY", "SUDO_UID", "GOV_ROOT"):
        monkeypatch.delenv(name, raising=False)


def give_away(*paths):
    for path in paths:
        os.chown(path, OTHER, OTHER)


def refused(function, *arguments):
    with pytest.raises(Refused) as caught:
        function(*arguments)
    assert caught.value.code == "foreign_owner"
    assert f"uid {OTHER}" in caught.value.message
    return caught.value


@as_root
@pytest.mark.parametrize("part", [".", "config.toml", "state", "dodo.py", "pyproject.toml"])
def test_a_workspace_of_another_user_is_refused_by_name(bare, part, monkeypatch):
    (bare.root / "dodo.py").write_text("from tasks import *\n")
    bare.config_path.write_text("this is [no toml")
    give_away(bare.root / part)
    error = refused(workspace.find, bare.root)
    assert str(bare.root / part).removesuffix("/.") in error.message
    assert f"export GOV_SAFE_DIRECTORY={bare.root}" in error.hint
    monkeypatch.chdir(bare.root / "state/logs")
    refused(workspace.find)


@as_root
def test_comfyui_and_a_node_of_another_user_are_refused(bare, tmp_path):
    comfyui = tmp_path / "ComfyUI"
    node = comfyui / "custom_nodes/theirs"
    node.mkdir(parents=True)
    (comfyui / "main.py").write_text("")
    bare.config_path.write_text(f'comfyui_dir = "{comfyui}"\n')
    plugin = Plugin(id="theirs", git_url="", group="node-theirs", path=str(node))
    assert inventory.locate(bare, plugin).state == inventory.PRESENT
    give_away(node)
    assert str(node) in refused(registry.place, bare, plugin).message
    refused(inventory.locate, bare, plugin)
    node.rename(comfyui / "custom_nodes/theirs.disabled")
    refused(inventory.locate, bare, plugin)
    give_away(comfyui)
    refused(lambda: bare.comfyui_dir)


@as_root
def test_a_folder_that_is_named_is_trusted_with_all_in_it(tmp_path, monkeypatch):
    theirs = tmp_path / "theirs"
    give_away_folder = theirs / "inner"
    give_away_folder.mkdir(parents=True)
    give_away(give_away_folder)
    refused(ownership.require_own, give_away_folder)
    monkeypatch.setenv("GOV_SAFE_DIRECTORY", f"/elsewhere:{theirs}")
    ownership.require_own(give_away_folder)
    monkeypatch.setenv("GOV_SAFE_DIRECTORY", str(tmp_path / "their"))
    refused(ownership.require_own, give_away_folder)
    monkeypatch.delenv("GOV_SAFE_DIRECTORY")
    operator.path().parent.mkdir(parents=True)
    operator.path().write_text(f'safe_directories = ["{theirs}"]\n')
    ownership.require_own(give_away_folder)
    monkeypatch.setenv("SUDO_UID", "1")
    operator.path().unlink()
    refused(ownership.require_own, give_away_folder)
    monkeypatch.setenv("SUDO_UID", str(OTHER))
    ownership.require_own(give_away_folder)


@as_root
def test_root_makes_no_workspace_in_the_folder_of_another_user(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    give_away(home)
    refused(installation.prepare, home / "deep/space", None)
    assert list(home.iterdir()) == []


def test_ones_own_settings_are_checked(monkeypatch):
    operator.path().parent.mkdir(parents=True)
    operator.path().write_text("safe_directory = ['/x']\n")
    with pytest.raises(UsageError) as caught:
        operator.safe_directories()
    assert "unknown setting 'safe_directory'" in caught.value.message


# --- as programs ------------------------------------------------------------------------------


def ended(words, **environ):
    return subprocess.run(
        list(map(str, words)),
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


@as_root
def test_gov_and_doit_run_nothing_of_a_foreign_workspace(bare):
    witness = bare.root / "was-run"
    (bare.root / "dodo.py").write_text(f"open({str(witness)!r}, 'w')\nfrom tasks import *\n")
    give_away(bare.root)
    for words in (["governance/__main__.py", "status"], ["tasks/__main__.py", "list"]):
        argv = [sys.executable, "-I", CHECKOUT / words[0], *words[1:]]
        done = ended(argv, GOV_ROOT=str(bare.root))
        assert done.returncode == 3, done
        assert done.stderr.startswith(f"error: {bare.root} belongs to uid {OTHER}")
        assert done.stderr.count("\n") == 2
    assert not witness.exists()


@pytest.fixture
def open_folder():
    """One that every user can look into, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name).resolve()


@pytest.fixture
def launched(open_folder):
    """A checkout of which only the launchers are there; its set-up says who runs it."""
    home = open_folder / "checkout"
    (home / "bin").mkdir(parents=True)
    for name in ("gov", "doit", "ready"):
        shutil.copy(CHECKOUT / "bin" / name, home / "bin" / name)
    setup = home / "bin/setup"
    setup.write_text('echo "set up as $(id -u)"; exit 1\n')
    return home


@as_root
@pytest.mark.parametrize("name", ["gov", "doit"])
def test_a_checkout_of_another_user_is_not_run(launched, name, tmp_path):
    program = launched / "bin" / name
    assert "set up as 0" in ended([program]).stdout
    give_away(launched)
    done = ended([program, "status"])
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"error: {launched} belongs to uid {OTHER}")
    assert f"export GOV_SAFE_DIRECTORY={launched}" in done.stderr
    assert "set up as 0" in ended([program], GOV_SAFE_DIRECTORY=f"/x:{launched}").stdout
    (tmp_path / "config/gov").mkdir(parents=True)
    (tmp_path / "config/gov/config.toml").write_text(f'safe_directories = ["{launched}"]\n')
    assert "set up as 0" in ended([program]).stdout


@as_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
def test_root_behind_sudo_runs_a_checkout_as_who_asked(launched, open_folder):
    give_away(launched)
    fake = open_folder / "fake"
    fake.mkdir()
    (fake / "sudo").write_text(
        "#!/bin/sh\n"
        '[ "$1 $3 $4" = "-u -H --" ] || exit 9\n'
        "uid=${2#?}; shift 4; unset SUDO_UID\n"
        'exec setpriv --reuid "$uid" --regid "$uid" --clear-groups "$@"\n'
    )
    (fake / "sudo").chmod(0o755)
    fake.chmod(0o755)
    done = ended(
        [launched / "bin/gov", "status"],
        SUDO_UID=str(OTHER),
        PATH=f"{fake}:{os.environ['PATH']}",
    )
    assert f"set up as {OTHER}" in done.stdout, done


@as_root
def test_root_leaves_nothing_in_a_workspace_that_its_owner_cannot_change(open_folder):
    python = python_for_all()
    bare = make_bare(open_folder / "space")
    for path in (bare.root, *bare.root.rglob("*")):
        os.chown(path, OTHER, OTHER, follow_symlinks=False)
    argv = [python, CHECKOUT / "governance/__main__.py", "--root", bare.root, "clean"]
    environ = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "XDG_CONFIG_HOME": "/x"}
    done = ended(argv, SUDO_UID=str(OTHER), PYTHONDONTWRITEBYTECODE="1", **environ)
    assert done.returncode == 0, done
    assert (bare.state / ".lock").stat().st_uid == OTHER
    left = [path for path in bare.root.rglob("*") if path.lstat().st_uid != OTHER]
    assert left == []


def python_for_all():
    """One of this version that another user can start."""
    minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{minor}"):
        real = Path(python).resolve()
        closed = [one for one in real.parents if not one.stat().st_mode & 0o001]
        if real.is_file() and not closed:
            return python
    pytest.skip("no Python here that another user can start")
    return None
