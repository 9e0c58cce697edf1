"""The sample ComfyUI in an environment of tiny wheels, observed for real."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from governance import observation
from governance.sample import packages, world
from governance.sample.index import serve

UV = Path(sys.executable).parent / "uv"
CORE = ("numpy", "pyyaml", "pillow")
TIMEOUT = 30


@pytest.fixture(scope="session")
def package_folder(tmp_path_factory):
    return packages.write_packages(tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="session")
def uv_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("uv-cache")


@pytest.fixture
def index(package_folder):
    with serve(package_folder) as running:
        yield running


@pytest.fixture
def environ(tmp_path, index):
    """What the caller of `observe` gives: pip and uv work, and know one index."""
    return {
        "PATH": os.pathsep.join(
            [str(tmp_path / "env" / "bin"), str(UV.parent), os.environ["PATH"]]
        ),
        "LANG": "C.UTF-8",
        "UV_NO_CONFIG": "1",
        "UV_CACHE_DIR": str(tmp_path / "cache"),
        "UV_INDEX_URL": index.url,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": index.url,
        "PIP_NO_CACHE_DIR": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


@pytest.fixture
def environment(tmp_path, package_folder, uv_cache):
    """The core, what some nodes declare, and pip."""
    pip = [str(wheel) for wheel in packages.bundled_pip()]
    if not pip:
        pytest.skip("this Python came without the pip wheel of ensurepip")
    folder = tmp_path / "env"
    wanted = (*CORE, "cowsay", "humanize>=4.9", *pip)
    finding = ("--no-index", "--find-links", package_folder, "--link-mode=copy")
    run_uv("venv", "--cache-dir", uv_cache, "--python", sys.executable, folder)
    run_uv("pip", "install", "--cache-dir", uv_cache, "--python", folder, *finding, *wanted)
    return folder


def run_uv(*arguments):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    command = [UV, "--no-config", "--quiet", *map(str, arguments)]
    subprocess.run(command, env=environ, check=True)


@pytest.fixture(scope="session")
def checkouts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkouts")
    world.write_comfyui(folder / "new")
    world.write_comfyui(folder / "old", old=True)
    return folder


@pytest.fixture
def comfyui_dir(tmp_path, checkouts):
    return shutil.copytree(checkouts / "new", tmp_path / "ComfyUI")


@pytest.fixture
def old_comfyui_dir(tmp_path, checkouts):
    return shutil.copytree(checkouts / "old", tmp_path / "ComfyUI")


def write_node(comfyui_dir, name, files):
    for path, content in files.items():
        target = comfyui_dir / "custom_nodes" / name / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)


def no_layer(argv):
    return list(argv)


@pytest.fixture
def observe(tmp_path, environ, environment, capsys):
    """observe(comfyui_dir, node, *others, **changes); `observe.live` holds what was shown."""
    shown = []

    def look(comfyui_dir, node, *governed, **changes):
        folder = tmp_path / "candidate"
        wanted = {
            "comfyui_dir": comfyui_dir,
            "python": environment / "bin" / "python",
            "environment": environment,
            "subjects": () if node is None else node if isinstance(node, tuple) else (node,),
            "governed": governed,
            "folder": folder,
            "stdout_log": tmp_path / "stdout.log",
            "stderr_log": tmp_path / "stderr.log",
            "timeout": TIMEOUT,
            "settle": 0.3,
            "environ": environ,
            "enter": no_layer,
            "live": lambda stream, line: shown.append((stream, line)),
        }
        return observation.observe(observation.Request(**wanted | changes))

    look.live = shown
    return look
