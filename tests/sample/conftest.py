"""A folder of tiny wheels, an environment made from it, and ComfyUI as a real process."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from governance.sample import packages, world
from governance.sample.index import serve

UV = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
CORE = ("numpy", "pyyaml", "pillow")
DEADLINE_SECONDS = 60


def uv(*arguments, env=None, check=True, cwd=None):
    """Real uv, untouched by the user's own configuration and patience."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    # Not UV_NO_CONFIG, which hides the [tool.uv] of the project as well.
    ours |= {"XDG_CONFIG_HOME": os.devnull, "UV_HTTP_RETRIES": "0", "UV_PYTHON": sys.executable}
    ours.pop("VIRTUAL_ENV", None)
    done = subprocess.run(
        [UV, *map(str, arguments)], env=ours | (env or {}), cwd=cwd, capture_output=True, text=True
    )
    assert not check or done.returncode == 0, done.stderr
    return done


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


def make_environment(folder, package_folder, cache, *requirements):
    uv("venv", "--quiet", "--cache-dir", cache, folder)
    finding = ("--no-index", "--find-links", package_folder, "--cache-dir", cache)
    uv("pip", "install", "--python", folder, *finding, "--link-mode=copy", *requirements)
    return folder


@pytest.fixture(scope="session")
def environment(tmp_path_factory, package_folder, uv_cache):
    """The core's packages and those that some nodes declare; not to be changed."""
    folder = tmp_path_factory.mktemp("environment") / "env"
    return make_environment(folder, package_folder, uv_cache, *CORE, "cowsay", "humanize>=4.9")


class ComfyUI:
    """One process of the sample ComfyUI, its output in files."""

    def __init__(self, checkout, environment, folder, *, env=None):
        self.checkout = checkout
        self.environment = environment
        self.folder = folder
        self.log_file = folder / "log"
        self.port = free_port()
        self.process = None
        home = folder / "home"
        home.mkdir(exist_ok=True)
        path = os.pathsep.join([str(environment / "bin"), str(Path(UV).parent), os.environ["PATH"]])
        ours = {"HOME": str(home), "PATH": path, "LANG": "C.UTF-8"}
        self.environ = ours | {"UV_NO_CONFIG": "1", "UV_CACHE_DIR": str(folder / "cache")}
        self.environ |= env or {}

    def start(self, *arguments, prefix=()):
        command = [*prefix, self.environment / "bin" / "python", self.checkout / "main.py"]
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port), *map(str, arguments)],
                env=self.environ,
                cwd=self.checkout,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def quick(self, *arguments):
        return self.start("--quick-test-for-ci", *arguments).ended()

    def ended(self):
        return self.process.wait(DEADLINE_SECONDS)

    def log(self):
        return self.log_file.read_text(errors="surrogateescape")

    def until_log(self, text):
        deadline = time.monotonic() + DEADLINE_SECONDS
        while text not in self.log():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)
        return self

    def until_ready(self):
        return self.until_log(f"To see the GUI go to: http://127.0.0.1:{self.port}")

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return json.loads(answer.read())

    def classes_of(self, folder):
        found = self.get("/object_info").items()
        return {name for name, about in found if about["python_module"] == f"custom_nodes.{folder}"}

    def stop(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.ended()

    def kill(self):
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def checkout(tmp_path):
    return world.write_comfyui(tmp_path / "ComfyUI")


@pytest.fixture
def comfyui(checkout, environment, tmp_path):
    started = ComfyUI(checkout, environment, tmp_path)
    yield started
    started.kill()
