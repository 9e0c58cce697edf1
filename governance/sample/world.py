"""Small worlds of real git repositories: a ComfyUI checkout and nodes to clone."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

Files = Mapping[str, str | bytes]

COMFYUI = Path(__file__).parent / "comfyui"
COMMIT_DATE = "2025-10-12T04:28:01+00:00"

# Each of them is one line of comfy/cli_args.py.
_NEWER_FLAGS = (
    "--base-directory",
    "--whitelist-custom-nodes",
    "--quick-test-for-ci",
    "--database-url",
)
_OLD_VERSION = "0.2.7"
_COMFYUI_GITIGNORE = """\
__pycache__/
*.py[cod]
/output/
/input/
!/input/example.png
/models/
/temp/
/custom_nodes/
!custom_nodes/example_node.py.example
extra_model_paths.yaml
.venv/
/user/
*.log
"""


def write_comfyui(folder: Path, *, old: bool = False, commit_date: str | None = None) -> Path:
    """A git checkout of the sample ComfyUI, one commit; `old` lacks the newer flags."""
    shutil.copytree(
        COMFYUI, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
    )
    (folder / ".gitignore").write_text(_COMFYUI_GITIGNORE)
    if old:
        _make_old(folder)
    commit(folder, f"ComfyUI {'of old' if old else 'of today'}", date=commit_date or COMMIT_DATE)
    return folder


def write_node(folder: Path, name: str, files: Files, *, date: str = COMMIT_DATE) -> Path:
    """A git repository `folder/name`; called again it makes a further commit with these files."""
    repository = folder / name
    for path, content in files.items():
        target = repository / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
    commit(repository, f"{name}: {', '.join(sorted(files))}", date=date)
    return repository


def commit(folder: Path, message: str, *, date: str = COMMIT_DATE) -> str:
    """Commit all there is (ignored files too, as ComfyUI tracks some) and return the full id."""
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all", "--force", ".")
    git(folder, "commit", "--quiet", "--allow-empty", f"--message={message}", date=date)
    return git(folder, "rev-parse", "HEAD")


def git(folder: Path, *arguments: str, date: str = COMMIT_DATE) -> str:
    """Untouched by the user's own configuration, so that ids are the same everywhere."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    for role in ("AUTHOR", "COMMITTER"):
        ours |= {
            f"GIT_{role}_NAME": "Sample",
            f"GIT_{role}_EMAIL": "sample@example.invalid",
            f"GIT_{role}_DATE": date,
        }
    ours |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], env=ours, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def _make_old(folder: Path) -> None:
    flags = folder / "comfy" / "cli_args.py"
    lines = flags.read_text().splitlines(keepends=True)
    flags.write_text("".join(line for line in lines if not any(f in line for f in _NEWER_FLAGS)))
    (folder / "comfyui_version.py").write_text(f'__version__ = "{_OLD_VERSION}"\n')


@dataclass(frozen=True)
class DemoNode:
    """`pin` is what resolves its conflict; `core` the core package that it would change."""

    name: str
    path: Path
    says: str
    pin: str = ""
    core: str = ""


_CAPTIONER = """\
import cowsay
import humanize


class SampleCaptioner:
    CATEGORY = "sample"
    RETURN_TYPES = ("STRING",)
    FUNCTION = "caption"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"text": ("STRING",), "size": ("INT",)}}

    def caption(self, text, size):
        return (cowsay.get_output_string("cow", f"{text}: {humanize.metric(size, 'B')}"),)


NODE_CLASS_MAPPINGS = {"SampleCaptioner": SampleCaptioner}
"""
_STATISTICS = """\
from humanize import intcomma


class SampleStatistics:
    CATEGORY = "sample"
    RETURN_TYPES = ("STRING",)
    FUNCTION = "count"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"images": ("IMAGE",)}}

    def count(self, images):
        return (intcomma(len(images)),)


NODE_CLASS_MAPPINGS = {"SampleStatistics": SampleStatistics}
"""
_UPSCALER = """\
import logging

import numpy


class SampleUpscaler:
    CATEGORY = "sample"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "upscale"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",)}}

    def upscale(self, image):
        return (numpy.array(image),)


logging.info(f"sample-upscaler: numpy {numpy.__version__}")
NODE_CLASS_MAPPINGS = {"SampleUpscaler": SampleUpscaler}
"""


def demo_nodes(folder: Path) -> tuple[DemoNode, DemoNode, DemoNode]:
    """Well-behaved with two packages; in conflict with it; one that moves a core package.

    The story is the same with a real index and with that of `packages.PACKAGES`.
    """
    return (
        DemoNode(
            "sample-captioner",
            _demo_repository(folder, "sample-captioner", _CAPTIONER, "cowsay\nhumanize>=4.9\n"),
            "declares two packages",
        ),
        DemoNode(
            "sample-statistics",
            _demo_repository(folder, "sample-statistics", _STATISTICS, "humanize<4\n"),
            "wants an older humanize than sample-captioner, though it works with the newer one",
            pin="humanize==4.9.0",
        ),
        DemoNode(
            "sample-upscaler",
            # Older than the newest at COMMIT_DATE (and later), with wheels for Python 3.11 to 3.14.
            _demo_repository(folder, "sample-upscaler", _UPSCALER, "numpy==2.3.2\n"),
            "pins a core package to an older version",
            core="numpy",
        ),
    )


def _demo_repository(folder: Path, name: str, text: str, requirements: str) -> Path:
    return write_node(folder, name, {"__init__.py": text, "requirements.txt": requirements})
