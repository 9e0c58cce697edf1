"""The files of a lock: which one this platform takes, and how it is fetched."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from governance.base.errors import GovError
from governance.boundaries import process

if TYPE_CHECKING:
    from packaging.tags import Tag

_CHUNK = 1 << 20
_TRIES = 3
_SECONDS = 60.0
_LEAST_BYTES = 4096


@dataclass(frozen=True)
class Wanted:
    """One file of the lock; `hashed` is `sha256:...`, empty where a folder of packages has none."""

    package: str
    address: str
    hashed: str

    @property
    def name(self) -> str:
        return name_of({"url": self.address})


@dataclass(frozen=True)
class Wheel:
    """One that lies here for a file of the lock: `address` is what the lock names, `hashed` is
    `sha256:...` or empty."""

    address: str
    path: Path
    hashed: str = ""


def named(row: Mapping[str, Any]) -> str:
    """Where a row of the lock says that its file is."""
    return str(row.get("url") or row.get("path") or "")


def name_of(row: Mapping[str, Any]) -> str:
    """The file's name, of a row of the lock."""
    return unquote(urlsplit(named(row)).path).rpartition("/")[2]


# --- which file -------------------------------------------------------------------------------


def ranking(version: str) -> dict[Tag, int]:
    """How well a wheel's tags fit this platform's Python `version`: less is better."""
    from packaging import tags

    parts = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if len(parts) < 2:
        return {tag: number for number, tag in enumerate(tags.sys_tags())}
    interpreter = f"cp{parts[0]}{parts[1]}"
    listed = [
        *tags.cpython_tags(parts, abis=[interpreter]),
        *tags.compatible_tags(parts, interpreter),
    ]
    return {tag: number for number, tag in reversed(list(enumerate(listed)))}


def choose(package: Mapping[str, Any], ranks: Mapping[Tag, int]) -> Wanted | None:
    """The wheel of an index that fits best; None where there is none."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    if "registry" not in package.get("source", {}):
        return None
    best: tuple[int, Any, Mapping[str, Any]] | None = None
    for row in package.get("wheels", []):
        try:
            _, _, build, fitting = parse_wheel_filename(name_of(row))
        except InvalidWheelFilename:
            continue
        known = [ranks[tag] for tag in fitting if tag in ranks]
        key = (min(known), tuple(-n if isinstance(n, int) else 0 for n in build)) if known else None
        if key is not None and (best is None or key < best[:2]):
            best = (*key, row)
    if best is None:
        return None
    return Wanted(str(package["name"]), named(best[2]), str(best[2].get("hash", "")))


# --- getting it -------------------------------------------------------------------------------


def fetch(wanted: Wanted, target: Path, credentials: Mapping[str, str], stall: float) -> str:
    """Its bytes in `target`; their sha256.  `stall`: seconds in which something has to come.

    Raises GovError where they cannot be had, or are not those that the lock names (code
    `bad_download`).
    """
    found = _taken(wanted, target, credentials, stall)
    kind, _, digest = wanted.hashed.partition(":")
    if digest and (kind != "sha256" or found != digest):
        raise GovError(
            f"{wanted.address} is not the file that uv.lock names: its hash differs",
            hint="the index or the network sent other bytes: run the command again later",
            code="bad_download",
            facts={"expected": wanted.hashed, "found": f"sha256:{found}"},
        )
    return found


def _taken(wanted: Wanted, target: Path, credentials: Mapping[str, str], stall: float) -> str:
    if not wanted.address.startswith(("http://", "https://")):
        path = Path(unquote(urlsplit(wanted.address).path))
        try:
            with open(path, "rb") as stream:
                return _copied(stream, target)
        except OSError as error:
            raise _unreachable(wanted, error) from None
    for number in range(_TRIES):
        try:
            return _fetched(wanted.address, target, credentials, stall)
        except OSError as error:
            if number == _TRIES - 1:
                raise _unreachable(wanted, error) from None
        time.sleep(number + 1)
    raise AssertionError


def _fetched(address: str, target: Path, credentials: Mapping[str, str], stall: float) -> str:
    from urllib.request import Request, urlopen

    request = Request(address, headers={"User-Agent": "gov"})
    known = credentials.get(urlsplit(address).netloc)
    if known:
        request.add_header("Authorization", f"Basic {known}")
    with urlopen(request, timeout=min(_SECONDS, stall)) as answer:
        return _copied(_Flowing(answer, stall), target)


@dataclass
class _Flowing:
    """An answer that is read for as long as it flows: the time-out of a socket lets one byte a
    second pass for ever."""

    answer: Any
    stall: float
    came: int = 0
    since: float = field(default_factory=time.monotonic)

    def read(self, most: int) -> bytes:
        piece = bytes(self.answer.read1(most))
        self.came += len(piece)
        if self.came >= _LEAST_BYTES:
            self.came, self.since = 0, time.monotonic()
        elif piece and time.monotonic() - self.since > self.stall:
            raise TimeoutError(f"next to nothing came for {self.stall:g} s")
        return piece


def _copied(source: Any, target: Path) -> str:
    hashed = hashlib.sha256()
    with open(target, "wb") as stream:
        while chunk := source.read(_CHUNK):
            process.stop_if_called_off()
            hashed.update(chunk)
            stream.write(chunk)
    return hashed.hexdigest()


def _unreachable(wanted: Wanted, error: OSError) -> GovError:
    return GovError(
        f"{wanted.package} cannot be fetched from {wanted.address}: {error}",
        hint="check the network and the index, then run the command again",
        code="index_unreachable",
        facts={"url": wanted.address},
    )
