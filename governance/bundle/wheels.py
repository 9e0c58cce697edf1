"""The packages of a lock as files: the wheel that fits this platform, with the lock's hash.

uv keeps what it unpacked and not the file that it came in, so a file of an index is fetched; one
of a folder of packages is copied, and what was built here from source is taken from uv's cache.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from governance.base.errors import GovError
from governance.boundaries import process, store
from governance.boundaries.uv_progress import size_of
from governance.bundle.contents import WHEELS
from governance.catalogue.index_page import credentials
from governance.changes.session import Session
from governance.environments import generations
from governance.environments.wheelhouse import name_of
from governance.truth import lockfile
from governance.truth.resolution import Project

if TYPE_CHECKING:
    from packaging.tags import Tag

_CHUNK = 1 << 20
_TRIES = 3
_SECONDS = 60.0
_LEAST_BYTES = 4096
_SIDE_BY_SIDE = 4


@dataclass(frozen=True)
class Collected:
    files: tuple[Path, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Wanted:
    """One file of the lock; `hashed` is `sha256:...`, empty where a folder of packages has none."""

    package: str
    address: str
    hashed: str

    @property
    def name(self) -> str:
        return name_of({"url": self.address})


def collect(session: Session, project: Project, lock: bytes, folder: Path) -> Collected:
    """Every file of the lock for this platform, in `folder`.

    Raises GovError (code `bad_download`) where a file is not the one that the lock names.
    """
    workspace = session.workspace
    made = generations.usable_prod(workspace)
    version = made.python if made else ""
    ranks = ranking(version)
    target = store.make_folder(folder / WHEELS)
    wanted: list[Wanted] = []
    files: list[Path] = []
    notes: list[str] = []
    for package in lockfile.parse(lock, workspace.lock).get("package", []):
        source = package.get("source", {})
        if "virtual" in source:
            continue
        found = choose(package, ranks)
        built = None if found else _built(workspace.uv_cache, package)
        if found is not None:
            wanted.append(found)
        elif built is not None:
            files.append(built)
            notes.append(f"{package['name']} has no wheel: the one that was built here goes along")
        else:
            notes.append(_left_out(package))
    fetch = _Fetch(project, target, len(wanted), session.uv.patience.stall_seconds)
    with session.step(f"fetching {len(wanted)} packages", fetch.words):
        files += process.side_by_side(fetch.one, wanted, _SIDE_BY_SIDE)
    return Collected(tuple(sorted(files)), tuple(notes))


def _left_out(package: Mapping[str, Any]) -> str:
    where = next(iter(package.get("source", {})), "source")
    return (
        f"{package['name']} {package.get('version', '')} is not among the wheels (it comes as "
        f"{where}, and no wheel of it is here): the import needs the network for all packages"
    )


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
    address = str(best[2].get("url") or best[2].get("path"))
    return Wanted(str(package["name"]), address, str(best[2].get("hash", "")))


def _built(cache: Path, package: Mapping[str, Any]) -> Path | None:
    name = str(package["name"]).replace("-", "_")
    pattern = f"sdists-v*/**/{name}-{package.get('version')}-*.whl"
    return next((path for path in sorted(cache.glob(pattern)) if path.is_file()), None)


# --- getting it -------------------------------------------------------------------------------


class _Fetch:
    """Files into a folder, several at a time, each once it is what the lock names."""

    def __init__(self, project: Project, folder: Path, count: int, stall: float) -> None:
        self.folder = folder
        self.count = count
        self.done = 0
        self.stall = stall
        self.credentials = credentials(project.indexes)

    def one(self, wanted: Wanted) -> Path:
        target = self.folder / wanted.name
        found = self._taken(wanted, target)
        kind, _, digest = wanted.hashed.partition(":")
        if digest and (kind != "sha256" or found != digest):
            raise GovError(
                f"{wanted.address} is not the file that uv.lock names: its hash differs",
                hint="the index or the network sent other bytes: run the command again later",
                code="bad_download",
                facts={"expected": wanted.hashed, "found": f"sha256:{found}"},
            )
        self.done += 1
        return target

    def words(self) -> str:
        written = sum(path.stat().st_size for path in self.folder.iterdir())
        return f"fetching packages: {self.done} of {self.count}, {size_of(written)}"

    def _taken(self, wanted: Wanted, target: Path) -> str:
        if not wanted.address.startswith(("http://", "https://")):
            path = Path(urlsplit(wanted.address).path)
            with open(path, "rb") as stream:
                return _copied(stream, target)
        for number in range(_TRIES):
            try:
                return self._fetched(wanted.address, target)
            except OSError as error:
                if number == _TRIES - 1:
                    raise _unreachable(wanted, error) from None
            time.sleep(number + 1)
        raise AssertionError

    def _fetched(self, address: str, target: Path) -> str:
        from urllib.request import Request, urlopen

        request = Request(address, headers={"User-Agent": "gov"})
        known = self.credentials.get(urlsplit(address).netloc)
        if known:
            request.add_header("Authorization", f"Basic {known}")
        with urlopen(request, timeout=min(_SECONDS, self.stall)) as answer:
            return _copied(_Flowing(answer, self.stall), target)


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
