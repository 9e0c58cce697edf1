"""The canary itself: `python -I -S trespass.py PATH…` tries to change each PATH.

It changes nothing where it succeeds: same mode, same times, no byte written, and what it made
is taken away again.  Prints [[path, action, error or null], …] as JSON.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable


def attempts(path: str) -> list[tuple[str, str, str | None]]:
    is_folder = stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116 - pathlib is slow to import
    actions = {"create": _create, "chmod": _chmod, "utime": _utime}
    if not is_folder:
        actions["append"] = _open_for_append
    return [(path, name, _error(action, path)) for name, action in actions.items()]


def _error(action: Callable[[str], None], path: str) -> str | None:
    try:
        action(path)
    except OSError as error:
        return error.strerror
    return None


def _create(path: str) -> None:
    """A file in the folder, or beside the file; the folder's times are put back."""
    folder = path if stat.S_ISDIR(os.stat(path).st_mode) else os.path.dirname(path)  # noqa: PTH116, PTH120
    before = os.stat(folder)  # noqa: PTH116
    name = f"{folder}/.gov-canary-{os.getpid()}"
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    os.unlink(name)  # noqa: PTH108
    os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))


def _open_for_append(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_APPEND))


def _chmod(path: str) -> None:
    os.chmod(path, stat.S_IMODE(os.stat(path).st_mode))  # noqa: PTH101, PTH116


def _utime(path: str) -> None:
    now = os.stat(path)  # noqa: PTH116
    os.utime(path, ns=(now.st_atime_ns, now.st_mtime_ns))


if __name__ == "__main__":
    found = [attempt for path in sys.argv[1:] for attempt in attempts(path)]
    sys.stdout.write(json.dumps(found))
