"""What ties an environment to the archives that its lock names, beside the RECORDs in it.

uv compares an archive with the lock's hash when it fetches it; from then on it believes what lies
unpacked in its cache, and lays even files that no RECORD names (seen with uv 0.13).  So gov keeps
two lists of its own.  `state/anchors.json` has for each package that was ever laid one digest of
the files that it came with; one that comes otherwise later is fetched anew.  `anchors.json` in a
generation's papers has the digests of its RECORDs and of the files that no RECORD names.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from governance.base.names import normalise
from governance.boundaries import record, store
from governance.environments.records import Finding, site_packages
from governance.truth import lockfile
from governance.truth.workspace import Workspace

FILE = "anchors.json"
_KNOWN = "anchors.json"
# In a dist-info folder: what an installer writes there, and signatures of the RECORD.
_INSTALLERS = frozenset(
    {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json"}
    | {"RECORD.jws", "RECORD.p7s"}
)
# What uv puts into every new environment.
_OF_A_VENV = re.compile(
    r"pyvenv\.cfg|CACHEDIR\.TAG|\.gitignore|\.lock|lib64"
    r"|bin/(python[\d.]*|activate[\w.]*|deactivate\.bat|pydoc\.bat)"
    r"|lib/python[\d.]+/site-packages/_virtualenv\.(py|pth)"
)
_LIBRARY = re.compile(r"/lib/python[\d.]+/site-packages/")
_HEADERS = re.compile(r"/include/site/python[\d.]+/[^/]+/")
_SHORT = 16


@dataclass(frozen=True)
class Came:
    """How a package came: `files` is one digest of all its files, whatever environment they lie
    in; `hashes` are the beginnings of those that the lock names for its wheels."""

    name: str
    version: str
    tags: str
    files: str
    hashes: tuple[str, ...] = ()

    @property
    def named(self) -> tuple[str, str, str]:
        """A wheel of another Python has other tags."""
        return self.name, self.version, self.tags

    def is_same_wheel(self, other: Came) -> bool:
        """Claim: the lock means the same archive; one may name more files than an earlier one.

        A folder of packages names no hash; there gov goes by the name.
        """
        both = {*self.hashes} & {*other.hashes} or self.hashes == other.hashes
        return self.named == other.named and bool(both)


@dataclass(frozen=True)
class Laid:
    """A package of an environment; `loose` are files of it that its RECORD does not name."""

    record: Path
    came: Came
    loose: tuple[Path, ...]


# --- how packages came ------------------------------------------------------------------------


def laid(workspace: Workspace, environment: Path, lock: bytes) -> list[Laid]:
    """How each package lies in the environment, which was just built from `lock`."""
    hashes = _hashes(lock, workspace.lock)
    records = [(info, _rows(info / "RECORD")) for info in _infos(environment)]
    loose = _owned(workspace, environment, _unnamed_by(environment, records))
    found = []
    for info, rows in records:
        name = normalise(_of(info)[0])
        own = tuple(loose.get(name, ()))
        came = _came(info, rows, own, hashes.get(name, ()))
        found.append(Laid(info / "RECORD", came, own))
    return found


def strangers(workspace: Workspace, packages: Sequence[Laid]) -> list[Finding]:
    """Packages that came otherwise than before, or with files that their RECORD does not name."""
    known = _known(workspace)
    found = []
    for one in packages:
        earlier = [came for came in known if came.is_same_wheel(one.came)]
        is_known = any(came.files == one.came.files for came in earlier)
        if not is_known and (earlier or one.loose):
            path = one.loose[0] if one.loose else one.record
            found.append(Finding("anchor", str(path), one.came.name))
    return found


def remember(workspace: Workspace, packages: Sequence[Laid]) -> None:
    """As they were laid they come."""
    known = _known(workspace)
    told = {(*came.named, came.files, came.hashes) for came in known}
    new = [
        one.came
        for one in packages
        if (*one.came.named, one.came.files, one.came.hashes) not in told
    ]
    if new:
        rows = [asdict(came) for came in (*known, *new)]
        store.write_json(workspace.state / _KNOWN, {"schema": 1, "packages": rows})


def in_cache(workspace: Workspace) -> list[Finding]:
    """Packages unpacked in uv's cache whose files are not those that they came with.

    By their RECORDs and the names of their files: a build hashes every file that it takes.
    """
    known: dict[tuple[str, str, str], set[str]] = {}
    for came in _known(workspace):
        known.setdefault(came.named, set()).add(came.files)
    found = []
    for info in sorted(workspace.uv_cache.glob("archive-v*/*/*.dist-info")):
        rows = _rows(info / "RECORD")
        loose = _unnamed_in(info.parent, rows)
        came = _came(info, rows, loose, ())
        if came.files not in known.get(came.named, {came.files}):
            path = loose[0] if loose else info / "RECORD"
            found.append(Finding("cache", str(path), came.name))
    return found


def _known(workspace: Workspace) -> list[Came]:
    """Raises Damaged."""
    path = workspace.state / _KNOWN
    try:
        rows = store.read_object(path).get("packages", [])
        return [Came(**{**row, "hashes": tuple(row["hashes"])}) for row in rows]
    except FileNotFoundError:
        return []
    except (TypeError, KeyError) as error:
        raise store.damaged(path, str(error)) from None


def _hashes(lock: bytes, path: Path) -> dict[str, tuple[str, ...]]:
    found = {}
    for package in lockfile.parse(lock, path).get("package", []):
        rows = package.get("wheels", [])
        named = tuple(str(row.get("hash", "")).partition(":")[2][:_SHORT] for row in rows)
        found[normalise(str(package["name"]))] = tuple(filter(None, named))
    return found


def _came(
    info: Path,
    rows: Sequence[tuple[str, str]],
    loose: Sequence[Path],
    hashes: tuple[str, ...],
) -> Came:
    name, version = _of(info)
    data, commands = f"{info.stem}.data/", _commands(info)
    lines = set()
    for path, told in rows:
        place = _place(path, data)
        script = place.removeprefix("/bin/") if place.startswith("/bin/") else ""
        inside = place.removeprefix(f"{info.name}/")
        if (inside in _INSTALLERS and inside != place) or script in commands:
            continue
        lines.add(f"{place}\t{_body(info.parent / path) if script else told}")
    lines |= {f"{_relative(path, info)}\t{store.file_digest(path)}" for path in loose}
    files = store.digest("\n".join(sorted(lines)).encode(errors="surrogateescape"))
    return Came(normalise(name), version, _tags(info), files, hashes)


def _of(info: Path) -> tuple[str, str]:
    name, _, version = info.name.removesuffix(".dist-info").partition("-")
    return name, version


def _place(path: str, data: str) -> str:
    """One name for a file in an archive and where it is laid; "/" is the environment's top."""
    if path.startswith(data):
        scheme, _, rest = path.removeprefix(data).partition("/")
        tops = {
            "purelib": "",
            "platlib": "",
            "scripts": "/bin/",
            "headers": "/include/",
            "data": "/",
        }
        path = tops.get(scheme, f"/{scheme}/") + rest
    elif path.startswith("../../../"):
        path = _HEADERS.sub("/include/", path.removeprefix("../../.."))
    return _LIBRARY.sub("", path)


