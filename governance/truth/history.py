"""state/history.jsonl: one line a change, for ever.  Nothing heavy is imported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from governance.boundaries import store
from governance.truth.workspace import Workspace

_LINE = dict[str, Any]


def rows(workspace: Workspace) -> list[_LINE]:
    """All changes, oldest first; a line that cannot be read (a crash, an edit) is left out."""
    return list(_parsed(workspace))


def _parsed(workspace: Workspace) -> Iterator[_LINE]:
    try:
        data = store.read_bytes(workspace.history)
    except FileNotFoundError:
        return
    for line in data.splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and isinstance(row.get("id"), str):
            yield row


def last_change(workspace: Workspace) -> _LINE | None:
    """The newest change of prod that is not itself taken back by an undo."""
    undone = 0
    for row in reversed(rows(workspace)):
        if not row.get("pre"):
            continue
        if row.get("verb") == "undo":
            undone += 1
        elif undone:
            undone -= 1
        else:
            return row
    return None
