"""A small filter of system calls: what no node needs, and what reaches past a fence or the kernel.

Classic BPF (linux/filter.h, linux/seccomp.h); it holds for root and for all children.  Left open is
what ordinary programs use, user namespaces among it: what is sealed stays sealed in those.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from governance.sandbox import kernel

_AUDIT_ARCH = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
_X32_BIT = 0x4000_0000
ALLOW, _ERRNO = 0x7FFF_0000, 0x0005_0000
# A row is an instruction, how many rows to skip where it holds and where not, and a value.
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCH = 0, 4

# Each with its number on x86_64 and on aarch64.
_REFUSED = {
    # The memory of others, keys of the user, the kernel's own programs and modules.
    "ptrace": (101, 117),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "syslog": (103, 116),
    # Mounts, files by handle, other namespaces.
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "setns": (308, 268),
    # The machine.
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
}
# Programs ask for these and go on without.
_ABSENT = {"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427}
_IOCTL = (16, 29)
_TYPING = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: input for whoever reads the terminal

Row = tuple[int, int, int, int]


def is_known() -> bool:
    """Whether the numbers of this machine's system calls are."""
    return os.uname().machine in _AUDIT_ARCH and struct.calcsize("P") == 8


def refuse() -> None:
    """From here on this process and its children; needs no_new_privs.  Raises OSError."""
    kernel.syscall(kernel.SYS_KEYCTL[os.uname().machine], ctypes.c_int(1), None)  # a new session's
    install(_program())


def install(program: list[Row], flags: int = 0) -> int:
    """Raises OSError; with a flag that asks for one, the listener's descriptor."""
    packed = b"".join(struct.pack("=HBBI", *row) for row in program)
    rows = ctypes.create_string_buffer(packed)
    filter_ = _Filter(len(program), ctypes.addressof(rows))
    return kernel.syscall(
        kernel.SYS_SECCOMP[os.uname().machine],
        ctypes.c_uint(1),
        ctypes.c_uint(flags),
        ctypes.byref(filter_),
    )


class _Filter(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _program() -> list[Row]:
    at = 0 if os.uname().machine == "x86_64" else 1
    refused = [
        *((numbers[at], _ERRNO | errno.EPERM) for numbers in _REFUSED.values()),
        *((number, _ERRNO | errno.ENOSYS) for number in _ABSENT.values()),
    ]
    rows = [*foreign_refused()]
    for number, answer in refused:
        rows += [(EQUAL, 0, 1, number), (RETURN, 0, 0, answer)]
    return [
        *rows,
        (EQUAL, 0, 4, _IOCTL[at]),
        (LOAD, 0, 0, argument(1)),
        (EQUAL, 1, 0, _TYPING[0]),
        (EQUAL, 0, 1, _TYPING[1]),
        (RETURN, 0, 0, _ERRNO | errno.EPERM),
        (RETURN, 0, 0, ALLOW),
    ]


def argument(number: int) -> int:
    """Where the low half of a call's argument lies; the high one follows 4 bytes later."""
    return 16 + 8 * number


def foreign_refused() -> list[Row]:
    """Calls by another architecture's numbers do not exist; afterwards the number is loaded."""
    arch = _AUDIT_ARCH[os.uname().machine]
    absent = (RETURN, 0, 0, _ERRNO | errno.ENOSYS)
    rows = [(LOAD, 0, 0, _ARCH), (EQUAL, 1, 0, arch), absent, (LOAD, 0, 0, _NUMBER)]
    if os.uname().machine == "x86_64":
        rows += [(AT_LEAST, 0, 1, _X32_BIT), absent]
    return rows
