"""How long ComfyUI is watched after it answers: until nothing happens, at most `settle` seconds.

Some nodes install late, from a thread or a program of their own: where one under observation has
such a thing under way, the whole time is waited, since it may be asleep.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
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
        family = [program.child.pid, *processes.descendants(program.child.pid)]
        seen = (_sizes(request, folder), sorted(family))
        if seen != known or _is_busy(family):
            known, since = seen, now
        elif now - since >= _QUIET:
            if not events.unfinished(folder, request.subjects):
                return
            since = until  # what is under way stays so until something else is seen
        program.wait(min(_EVERY, until - now))


def _sizes(request: Request, folder: Path) -> list[tuple[Path, int]]:
    """Of what grows where something happens: events, output, addresses."""
    files = [*folder.glob("*.jsonl"), request.stdout_log, request.stderr_log]
    files += [request.contacts] if request.contacts is not None else []
    sizes = []
    for path in sorted(files):
        with suppress(OSError):
            sizes.append((path, os.stat(path).st_size))  # noqa: PTH116
    return sizes


def _is_busy(family: Sequence[int]) -> bool:
    return any(state in _BUSY for pid in family for state in processes.states(pid))
