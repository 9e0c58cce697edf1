"""Landlock: a process denies itself, and all it will ever start, writes outside some places.

It holds for root too, and no later call lifts it.  It does not know chmod, chown, utime and
xattr; the read-only mounts of `mounts` do.  Of the network it knows TCP, by port alone.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable, Iterator, Sequence

from governance.sandbox import kernel

_WRITE_FILE = 1 << 1
_READ = (1 << 2) | (1 << 3)  # files and folders
_CHANGE_ENTRIES = sum(1 << bit for bit in range(4, 13))  # remove_* and make_*, ABI 1
_REFER = 1 << 13  # ABI 2; before it, no rename or link between folders is ever allowed
_TRUNCATE = 1 << 14  # ABI 3
_CONNECT = 1 << 1  # ABI 4
KNOWS_PORTS = 4
_SCOPE_ABSTRACT_SOCKETS = 1 << 0  # ABI 6
_SCOPE_SIGNALS = 1 << 1  # ABI 6

_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_RULE_NET_PORT = 2


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


class _NetPort(ctypes.Structure):
    _fields_ = (("allowed_access", ctypes.c_uint64), ("port", ctypes.c_uint64))


def abi() -> int:
    """The kernel's Landlock version; 0 where it is absent, off, or filtered by a container."""
    try:
        return kernel.syscall(
            kernel.SYS_LANDLOCK_CREATE_RULESET,
            None,
            ctypes.c_size_t(0),
            ctypes.c_uint32(_CREATE_RULESET_VERSION),
        )
    except OSError:
        return 0


def _write_rights(version: int) -> int:
    rights = _WRITE_FILE | _CHANGE_ENTRIES
    if version >= 2:
        rights |= _REFER
    if version >= 3:
        rights |= _TRUNCATE
    return rights


def _create(version: int, rights: int, network: int) -> int:
    scoped = _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS if version >= 6 else 0
    ruleset = _Ruleset(rights, network, scoped)
    # A kernel refuses a structure longer than the one it knows.
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    return kernel.syscall(
        kernel.SYS_LANDLOCK_CREATE_RULESET,
        ctypes.byref(ruleset),
        ctypes.c_size_t(size),
        ctypes.c_uint32(0),
    )


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # gone since it was listed, as others' temporary files go: nothing to allow
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _WRITE_FILE | _TRUNCATE | (1 << 2)
        rule = _PathBeneath(rights, place)
        _add(ruleset, _RULE_PATH_BENEATH, rule)
    finally:
        os.close(place)


def _add(ruleset: int, kind: int, rule: ctypes.Structure) -> None:
    kernel.syscall(
        kernel.SYS_LANDLOCK_ADD_RULE,
        ctypes.c_int(ruleset),
        ctypes.c_int(kind),
        ctypes.byref(rule),
        ctypes.c_uint32(0),
    )


def restrict(
    version: int,
    places: Iterable[str],
    hidden: Sequence[str] = (),
    ports: Sequence[int] | None = None,
) -> None:
    """From here on this process and its children write in `places` only; needs no_new_privs.

    What lies in `hidden` they cannot read, and the folders that lead there they cannot list.
    `ports` are those that they may connect to by TCP, None is all; see KNOWS_PORTS.
    """
    rights = _write_rights(version)
    ruleset = _create(
        version, rights | (_READ if hidden else 0), _CONNECT if ports is not None else 0
    )
    for port in ports or ():
        _add(ruleset, _RULE_NET_PORT, _NetPort(_CONNECT, port))
    for path in places:
        _allow(ruleset, path, rights)
    for path in around(hidden) if hidden else ():
        _allow(ruleset, path, _READ)
    kernel.syscall(kernel.SYS_LANDLOCK_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    os.close(ruleset)


def around(closed: Sequence[str]) -> list[str]:
    """All there is except `closed`, for a kernel which can only say what is allowed.

    A folder on the way to a closed place is left out itself, so nothing new can be made right in
    it.  Links are left out: a rule would follow them, perhaps to a closed place.
    """
    return list(_around("/", [path.rstrip("/") for path in closed]))


def _around(folder: str, closed: Sequence[str]) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink() or entry.path in closed:
                continue
            if any(path.startswith(entry.path + "/") for path in closed):
                yield from _around(entry.path, closed)
            else:
                yield entry.path
