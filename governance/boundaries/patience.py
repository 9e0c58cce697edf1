"""How long a uv that fetches is waited for: by what it gets done, not by the clock alone.

uv's own limit is for a read that stalls; one byte a second passes it for ever.  Something is done
while uv works (processor time), writes into its cache, or has a build running.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from governance.base.errors import GovError
from governance.boundaries import uv_failures

Watch = Callable[[int], None]

# Ten bytes a second write less in two minutes, a modem more; and two hundredths of a processor
# are nothing that resolves or unpacks.
_LEAST_BYTES = 4096
_LEAST_SECONDS = 0.2


@dataclass(frozen=True)
class Patience:
    """Seconds: of a whole lock, and of a lock or a download in which nothing gets done."""

    lock_seconds: float = 1800
    stall_seconds: float = 120

    def of_lock(self, project: Path) -> Watch:
        return _Watching(project, self.stall_seconds, self.lock_seconds).look

    def of_sync(self, project: Path) -> Watch:
        """Without a limit on the whole: torch alone takes an hour on a slow line."""
        return _Watching(project, self.stall_seconds, None).look


@dataclass(frozen=True)
class _Done:
    """What a process has done so far."""

    written: int
    seconds: float
    builds: bool


@dataclass
class _Watching:
    project: Path
    stall: float
    total: float | None
    began: float = field(default_factory=time.monotonic)
    moved: float = field(default_factory=time.monotonic)
    done: _Done = field(default_factory=lambda: _Done(0, 0.0, False))

    def look(self, pid: int) -> None:
        """Raises GovError (code `timed_out`, `index_stalled`) where there is no use in waiting."""
        now = time.monotonic()
        if self.total is not None and now - self.began > self.total:
            raise _too_long(self.project, self.total)
        done = _done_by(pid)
        if done is None or self._is_more(done):
            self.moved, self.done = now, done or self.done
        elif now - self.moved > self.stall:
            raise _stalled(self.project, self.stall)

    def _is_more(self, now: _Done) -> bool:
        before = self.done
        return (
            now.builds
            or now.written - before.written >= _LEAST_BYTES
            or now.seconds - before.seconds >= _LEAST_SECONDS
        )


def _done_by(pid: int) -> _Done | None:
    """None where that cannot be read, or it has just ended."""
    folder = Path("/proc", str(pid))
    try:
        facts = dict(line.split(": ") for line in (folder / "io").read_text().splitlines())
        stat = (folder / "stat").read_text().rpartition(")")[2].split()
        builds = any((task / "children").read_text().strip() for task in folder.glob("task/*"))
    except (OSError, ValueError):
        return None
    ticks = int(stat[11]) + int(stat[12])
    return _Done(int(facts["wchar"]), ticks / os.sysconf("SC_CLK_TCK"), builds)


def _too_long(project: Path, seconds: float) -> GovError:
    return GovError(
        f"locking took longer than {seconds:g} s; {uv_failures.asked(project)} is slow, or a "
        "package is being built without end",
        hint="run the command again (what came is kept), or set a larger "
        "`lock_timeout_seconds = ...` below [resolution] in config.toml",
        code="timed_out",
    )


def _stalled(project: Path, seconds: float) -> GovError:
    return GovError(
        f"{uv_failures.asked(project)} sends next to nothing: no progress for {seconds:g} s",
        hint="run the command again later (what came is kept), take another index with "
        "`gov init --index URL`, or set a larger `stall_seconds = ...` below [resolution] in "
        "config.toml",
        code="index_stalled",
    )
