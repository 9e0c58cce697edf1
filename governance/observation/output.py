"""The two streams of an observed program: to the operator at once, to a bounded log, to a reader.

The log keeps the bytes as they came, less the operator's secrets.  Colours are taken off for the
reader and the operator (ComfyUI colours its lines, terminal or not); other control characters are
shown escaped, since a node's output could otherwise rewrite the screen or the clipboard.
"""

from __future__ import annotations

import os
import re
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from governance.base import masking
from governance.boundaries import process

_CHUNK = 64 * 1024
_LONGEST_LINE = 8 * 1024
_POLL_MILLISECONDS = 200
_PATIENCE_SECONDS = 5.0
# A carriage return at the very end may be half of a line end.
_LINE_END = re.compile(rb"\r?\n|\r(?!\n|\Z)")
_COLOUR = re.compile(rb"\x1b\[[0-9;:]{0,40}m")

Live = Callable[[str, str], None]
Feed = Callable[[str, str], None]


def without_colours(data: bytes) -> bytes:
    return _COLOUR.sub(b"", data)


def printable(text: str) -> str:
    """Escape what a terminal would obey: C0, DEL, C1, and the marks that reorder text."""
    return text.translate(_ESCAPES)


def _escapes() -> dict[int, str]:
    codes = [*range(0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, 0x2028, 0x2029]
    codes += [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]
    return {code: _escape(code) for code in codes if code != ord("\t")}


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


_ESCAPES = _escapes()


class BoundedLog:
    """A file of at most `limit` bytes and one line that says what was cut."""

    def __init__(self, path: Path, limit: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._stream = os.fdopen(os.open(path, flags, 0o600), "wb", buffering=0)
        self._room = max(0, limit - os.fstat(self._stream.fileno()).st_size)
        self._cut = 0

    def write(self, data: bytes) -> None:
        kept = data[: self._room]
        if kept:
            self._stream.write(kept)
        self._room -= len(kept)
        self._cut += len(data) - len(kept)

    def close(self) -> None:
        if self._cut:
            self._stream.write(f"\n[gov: {self._cut} more bytes were cut here]\n".encode())
        self._stream.close()


class Tap:
    """Reads one stream in a thread until its end, or until `close` where a daemon holds it open.

    `feed(stream, line)` gets every line, `live(stream, line)` gets it printable; neither has
    colours or a line end.  The program never waits for a reader that broke.
    """

    def __init__(
        self, name: str, source: IO[bytes], log: BoundedLog, feed: Feed, live: Live
    ) -> None:
        self._name = name
        self._source = source
        self._log = log
        self._feed = feed
        self._live: Live | None = live
        self._deadline: float | None = None
        self._rest = b""
        self._masked = masking.Stream()
        self.error: str | None = None
        self._thread = threading.Thread(target=self._read, name=f"tap-{name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._deadline = time.monotonic() + _PATIENCE_SECONDS
        self._thread.join()
        self._source.close()

    def _read(self) -> None:
        process.leave_signals_to_main()
        poll = select.poll()
        poll.register(self._source, select.POLLIN)
        while self._has_data(poll):
            data = os.read(self._source.fileno(), _CHUNK)
            if not data:
                break
            self._write_log(self._masked.take(data))
            self._take(data)
        self._write_log(self._masked.end())
        if self._rest:
            self._tell(self._rest.rstrip(b"\r"))

    def _has_data(self, poll: select.poll) -> bool:
        """Wait; False once we are closing and what was written so far is read, or takes too long.

        Data and the end of the stream both count as data.
        """
        while not poll.poll(_POLL_MILLISECONDS):
            if self._deadline is not None:
                return False
        return self._deadline is None or time.monotonic() < self._deadline

    def _write_log(self, data: bytes) -> None:
        try:
            self._log.write(data)
        except OSError as error:  # a full disk must not stop the program that we watch
            self.error = f"the log of {self._name} is incomplete: {error.strerror}"

    def _take(self, data: bytes) -> None:
        """A progress bar writes over its own line: each state of it is a line here."""
        *lines, self._rest = _LINE_END.split(self._rest + data)
        for line in lines:
            self._tell(line)
        if len(self._rest) > _LONGEST_LINE:
            self._tell(self._rest)
            self._rest = b""

    def _tell(self, raw: bytes) -> None:
        plain = without_colours(self._masked.line(raw)[:_LONGEST_LINE])
        line = plain.decode(errors="replace")
        self._feed(self._name, line)
        if self._live is None:
            return
        try:
            self._live(self._name, printable(line))
        except (OSError, ValueError):  # the operator's terminal is gone; the run goes on
            self._live = None
