"""A workspace of the first version: its code comes into the workspace's own repositories, and the
registry says what each node is.  Part of every writing command; nothing to do after the first.

pyproject.toml stays as it is, so that pending transactions keep their base: ComfyUI's commit comes
into it with the next change.
"""

from __future__ import annotations

from typing import Any

from governance.base import clock, names
from governance.base.errors import GovError
from governance.boundaries import store
from governance.truth import redo, registry
from governance.truth.workspace import Workspace


def take_over(workspace: Workspace) -> list[str]:
    """What was done, in sentences."""
    if not workspace.plugins.is_file() or not _is_old(workspace):
        return []
    taken = [_captured(workspace, record) for record in registry.records(workspace)]
    return [_write(workspace, taken)]


def _is_old(workspace: Workspace) -> bool:
    """A record without `kind` was written by the first version."""
    try:
        registry.load(workspace)
        return any("kind" not in record for record in registry.records(workspace))
    except GovError:
        return False  # damaged: the command itself tells, or brings another one back


def _captured(workspace: Workspace, record: dict[str, Any]) -> dict[str, Any]:
    """The record with what lies on the disk; the commit that was promoted is kept too, where its
    clone still has it."""
    from governance.changes import checkouts
    from governance.truth.documents import Plugin

    plugin = Plugin.from_json(record, workspace.plugins)
    source = checkouts.repository(workspace, plugin.id)
    try:
        state = checkouts.state(workspace, plugin)
        if state is not None and state.head and plugin.commit and plugin.commit != state.head:
            source.take(registry.place(workspace, plugin), plugin.commit)
    except GovError:
        return {**record, "kind": "clone"}  # what cannot be read is told by the command it concerns
    if state is None:
        return {**record, "kind": "clone"}
    code = state.code if state.head == plugin.commit else plugin.commit
    return {**record, "kind": state.kind, "code": code}


def _write(workspace: Workspace, records: list[dict[str, Any]]) -> str:
    from governance.changes import audit, staging
    from governance.environments import generations
    from governance.truth import snapshots

    data = store.dump_json(records)
    before = snapshots.truth_as_it_is(workspace)
    new = snapshots.Truth(before.pyproject, before.lock, data)
    receipt = store.read_object(workspace.receipt) if workspace.receipt.is_file() else {}
    # An edit of the truth that nobody has taken in yet is found afterwards, too.
    digests = ("pyproject_sha256", "lock_sha256")
    kept = {name: receipt[name] for name in digests if name in receipt}
    documents = {
        "state/plugins.json": data,
        "state/receipt.json": staging.receipt_bytes(
            workspace, new, generations.current(workspace), "takeover", **kept
        ),
    }
    entry = audit.entry(
        identity=names.new_txid(clock.now()),
        verb="takeover",
        steps=["record what each node is"],
        changes=(),
        code=(),
        who=audit.made(workspace),
        facts={},
    )
    redo.commit(workspace, redo.Record("takeover", documents, entry=entry))
    count = len(records)
    return f"this workspace is of gov's first version: the code of {count} nodes is recorded now"