def _body(path: Path) -> str:
    """The digest of a script less its first lines, which name the environment's Python."""
    try:
        text = path.read_bytes()
    except OSError:
        return ""
    if text.startswith(b"#!/bin/sh\n'''exec'"):
        text = text.split(b"\n", 3)[-1]
    elif text.startswith(b"#!"):
        text = text.partition(b"\n")[2]
    return store.digest(text)


def _commands(info: Path) -> frozenset[str]:
    """Scripts that the installer makes of the entry points."""
    try:
        text = (info / "entry_points.txt").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    sections = re.findall(r"(?ms)^\[\s*(?:console|gui)_scripts\s*\]\s*$(.*?)(?=^\[|\Z)", text)
    return frozenset(re.findall(r"(?m)^\s*([^\s=#;]+)\s*=", "\n".join(sections)))


def _tags(info: Path) -> str:
    try:
        text = (info / "WHEEL").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return " ".join(sorted(re.findall(r"(?m)^Tag:\s*(\S+)", text)))


def _rows(path: Path) -> list[tuple[str, str]]:
    """Path and hash; the hash "" where it has none."""
    try:
        return [(row[0], row[1] if len(row) > 1 else "") for row in record.rows(path)]
    except (OSError, csv.Error):
        return []


# --- files that no RECORD names ---------------------------------------------------------------


