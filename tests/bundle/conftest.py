"""A workspace whose installation leaves, and fresh ones that it comes to.

The index is gone when a bundle is imported, unless a test says otherwise: what is in it counts.
"""

import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from support.worlds import Site, World, write_config

from governance.environments import generations
from governance.sample import index
from governance.sample import world as sample
from governance.sample.nodes import NODES
from governance.truth.workspace import Workspace

FILE = "comfy.gov.tar"
_CODE = NODES["loads-two-classes"].files["__init__.py"]
LOOSE, SINGLE = _CODE.replace("Sample", "Loose"), _CODE.replace("Sample", "Single")


class Place:
    """A machine, as far as gov is concerned: its own folder, ComfyUI and uv cache."""

    def __init__(self, folder: Path, world: World) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        comfyui = shutil.copytree(world.comfyui, folder / "ComfyUI", symlinks=True)
        root = folder / "comfy_env"
        root.mkdir()
        write_config(root, comfyui, world, storage__uv_cache_dir=str(folder / "cache"))
        self.site = Site(root, comfyui, world)

    def init(self, address: str) -> Site:
        root = self.site.root
        self.site.gov("init", root, "--index", address, "--resolution-date", "none").ok()
        return self.site


@pytest.fixture(scope="session")
def pypi(world):
    """The index of the first machine; `requests` are counted by the tests."""
    with index.serve(world.wheels) as served:
        yield served


@pytest.fixture(scope="session")
def origin(tmp_path_factory, world, pypi) -> Site:
    """Clones, one of them edited and one disabled, a loose folder, a single file, a package that
    nobody declared."""
    site = Place(tmp_path_factory.mktemp("origin") / "first", world).init(pypi.url)
    (site.nodes / "loose").mkdir()
    (site.nodes / "loose/__init__.py").write_text(LOOSE)
    (site.nodes / "single.py").write_text(SINGLE)
    for name in ("sample-captioner", "three-packages", "shares-cowsay"):
        site.add(name)
    for name in ("loose", "single.py"):
        site.gov("node", "add", name).ok()
    with (site.nodes / "sample-captioner/__init__.py").open("a") as stream:
        stream.write("EDITED = True\n")
    nodes = ("sample-captioner", "three-packages", "shares-cowsay", "loose", "single")
    run = site.gov.json("tx", "run", *nodes).ok()
    promoted = site.gov.json("tx", "promote", run.data["txid"])
    if promoted.code:  # what it installs at its start is known after the first promote
        promoted = site.gov.json("tx", "promote", run.data["txid"])
    promoted.ok()
    site.gov("node", "disable", "shares-cowsay").ok()
    return site


@pytest.fixture(scope="session")
def bundle(origin, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / FILE
    origin.gov("export", path, "--with-code", "--with-wheels").ok()
    return path


@pytest.fixture
def place(tmp_path, world) -> Place:
    return Place(tmp_path / "second", world)


@pytest.fixture
def target(beginnings, world, pypi) -> Site:
    return beginnings(_second, world, pypi.url)


def _second(folder: Path, world: World, address: str) -> Site:
    return Place(folder / "second", world).init(address)


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}


def told(path: Path) -> dict:
    return json.loads(members(path)["bundle.json"])


def classes(site: Site) -> list[str]:
    """The node classes that the newest run saw, ComfyUI's own left out."""
    row = json.loads((site.root / "state/history.jsonl").read_text().splitlines()[-1])
    made = site.gov.json("tx", "inspect", row["txid"]).ok().data["observation"]["nodes"]
    return sorted(name for report in made.values() for name in report["classes"])


def generation(site: Site):
    return generations.prod(Workspace(site.root.resolve()))


def git(folder: Path, *words: str) -> str:
    return sample.git(folder, *words)


def listing(path: Path) -> str:
    done = subprocess.run(["tar", "tvf", path], capture_output=True, text=True, check=True)
    return done.stdout
