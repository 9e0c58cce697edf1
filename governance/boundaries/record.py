"""RECORD of an installed package: the files that it came with (PEP 376, as wheels have it)."""

from __future__ import annotations

import csv
import functools
import os
from pathlib import Path

Row = tuple[str, ...]


def rows(path: Path) -> tuple[Row, ...]:
    """(path seen from the folder of packages, `<algorithm>=<urlsafe base64>` or "", size or "").

    A build reads each several times, so that what was read is remembered while the file is the
    same.  Raises OSError, csv.Error.
    """
    found = os.stat(path)  # noqa: PTH116 - thousands of them
    return _rows(str(path), found.st_ino, found.st_mtime_ns, found.st_size)


@functools.lru_cache(maxsize=2048)
def _rows(path: str, _inode: int, _time: int, _size: int) -> tuple[Row, ...]:
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as stream:
        return tuple(tuple(row) for row in csv.reader(stream) if row)
