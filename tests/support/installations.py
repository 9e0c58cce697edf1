"""An installation that runs, made without gov: older packages, nodes of every kind."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from governance.boundaries.uv import executable
from governance.sample import world as sample
from governance.sample.nodes import NODES

from .gov import Gov
from .worlds import World, own_classes, write_config

LOADING = NODES["loads-two-classes"].files

# As somebody installed them a while ago; the index has newer ones of each.
OLD = (
    "numpy==1.26.4",
    "PyYAML==6.0.1",
    "pillow==10.4.0",
    "cowsay==5.0",
    "humanize==4.9.0",
    "lark==1.1.9",
    "tqdm==4.66.0",
    "colorama==0.4.5",
)


def files_of(name: str, imports: str = "", **more: str) -> dict[str, str]:
    """A node that loads with two classes of its own name."""
    made = own_classes(name, LOADING)
    made["__init__.py"] = f"{imports}\n{made['__init__.py']}"
    return {**made, **{path.replace("__", "."): text for path, text in more.items()}}


def write(folder: Path, files: dict[str, str]) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    return folder


def make_environment(
    folder: Path, world: World, packages=OLD, python: str = sys.executable
) -> Path:
    run = [executable(), "--no-config", "--cache-dir", str(world.cache), "-q"]
    base = [*run, "venv", "--python", python, str(folder)]
    subprocess.run(base, check=True)
    index = ["--offline", "--no-index", "--find-links", str(world.wheels)]
    named = ["--python", str(folder / "bin/python")]
    subprocess.run([*run, "pip", "install", *named, *index, *packages], check=True)
    return folder


class Installation:
    """`root` is where the workspace is to be, `venv` the environment beside ComfyUI."""

    def __init__(self, folder: Path, world: World) -> None:
        self.world = world
        self.comfyui = shutil.copytree(world.comfyui, folder / "ComfyUI", symlinks=True)
        self.venv = make_environment(self.comfyui / "venv", world)
        self.root = folder / "comfy_env"
        self.root.mkdir()
        write_config(self.root, self.comfyui, world)
        self.gov = Gov(self.root)

    @property
    def nodes(self) -> Path:
        return self.comfyui / "custom_nodes"

    def clone(self, name: str, source: Path | None = None) -> None:
        sample.git(self.nodes, "clone", "-q", str(source or self.world.repos / name), name)

    def populate(self) -> None:
        self.clone("sample-captioner")
        self.clone("sample-statistics")  # humanize<4, which the captioner cannot live with
        self.clone("import-fails")
        tracked = files_of("packed", "import tqdm", requirements__txt="tqdm\n")
        tracked["pyproject.toml"] = '[project]\nname = "packed-node"\nversion = "1.2.0"\n'
        tracked[".tracking"] = "__init__.py\nrequirements.txt\npyproject.toml\n"
        write(self.nodes / "packed-node", tracked)
        write(self.nodes, {"lone.py": files_of("lone")["__init__.py"]})
        write(self.nodes / "loose", files_of("loose", "import lark"))
        elsewhere = write(self.comfyui.parent / "dev", files_of("linked"))
        (self.nodes / "linked").symlink_to(elsewhere)
        computed = "import importlib\n\nimportlib.import_module('color' + 'ama')"
        write(self.nodes / "computing", files_of("computing", computed))
        write(self.nodes / "mover", files_of("mover", requirements__txt="numpy>=2\n"))
        write(self.nodes / "resting.disabled", files_of("resting", requirements__txt="colorama\n"))
        write(self.nodes / ".disabled/parked@1_0_0", files_of("parked"))
        write(self.nodes / "notes", {"README.md": "no node\n"})


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file below, links not followed; byte code included."""
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            state = path.lstat()
            found[str(path.relative_to(folder))] = (state.st_size, state.st_mtime_ns)
    return found
