"""How far a running uv is: what it says of its downloads, and what it has written so far.

Without a terminal uv names each download of 1 MiB or more when it begins (`Downloading torch
(846.7MiB)`) and when it is done, but not how far one is.  It unpacks while it downloads, so that
the bytes that it has written tell that it moves; the cache has one more folder for every package
that is done.  How many are to come uv tells in a dry run, in 0.2 s.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from governance.base.errors import GovError

_ANNOUNCED = re.compile(r"^\s*Downloading (\S+) \(([\d.]+)([KMGT]?)i?B\)$")
_DONE = re.compile(r"^\s*Downloaded (\S+)$")
_BUILDING = re.compile(r"^\s*Building (\S+)")
_BUILT = re.compile(r"^\s*Built (\S+)")
_PREPARED = re.compile(r"^Prepared (\d+) packages? in ")
_TO_COME = re.compile(r"^Would download (\d+) packages?$", re.M)
_FACTORS = {unit: 1024**power for power, unit in enumerate(("", "K", "M", "G", "T"))}
# A shorter step needs no dry run to tell how long it will be.
_COUNTING_SECONDS = 2.0
_RATE_SECONDS = 5.0

# The text of a dry run of the same call; "" where there is none.
DryRun = Callable[[], str]


class Fetching:
    """`hear` gets the lines of uv's stderr, `begins` its process id, both from other threads;
    `words` are what to show."""

    def __init__(self, what: str, cache: Path, dry_run: DryRun | None = None) -> None:
        self._what = what
        self._cache = cache
        self._dry_run = dry_run
        self._began = time.monotonic()
        self._sizes: dict[str, int] = {}
        self._done: set[str] = set()
        self._building: list[str] = []
        self._prepared = 0
        self._total: int | None = None
        self._before = _unpacked(cache)
        self._pid: int | None = None
        self._written: deque[tuple[float, int]] = deque()

    def begins(self, pid: int) -> None:
        self._pid = pid

    def hear(self, line: str) -> None:
        if found := _ANNOUNCED.match(line):
            self._sizes[found[1]] = int(float(found[2]) * _FACTORS[found[3]])
        elif found := _DONE.match(line):
            self._done.add(found[1])
        elif found := _BUILDING.match(line):
            self._building.append(found[1])
        elif (found := _BUILT.match(line)) and found[1] in self._building:
            self._building.remove(found[1])
        elif found := _PREPARED.match(line):
            self._prepared = int(found[1])

    def words(self) -> str:
        if self._prepared:
            return f"{self._what}: laying out {_count(self._prepared)}"
        self._look_ahead()
        under_way = [name for name in list(self._sizes) if name not in self._done]
        rate, written = self._unpacking()
        # What moves comes first: on a narrow terminal the rest is cut off.
        told = ", ".join(filter(None, [self._bytes(), rate, self._packages(), written]))
        if self._building:
            return f"building {_few(list(self._building))}" + (f"; {told}" if told else "")
        if under_way:
            # The longest is what the others have waited for in the end.
            under_way.sort(key=lambda name: -self._sizes[name])
            return f"downloading {_few(under_way)}: {told}"
        return f"{self._what}: {told}" if told else self._what

    def _bytes(self) -> str:
        """Of what uv has announced; a download counts once it is whole."""
        done = sum(size for name, size in list(self._sizes.items()) if name in self._done)
        return f"{size_of(done)} of {size_of(sum(self._sizes.values()))}" if self._sizes else ""

    def _packages(self) -> str:
        done = _unpacked(self._cache) - self._before
        if self._total is None:
            return _count(done) if done else ""
        return f"{min(done, self._total)} of {_count(self._total)}" if self._total else ""

    def _unpacking(self) -> tuple[str, str]:
        """How fast, over the last seconds, and how much in all."""
        written = _written_by(self._pid) if self._sizes else None
        if written is None:
            return "", ""
        now = time.monotonic()
        self._written.append((now, written))
        while len(self._written) > 2 and now - self._written[1][0] > _RATE_SECONDS:
            self._written.popleft()
        since, before = self._written[0]
        rate = (written - before) / (now - since) if now > since else None
        told = "" if rate is None else f"{size_of(int(rate))}/s unpacked"
        return told, f"{size_of(written)} unpacked"

    def _look_ahead(self) -> None:
        if self._dry_run is None or time.monotonic() - self._began < _COUNTING_SECONDS:
            return
        dry_run, self._dry_run = self._dry_run, None
        try:
            found = _TO_COME.search(dry_run())
        except GovError:
            return  # the packages are counted without an end, then
        if found is not None:
            self._total = _unpacked(self._cache) - self._before + int(found[1])


def size_of(count: int) -> str:
    """Bytes as people say them, in powers of ten."""
    if count < 1_000_000_000:
        return f"{count / 1_000_000:.0f} MB"
    return f"{count / 1_000_000_000:.1f} GB"


def _few(names: list[str]) -> str:
    more = len(names) - 1
    return names[0] + (f" and {more} more" if more else "")


def _count(number: int) -> str:
    return f"{number} package" if number == 1 else f"{number} packages"


def _unpacked(cache: Path) -> int:
    """Packages whose files are in uv's cache, those that were built here too."""
    try:
        return sum(1 for folder in cache.glob("archive-v*") for _ in folder.iterdir())
    except OSError:
        return 0


def _written_by(pid: int | None) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:
        return None
    found = (line.partition(": ")[2] for line in lines if line.startswith("wchar: "))
    return int(next(found, "0"))
