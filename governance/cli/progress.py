"""What is under way: one line that moves at the bottom of a terminal, elsewhere a plain line after
ten seconds, and less and less often.

Written here and not with rich's Live, which hides the cursor: a gov that is killed would leave it
hidden.  What stands on the terminal is whole at every moment, for the same reason.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple, TextIO

from governance.base.progress import Words

_TERMINAL_SECONDS = 0.5
_PLAIN_SECONDS = 10.0
_PLAIN_FACTOR, _PLAIN_MOST_SECONDS = 2, 120.0
# A reader that broke is not waited for.
_PATIENCE_SECONDS = 2.0
_COLUMNS = 80
_ERASE = "\r\x1b[K"


class _Step(NamedTuple):
    words: Words
    began: float


class Line:
    """Of all steps that are under way, the one that began last is shown, with the seconds since
    the first of them began.

    A short step is never seen: nothing is written before the first tick.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._steps: list[_Step] = []
        self._stream: TextIO = sys.stderr
        self._is_moving = False
        self._stands = False
        self._over: threading.Event | None = None
        self._ticker: threading.Thread | None = None

    @contextlib.contextmanager
    def during(self, words: Words) -> Iterator[None]:
        step = _Step(words, time.monotonic())
        try:
            self._begin(step)
            yield
        finally:
            self._end(step)

    @contextlib.contextmanager
    def above(self) -> Iterator[None]:
        """Around what is written to stderr: the line makes room, and is back at the next tick."""
        with self._lock:
            self._erase()
            yield

    def rest(self) -> None:
        """Nothing is under way any more, whatever kept a step from ending."""
        with self._lock:
            self._steps.clear()
        self._stop()

    def _begin(self, step: _Step) -> None:
        with self._lock:
            self._steps.append(step)
            if self._ticker is None:
                self._start()

    def _end(self, step: _Step) -> None:
        with self._lock:
            if step in self._steps:
                self._steps.remove(step)
            self._erase()
            is_last = not self._steps
        if is_last:
            self._stop()

    def _start(self) -> None:
        self._stream = sys.stderr
        self._is_moving = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._over = threading.Event()
        seconds = _TERMINAL_SECONDS if self._is_moving else _PLAIN_SECONDS
        self._ticker = threading.Thread(
            target=self._tick, args=(self._over, seconds), name="progress", daemon=True
        )
        self._ticker.start()

    def _stop(self) -> None:
        with self._lock:
            ticker, over = self._ticker, self._over
            self._ticker = self._over = None
        if over is not None:
            over.set()
        if ticker is not None:
            # Ctrl-C may have come in the midst of its start: then it ends by itself.
            with contextlib.suppress(RuntimeError):
                ticker.join(_PATIENCE_SECONDS)
        with self._lock:
            self._erase()

    def _tick(self, over: threading.Event, seconds: float) -> None:
        from governance.boundaries import process

        process.leave_signals_to_main()
        while not over.wait(seconds):
            # What is shown never stops the work: a file may be gone, or the terminal itself.
            with contextlib.suppress(Exception):
                self._show(over)
            if not self._is_moving:
                seconds = min(seconds * _PLAIN_FACTOR, max(seconds, _PLAIN_MOST_SECONDS))

    def _show(self, over: threading.Event) -> None:
        with self._lock:
            if not self._steps:
                return
            step, began = self._steps[-1], self._steps[0].began
        text = step.words()  # may look at the disk: nobody waits for the lock meanwhile
        tail = f", {int(time.monotonic() - began)} s"
        with self._lock:
            if self._steps[-1:] == [step] and not over.is_set():
                self._write(text, tail)

    def _write(self, text: str, tail: str) -> None:
        if self._is_moving:
            room = _columns(self._stream) - len(tail) - 3
            self._stream.write(f"{_ERASE}\x1b[2m  {_cut(text, room)}{tail}\x1b[0m")
            self._stands = True
        else:
            self._stream.write(f"· {text}{tail}\n")
        self._stream.flush()

    def _erase(self) -> None:
        if self._stands:
            self._stands = False
            with contextlib.suppress(OSError, ValueError):  # the terminal is gone
                self._stream.write(_ERASE)
                self._stream.flush()


LINE = Line()


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or _COLUMNS
    except (OSError, ValueError):
        return _COLUMNS


def _cut(text: str, room: int) -> str:
    """A line that folds could not be erased.  Some characters take two columns."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= room:
        return text
    return set_cell_size(text, max(1, room - 1)).rstrip() + "…"