def _unnamed(environment: Path) -> list[Path]:
    """Files of an environment that no package names and no new environment has."""
    records = [(info, _rows(info / "RECORD")) for info in _infos(environment)]
    return _unnamed_by(environment, records)


def _unnamed_by(
    environment: Path, records: Sequence[tuple[Path, Sequence[tuple[str, str]]]]
) -> list[Path]:
    site = f"{site_packages(environment)}/"
    named = {
        os.path.normpath(site + path) if path.startswith(".") else site + path
        for _, rows in records
        for path, _ in rows
    }
    return [Path(path) for path in _files(environment) if path not in named]


def _unnamed_in(archive: Path, rows: Sequence[tuple[str, str]]) -> list[Path]:
    named = {f"{archive}/{path}" for path, _ in rows}
    return [Path(path) for path in _files(archive) if path not in named]


def _infos(environment: Path) -> list[Path]:
    return sorted(site_packages(environment).glob("*.dist-info"))


def _files(top: Path) -> Iterator[str]:
    prefix = len(str(top)) + 1
    for folder, folders, files in os.walk(top):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(files):
            path = f"{folder}/{name}"
            if not _OF_A_VENV.fullmatch(path[prefix:]):
                yield path


def _owned(
    workspace: Workspace, environment: Path, unnamed: Sequence[Path]
) -> dict[str, list[Path]]:
    """By package: unnamed files that the cache has of it; any others are uv's own."""
    found: dict[str, list[Path]] = {}
    site = site_packages(environment)
    for path in unnamed:
        inside = path.relative_to(site) if path.is_relative_to(site) else Path(path.name)
        for twin in workspace.uv_cache.glob(f"archive-v*/*/{_literal(inside)}"):
            for info in twin.parents[len(inside.parts) - 1].glob("*.dist-info"):
                found.setdefault(normalise(_of(info)[0]), []).append(path)
    return found


def _literal(path: Path) -> str:
    return re.sub(r"([*?[])", r"[\1]", str(path))


def _relative(path: Path, info: Path) -> str:
    return os.path.relpath(path, info.parent)


# --- two environments of one lock -------------------------------------------------------------


def bodies(environment: Path) -> dict[str, str]:
    """The digest of each file that a package brings, by its path in the environment."""
    found = {}
    for path in map(Path, _files(environment)):
        inside = path.relative_to(environment)
        is_installers = inside.parent.suffix == ".dist-info" and path.name in _INSTALLERS
        if not is_installers and not path.is_symlink():
            is_script = inside.parts[0] == "bin"
            found[str(inside)] = _body(path) if is_script else store.file_digest(path) or ""
    return found


def owners(environment: Path) -> dict[str, str]:
    """Which package's RECORD names a file, by its path in the environment."""
    site = site_packages(environment).relative_to(environment)
    return {
        os.path.normpath(f"{site}/{path}"): normalise(_of(info)[0])
        for info in _infos(environment)
        for path, _ in _rows(info / "RECORD")
    }


# --- a generation's own -----------------------------------------------------------------------


def listing(environment: Path) -> bytes:
    """The digests of what no RECORD vouches for, for `FILE` in a generation's papers."""
    return store.dump_json(_own(environment))


def check(papers: Path, environment: Path, wanted: str) -> list[Finding]:
    """Against the list that was written at the build; `wanted` is its digest."""
    try:
        data = store.read_bytes(papers / FILE)
    except FileNotFoundError:
        return [Finding("missing", str(papers / FILE), "the list of its RECORDs is gone")]
    if store.digest(data) != wanted:
        return [Finding("anchor", str(papers / FILE), "changed after the build")]
    listed, now = store.parse_json(data, papers / FILE), _own(environment)
    return [
        Finding("anchor", str(environment / name), "not as it was when the environment was built")
        for name in sorted(listed.keys() | now.keys())
        if listed.get(name) != now.get(name)
    ]


def _own(environment: Path) -> dict[str, Any]:
    records = [info / "RECORD" for info in _infos(environment)]
    listed = {*records, *_unnamed(environment), *_of_venv(environment)}
    return {
        str(path.relative_to(environment)): store.file_digest(path)
        for path in sorted(listed)
        if path.is_file() and not path.is_symlink()
    }


def _of_venv(environment: Path) -> Iterator[Path]:
    for folder in (environment, environment / "bin", site_packages(environment)):
        for path in folder.iterdir():
            if _OF_A_VENV.fullmatch(str(path.relative_to(environment))):
                yield path
