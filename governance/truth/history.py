"""The changes in state/history.jsonl, kept for ever (log.py writes and checks it).

Nothing heavy is imported.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from governance.boundaries import store
from governance.truth.workspace import Workspace

_LINE = dict[str, Any]
# The log holds them too; they changed nothing.
_IS_REFUSAL = b'"outcome":"refused"'


def rows(workspace: Workspace) -> list[_LINE]:
    """All changes, oldest first; a line that cannot be read (a crash, an edit) is left out."""
    return list(newest_first(workspace))[::-1]


def newest(workspace: Workspace, count: int) -> tuple[list[_LINE], int]:
    """The newest `count` changes, oldest first, and how many lines there are in all."""
    lines = _lines(workspace)
    changes = sum(_IS_REFUSAL not in line for line in lines)
    return list(islice(_parsed(reversed(lines)), count))[::-1], changes


def newest_first(workspace: Workspace) -> Iterator[_LINE]:
    """Each is parsed when it is asked for: a long history holds megabytes."""
    return _parsed(reversed(_lines(workspace)))


def _lines(workspace: Workspace) -> list[bytes]:
    try:
        return store.read_bytes(workspace.history).splitlines()
    except FileNotFoundError:
        return []


def _parsed(lines: Iterable[bytes]) -> Iterator[_LINE]:
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and isinstance(row.get("id"), str) and "outcome" not in row:
            yield row


def words(row: _LINE) -> str:
    """`rollback: restore X`, or the verb alone where the steps say no more."""
    verb = str(row.get("verb", "?"))
    told = "; ".join(row.get("steps") or [verb])
    return verb if told == verb else f"{verb}: {told}"


def brought(workspace: Workspace, package: str, version: str) -> _LINE | None:
    """The change that left `package` at `version`; None where the last one that moved it left it
    at another, or none did."""
    for row in newest_first(workspace):
        for name, _, after in _packages(row):
            if name == package:
                return row if after == version else None
    return None


def _packages(row: _LINE) -> Iterator[list[str | None]]:
    """[name, before, after] each; what an edit damaged is left out."""
    found = row.get("packages")
    for moved in found if isinstance(found, list) else ():
        if isinstance(moved, list) and len(moved) == 3:
            yield moved


def last_change(workspace: Workspace) -> _LINE | None:
    """The newest change of prod that is not itself taken back by an undo."""
    undone = 0
    for row in newest_first(workspace):
        if not row.get("pre"):
            continue
        if row.get("verb") == "undo":
            undone += 1
        elif undone:
            undone -= 1
        else:
            return row
    return None
