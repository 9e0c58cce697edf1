"""Real parts for the tests of the spine: tiny wheels, a ComfyUI checkout, a workspace with a prod.

`governed` is a whole workspace made by uv; `bare` has the documents only, which is enough for
commits, snapshots and records, and costs no uv.
"""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import worlds

from governance import installation
from governance.boundaries import config, store, uv
from governance.changes.session import open_session
from governance.cli import main as cli
from governance.operations import recovery
from governance.sample import packages, world
from governance.sample.nodes import NODES
from governance.truth.documents import Generation
from governance.truth.workspace import Workspace

CHECKOUT = Path(__file__).parents[2]

WRAPPER = """#!/bin/sh
# Inside a candidate the log is read-only: what runs there is the node's, and is not counted.
echo "$@" 2>/dev/null >> "{log}" || true
exec "{uv}" "$@"
"""


@dataclass
class Answer:
    """What one `gov ... --json` said."""

    code: int
    document: dict
    stderr: str

    @property
    def data(self):
        return self.document["data"]

    @property
    def error(self):
        return self.document["error"]


@dataclass
class House:
    """A workspace, the ComfyUI beside it, and folders to make nodes and wheels in."""

    space: Workspace
    comfyui: Path
    wheels: Path
    repositories: Path
    uv_log: Path
    tool: Path

    def gov(self, *words) -> Answer:
        """In process; the words as typed, --json and --root added."""
        out, err = io.StringIO(), io.StringIO()
        argv = [str(word) for word in words]
        cut = argv.index("--") if "--" in argv else len(argv)
        argv = [*argv[:cut], "--json", "--root", str(self.space.root), *argv[cut:]]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.main(argv)
        return Answer(code, json.loads(out.getvalue()), err.getvalue())

    def done(self, *words):
        """As gov, for what has to succeed; its data."""
        answer = self.gov(*words)
        assert answer.code == 0, (answer.document["error"], answer.stderr)
        return answer.data

    def doit(self, *words):
        """bin/doit as a process of its own, with the logging uv beside its Python."""
        argv = [str(self.tool / "bin/python"), str(CHECKOUT / "tasks/__main__.py"), *words]
        return subprocess.run(
            argv,
            cwd=self.space.root,
            env={**os.environ, "GOV_ROOT": str(self.space.root)},
            capture_output=True,
            text=True,
            timeout=120,
        )

    def session(self):
        return open_session(self.space)

    def node(self, name, files=None):
        """A repository to clone; without `files` the sample node of that name."""
        given = NODES[name].files if files is None else worlds.own_classes(name, files)
        return world.write_node(self.repositories, name, given)

    def added(self, name, files=None):
        self.done("node", "add", self.node(name, files))
        return name

    def ran(self, name, files=None):
        """The txid of a completed run of a node that was added for it."""
        return self.done("tx", "run", self.added(name, files))["txid"]

    def promoted(self, name, files=None, *options):
        txid = self.ran(name, files)
        self.done("tx", "promote", txid, *options)
        return txid

    def uv_calls(self, *verbs):
        """The first words of the uv calls so far; of these verbs alone, where some are named."""
        lines = self.uv_log.read_text().splitlines() if self.uv_log.exists() else []
        called = [line.split()[0] for line in lines if line.strip()]
        return [verb for verb in called if not verbs or verb in verbs]

    def forget_uv_calls(self):
        self.uv_log.unlink(missing_ok=True)

    def prod_versions(self):
        """name -> version, asked of prod's own Python through the link."""
        ask = (
            "import importlib.metadata as m, json;"
            "print(json.dumps({d.name.lower(): d.version for d in m.distributions()}))"
        )
        python = str(self.space.prod / "bin/python")
        told = subprocess.run([python, "-I", "-c", ask], check=True, capture_output=True, text=True)
        return json.loads(told.stdout)

    def site(self, environment=None):
        root = environment or self.space.prod
        return next((root / "lib").glob("python3.*/site-packages"))

    def transaction(self, txid):
        return json.loads((self.space.transactions / f"{txid}.json").read_text())

    def plugins(self):
        return json.loads(self.space.plugins.read_text())

    def truth(self):
        """The bytes of the three files and where prod leads to."""
        return [path.read_bytes() for path in self.space.truth] + [os.readlink(self.space.prod)]


