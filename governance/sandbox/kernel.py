"""The few system calls the standard library does not offer, as functions that raise OSError."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x0002_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWNET = 0x4000_0000
CLONE_NEWPID = 0x2000_0000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x4_0000
MNT_DETACH = 0x2

PR_SET_PDEATHSIG = 1
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

# One number on every architecture since Linux 5.x unified the table.
SYS_LANDLOCK_CREATE_RULESET = 444
SYS_LANDLOCK_ADD_RULE = 445
SYS_LANDLOCK_RESTRICT_SELF = 446
# Older ones differ.
SYS_KEYCTL = {"x86_64": 250, "aarch64": 219}
SYS_SECCOMP = {"x86_64": 317, "aarch64": 277}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def unshare(flags: int) -> None:
    _checked(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(
    source: str | None, target: str, kind: str | None = None, flags: int = 0, options: str = ""
) -> None:
    result = _libc.mount(
        os.fsencode(source) if source is not None else None,
        os.fsencode(target),
        os.fsencode(kind) if kind is not None else None,
        ctypes.c_ulong(flags),
        os.fsencode(options) if options else None,
    )
    _checked(result, target)


def unmount(target: str) -> None:
    """Take the uppermost mount at `target` away, though something may still be open in it."""
    _checked(_libc.umount2(os.fsencode(target), ctypes.c_int(MNT_DETACH)), target)


def prctl(option: int, first: int = 0, second: int = 0) -> int:
    words = [ctypes.c_ulong(word) for word in (first, second, 0, 0)]
    return _checked(_libc.prctl(ctypes.c_int(option), *words), f"prctl {option}")


def syscall(number: int, *arguments: object) -> int:
    """Integers must come as ctypes values of the right width, pointers as `byref` or None."""
    return _checked(_libc.syscall(ctypes.c_long(number), *arguments), f"system call {number}")


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilitySets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


_CAPABILITY_VERSION_3 = 0x2008_0522


def _capabilities() -> tuple[_CapabilityHeader, ctypes.Array[_CapabilitySets]]:
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    halves = (_CapabilitySets * 2)()
    _checked(_libc.capget(ctypes.byref(header), halves), "capget")
    return header, halves


def holds_capabilities() -> bool:
    return any(half.permitted for half in _capabilities()[1])


def limit_capabilities(keep: int) -> None:
    """Take every capability outside the bit set `keep` away from this process's own sets."""
    header, halves = _capabilities()
    for index, half in enumerate(halves):
        kept = (keep >> (32 * index)) & 0xFFFF_FFFF
        half.effective &= kept
        half.permitted &= kept
        half.inheritable &= kept
    _checked(_libc.capset(ctypes.byref(header), halves), "capset")
