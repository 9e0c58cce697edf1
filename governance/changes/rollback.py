"""Bring back any snapshot: the same versions, the same files, the registry."""

from __future__ import annotations

import time
from dataclasses import dataclass

from governance.boundaries import store
from governance.changes import staging
from governance.changes.session import Session
from governance.code import inventory
from governance.environments import generations
from governance.truth import lockfile, redo, snapshots
from governance.truth.documents import Generation, Snapshot
from governance.truth.lockfile import Change
from governance.truth.workspace import Workspace


@dataclass(frozen=True)
class RolledBack:
    """`rebuilt` says whether uv was needed; where the generation was there, it was not.

    `check_seconds` is what the check of its files took.
    """

    snapshot_id: str
    rollback_pre: str
    generation: str
    changes: tuple[Change, ...]
    rebuilt: bool
    check_seconds: float
    warnings: tuple[str, ...]


def rollback(session: Session, snapshot_id: str) -> RolledBack:
    """Restore the truth of a snapshot and switch prod to its generation.

    Without the network where the generation exists; node code is never moved.
    """
    workspace = session.workspace
    snapshot = snapshots.load(workspace, snapshot_id)
    content = snapshots.content(workspace, snapshot)
    before = generations.usable(workspace, str(generations.current(workspace)))
    started = time.monotonic()
    existing = _existing(workspace, snapshot)
    checked = time.monotonic() - started
    target = existing or _built(session, snapshot, content)
    rebuilt = existing is None
    pre = _take_pre(workspace, snapshot_id)
    documents = {
        **content.documents(),
        "state/receipt.json": staging.receipt_bytes(workspace, content, target.name, "rollback"),
    }
    redo.commit(workspace, redo.Change("rollback", documents, target.name))
    warnings: list[str] = []
    with session.tidying():
        snapshots.prune(workspace, keep=(pre.id, snapshot_id))
        warnings = inventory.mismatches(workspace)
    return RolledBack(
        snapshot_id,
        pre.id,
        target.name,
        tuple(lockfile.changes(before.locked if before else {}, target.locked)),
        rebuilt,
        checked,
        tuple(warnings),
    )


def _take_pre(workspace: Workspace, snapshot_id: str) -> Snapshot:
    """The truth as it is, damaged or not as TOML: a rollback is the way out of that."""
    return snapshots.take(
        workspace,
        reason="rollback_pre",
        generation=generations.current(workspace),
        ref=snapshot_id,
        content=snapshots.truth_as_it_is(workspace),
    )


def _built(session: Session, snapshot: Snapshot, content: snapshots.Truth) -> Generation:
    workspace = session.workspace
    session.say("the environment is not there any more, or was changed: building it again")
    folder = workspace.work / f"rollback-{snapshot.id}"
    store.make_folder(folder)
    try:
        store.write(folder / "pyproject.toml", content.pyproject)
        store.write(folder / "uv.lock", content.lock)
        return generations.build(workspace, session.uv, folder)
    finally:
        store.remove_tree(folder)


def _existing(workspace: Workspace, snapshot: Snapshot) -> Generation | None:
    """The snapshot's own generation, if its files are as they were built."""
    if snapshot.generation is None:
        return None
    found = generations.usable(workspace, snapshot.generation)
    if found is None or not _holds(workspace, found, snapshot):
        return None
    return None if generations.check_files(workspace, found.name) else found


def _holds(workspace: Workspace, found: Generation, snapshot: Snapshot) -> bool:
    """The same lock, or one of other bytes and equal content."""
    if found.lock_sha256 == snapshot.digests.get("lock_sha256"):
        return True
    paths = (
        workspace.snapshots / snapshot.id / "uv.lock",
        generations.papers(workspace, found.name) / "uv.lock",
    )
    contents = {lockfile.content_digest(lockfile.parse(p.read_bytes(), p)) for p in paths}
    return len(contents) == 1
