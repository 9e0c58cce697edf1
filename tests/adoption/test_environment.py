"""The environment that ComfyUI runs in today is found, or one sentence says why not."""

import json
import shutil
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from support.installations import make_environment

from governance.adoption import environment
from governance.adoption.adopt import options
from governance.base import clock
from governance.base.errors import UsageError
from governance.changes.settings import Options
from governance.sample.world import COMMIT_DATE
from governance.truth.workspace import Workspace


@pytest.fixture
def space(tmp_path):
    """A workspace folder beside a ComfyUI that holds nothing but its two files."""
    comfyui = tmp_path / "ComfyUI"
    (comfyui / "custom_nodes").mkdir(parents=True)
    (comfyui / "main.py").write_text("import time\nprint('up', flush=True)\ntime.sleep(60)\n")
    (comfyui / "requirements.txt").write_text("numpy\nPyYAML\n")
    root = tmp_path / "comfy_env"
    root.mkdir()
    (root / "config.toml").write_text(f'comfyui_dir = "{comfyui}"\n')
    return Workspace(root)


def raised(space, named=None) -> UsageError:
    with pytest.raises(UsageError) as caught:
        environment.find(space, named)
    return caught.value


def test_none_beside_comfyui_is_said_with_the_way_out(space):
    error = raised(space)
    assert error.code == "no_environment"
    assert "--from-env PATH" in error.hint


def test_what_is_named_must_be_one(space, tmp_path):
    assert raised(space, tmp_path).code == "bad_environment"


def test_one_that_does_not_start_is_named(space):
    broken = space.comfyui_dir / "venv"
    (broken / "bin").mkdir(parents=True)
    (broken / "pyvenv.cfg").touch()
    (broken / "bin/python").write_text("#!/nowhere/python3.9\n")
    (broken / "bin/python").chmod(0o755)
    error = raised(space)
    assert error.code == "bad_environment"
    assert str(broken) in error.message


def test_one_whose_python_fails_says_its_last_words(space):
    broken = space.comfyui_dir / ".venv"
    (broken / "bin").mkdir(parents=True)
    (broken / "pyvenv.cfg").touch()
    (broken / "bin/python").write_text("#!/bin/sh\necho no such library >&2\nexit 3\n")
    (broken / "bin/python").chmod(0o755)
    assert "no such library" in raised(space).message


@pytest.mark.parametrize("said", ["", "[]", "{}", '{"version": 3}'])
def test_one_whose_answer_is_no_answer_is_named(tmp_path, said):
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\necho '{said}'\n")
    program.chmod(0o755)
    with pytest.raises(UsageError) as caught:
        environment.ask(program, "")
    assert caught.value.code == "bad_environment"


def test_of_two_the_one_with_what_comfyui_asks_for_is_taken(space, world):
    make_environment(space.comfyui_dir / "venv", world, ("numpy==1.26.4", "PyYAML==6.0.1"))
    make_environment(space.comfyui_dir / ".venv", world, ("cowsay==5.0",))
    found = environment.find(space, None)
    assert found.folder == space.comfyui_dir / "venv"
    assert found.versions == {"numpy": "1.26.4", "pyyaml": "6.0.1"}
    assert found.version == ".".join(map(str, sys.version_info[:3]))
    assert found.owner("yaml").name == "pyyaml"
    assert found.owner("yaml.nodes").name == "pyyaml"
    assert found.owner("no_such_module") is None


def test_two_alike_are_asked_about(space, world):
    for name in ("venv", ".venv"):
        make_environment(space.comfyui_dir / name, world, ("numpy==1.26.4",))
    error = raised(space)
    assert error.code == "many_environments"
    assert set(error.facts["paths"]) == {str(space.comfyui_dir / n) for n in ("venv", ".venv")}


def test_that_of_a_running_comfyui_goes_before(space, world, tmp_path):
    make_environment(space.comfyui_dir / "venv", world, ("numpy==1.26.4",))
    other = make_environment(tmp_path / "elsewhere", world, ("cowsay==5.0",))
    child = subprocess.Popen(
        [other / "bin/python", "main.py"], cwd=space.comfyui_dir, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout.readline() == b"up\n"
        found = environment.find(space, None)
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    assert found.folder == other
    assert found.found == "ComfyUI runs in it now"


def test_what_came_from_elsewhere_than_an_index_is_known(space, world):
    wheel = next(world.wheels.glob("cowsay-5.0*.whl"))
    folder = make_environment(space.comfyui_dir / "venv", world, (str(wheel), "lark==1.1.9"))
    found = environment.ask(environment.python_in(folder), "")
    assert found.versions == {"lark": "1.1.9", "cowsay": "5.0"}
    assert found.packages["lark"].url == ""
    assert found.packages["cowsay"].url == f"@ {wheel.as_uri()}" or found.packages[
        "cowsay"
    ].url.startswith(f"@ {wheel.as_uri()}#")


def test_asking_writes_nothing(space, world):
    folder = make_environment(space.comfyui_dir / "venv", world, ("PyYAML==6.0.1",))
    (space.comfyui_dir / "extra_model_paths.yaml").write_text(
        "mine:\n  base_path: /data\n  custom_nodes: nodes\n"
    )
    before = sorted(folder.rglob("*"))
    found = environment.find(space, None)
    assert sorted(folder.rglob("*")) == before
    (folders,) = found.node_folders.values()
    assert folders == ["/data/nodes"]


@pytest.mark.parametrize("python", ["3.8", "3.10", "3.13"])
def test_other_pythons_can_be_asked(python):
    found = shutil.which(f"python{python}")
    argv = [found or "-", "-I", "-B", environment.PROBE]
    done = subprocess.run(argv, capture_output=True, text=True, check=False) if found else None
    if done is None or "not found" in done.stderr:
        pytest.skip(f"there is no Python {python} here")
    assert json.loads(done.stdout)["version"].startswith(python)


@pytest.mark.parametrize(
    ("torch", "typed", "backend"),
    [
        ("2.8.0+cu128", {}, "cu128"),
        ("2.8.0+rocm6.4", {}, "rocm6.4"),
        ("2.8.0", {}, None),
        ("2.8.0+my.build", {}, None),
        ("2.8.0+cu128", {"torch_backend": "cpu"}, "cpu"),
    ],
)
def test_a_build_of_torch_names_its_index(space, torch, typed, backend):
    packages = {"torch": environment.Installed("torch", torch)}
    old = environment.Environment(Path("/old"), Path("/old/bin/python"), "3.12.4", "", packages)
    found = options(space, Options(**typed), old)
    assert (found.python, found.torch_backend, found.date) == ("3.12", backend, "auto")


def test_comfyuis_own_date_binds_only_what_was_not_installed_after_it(world, tmp_path):
    (tmp_path / "config.toml").write_text(f'comfyui_dir = "{world.comfyui}"\n')
    committed = clock.parse(COMMIT_DATE)
    dates = {}
    for days in (-5, 5):
        newest = committed + timedelta(days=days)
        old = environment.Environment(Path("/o"), Path("/o/python"), "3.11.7", "", {}, newest)
        dates[days] = options(Workspace(tmp_path), Options(), old).date
    assert dates == {-5: "auto", 5: "none"}
