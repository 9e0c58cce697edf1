"""ComfyUI as a copy, for candidates on machines where no layer can be had.

Code and settings are copied; what is large, and everything in the folders of models and pictures,
is a link to the one file: a candidate may make new files anywhere, and change every file but those.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_LARGE = 8 << 20
_DATA = ("models", "input", "output", "temp")
_LEFT_OUT = ("__pycache__",)
# Read as they are: history, and environments that somebody made inside.
_ENVIRONMENT = "pyvenv.cfg"
_AS_LINKS = (".git", "python_embeded", "node_modules")


def copy(comfyui: Path, target: Path, *, apart: Iterable[Path]) -> None:
    """The operator's own links to folders are followed; `apart`, the workspace, is left out."""
    closed = frozenset(os.path.realpath(path) for path in apart)
    _copy(os.path.realpath(comfyui), str(target), closed, (), is_data=False)


def _copy(
    source: str, target: str, closed: frozenset[str], above: tuple[str, ...], *, is_data: bool
) -> None:
    real = os.path.realpath(source)
    if real in closed or real in above:
        return  # the workspace, or a link that leads in a circle
    os.makedirs(target, exist_ok=True)  # noqa: PTH103
    for entry in _entries(source):
        place = os.path.join(target, entry.name)  # noqa: PTH118
        if entry.name in _AS_LINKS or _is_environment(entry):
            _link(entry.path, place)
        elif entry.is_dir():
            data = is_data or (not above and entry.name in _DATA)
            _copy(entry.path, place, closed, (*above, real), is_data=data)
        elif entry.is_file() and not is_data and entry.stat().st_size <= _LARGE:
            shutil.copy2(entry.path, place)
        else:
            _link(entry.path, place)


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if entry.name not in _LEFT_OUT)
    except PermissionError:
        return  # closed to the caller, so to the program


def _is_environment(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir() and os.path.isfile(os.path.join(entry.path, _ENVIRONMENT))  # noqa: PTH113, PTH118


def _link(source: str, place: str) -> None:
    os.symlink(os.path.realpath(source), place)  # noqa: PTH211


def moved(value: Any, places: Iterable[tuple[str, str]], apart: str) -> Any:
    """A JSON value in which each path below a place's first folder lies below its second; what
    lies in `apart` stays."""
    if isinstance(value, dict):
        return {name: moved(item, places, apart) for name, item in value.items()}
    if isinstance(value, list):
        return [moved(item, places, apart) for item in value]
    if isinstance(value, str) and not _within(value, apart):
        for old, new in places:
            if _within(value, old):
                return new + value[len(old) :]
    return value


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")