@dataclass(frozen=True)
class Shared:
    """What all houses of a run have in common."""

    comfyui: Path
    wheels: Path
    cache: Path
    tool: Path


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    new = tmp_path_factory.mktemp
    comfyui = world.write_comfyui(new("template") / "ComfyUI")
    return Shared(comfyui, packages.write_packages(new("wheels")), new("uv-cache"), _tool(new))


def _tool(new):
    """The venv that runs the tests, seen through links, with a uv beside its Python that logs."""
    folder = new("tool")
    real = Path(sys.executable).parent
    (folder / "bin").mkdir()
    (folder / "bin/python").symlink_to(real / "python")
    shutil.copy(real.parent / "pyvenv.cfg", folder)
    (folder / "lib").symlink_to(real.parent / "lib")
    wrapper = folder / "bin/uv"
    wrapper.write_text(WRAPPER.format(log=folder / "uv.log", uv=uv.executable()))
    wrapper.chmod(0o755)
    return folder


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory, monkeypatch):
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for name in ("GOV_ROOT", "UV_CACHE_DIR", "XDG_CACHE_HOME", "UV_DEFAULT_INDEX"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def logged_uv(shared, monkeypatch):
    executable = shared.tool / "bin/uv"
    monkeypatch.setattr(uv, "executable", lambda: str(executable))
    (shared.tool / "uv.log").unlink(missing_ok=True)


def make_unmade(folder, shared):
    comfyui = folder / "ComfyUI"
    shutil.copytree(shared.comfyui, comfyui)
    space, log = Workspace(folder / "env"), shared.tool / "uv.log"
    return House(space, comfyui, shared.wheels, folder / "repositories", log, shared.tool)


@pytest.fixture
def unmade(tmp_path, shared, logged_uv):
    """A house whose workspace folder is not there yet."""
    return make_unmade(tmp_path, shared)


def make_house(folder, shared, prepare, settings):
    house = make_unmade(folder, shared)
    given = {
        "comfyui_dir": str(house.comfyui),
        "tx__settle_seconds": 0.2,
        "tx__smoke_test_cmd": "{python} -c pass",
        "storage__uv_cache_dir": str(shared.cache),
        **dict(settings),
    }
    house.space.root.mkdir()
    house.space.config_path.write_text(config.template(**given))
    installation.prepare(house.space.root, house.comfyui)
    options = installation.Options(index=str(house.wheels), date="none")
    with recovery.exclusive(house.space, "init"):
        installation.initialise(house.session(), options)
    if prepare is not None:
        prepare(house)
    return house


@pytest.fixture
def make_governed(beginnings, shared, logged_uv):
    """A function that gives an initialised workspace; its arguments are settings (`__` for the
    dot), and what is done to the house once, before any test sees it."""

    def make(prepare=None, **settings):
        house = beginnings(make_house, shared, prepare, tuple(sorted(settings.items())))
        house.forget_uv_calls()
        return house

    return make


@pytest.fixture
def governed(make_governed):
    return make_governed()


PYPROJECT = """\
[project]
name = "comfy-env"
version = "0"
[dependency-groups]
core = []
[tool.uv]
package = false
[tool.gov]
schema = 1
"""


def make_bare(root, *, generations=("old", "new")):
    """Documents, folders and generations that hold one file each; prod leads to the first."""
    root.mkdir(parents=True)
    space = Workspace(root.resolve())
    for folder in space.folders():
        folder.mkdir(parents=True, exist_ok=True)
    space.config_path.write_text("")
    space.pyproject.write_text(PYPROJECT)
    space.lock.write_text("version = 1\n")
    space.plugins.write_text("[]\n")
    for name in generations:
        make_generation(space, name)
    if generations:
        space.prod.symlink_to(f".generations/{generations[0]}")
    return space


def make_generation(space, name, created_at="2026-01-01T00:00:00Z", **fields):
    (space.generations / name).mkdir()
    (space.generations / name / "module.py").write_text(f"NAME = {name!r}\n")
    papers = space.generations / f"{name}.d"
    papers.mkdir()
    lock = fields.pop("lock_sha256", "0")
    made = Generation(
        name=name, key=name, lock_sha256=lock, packages=[], created_at=created_at, **fields
    )
    (papers / "manifest.json").write_bytes(store.dump_json(made.to_json()))
    return made


@pytest.fixture
def bare(tmp_path):
    return make_bare(tmp_path / "bare")
