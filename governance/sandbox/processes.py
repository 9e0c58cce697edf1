"""The family of one program: who descends from it, and how all of them end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable

from governance.sandbox import kernel

FORWARDED = frozenset(
    (
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
    )
)
# What the kernel sends to the keeper when the outer process is gone.
ORPHANED = signal.SIGRTMIN + 1
# From the outer process: continue, with the terminal.
TO_FRONT = signal.SIGRTMIN + 2
WATCHED = frozenset((*FORWARDED, signal.SIGCHLD, signal.SIGCONT, signal.SIGIO, ORPHANED, TO_FRONT))


class Exceeded(Exception):
    """The family took more than it may; the sentence says of what."""


class Abandoned(Exception):
    """The outer process is gone, so nobody waits for an answer any more."""


def attend(
    main: int,
    tell: Callable[[int], None],
    to_front: Callable[[], None],
    exceeded: Callable[[], str] | None = None,
    every: float = 1.0,
) -> None:
    """Reap and forward until `main` ends, and `tell` its wait status whenever it changes.

    `exceeded` is asked each `every` seconds.  Raises Abandoned, Exceeded.
    """
    while True:
        number = _next(exceeded, every)
        if number == ORPHANED:
            raise Abandoned
        if number == signal.SIGCHLD:
            status = _reap().get(main)
            if status is not None:
                tell(status)
                if not os.WIFSTOPPED(status):
                    return
        elif number in (signal.SIGCONT, TO_FRONT):
            if number == TO_FRONT:
                to_front()
            _send((-main,), signal.SIGCONT)
        else:
            _send((main,), number)


def _next(exceeded: Callable[[], str] | None, every: float) -> int:
    """The next signal; `exceeded` is asked before it, and while none comes."""
    if exceeded is None:
        return signal.sigwaitinfo(WATCHED).si_signo
    while True:
        news = signal.sigtimedwait(WATCHED, every)
        if sentence := exceeded():
            raise Exceeded(sentence)
        if news is not None:
            return news.si_signo


def end_family(grace: float) -> None:
    """End every descendant of this process: ask, wait `grace` seconds, force."""
    me = os.getpid()
    deadline = time.monotonic() + grace
    asked: set[int] = set()
    while family := descendants(me):
        _send(set(family) - asked, signal.SIGTERM)
        asked.update(family)
        _reap()
        left = min(deadline - time.monotonic(), 0.05)
        received = signal.sigtimedwait(WATCHED, left) if left > 0 else None
        if left <= 0 or (received and received.si_signo != signal.SIGCHLD):
            break  # out of time, or whoever waits has lost patience
    force_family()


def force_family() -> None:
    """SIGKILL until no descendant is left that may be killed."""
    while _send(descendants(os.getpid()), signal.SIGKILL):
        _reap()
        signal.sigtimedwait(WATCHED, 0.01)
    _reap()


def force_namespace() -> None:
    """SIGKILL to all but the first process of this process namespace, which calls it: no fork can
    outrun that."""
    while True:
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            return
        _reap()
        signal.sigtimedwait(WATCHED, 0.01)


def descendants(ancestor: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for pid, parent in _parents().items():
        children.setdefault(parent, []).append(pid)
    found = list(children.get(ancestor, ()))
    for pid in found:  # grows while it is read: breadth first
        found.extend(children.get(pid, ()))
    return found


def everybody() -> list[int]:
    """All of this process namespace but its first process."""
    names = os.listdir("/proc")  # noqa: PTH208
    return [int(name) for name in names if name.isdigit() and name != "1"]


def command_line(pid: int) -> tuple[str, ...]:
    """Its words; empty where it has ended."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            data = file.read()
    except OSError:
        return ()
    return tuple(os.fsdecode(word) for word in data.split(b"\0")[:-1])


def states(pid: int) -> list[str]:
    """Of each of its threads: R runs, D waits for a disk, S sleeps; empty where it has ended."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - as in _parents
    except OSError:
        return []
    found = []
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/stat", "rb") as file:
                found.append(file.read().rpartition(b")")[2].split()[0].decode())
        except (OSError, IndexError):
            continue
    return found


def die_with_parent(with_signal: int) -> None:
    kernel.prctl(kernel.PR_SET_PDEATHSIG, with_signal)


def adopt_orphans() -> None:
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)


def _parents() -> dict[int, int]:
    found = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib doubles the start-up time
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    # The name in parentheses may hold spaces and parentheses of its own.
                    found[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
            except OSError:
                continue  # ended meanwhile
    return found


def _send(targets: Iterable[int], number: int) -> int:
    """How many could be reached; others have ended, or became another user's."""
    reached = 0
    for pid in targets:
        try:
            os.kill(pid, number)
            reached += 1
        except (ProcessLookupError, PermissionError):
            continue
    return reached


def _reap() -> dict[int, int]:
    ended: dict[int, int] = {}
    try:
        while (child := os.waitpid(-1, os.WNOHANG | os.WUNTRACED))[0]:
            ended[child[0]] = child[1]
    except ChildProcessError:
        pass  # none left at all
    return ended
