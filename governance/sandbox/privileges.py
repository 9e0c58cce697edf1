"""Own namespaces, and giving away the privileges that would undo them."""

from __future__ import annotations

import errno
import os

from governance.sandbox import kernel

# What root keeps inside a fence, by the numbers of capability.h.  Everything else could open a
# second road to the disk: SYS_ADMIN remounts, MKNOD makes the disk's device, DAC_READ_SEARCH
# opens files by handle, SYS_PTRACE enters outside processes, SYS_MODULE and RAWIO the kernel,
# NET_RAW reads what others send, SYS_RESOURCE lifts limits.
_CHOWN, _DAC_OVERRIDE, _FOWNER, _FSETID, _KILL, _SETGID, _SETUID = 0, 1, 3, 4, 5, 6, 7
_NET_BIND, _IPC_LOCK, _SYS_NICE = 10, 14, 23
_ON_FILES = {_CHOWN, _DAC_OVERRIDE, _FOWNER, _FSETID}
_ON_ITSELF = {_KILL, _SETGID, _SETUID, _IPC_LOCK, _SYS_NICE}
_HARMLESS = _ON_FILES | _ON_ITSELF | {_NET_BIND}


def enter_namespaces(
    *, user: bool, mounts: bool, processes: bool, memory: bool = False, network: bool = False
) -> None:
    """New namespaces for this process; the one for processes begins with its next child.

    `memory` is what processes share by System V's calls and message queues.
    """
    uid, gid = os.geteuid(), os.getegid()
    flags = kernel.CLONE_NEWUSER if user else 0
    flags |= kernel.CLONE_NEWNS if mounts or processes else 0
    flags |= kernel.CLONE_NEWPID if processes else 0
    flags |= kernel.CLONE_NEWIPC if memory else 0
    flags |= kernel.CLONE_NEWNET if network else 0
    if not flags:
        return
    kernel.unshare(flags)
    if user:
        # The order is the kernel's: an ordinary user may map a group only after giving up
        # setgroups.
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{uid} {uid} 1")
        _write("/proc/self/gid_map", f"{gid} {gid} 1")


def drop() -> None:
    """Give away, for good and for all children, what `_HARMLESS` does not name."""
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    # Others have none and, with no_new_privs, never gain any; nor may they call this.
    if os.geteuid() == 0 or os.getuid() == 0 or kernel.holds_capabilities():
        for capability in _in_bounding_set() - _HARMLESS:
            kernel.prctl(kernel.PR_CAPBSET_DROP, capability)
    kernel.limit_capabilities(sum(1 << capability for capability in _HARMLESS))


def _in_bounding_set() -> set[int]:
    found = set()
    for capability in range(64):
        try:
            if kernel.prctl(kernel.PR_CAPBSET_READ, capability):
                found.add(capability)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            break  # beyond the last one this kernel knows
    return found


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
