"""Worlds to govern: a sample ComfyUI, tiny wheels, nodes, and workspaces on top of them."""

import os
import re
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from governance.boundaries import config, store
from governance.sample import packages, world
from governance.sample.nodes import NODES

from .gov import Gov

SETTLE_SECONDS = 0.2
_CANDIDATES = ".venv-candidate"

# Two packages declared, a third installed at start without a word.
_INSTALLER = """\
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("{module}") is None:
    command = [sys.executable, "-m", "pip", "install", "{module}"]
    subprocess.run(command, check=True)
    importlib.invalidate_caches()

import {first}
import {module}
import {second}


class SampleThree:
    CATEGORY = "sample"
    RETURN_TYPES = ("STRING",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):
        return {{"required": {{}}}}

    def run(self):
        return ("three",)


NODE_CLASS_MAPPINGS = {{"SampleThree": SampleThree}}
"""


class World:
    """What lies around workspaces and is never changed: `repos` are nodes to clone, by name."""

    def __init__(self, folder: Path) -> None:
        self.wheels = packages.write_packages(folder / "wheels")
        self.comfyui = world.write_comfyui(folder / "ComfyUI")
        self.cache = folder / "uv-cache"
        self.repos = folder / "repos"
        world.demo_nodes(self.repos)
        for name in ("loads-two-classes", "import-fails", "import-sleeps", "odd-requirements"):
            world.write_node(self.repos, name, NODES[name].files)
        write_three(self.repos, "three-packages", "cowsay", "humanize", "lark")
        self.add("shares-cowsay", {"requirements.txt": "cowsay>=5\ncolorama\n"})

    def add(self, name: str, files: dict[str, str]) -> Path:
        """One more node that loads, with these files beside its __init__.py."""
        loading = NODES["loads-two-classes"].files
        return world.write_node(self.repos, name, own_classes(name, {**loading, **files}))


def own_classes(name: str, files: Mapping[str, str]) -> dict[str, str]:
    """The files with classes named after the node: two nodes of one name take each other over."""
    if name in NODES:
        return dict(files)
    unique = "".join(word.capitalize() for word in re.split(r"\W+|_", name))
    renamed = rf"Of{unique}\1"
    return {path: re.sub(r"Sample(One|Two)", renamed, text) for path, text in files.items()}


def write_three(folder: Path, name: str, first: str, second: str, module: str) -> Path:
    files = {
        "__init__.py": _INSTALLER.format(first=first, second=second, module=module),
        "requirements.txt": f"{first}\n{second}\n",
    }
    return world.write_node(folder, name, files)


class Site:
    """One workspace with its ComfyUI: `gov(...)` is typed in it."""

    def __init__(self, root: Path, comfyui: Path, world: World) -> None:
        self.root = root
        self.comfyui = comfyui
        self.world = world
        self.gov = Gov(root)

    @property
    def nodes(self) -> Path:
        return self.comfyui / "custom_nodes"

    @property
    def python(self) -> Path:
        return self.root / ".venv-prod" / "bin" / "python"

    def add(self, name: str, *options: object) -> None:
        self.gov("node", "add", self.world.repos / name, *options).ok()

    def run(self, name: str, *options: object) -> str:
        """Add the node where it is new, run it, and return the txid whatever the verdict."""
        if not (self.nodes / name).exists():
            self.add(name)
        done = self.gov.json("tx", "run", name, *options)
        assert done.data is not None, done
        return str(done.data["txid"])

    def promote(self, name: str, *options: object) -> dict[str, object]:
        """Add, run and promote; the data of the promote."""
        txid = self.run(name)
        return dict(self.gov.json("tx", "promote", txid, *options).ok().data)

    def installed(self) -> dict[str, str]:
        """Name to version of what prod holds, read from its own folder."""
        site = next((self.root / ".venv-prod/lib").glob("python*")) / "site-packages"
        found = (path.name.removesuffix(".dist-info") for path in site.glob("*.dist-info"))
        return {name.lower(): version for name, _, version in (n.partition("-") for n in found)}

    def head(self, name: str) -> str:
        """The commit that a node's clone is at."""
        return world.git(self.nodes / name, "rev-parse", "HEAD")

    def set(self, **settings: object) -> None:
        """Write config.toml anew; `storage__uv_cache_dir` stands for that key."""
        write_config(self.root, self.comfyui, self.world, **settings)


