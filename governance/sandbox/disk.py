"""Layers over all of the disk that the caller may write: what a program leaves there, nobody sees.

Outside the sandbox a program may write wherever its user may, and some do so in places that nobody
thinks of: beside a linked folder of models, in /tmp by its name, in a cache that a variable names.
So the disk is covered from the top; only what lies `apart` stays as it is, and the machine's own
/proc, /sys, /dev, /run and /boot.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from governance.sandbox import mounts
from governance.sandbox.view import Layer

_MACHINE = ("/proc", "/sys", "/dev", "/run", "/boot", "/lost+found")
# Desktops mount what is plugged in there; all else in /run is sockets and pids.
_PLUGGED_IN = "/run/media"
_NO_DISK = {
    *("proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "mqueue", "hugetlbfs", "autofs"),
    *("debugfs", "tracefs", "securityfs", "pstore", "bpf", "configfs", "fusectl", "binfmt_misc"),
    *("nsfs", "efivarfs", "rpc_pipefs", "squashfs", "iso9660"),
}
# How far below a folder that is closed to the caller one is looked for that is open.
_LEVELS = 2


def scratch(
    base: Path, apart: Sequence[Path], named: Iterable[Path], *, whole: bool = True
) -> tuple[Layer, ...]:
    """Over the topmost folders that the caller may write, and over `named`, which may lie `apart`.

    What is written lies below `base`.  A disk within a folder stays in sight and has a layer of
    its own.  `whole`: a folder with a disk in it can be covered; an ordinary user's cannot.
    """
    points = _mount_points()
    disks = [point for point in points if _is_disk(*point)]
    inner = [path for path, _, _ in points if path != "/"]
    named_tops = [_climbed(path, inner, apart) for path in _folders(named)]
    tops = [*_tops([path for path, _, _ in disks]), *named_tops]
    if not whole:
        tops = [top for start in tops for top in _split(start, inner)]
    closed = [os.path.realpath(path) for path in apart]
    own = [top for top in dict.fromkeys(tops) if top in named_tops or not _within(top, closed)]
    barriers = {*inner, *closed, *(top for top in own if _within(top, closed))}
    return tuple(
        _layer(base, top, barriers) for top in sorted(own) if not _is_covered(top, own, barriers)
    )


def _mount_points() -> list[tuple[str, str, str]]:
    """Path, options and filesystem; the last mount at a path is the one in sight."""
    return list({path: (path, how, kind) for _, path, how, kind in mounts.table()}.values())


def _is_disk(path: str, options: str, kind: str) -> bool:
    if kind in _NO_DISK or "ro" in options.split(",") or not os.path.isdir(path):  # noqa: PTH112
        return False
    return _within(path, [_PLUGGED_IN]) or not _within(path, _MACHINE)


def _folders(named: Iterable[Path]) -> Iterator[str]:
    for path in named:
        real = os.path.realpath(path)
        if os.path.isdir(real) and not _within(real, _MACHINE[:3]):  # noqa: PTH112
            yield real


def _tops(disks: Iterable[str]) -> Iterator[str]:
    for disk in disks:
        if disk != "/":
            yield from _open_folders(disk, _LEVELS)
            continue
        for folder in _subfolders("/"):
            if not _within(folder, _MACHINE):
                yield from _open_folders(folder, _LEVELS)


def _open_folders(folder: str, levels: int) -> Iterator[str]:
    """`folder` if the caller may write it, else the topmost of its subfolders that he may."""
    if os.access(folder, os.W_OK):
        yield folder
    elif levels > 0:
        for inner in _subfolders(folder):
            yield from _open_folders(inner, levels - 1)


def _climbed(path: str, points: Sequence[str], apart: Sequence[Path]) -> str:
    """The topmost writable folder above on the same disk; one that lies apart is taken alone."""
    if _within(path, [os.path.realpath(folder) for folder in apart]):
        return path
    while path not in points:
        parent = os.path.dirname(path)  # noqa: PTH120
        if parent == "/" or not os.access(parent, os.W_OK):
            break
        path = parent
    return path


def _split(top: str, points: Sequence[str]) -> Iterator[str]:
    """The folders in `top` that hold no mount; files right beside one that does stay closed."""
    if not any(_within(point, [top]) and point != top for point in points):
        yield top
        return
    for folder in _subfolders(top):
        if os.access(folder, os.W_OK):
            yield from _split(folder, points)


def _subfolders(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []  # closed to the caller, so to the program


def _is_covered(top: str, tops: Iterable[str], barriers: Iterable[str]) -> bool:
    """By the layer over another folder, which reaches down to the next barrier."""
    above = [other for other in tops if other != top and _within(top, [other])]
    return any(
        not any(b != other and _within(b, [other]) and _within(top, [b]) for b in barriers)
        for other in above
    )


def _layer(base: Path, top: str, barriers: Iterable[str]) -> Layer:
    inner = [path for path in barriers if path != top and _within(path, [top])]
    keep = [
        path for path in inner if not _within(path, [other for other in inner if other != path])
    ]
    name = f"{os.path.basename(top)[:40]}-{hashlib.sha256(os.fsencode(top)).hexdigest()[:8]}"  # noqa: PTH119
    folder = base / name
    return Layer(Path(top), folder / "upper", folder / "work", tuple(map(Path, sorted(keep))))


def _within(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)
