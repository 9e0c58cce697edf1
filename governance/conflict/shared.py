"""Files that several packages install: uv lays whoever comes last, in any order, and says nothing.

Which one wins is decided here, by names and RECORDs alone; owners.py lays the files so.

Measured: opencv-python, -headless and -contrib share 89 files, onnxruntime and onnxruntime-gpu 316.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from governance.base.names import normalise
from governance.boundaries import record

NEVER = "sys_platform == 'never'"

# The richest member first.  For a plan there are only names; an environment has its RECORDs.
_FAMILIES = (
    (
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
        "opencv-python",
        "opencv-python-headless",
    ),
    ("onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "onnxruntime"),
)


@dataclass(frozen=True)
class Shared:
    """Packages that install the same `files`.

    `owner` is the package whose bytes are on the disk, "" in a plan and where several are mixed;
    `keep` is the richest, which wins in what gov builds; `overrides` take the others away, empty
    where too little is shared for one to stand in for the other.
    """

    packages: tuple[str, ...]
    files: int
    owner: str
    keep: str
    overrides: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Record:
    """One RECORD: path relative to site-packages to its told (hash, size)."""

    package: str
    files: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class Group:
    """Packages that share `paths`, the richest first: of each path the first that has it wins."""

    records: tuple[_Record, ...]
    paths: tuple[str, ...]

    @property
    def order(self) -> tuple[str, ...]:
        return tuple(record.package for record in self.records)

    def winner(self, path: str) -> str:
        return next(record.package for record in self.records if path in record.files)

    def is_settled(self, site_packages: Path) -> bool:
        """Claim: every file that differs between them lies there as its winner has it."""
        told = {path: list(_told(self.records, path).values()) for path in self.paths}
        return all(
            _digest(site_packages / path) == entries[0][0]
            for path, entries in told.items()
            if len(set(entries)) > 1
        )


@dataclass(frozen=True)
class OwnerChange:
    """The files of a package that stays, before and after: whose they are, "" for several's."""

    package: str
    before: str
    after: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def sentence(self) -> str:
        whose = [self._whose(owner) for owner in (self.before, self.after)]
        return f"files of {self.package}: {whose[0]} -> {whose[1]}"

    def _whose(self, owner: str) -> str:
        return "its own" if owner == self.package else f"those of {owner or 'several packages'}"


def same_files(site_packages: Path) -> tuple[Shared, ...]:
    """Groups of installed packages that share files, by their RECORDs, the largest first.

    Files with the same bytes in each package join none: who came last does not matter (the empty
    `nvidia/__init__.py` of a dozen packages).
    """
    found = [_shared(site_packages, group) for group in groups(site_packages)]
    return tuple(sorted(found, key=lambda shared: (-shared.files, shared.packages)))


def groups(site_packages: Path) -> list[Group]:
    """As same_files, with no look at any file but the RECORDs."""
    records = {record.package: record for record in _records(site_packages)}
    owned: dict[str, list[str]] = {}
    for one in records.values():
        for path in one.files:
            owned.setdefault(path, []).append(one.package)
    together = {path: set(names) for path, names in owned.items() if len(names) > 1}
    differing = [names for path, names in together.items() if _differs(records, names, path)]
    return [
        Group(
            tuple(records[name] for name in _richest_first(records, family)),
            tuple(path for path, names in together.items() if len(names & family) > 1),
        )
        for family in _joined(differing)
    ]


def owner_changes(
    before: tuple[Iterable[Mapping[str, Any]], Collection[str]],
    after: tuple[Iterable[Mapping[str, Any]], Collection[str]],
) -> list[OwnerChange]:
    """Packages that are in two environments, with files of another package in the second.

    Each environment is its manifest's shared_files and the names of its packages.
    """
    old, new = _owners(*before), _owners(*after)
    return [
        OwnerChange(name, old[name], new[name])
        for name in sorted(old.keys() & new.keys())
        if old[name] != new[name]
    ]


def _owners(shared: Iterable[Mapping[str, Any]], names: Collection[str]) -> dict[str, str]:
    own = {name: name for name in names}
    rows = [(name, row) for row in shared for name in row["packages"]]
    return own | {name: str(row.get("owner") or "") for name, row in rows}


def families(names: Collection[str]) -> tuple[Shared, ...]:
    """The same guessed from the names of a plan, for the families that are known to share."""
    found = [[name for name in family if name in names] for family in _FAMILIES]
    return tuple(
        Shared(tuple(sorted(members)), 0, "", members[0], away(members[1:]))
        for members in found
        if len(members) > 1
    )


def _records(site_packages: Path) -> Iterator[_Record]:
    for path in sorted(site_packages.glob("*.dist-info/RECORD")):
        name = normalise(path.parent.name.removesuffix(".dist-info").rpartition("-")[0])
        rows = [row for row in record.rows(path) if len(row) == 3 and row[1]]
        yield _Record(name, {row[0]: (row[1], row[2]) for row in rows})


def _differs(records: Mapping[str, _Record], names: Collection[str], path: str) -> bool:
    return len({records[name].files[path] for name in names}) > 1


def _joined(groups: Iterable[set[str]]) -> list[set[str]]:
    """Groups that have a package in common are one family."""
    joined: list[set[str]] = []
    for names in groups:
        family = names.union(*(other for other in joined if other & names))
        joined = [*(other for other in joined if not other & names), family]
    return joined


def _shared(site_packages: Path, group: Group) -> Shared:
    names, paths = group.order, set(group.paths)
    # One licence or test file in common does not make two packages stand in for each other; of
    # opencv 5 less than half the files are shared, since each build brings its own libraries.
    is_family = _family_of(names) or all(
        len(record.files.keys() & paths) * 2 > len(record.files) for record in group.records[1:]
    )
    return Shared(
        packages=tuple(sorted(names)),
        files=len(paths),
        owner=names[0] if group.is_settled(site_packages) else _owner(site_packages, group),
        keep=names[0],
        overrides=away(names[1:]) if is_family else (),
    )


def _family_of(names: Collection[str]) -> tuple[str, ...]:
    return next((family for family in _FAMILIES if set(names) <= set(family)), ())


def _richest_first(records: Mapping[str, _Record], names: Collection[str]) -> list[str]:
    """By the number of files, then by name; the members of a known family in its own order."""
    ordered = sorted(names, key=lambda name: (-len(records[name].files), name))
    for family in _FAMILIES:
        members = iter([name for name in family if name in names])
        ordered = [next(members) if name in family else name for name in ordered]
    return ordered


def _told(records: Iterable[_Record], path: str) -> dict[str, tuple[str, str]]:
    return {record.package: record.files[path] for record in records if path in record.files}


def _owner(site_packages: Path, group: Group) -> str:
    """The package to which most of the files on the disk belong alone, by content."""
    votes: Counter[str] = Counter()
    for path in group.paths:
        told = _told(group.records, path)
        if len(set(told.values())) == 1:
            continue
        found = _digest(site_packages / path)
        votes.update(name for name, (digest, _) in told.items() if digest == found)
    return votes.most_common(1)[0][0] if len(votes) == 1 else ""


def _digest(path: Path) -> str:
    """As RECORD tells it; "" for a file that is not there."""
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").digest()
    except OSError:
        return ""
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def away(names: Collection[str]) -> tuple[str, ...]:
    """Overrides that take packages away, whoever asks for them."""
    return tuple(f"{name} ; {NEVER}" for name in names)
