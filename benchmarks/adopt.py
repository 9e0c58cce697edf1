"""What an adoption costs beside its starts: against one `uv lock` and one `uv sync` of the result.

    python benchmarks/adopt.py [--nodes 20]
    python benchmarks/adopt.py --comfyui-dir PATH --workspace DIR

The first form makes a small installation, where git's work for each node is most of it; the second
adopts a real one into DIR (to be made, or with a config.toml that names uv's cache), with the
environment that lies beside it.  Downloads count: run it with a warm cache.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from speed import GOV, Row

from governance.boundaries.uv import executable
from governance.sample import packages, world
from governance.truth import lockfile, preferences
from governance.truth.resolution import Project
from governance.truth.workspace import Workspace

_NODE = "import {0}\n\n\nclass {1}: pass\nNODE_CLASS_MAPPINGS = {{'{1}': {1}}}\n"
_OLD = ("numpy==1.26.4", "PyYAML==6.0.1", "pillow==10.4.0", "cowsay==5.0", "humanize==4.9.0")
_UNDECLARED = ("lark==1.1.9", "tqdm==4.66.0")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=20)
    parser.add_argument("--comfyui-dir", type=Path)
    parser.add_argument("--workspace", type=Path)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gov-bench-") as name:
        folder = Path(name)
        index = [] if told.comfyui_dir else ["--index", str(_made(folder, told.nodes))]
        comfyui = told.comfyui_dir or folder / "ComfyUI"
        row = adopt(told.workspace or folder / "ws", comfyui, index)
    print(row.line())
    return 0


def adopt(workspace: Path, comfyui: Path, index: list[str]) -> Row:
    started = time.perf_counter()
    words = ["init", str(workspace), "--comfyui-dir", str(comfyui), "--adopt", *index]
    done = subprocess.run([*GOV, "--json", "-q", *words], capture_output=True, text=True)
    whole = time.perf_counter() - started
    data = json.loads(done.stdout)["data"]
    assert data["status"] == "completed", done.stdout[-3000:]
    starts = data["adoption"]["starts"]
    rest = whole - sum(starts)
    print(f"{len(data['nodes'])} nodes: {whole:.1f} s, {len(starts)} starts of {sum(starts):.1f} s")
    if index:
        return Row(f"adopt of {len(data['nodes'])} small nodes but for its starts, in s", rest, 10)
    one = _lock_and_sync(workspace / "state/work" / data["txid"], workspace)
    print(f"one uv lock and one uv sync of it: {one:.1f} s")
    return Row("adopt but for its starts / one uv lock and one uv sync", rest / one, 3)


def _lock_and_sync(project: Path, workspace: Path) -> float:
    """Of the adopted project, from the warm cache that the adoption left, with the same versions
    as preferences."""
    target = workspace / "bench-again"
    shutil.copytree(project, target)
    cache = Workspace(workspace).uv_cache
    made = Project.read((target / "pyproject.toml").read_bytes(), target / "pyproject.toml")
    versions = lockfile.versions_in((target / "uv.lock").read_text())
    (target / "uv.lock").write_bytes(preferences.lock_of(made, versions))
    started = time.perf_counter()
    for words in (["lock"], ["sync", "--locked", "--exact", "--link-mode", "hardlink"]):
        command = [executable(), "-q", "--cache-dir", str(cache), *words, "--project", str(target)]
        subprocess.run(command, check=True)
    seconds = time.perf_counter() - started
    shutil.rmtree(target)
    return seconds


def _made(folder: Path, nodes: int) -> Path:
    """An installation as pip leaves it: half of the nodes import what they do not declare."""
    wheels = packages.write_packages(folder / "wheels")
    comfyui = world.write_comfyui(folder / "ComfyUI")
    for number in range(nodes):
        module = ("cowsay", "lark", "humanize", "tqdm")[number % 4]
        files = {"__init__.py": _NODE.format(module, f"Bench{number}")}
        if number % 2 == 0:
            files["requirements.txt"] = f"{module}\n"
        world.write_node(comfyui / "custom_nodes", f"bench-{number:02}", files)
    venv = comfyui / "venv"
    uv = [executable(), "-q", "--no-config", "--cache-dir", str(folder / "cache")]
    subprocess.run([*uv, "venv", "--python", sys.executable, str(venv)], check=True)
    named = ["--python", str(venv / "bin/python"), "--no-index", "--find-links", str(wheels)]
    subprocess.run([*uv, "pip", "install", *named, *_OLD, *_UNDECLARED], check=True)
    return wheels


if __name__ == "__main__":
    sys.exit(main())
