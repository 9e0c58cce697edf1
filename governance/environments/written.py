"""What programs left in the scratch layers of a candidate, read from outside."""

from __future__ import annotations

import filecmp
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from governance import sandbox

_BYTE_CODE = ("__pycache__",)
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")


def layer_over(layers: Sequence[sandbox.Layer], real: Path) -> sandbox.Layer | None:
    """The layer that takes what is written at `real`; None where none does."""
    over = [layer for layer in layers if real.is_relative_to(layer.lower)]
    nearest = max(over, key=lambda layer: len(layer.lower.parts), default=None)
    if nearest is None or any(real.is_relative_to(path) for path in nearest.keep):
        return None
    return nearest


def behind(layers: Sequence[sandbox.Layer], path: Path) -> Path | None:
    """See Candidate.behind."""
    real = path.parent.resolve() / path.name
    layer = layer_over(layers, real)
    if layer is not None:
        upper = layer.upper / real.relative_to(layer.lower)
        if os.path.lexists(upper) and _leads_straight(upper.parent):
            return None if _is_whiteout(upper) else upper
        if _is_hidden(layer, real):
            return None
    return real if os.path.lexists(real) else None


def files(layers: Sequence[sandbox.Layer], folder: Path) -> dict[str, Path]:
    """See Candidate.written."""
    real = folder.resolve()
    return {
        str(place.relative_to(real)): file
        for top, below in _uppers(layers, real)
        for file, place in _regular(top, below)
        if not _is_same(file, place)
    }


def new_files(copy: Path, original: Path) -> dict[str, Path]:
    """As `files`, where a copy took the writes."""
    return {
        str(place.relative_to(original)): file
        for file, place in _regular(copy, original)
        if not _is_same(file, place)
    }


def _uppers(layers: Sequence[sandbox.Layer], real: Path) -> Iterator[tuple[Path, Path]]:
    """Folders of layers, each with the place at which it is seen."""
    own = layer_over(layers, real)
    if own is not None:
        yield own.upper / real.relative_to(own.lower), real
    for layer in layers:
        if layer.lower != real and layer.lower.is_relative_to(real):
            yield layer.upper, layer.lower


def _regular(top: Path, seen_at: Path) -> Iterator[tuple[Path, Path]]:
    """No link is followed: an observed program may have made it."""
    if not _leads_straight(top):
        return
    for folder, names, found in os.walk(top):
        names[:] = [name for name in names if name not in _BYTE_CODE]
        for name in found:
            file = Path(folder, name)
            if stat.S_ISREG(file.lstat().st_mode) and file.suffix not in (".pyc", ".pyo"):
                yield file, seen_at / file.relative_to(top)


def _leads_straight(path: Path) -> bool:
    return os.path.realpath(path) == str(path)


def _is_same(file: Path, place: Path) -> bool:
    """Opened for writing, a file comes into the layer as it is."""
    try:
        return stat.S_ISREG(place.lstat().st_mode) and filecmp.cmp(file, place, shallow=False)
    except OSError:
        return False


def _is_whiteout(path: Path) -> bool:
    found = path.lstat()
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _is_hidden(layer: sandbox.Layer, real: Path) -> bool:
    """Whether a folder on the way was deleted or made anew in the layer."""
    path = layer.upper
    for part in real.relative_to(layer.lower).parts[:-1]:
        path /= part
        if not os.path.lexists(path):
            return False
        if not stat.S_ISDIR(path.lstat().st_mode) or _is_opaque(path):
            return True
    return False


def _is_opaque(folder: Path) -> bool:
    names = set(os.listxattr(folder, follow_symlinks=False)) & set(_OPAQUE)
    return any(os.getxattr(folder, name, follow_symlinks=False) == b"y" for name in names)
