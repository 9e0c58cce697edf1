"""`gov diff`: packages, code and settings between two states of the installation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from governance.boundaries import store
from governance.cli import tables
from governance.cli.outcome import Outcome
from governance.truth import ledger, lockfile, registry, snapshots, typed
from governance.truth.resolution import Project
from governance.truth.workspace import Workspace


class State(NamedTuple):
    """`label` as it is shown; `versions` by package, `code` by place."""

    label: str
    versions: Mapping[str, str]
    code: Mapping[str, str | None]


def outcome(
    space: Workspace, before: str, after: str, more: Mapping[str, Any] | None = None
) -> Outcome:
    one, other = _state(space, before), _state(space, after)
    changes = lockfile.changes(one.versions, other.versions)
    places = sorted(one.code.keys() | other.code.keys())
    rows = [
        {"place": place, "before": one.code.get(place), "after": other.code.get(place)}
        for place in places
        if one.code.get(place) != other.code.get(place)
    ]
    parts = tables.changes(changes, title=f"packages, {one.label} -> {other.label}")
    parts += tables.code(rows)
    if not changes and not rows:
        parts = [f"no difference between {one.label} and {other.label}"]
    data = {
        "before": one.label,
        "after": other.label,
        "changes": [change.to_json() for change in changes],
        "code": rows,
        **(more or {}),
    }
    return Outcome(data, parts)


def _state(space: Workspace, text: str) -> State:
    """prod, a transaction or a snapshot, by what was typed."""
    if text == "prod":
        return _of_truth(space, "prod", snapshots.truth(space))
    try:
        txid = typed.transaction(space, text)
    except Exception as error:
        if getattr(error, "code", "") not in ("unknown_transaction", "bad_id"):
            raise
        snapshot = snapshots.load(space, typed.snapshot(space, text))
        return _of_truth(space, snapshot.id, snapshots.content(space, snapshot))
    return _of_transaction(space, txid)


def _of_truth(space: Workspace, label: str, content: snapshots.Truth) -> State:
    versions = lockfile.versions(lockfile.parse(content.lock, space.lock))
    plugins = registry.parse(store.parse_json(content.plugins, space.plugins), space)
    comfyui = Project.read(content.pyproject, space.pyproject).comfyui
    code: dict[str, str | None] = {"ComfyUI": comfyui.get("commit")} if comfyui else {}
    code |= {p.id: p.code or p.commit for p in plugins if registry.is_promoted(p)}
    return State(label, versions, code)


def _of_transaction(space: Workspace, txid: str) -> State:
    """What prod would be with it, as it was staged."""
    base = _of_truth(space, txid, snapshots.truth(space))
    tx = ledger.load(space, txid)
    path = space.work / txid / "uv.lock"
    versions = base.versions
    if path.is_file():
        versions = lockfile.versions(lockfile.parse(store.read_bytes(path), path))
    code = {**base.code, **{node: part.get("code") for node, part in tx.nodes.items()}}
    if tx.comfyui.get("commit"):
        code["ComfyUI"] = tx.comfyui["commit"]
    return State(txid, versions, code)
