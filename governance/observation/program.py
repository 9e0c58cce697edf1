"""One observed program: started, watched until it is up or over, ended with all it started."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from governance.boundaries import process
from governance.observation.output import BoundedLog, Feed, Live, Tap
from governance.sandbox import processes

_POLL_SECONDS = 0.1
# ComfyUI needs 2-3 s to leave cleanly; a program that ignores SIGINT gets less kindness.
_GRACE = ((signal.SIGINT, 10.0), (signal.SIGTERM, 5.0))


@dataclass(frozen=True)
class Streams:
    """Where the output goes: two bounded logs, the operator's `live`."""

    stdout: Path
    stderr: Path
    limit: int
    live: Live


@dataclass
class Program:
    """A running child; `problems` says in words what went wrong with watching it."""

    child: subprocess.Popen[bytes]
    started: float
    problems: list[str]

    def exit_code(self) -> int | None:
        return process.poll(self.child)

    def seconds(self) -> float:
        return time.monotonic() - self.started

    def wait(self, seconds: float) -> int | None:
        """The exit code, or None where it still runs after `seconds`."""
        return process.wait(self.child, max(0.0, seconds))

    def wait_until(self, is_up: Callable[[], bool], seconds: float) -> bool:
        """True as soon as `is_up` says so; False when the program is over or the time is."""
        while self.seconds() < seconds:
            if self.exit_code() is not None:
                return False
            if is_up():
                return True
            self.wait(min(_POLL_SECONDS, seconds - self.seconds()))
        return False

    def family(self) -> list[tuple[str, ...]]:
        """The command lines of what descends from it."""
        lines = map(processes.command_line, processes.descendants(self.child.pid))
        return [line for line in lines if line]

    def stop(self) -> int:
        """SIGINT, SIGTERM, SIGKILL, each with its grace; the real exit code."""
        for number, grace in _GRACE:
            if self.exit_code() is None:
                self.child.send_signal(number)
                self.wait(grace)
        self.kill()
        return process.reap(self.child)

    def kill(self) -> None:
        """What is left of the session, too; what left it, the sandbox ends."""
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # nobody is left, or what is left is not ours to signal


@contextmanager
def running(
    argv: Sequence[str], *, cwd: Path, environ: Mapping[str, str], streams: Streams, feed: Feed
) -> Iterator[Program]:
    """Start a program in a session of its own; whatever happens, it is gone afterwards."""
    logs = [BoundedLog(path, streams.limit) for path in (streams.stdout, streams.stderr)]
    try:
        started = time.monotonic()
        child = process.spawn(
            argv, cwd=cwd, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        program = Program(child, started, [])
        taps = _taps(child, logs, streams.live, feed)
        try:
            yield program
        finally:
            _end(program, taps)
    finally:
        for log in logs:
            log.close()


def _taps(
    child: subprocess.Popen[bytes], logs: list[BoundedLog], live: Live, feed: Feed
) -> list[Tap]:
    sources = (("stdout", child.stdout), ("stderr", child.stderr))
    return [
        Tap(name, source, log, feed, live)
        for (name, source), log in zip(sources, logs, strict=True)
        if source is not None
    ]


def _end(program: Program, taps: list[Tap]) -> None:
    try:
        program.stop()
    except BaseException:  # a second Ctrl-C: no more patience, but nothing stays behind
        program.kill()
        process.reap(program.child)
        raise
    finally:
        for tap in taps:
            tap.close()
            program.problems += [tap.error] if tap.error else []
