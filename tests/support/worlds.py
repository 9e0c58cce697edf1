"""Worlds to govern: a sample ComfyUI, tiny wheels, nodes, and workspaces on top of them."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from governance.boundaries import config
from governance.sample import packages, world
from governance.sample.nodes import NODES

from .gov import Gov

SETTLE_SECONDS = 0.2

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
    """A workspace with a history (see tests/conftest.py: it is made once and rewound)."""

    def __init__(self, folder: Path, world: World) -> None:
        self.site = make_site(folder, world)
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
