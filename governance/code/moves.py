"""From one commit to another, file by file: each with its digest before and after.

The bytes are staged beforehand, so that a change that was cut off goes on without git and without
the network, and stops at a file that is neither the one nor the other.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from governance.base.errors import Damaged, Refused
from governance.boundaries import store
from governance.code import lay
from governance.code.repository import Repository

_SUBMODULE = "160000"


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
    new = [path for path, (_, mode) in rows.items() if mode]
    old = [path for path, (mode, _) in rows.items() if mode]
    repository.export(after, staging, new)
    with tempfile.TemporaryDirectory(prefix="gov-before-") as name:
        repository.export(before, Path(name), old)
        moves = tuple(
            _move(path, modes, Path(name) if path in old else None, staging)
            for path, modes in sorted(rows.items())
        )
    _refuse_edited(place, moves)
    store.sync_filesystem(staging)
    return moves


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


def _differing(repository: Repository, before: str, after: str) -> dict[str, tuple[str, str]]:
    """Path -> its mode before and after, "" where it is not in that commit."""
    with repository.index() as env:
        told = repository.ask(
            env, "diff-tree", "-r", "-z", "--raw", "--no-renames", before, after
        ).text()
    fields = [text for text in told.split("\0") if text]
    rows = {}
    for head, path in zip(fields[::2], fields[1::2], strict=True):
        modes = [_real(mode) for mode in head.lstrip(":").split()[:2]]
        if any(modes):
            rows[path] = (modes[0], modes[1])
    return rows


def _real(mode: str) -> str:
    return "" if mode in ("000000", _SUBMODULE) else mode


def _move(path: str, modes: tuple[str, str], old: Path | None, staging: Path) -> FileMove:
    before = _digest(old, path) if old is not None else None
    after = _digest(staging, path) if modes[1] else None
    return FileMove(path, before, after, _mode(modes[1] or modes[0]), path if modes[1] else None)


def _digest(folder: Path, path: str) -> str | None:
    return lay.digest(f"{folder}/{path}")


def _mode(mode: str) -> int:
    return 0o755 if mode == "100755" else 0o644
