"""How much one program and its family may take of the machine, watched by the keeper.

Rlimits and, on newer kernels, the process namespace's own limit slow a runaway; the watch ends it
with a sentence.  What it counts is approximate, and its defaults are what real nodes never meet.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypedDict

EVERY = 0.25  # seconds
ENDED = "gov-sandbox: ended, since "
_LEAST_FREE = 256 << 20
_LEAST_MEMORY = 256 << 20
_THREADS_EACH = 4
_LEAST_THREADS = 8192
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Limits(TypedDict):
    """`processes`; `memory` and `disk` in bytes; 0 is no limit.  `folders`: where the layers
    write."""

    processes: int
    memory: int
    disk: int
    folders: list[str]


class Watch:
    """Asks again and again; `exceeded` is the sentence, "" while all is well."""

    def __init__(self, limits: Limits, family: Callable[[], Iterable[int]]) -> None:
        self._limits, self._family = limits, family
        self._free = {folder: _free(folder) for folder in limits["folders"]}
        self._next = 0.0

    def exceeded(self) -> str:
        """Looks at most once in EVERY seconds, however often it is asked."""
        if time.monotonic() < self._next:
            return ""
        found = self._look()
        self._next = time.monotonic() + EVERY
        return found

    def _look(self) -> str:
        limits = self._limits
        pids = list(self._family())
        if limits["processes"] and len(pids) > limits["processes"]:
            return f"it ran more than {limits['processes']} processes"
        return self._memory(pids) or self._disk()

    def _memory(self, pids: list[int]) -> str:
        limit = self._limits["memory"]
        if limit and sum(map(_resident, pids)) > limit and sum(map(_share, pids)) > limit:
            return f"it took more than {_size(limit)} of memory"
        if _available() <= _LEAST_MEMORY and (taken := sum(map(_share, pids))) > 2 * _LEAST_MEMORY:
            return f"it took {_size(taken)}, nearly all the memory of this machine"
        return ""

    def _disk(self) -> str:
        for folder, before in self._free.items():
            free = _free(folder)
            limit = self._limits["disk"]
            if limit and before - free > limit and _used(folder) > limit:
                return f"it wrote more than {_size(limit)} to the disk"
            if free < min(_LEAST_FREE, before // 2) and _used(folder) > _LEAST_FREE:
                return f"it filled the disk: {_size(free)} are left"
        return ""


def restrict(limits: Limits) -> None:
    """Of this process and its children, by the kernel itself."""
    _lower(resource.RLIMIT_CORE, 0)
    if limits["disk"]:
        _lower(resource.RLIMIT_FSIZE, limits["disk"])
    if limits["processes"]:
        _lower(resource.RLIMIT_NPROC, _threads(limits))


def restrict_namespace(limits: Limits) -> None:
    """The number of processes and threads of a process namespace, since Linux 6.14."""
    if limits["processes"] and _release() >= (6, 14):
        with suppress(OSError), open("/proc/sys/kernel/pid_max", "w") as file:
            file.write(str(_threads(limits)))


def _threads(limits: Limits) -> int:
    return max(_LEAST_THREADS, limits["processes"] * _THREADS_EACH)


def go_before() -> None:
    """Where thousands of processes want the processor, who ends them must not wait for it."""
    with suppress(OSError):  # only root may
        os.setpriority(os.PRIO_PROCESS, 0, -20)


def _lower(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (wanted, wanted))


def _release() -> tuple[int, ...]:
    words = os.uname().release.replace("-", ".").split(".")
    return tuple(int(word) for word in words[:2] if word.isdigit())


def _free(folder: str) -> int:
    try:
        found = os.statvfs(folder)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


def _used(folder: str) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(f"{place}/{name}").st_blocks * 512
    return total


def _available() -> int:
    """Of the machine's memory, in bytes."""
    with open("/proc/meminfo") as file:
        words = next(line.split() for line in file if line.startswith("MemAvailable:"))
    return int(words[1]) << 10


def _share(pid: int) -> int:
    """Its share of the memory that it holds with others (Pss), in bytes; costs milliseconds."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            words = next((line.split() for line in file if line.startswith("Pss:")), ("", "0"))
    except OSError:
        return 0
    return int(words[1]) << 10


def _resident(pid: int) -> int:
    """Memory that no file stands for, in bytes; what forked processes share counts for each."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            words = file.read().split()
    except OSError:
        return 0
    return (int(words[1]) - int(words[2])) * _PAGE


def _size(count: int) -> str:
    gib = count / (1 << 30)
    return f"{gib:.0f} GiB" if gib >= 1 else f"{count >> 20} MiB"