def write_config(root: Path, comfyui: Path, world: World, **settings: object) -> None:
    usual = {
        "comfyui_dir": str(comfyui),
        "tx__settle_seconds": SETTLE_SECONDS,
        "registry__url": "http://127.0.0.1:9",
        "storage__uv_cache_dir": str(world.cache),
    }
    (root / "config.toml").write_text(config.template(**(usual | settings)))


def make_site(folder: Path, world: World, **settings: object) -> Site:
    """A copy of the ComfyUI and an initialised workspace beside it, with the shared uv cache."""
    comfyui = shutil.copytree(world.comfyui, folder / "ComfyUI", symlinks=True)
    root = folder / "comfy_env"
    root.mkdir()
    write_config(root, comfyui, world, **settings)
    made = Site(root, comfyui, world)
    made.gov("init", root, "--index", world.wheels, "--resolution-date", "none").ok()
    return made


class Settled:
    """A workspace with a history, rewound for each test instead of made anew.

    Generations are sealed and never change, so their folders stay; those that a test added go.
    Tests that harm an environment take a workspace of their own.
    """

    def __init__(self, folder: Path, world: World) -> None:
        self.site = make_site(folder / "live", world)
        self.kept = folder / "kept"
        self.promoted = self.site.run("sample-captioner")
        done = self.site.gov.json("tx", "promote", self.promoted).ok().data
        self.before, self.after = done["pre_snapshot"], done["post_snapshot"]
        self.conflicting = self.site.run("sample-statistics")
        self.failed = self.site.run("import-fails")
        self.aborted = self.site.run("loads-two-classes")
        self.site.gov("tx", "abort", self.aborted).ok()
        self.core = self.site.run("sample-upscaler")
        self.completed = self.site.run("shares-cowsay")
        self.site.add("import-sleeps")
        self._keep()

    def _keep(self) -> None:
        shutil.copytree(self.site.root, self.kept / "root", symlinks=True, ignore=_environments)
        shutil.copytree(self.site.root / _CANDIDATES, self.kept / _CANDIDATES, symlinks=True)
        shutil.copytree(self.site.nodes, self.kept / "nodes", symlinks=True)
        self.generations = {path.name for path in (self.site.root / ".generations").iterdir()}

    def rewind(self) -> None:
        root = self.site.root
        mirror(self.kept / "root", root, skipped=(".generations", _CANDIDATES))
        mirror(self.kept / "nodes", self.site.nodes)
        kept = {path.name for path in (self.kept / _CANDIDATES).iterdir()}
        for folder, names in ((".generations", self.generations), (_CANDIDATES, kept)):
            for path in (root / folder).iterdir():
                if path.name not in names:
                    store.remove_tree(path)
        for name in kept:
            if not (root / _CANDIDATES / name).is_dir():
                source = self.kept / _CANDIDATES / name
                shutil.copytree(source, root / _CANDIDATES / name, symlinks=True)


def mirror(source: Path, target: Path, skipped: Collection[str] = ()) -> None:
    """Make `target` like `source`; what has the same size and time is taken to be the same."""
    wanted = {entry.name: entry for entry in os.scandir(source)}
    for entry in list(os.scandir(target)):
        if entry.name not in skipped and not _is_same(wanted.get(entry.name), entry):
            store.remove_tree(Path(entry.path))
    for name, entry in wanted.items():
        path = target / name
        if entry.is_dir(follow_symlinks=False):
            path.mkdir(exist_ok=True)
            mirror(Path(entry.path), path)
            shutil.copystat(entry.path, path)
        elif not os.path.lexists(path):
            shutil.copy2(entry.path, path, follow_symlinks=False)


def _is_same(one: os.DirEntry[str] | None, other: os.DirEntry[str]) -> bool:
    if one is None:
        return False
    a, b = one.stat(follow_symlinks=False), other.stat(follow_symlinks=False)
    if a.st_mode != b.st_mode or one.is_dir(follow_symlinks=False):
        return a.st_mode == b.st_mode
    if one.is_symlink():
        return os.readlink(one.path) == os.readlink(other.path)
    return (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns)


def _environments(folder: str, names: list[str]) -> set[str]:
    return {".generations", _CANDIDATES} & set(names)
