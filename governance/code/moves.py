"""From one commit to another, file by file: each with its digest before and after.

The bytes are staged beforehand, so that a change that was cut off goes on without git and without
the network, and stops at a file that is neither the one nor the other.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from governance.base.errors import Damaged, Refused
from governance.boundaries import scratch, store
from governance.code import lay
from governance.code.repository import Repository

_SUBMODULE = "160000"
_LARGEST_AT_ONCE = 64 << 20  # bytes


class FileMove(NamedTuple):
    """One file; a digest is SHA-256 of its bytes on the disk, `link:<target>` for a link, None
    where there is none.  `staged` names the new bytes in the staging folder."""

    path: str
    before: str | None
    after: str | None
    mode: int
    staged: str | None


def plan(
    repository: Repository, place: Path, before: str, after: str, staging: Path
) -> tuple[FileMove, ...]:
    """The files that differ between two commits; the new bytes lie in `staging`, durable.

    Raises Refused (code `local_changes`) where a file on the disk is neither of the two, or one
    that git does not know lies in the way.
    """
    rows = _differing(repository, before, after)
    repository.export(after, staging, [path for path, row in rows.items() if row.after])
    was = _digests_of(repository, before, place, rows)
    moves = tuple(_move(path, row, was.get(path), staging) for path, row in sorted(rows.items()))
    _refuse_edited(place, moves)
    store.sync_filesystem(staging)
    return moves


def _digests_of(
    repository: Repository, commit: str, place: Path, rows: Mapping[str, _Difference]
) -> dict[str, str | None]:
    """Of the files of a commit: those that lie on the disk unedited need not be written anew."""
    found: dict[str, str | None] = {}
    unsure = []
    for path, row in rows.items():
        if not row.before:
            continue
        digest = _unedited(place / path, row.blob)
        if digest is None:
            unsure.append(path)
        else:
            found[path] = digest
    if unsure:
        with scratch.folder("before") as folder:
            repository.export(commit, folder, unsure)
            found |= {path: _digest(folder, path) for path in unsure}
    return found


def _unedited(path: Path, blob: str) -> str | None:
    """The digest of a plain file that holds the bytes of git's `blob`; None for anything else."""
    try:
        facts = path.lstat()
        plain = stat.S_ISREG(facts.st_mode) and facts.st_size <= _LARGEST_AT_ONCE
        data = path.read_bytes() if plain else None
    except OSError:
        return None
    if data is None:
        return None
    # gitformat-pack(5): an object is named by the digest of its kind, its length and its bytes.
    kind = hashlib.sha256 if len(blob) == 64 else hashlib.sha1
    named = kind(b"blob %d\0" % len(data), usedforsecurity=False)
    named.update(data)
    return hashlib.sha256(data).hexdigest() if named.hexdigest() == blob else None


def all_of(repository: Repository, commit: str, staging: Path) -> tuple[FileMove, ...]:
    """Every file of a commit, for a place where nothing is."""
    repository.export(commit, staging)
    store.sync_filesystem(staging)
    return tuple(
        FileMove(path, None, _digest(staging, path), _mode(entry.mode), path)
        for path, entry in sorted(repository.files(commit).items())
    )


def addition(staging: Path, name: str) -> FileMove:
    """A file that comes to where none is."""
    mode = 0o755 if os.access(staging / name, os.X_OK) else 0o644
    return FileMove(name, None, _digest(staging, name), mode, name)


def apply(place: Path, moves: Sequence[FileMove], staging: Path) -> None:
    """Make every file be as it is after its move, durably; idempotent and offline.

    Raises Damaged naming a file that is neither as before nor as after.
    """
    wrong = blocked(place, moves, staging)
    if wrong is not None:
        raise Damaged(
            f"the code at {place} cannot be changed: {wrong}",
            hint="put one of its two versions in place, then run the command again",
            code="recovery_blocked",
        )
    rows = [move._asdict() for move in moves]
    try:
        changed = lay.lay(str(place.resolve()), str(staging), list(rows), durable=True)
    except OSError as error:
        raise store.disk_error(place, error) from error
    for folder in sorted(changed):
        if os.path.isdir(folder):  # noqa: PTH112
            store.sync_folder(Path(folder))


def blocked(place: Path, moves: Sequence[FileMove], staging: Path) -> str | None:
    """What keeps the moves from being made, or from being brought to their end; None where
    nothing does."""
    leaving = {move.path for move in moves if move.after is None}
    for move in moves:
        now = _digest(place, move.path)
        if now == move.after:
            continue
        if now != move.before and not _gives_way(place, move.path, now, leaving):
            return f"{place / move.path} was changed since"
        if move.staged is not None and _digest(staging, move.staged) != move.after:
            return f"{staging / move.staged} is not there any more"
    return None


def is_begun(place: Path, moves: Iterable[FileMove]) -> bool:
    """Whether any file is as it is to be, and was not so before."""
    return any(
        move.after != move.before and _digest(place, move.path) == move.after for move in moves
    )


def _gives_way(place: Path, path: str, now: str | None, leaving: set[str]) -> bool:
    """A file between two crashes: gone before its new bytes came; a folder whose files all go."""
    if now is None:
        return True
    if now != "folder":
        return False
    inside = [p for p in (place / path).rglob("*") if not p.is_dir() or p.is_symlink()]
    names = {str(p.relative_to(place)) for p in inside if "__pycache__" not in p.parts}
    return names <= leaving


def _refuse_edited(place: Path, moves: Sequence[FileMove]) -> None:
    leaving = {move.path for move in moves if move.after is None}
    edited = [
        move.path
        for move in moves
        if (now := _digest(place, move.path)) not in (move.before, move.after)
        and not (now == "folder" and _gives_way(place, move.path, now, leaving))
    ]
    if edited:
        more = f" and {len(edited) - 5} more" if len(edited) > 5 else ""
        raise Refused(
            f"files that would be overwritten were edited: {', '.join(edited[:5])}{more}",
            hint="put them back or move them away first",
            code="local_changes",
            facts={"paths": edited[:100], "place": str(place)},
        )


class _Difference(NamedTuple):
    """A mode is "" where the file is not in that commit; `blob` is the name of its old bytes."""

    before: str
    after: str
    blob: str


def _differing(repository: Repository, before: str, after: str) -> dict[str, _Difference]:
    """By path."""
    with repository.index() as env:
        told = repository.ask(
            env, "diff-tree", "-r", "-z", "--raw", "--no-abbrev", "--no-renames", before, after
        ).text()
    fields = [text for text in told.split("\0") if text]
    rows = {}
    for head, path in zip(fields[::2], fields[1::2], strict=True):
        was, now, blob = head.lstrip(":").split()[:3]
        row = _Difference(_real(was), _real(now), blob)
        if row.before or row.after:
            rows[path] = row
    return rows


def _real(mode: str) -> str:
    return "" if mode in ("000000", _SUBMODULE) else mode


def _move(path: str, row: _Difference, before: str | None, staging: Path) -> FileMove:
    after = _digest(staging, path) if row.after else None
    return FileMove(
        path, before, after, _mode(row.after or row.before), path if row.after else None
    )


def _digest(folder: Path, path: str) -> str | None:
    return lay.digest(f"{folder}/{path}")


def _mode(mode: str) -> int:
    return 0o755 if mode == "100755" else 0o644
