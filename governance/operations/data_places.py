"""What a run may write under `[run] writes = "data"`: models, pictures, workflows, caches.

All else on the machine is closed to it then, the code of ComfyUI and of other nodes, git's hooks
and the start files of a home included, whether they are there or not.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from governance.adoption import manager
from governance.environments import secrets, start_files, surroundings, variables
from governance.truth.workspace import Workspace

_FOLDERS = ("models", "output", "input", "temp", "user")
# ComfyUI's own options that put such a folder elsewhere.
_OPTIONS = tuple(f"--{name}-directory" for name in ("output", "input", "temp", "user"))
_BASE = "--base-directory"
# What libraries of nodes keep below a home.
_CACHES = (".triton", ".nv", ".cupy", ".config/matplotlib")
# In a cache, and installed from it elsewhere.
_NO_DATA = (".cache/uv", ".cache/pip")


class Data(NamedTuple):
    """Existing real folders; `closed` lie in `open` ones and are code all the same."""

    open: tuple[Path, ...]
    closed: tuple[Path, ...]


def of(workspace: Workspace, arguments: Sequence[str]) -> Data:
    """For a start with these arguments.

    What is missing of ComfyUI's own folders is made, as ComfyUI does, and ~/.cache.
    """
    comfyui = workspace.comfyui_dir
    words = (*workspace.config.texts("comfyui.args"), *arguments)
    base = next(_values(words, (_BASE,), comfyui), comfyui)
    own = [base / name for name in _FOLDERS]
    own += _values(words, _OPTIONS, comfyui)
    own += [comfyui / path for path in workspace.config.texts("run.writable")]
    own += [Path(home, ".cache") for home in secrets.homes()[:1]]
    for path in own:
        if not path.exists():
            path.mkdir(parents=True)
    data = [*own, *surroundings.of_data(comfyui), *_caches(), *_scratch()]
    closed = [comfyui, *_in_homes(("", *_NO_DATA)), *manager.startup_folders(workspace)]
    closed += start_files.closed()
    found = _existing(data)
    # In a container the home may be /tmp itself.
    return Data(found, tuple(path for path in _existing(closed) if path not in found))


def _values(words: Sequence[str], options: Sequence[str], folder: Path) -> Iterator[Path]:
    for place, word in enumerate(words):
        name, mark, value = word.partition("=")
        if name in options and (mark or place + 1 < len(words)):
            yield folder / Path(value if mark else words[place + 1]).expanduser()


def _caches() -> Iterator[Path]:
    yield from _in_homes(_CACHES)
    for name, value in os.environ.items():
        if variables.is_cache(name) and value.startswith("/"):
            yield Path(value)


def _in_homes(names: Sequence[str]) -> Iterator[Path]:
    yield from (Path(home, name) for home in secrets.homes() for name in names)


def _scratch() -> Iterator[Path]:
    yield from (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"))


def _existing(paths: Iterable[Path]) -> tuple[Path, ...]:
    real = dict.fromkeys(Path(os.path.realpath(path)) for path in paths)
    return tuple(path for path in real if path.exists() and path != Path("/"))
