"""The canary itself: `python -I -S trespass.py {"change": […], "actions": […], "read": […]}`.

It changes nothing where it succeeds: same mode, same times, no byte written, and what it made
is taken away again.  Prints JSON: `tried`, [[path, action, error or null], …], and `mounted`, the
table of what is mounted there.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable

Attempt = tuple[str, str, "str | None"]


def changes(path: str, wanted: list[str]) -> list[Attempt]:
    is_folder = stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116 - pathlib is slow to import
    actions = {"create": _create, "append": _open_for_append, "chmod": _chmod, "utime": _utime}
    if is_folder:
        del actions["append"]
    return [(path, name, _error(actions[name], path)) for name in wanted if name in actions]


def _error(action: Callable[[str], None], path: str) -> str | None:
    try:
        action(path)
    except OSError as error:
        return error.strerror
    return None


def _read(path: str) -> None:
    """Raises OSError where it cannot be read, or looks empty."""
    if os.path.isdir(path):  # noqa: PTH112
        is_empty = not os.listdir(path)  # noqa: PTH208
    else:
        with open(path, "rb") as file:
            is_empty = not file.read(1)
    if is_empty:
        raise OSError(0, "it looks empty")


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
    asked = json.loads(sys.argv[1])
    found = [row for path in asked["change"] for row in changes(path, asked["actions"])]
    found += [(path, "read", _error(_read, path)) for path in asked["read"]]
    with open("/proc/self/mountinfo", errors="surrogateescape") as table:
        sys.stdout.write(json.dumps({"tried": found, "mounted": table.read()}))
