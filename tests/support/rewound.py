"""What tests begin with is made once, in a folder of its own, and rewound for each of them.

A workspace cannot be copied elsewhere: its environments name their own path.  Nor may a file be
replaced by a copy: the seal of a generation counts inodes.  So the inodes are kept by hardlinks,
and what was written into one is written back.
"""

import copy
import os
import stat
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

from governance.boundaries import store


class Rewound:
    """A folder and all below it: bytes, modes, times and inodes, environments included."""

    def __init__(self, folder: Path, kept: Path) -> None:
        kept.mkdir(parents=True)
        self._place = str(folder)
        self._root = _Folder(self._place, kept)

    def rewind(self) -> None:
        self._root.restore(self._place)


class _Folder:
    def __init__(self, path: str, kept: Path) -> None:
        self._below: dict[str, _Folder | _File] = {}
        with os.scandir(path) as entries:
            for entry in entries:
                kind = _Folder if entry.is_dir(follow_symlinks=False) else _File
                self._below[entry.name] = kind(entry.path, kept)
        self._facts = os.lstat(path)
        self._attributes = {name: os.getxattr(path, name) for name in os.listxattr(path)}

    def restore(self, path: str) -> None:
        if not _is_folder(path):
            store.remove_tree(Path(path))
            os.mkdir(path)
            for name, value in self._attributes.items():  # a layer's marks are such
                os.setxattr(path, name, value)
        for name in os.listdir(path):
            if name not in self._below:
                store.remove_tree(Path(path, name))
        for name, below in self._below.items():
            below.restore(os.path.join(path, name))
        _restore_facts(path, self._facts)


class _File:
    """A file, a link or a device: whatever has one inode and nothing below."""

    def __init__(self, path: str, kept: Path) -> None:
        self._kept = str(kept / str(os.lstat(path).st_ino))
        if not os.path.lexists(self._kept):  # two names of one inode
            os.link(path, self._kept, follow_symlinks=False)
        self._facts = os.lstat(path)
        self._bytes = Path(path).read_bytes() if stat.S_ISREG(self._facts.st_mode) else None
        self._changed = self._facts.st_ctime_ns

    def restore(self, path: str) -> None:
        try:
            now = os.lstat(path)
        except FileNotFoundError:
            now = None
        if now is None or now.st_ino != self._facts.st_ino:
            store.remove_tree(Path(path))
            os.link(self._kept, path, follow_symlinks=False)
            now = os.lstat(path)
        # Every write and every further hardlink (uv's) moves this time.
        if self._bytes is not None and now.st_ctime_ns != self._changed:
            if Path(path).read_bytes() != self._bytes:
                Path(path).write_bytes(self._bytes)
            _restore_facts(path, self._facts)
            self._changed = os.lstat(path).st_ctime_ns


def _is_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _restore_facts(path: str, facts: os.stat_result) -> None:
    now = os.lstat(path)
    if now.st_mode != facts.st_mode:
        os.chmod(path, stat.S_IMODE(facts.st_mode))
    if now.st_mtime_ns != facts.st_mtime_ns:
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


class Beginnings:
    """`beginnings(make, *given)` is what `make(folder, *given)` made, as it left it."""

    def __init__(self, new_folder: Callable[[], Path]) -> None:
        self._new_folder = new_folder
        self._made: dict[Hashable, tuple[Any, Rewound]] = {}

    def __call__(self, make: Callable[..., Any], *given: Hashable) -> Any:
        key = (make, given)
        if key in self._made:
            self._made[key][1].rewind()
        else:
            folder = self._new_folder()
            live = folder / "live"
            live.mkdir(parents=True)
            value = make(live, *given)
            self._made[key] = (value, Rewound(live, folder / "kept"))
        return copy.copy(self._made[key][0])
