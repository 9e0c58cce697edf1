"""One change to several documents and the prod link, as one redo record.

The intent file holds the new bytes of every document themselves, so that one synced write is the
commit point; before it nothing happened, after it the change is rolled forward, idempotently and
without uv or the network.  Nothing is moved while any file is neither old nor new by its digest.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from governance import clock, store
from governance.errors import Damaged
from governance.workspace import Workspace

SCHEMA = 1


class Move(NamedTuple):
    """A rename of node code, both paths absolute and on one filesystem."""

    source: Path
    target: Path


class Change(NamedTuple):
    """`documents` maps workspace-relative paths to new bytes; `generation` None leaves the link."""

    verb: str
    documents: Mapping[str, bytes]
    generation: str | None = None
    moves: Sequence[Move] = ()


def commit(workspace: Workspace, change: Change) -> None:
    """Make the change durable as a whole.  The caller holds the workspace and has recovered."""
    intent = _intent(workspace, change)
    store.write_json(workspace.intent, intent)
    _apply(workspace, intent)


def pending(workspace: Workspace) -> dict[str, Any] | None:
    """The intent of a command that was cut off after its commit point, if there is one."""
    try:
        intent = store.read_object(workspace.intent)
    except FileNotFoundError:
        return None
    if not _is_intent(intent):
        raise store.damaged(workspace.intent, "it is not the record of a change")
    return intent


def recover(workspace: Workspace) -> str | None:
    """Roll an interrupted change forward; the verb that it belonged to, or None.

    Raises Damaged, touching nothing, where a file is neither as before nor as intended.
    """
    intent = pending(workspace)
    if intent is None:
        return None
    _check(workspace, intent)
    _apply(workspace, intent)
    return str(intent["verb"])


def read_document(workspace: Workspace, path: Path) -> bytes:
    """The bytes that hold: those of a pending intent, else the file's.  FileNotFoundError."""
    intent = pending(workspace)
    if intent is not None:
        relative = str(path.relative_to(workspace.root))
        for entry in intent["documents"]:
            if entry["path"] == relative:
                return str(entry["text"]).encode()
    return path.read_bytes()


def _intent(workspace: Workspace, change: Change) -> dict[str, Any]:
    documents = [
        {
            "path": path,
            "before": store.file_digest(workspace.root / path),
            "after": store.digest(data),
            "text": data.decode(),
        }
        for path, data in change.documents.items()
    ]
    link = None
    if change.generation is not None:
        link = {"before": _link(workspace), "after": f".generations/{change.generation}"}
    moves = [{"source": str(m.source), "target": str(m.target)} for m in change.moves]
    return {
        "schema": SCHEMA,
        "verb": change.verb,
        "created_at": clock.stamp(),
        "link": link,
        "moves": moves,
        "documents": documents,
    }


def _is_intent(value: dict[str, Any]) -> bool:
    documents, moves, link = value.get("documents"), value.get("moves"), value.get("link", "")
    return (
        isinstance(value.get("verb"), str)
        and (link is None or _holds(link, "before", "after"))
        and isinstance(documents, list)
        and all(_holds(entry, "path", "before", "after", "text") for entry in documents)
        and isinstance(moves, list)
        and all(_holds(move, "source", "target") for move in moves)
    )


def _holds(value: Any, *keys: str) -> bool:
    return isinstance(value, dict) and all(key in value for key in keys)


def _check(workspace: Workspace, intent: dict[str, Any]) -> None:
    for entry in intent["documents"]:
        path = workspace.root / entry["path"]
        if store.digest(str(entry["text"]).encode()) != entry["after"]:
            raise _stop(workspace, f"{workspace.intent} does not hold what it says")
        if store.file_digest(path) not in (entry["before"], entry["after"]):
            raise _stop(workspace, f"{path} was changed since")
    link = intent["link"]
    if link is not None and _link(workspace) not in (link["before"], link["after"]):
        raise _stop(workspace, f"{workspace.prod} was changed since")
    for move in intent["moves"]:
        if not os.path.lexists(move["source"]) and not os.path.lexists(move["target"]):
            raise _stop(workspace, f"neither {move['source']} nor {move['target']} is there")


def _stop(workspace: Workspace, why: str) -> Damaged:
    return Damaged(
        f"an interrupted change cannot be finished: {why}",
        hint=f"nothing was touched; compare the file with {workspace.intent}, put one of the two "
        "versions in place, then run the command again",
        code="recovery_blocked",
    )


def _apply(workspace: Workspace, intent: dict[str, Any]) -> None:
    """Link, code, documents; every folder is synced before the intent goes."""
    if intent["link"] is not None:
        store.point_link(workspace.prod, intent["link"]["after"])
    for move in intent["moves"]:
        if os.path.lexists(move["source"]):
            store.move(Path(move["source"]), Path(move["target"]))
    folders = {_replace(workspace, entry) for entry in intent["documents"]}
    for folder in folders:
        store.sync_folder(folder)
    store.remove_file(workspace.intent)


def _replace(workspace: Workspace, entry: dict[str, Any]) -> Path:
    path: Path = workspace.root / str(entry["path"])
    if store.file_digest(path) != entry["after"]:
        store.write(path, str(entry["text"]).encode())
    return path.parent


def _link(workspace: Workspace) -> str | None:
    try:
        return str(workspace.prod.readlink())
    except OSError:
        return None
