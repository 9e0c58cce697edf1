"""How long ComfyUI is watched after it answers: until nothing happens, at most `settle` seconds.

Some nodes install late, from a thread or a program of their own: where one under observation has
such a thing under way, the whole time is waited, since it may be asleep.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from governance.observation import events
from governance.observation.program import Program
from governance.observation.request import Request
from governance.sandbox import processes

_QUIET = 1.0
_EVERY = 0.1
# In /proc: running, or waiting for a disk.
_BUSY = ("R", "D")


def wait(program: Program, request: Request, folder: Path) -> None:
    """`folder` is that of the start's events."""
    until = time.monotonic() + request.settle
    known, since = None, time.monotonic()
    while (now := time.monotonic()) < until:
        if program.exit_code() is not None:
            return
        seen = _seen(program, request, folder)
        if seen != known or _is_busy(program):
            known, since = seen, now
        elif now - since >= _QUIET and not events.unfinished(folder, request.subjects):
            return
        program.wait(min(_EVERY, until - now))


def _seen(program: Program, request: Request, folder: Path) -> tuple[object, ...]:
    """What grows where something happens: events, output, addresses, programs."""
    files = [*folder.glob("*.jsonl"), request.stdout_log, request.stderr_log]
    files += [request.contacts] if request.contacts is not None else []
    sizes = []
    for path in sorted(files):
        with suppress(OSError):
            sizes.append((path, os.stat(path).st_size))  # noqa: PTH116
    return tuple(sizes), tuple(sorted(_family(program)))


def _is_busy(program: Program) -> bool:
    return any(state in _BUSY for pid in _family(program) for state in processes.states(pid))


def _family(program: Program) -> list[int]:
    return [program.child.pid, *processes.descendants(program.child.pid)]
