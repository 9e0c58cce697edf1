"""Folders for a moment.  Where their process was killed they go with the next writing command.

The name says whose it is, by pid and start time; while it is used it is also held by a lock, since
a process in another container is not to be seen from here.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from governance.base import liveness
from governance.boundaries import store

PREFIX = "gov-"
PROBE = ".probe"
# A probe takes a second.
_LONG_SECONDS = 3600
_OWNER = re.compile(r"-(\d+)\.(\d+)-[^-.]*$")


@contextmanager
def folder(what: str, *, within: Path | None = None, prefix: str = PREFIX) -> Iterator[Path]:
    """A new folder `<prefix><what>-<owner>-...`, in the machine's folder for such where `within` is
    not given; deleted in the end.  Raises OSError."""
    pid = os.getpid()
    begin = f"{prefix}{what}-{pid}.{liveness.start_time(pid) or 0}-"
    with tempfile.TemporaryDirectory(prefix=begin, dir=within) as name, _held(name):
        yield Path(name)


def sweep(within: Path | None = None, prefix: str = PREFIX) -> None:
    """Delete what killed processes of this user left in a folder."""
    place = within or Path(tempfile.gettempdir())
    if place.is_dir():
        for path in place.glob(f"{prefix}*"):
            if _is_left(path):
                with suppress(OSError):
                    store.remove_tree(path)


@contextmanager
def _held(name: str) -> Iterator[None]:
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # some network disks have no locks
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def _is_left(path: Path) -> bool:
    owner = _OWNER.search(path.name)
    if owner is None:
        return path.name.startswith(PROBE) and _is_old(path)  # as gov named them before
    if liveness.start_time(int(owner[1])) == int(owner[2]):
        return False
    try:
        facts = path.lstat()
        return stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid() and _is_free(path)
    except OSError:
        return False


def _is_old(path: Path) -> bool:
    return time.time() - path.lstat().st_mtime > _LONG_SECONDS


def _is_free(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
