"""Files of an environment against the RECORDs of its packages (PEP 376)."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import stat
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from governance.base.errors import GovError
from governance.base.names import normalise
from governance.boundaries import record
from governance.conflict import shared

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Finding:
    """One file or package that is not as it should be; `kind` is stable."""

    kind: str
    path: str
    detail: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Recorded(NamedTuple):
    """What one RECORD says of a file: `wanted` is `<algorithm>=<urlsafe base64>`."""

    owner: str
    wanted: str
    size: str


@dataclass(frozen=True)
class Misrecorded:
    """A file that its package was published with, and that the package's RECORD tells wrongly.

    `path` is as in the RECORD, relative to site-packages; `recorded` and `found` are
    `<algorithm>=<urlsafe base64>`, `found` is "" for a file that is not in the package.
    """

    package: str
    version: str
    path: str
    recorded: str
    found: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def site_packages(environment: Path) -> Path:
    """Raises GovError where the environment has none."""
    found = sorted((environment / "lib").glob("python3.*/site-packages"))
    if not found:
        raise GovError(
            f"{environment} holds no Python packages folder",
            hint="`gov repair` builds it again from the lock",
            code="broken_environment",
        )
    return found[0]


def check_records(
    environment: Path,
    *,
    misrecorded: Iterable[Misrecorded] = (),
    undecided: Collection[str] = (),
    sealed: Mapping[str, str] | None = None,
) -> list[Finding]:
    """Every file that a RECORD names is there with that size and hash.

    Of a file that several packages install (the opencv family) it is the one of the package that
    wins, see shared.groups.  For packages in `undecided`, from a build of an earlier gov, one
    matching RECORD is enough.  A file of `misrecorded` has to be as it came.  One that is the very
    file of a sealed generation (`sealed`: relative path -> `facts`) was checked there, and is not
    hashed again, unless several packages install it.
    """
    expected = records(environment)
    spared = _same_as_sealed(environment, expected, sealed) if sealed else frozenset()
    _leave_winners(environment, expected, undecided)
    _put_as_came(environment, expected, misrecorded)
    files = [(file, entries) for file, entries in expected.items() if file not in spared]
    # Hashing lets other threads run; a task a file cost more than the hashing, so a slice each.
    workers = os.cpu_count() or 1
    slices = [files[number::workers] for number in range(workers)]
    with ThreadPoolExecutor(workers) as pool:
        found = [finding for part in pool.map(_check_slice, slices) for finding in part]
    return sorted(found, key=lambda finding: finding.path)


def facts(found: os.stat_result) -> str:
    """What is looked at to know a plain file again: size, mtime in ns, inode, mode."""
    mode = stat.S_IMODE(found.st_mode)
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ino} {mode:o}"


def _same_as_sealed(
    environment: Path, expected: Mapping[str, Sequence[Recorded]], sealed: Mapping[str, str]
) -> frozenset[str]:
    begin = len(str(environment)) + 1
    return frozenset(
        file
        for file, entries in expected.items()
        if len(entries) == 1 and (known := sealed.get(file[begin:])) and facts_of(file) == known
    )


def facts_of(file: str) -> str | None:
    """None for what is no plain file."""
    try:
        found = os.lstat(file)
    except OSError:
        return None
    return facts(found) if stat.S_ISREG(found.st_mode) else None


def records(environment: Path) -> dict[str, list[Recorded]]:
    """Every file with a hash in some RECORD, and what each RECORD says of it."""
    site = site_packages(environment)
    result: dict[str, list[Recorded]] = {}
    for path in sorted(site.glob("*.dist-info/RECORD")):
        owner = path.parent.name.split("-")[0]
        for row in _rows(path):
            if len(row) == 3 and row[1]:
                entry = Recorded(owner, row[1], row[2])
                result.setdefault(f"{site}/{row[0]}", []).append(entry)
    return result


def misrecorded(environment: Path, findings: Sequence[Finding]) -> list[Misrecorded]:
    """What lies there instead of what was recorded, one row a finding."""
    site = site_packages(environment)
    expected = records(environment)
    versions = _versions(site)
    rows = []
    for finding in findings:
        entry = next(one for one in expected[finding.path] if one.owner == finding.detail)
        package = normalise(entry.owner)
        path = finding.path.removeprefix(f"{site}/")
        found = _found(finding.path, entry.wanted)
        rows.append(Misrecorded(package, versions[entry.owner], path, entry.wanted, found))
    return rows


def _versions(site: Path) -> dict[str, str]:
    names = [path.name.removesuffix(".dist-info") for path in site.glob("*.dist-info")]
    return {name.split("-")[0]: name.rpartition("-")[2] for name in names}


def _leave_winners(
    environment: Path, expected: dict[str, list[Recorded]], undecided: Collection[str]
) -> None:
    site = site_packages(environment)
    for group in shared.groups(site):
        if not undecided or not set(group.order) & set(undecided):
            for path in group.paths:
                winner, file = group.winner(path), f"{site}/{path}"
                own = [entry for entry in expected[file] if normalise(entry.owner) == winner]
                expected[file] = own or expected[file]


def _put_as_came(
    environment: Path, expected: dict[str, list[Recorded]], rows: Iterable[Misrecorded]
) -> None:
    site = site_packages(environment)
    for row in rows:
        file = f"{site}/{row.path}"
        if not row.found:
            expected.pop(file, None)
        elif file in expected:
            owner = expected[file][0].owner
            expected[file] = [Recorded(owner, row.found, "")]


def _rows(path: Path) -> tuple[record.Row, ...]:
    try:
        return record.rows(path)
    except (OSError, csv.Error) as error:
        raise GovError(
            f"{path} cannot be read: {error}",
            hint="`gov repair` builds prod again from the lock",
            code="broken_environment",
            facts={"path": str(path)},
        ) from None


def _check_slice(files: list[tuple[str, list[Recorded]]]) -> list[Finding]:
    findings = []
    for file, entries in files:
        verdicts = [_compare(file, entry) for entry in entries]
        if None not in verdicts:
            findings.append(Finding(str(verdicts[0]), file, entries[0].owner))
    return findings


def _compare(file: str, entry: Recorded) -> str | None:
    try:
        if entry.size and os.stat(file).st_size != int(entry.size):  # noqa: PTH116 (49,000 files)
            return "size"
        return None if _hashed(file, entry.wanted) == entry.wanted else "hash"
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return "missing"
    except ValueError:  # no number, or no algorithm: nobody's RECORD
        return "hash"


def _found(file: str, wanted: str) -> str:
    try:
        return _hashed(file, wanted)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return ""
    except ValueError:
        return _hashed(file, "sha256=")


def _hashed(file: str, wanted: str) -> str:
    """The file's hash in the form, and by the algorithm, of `wanted`."""
    algorithm = wanted.partition("=")[0]
    with open(file, "rb", buffering=0) as stream:
        hashed = hashlib.new(algorithm, usedforsecurity=False)
        while chunk := stream.read(_CHUNK):
            hashed.update(chunk)
    encoded = base64.urlsafe_b64encode(hashed.digest()).rstrip(b"=").decode()
    return f"{algorithm}={encoded}"


def sentences(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """One a package, of rows of a manifest's misrecorded."""
    files: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        files.setdefault((row["package"], row["version"]), []).append(row["path"])
    return [_sentence(*package, paths) for package, paths in files.items()]


def _sentence(package: str, version: str, paths: Sequence[str]) -> str:
    more = f" and {len(paths) - 1} more" if paths[1:] else ""
    return (
        f"{package} {version} was published with a wrong entry in its own list of files "
        f"({paths[0]}{more}); the files are those of the archive that the lock names"
    )
