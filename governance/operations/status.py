"""What a workspace looks like right now.  Read only, and quick: it imports neither doit, tomlkit
nor packaging."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from governance.base.errors import GovError
from governance.boundaries import store
from governance.code import glance
from governance.environments import interpreter
from governance.operations import left_behind
from governance.truth import ledger, redo, registry, workspace
from governance.truth.workspace import Workspace


def status(space: Workspace) -> dict[str, Any]:
    """The `data` of `gov status`."""
    overview = ledger.overview(space)
    records = registry.records(space)
    return {
        "root": str(space.root),
        "comfyui_dir": space.config.text("comfyui_dir"),
        "prod_env_exists": space.generation is not None,
        "lock_exists": space.lock.is_file(),
        "generation": space.generation,
        "transactions_total": overview.total,
        "transactions_pending": len(overview.pending),
        "pending_transactions": overview.pending[-ledger.RECENT :],
        "recent_transactions": overview.recent,
        "nodes_total": len(records),
        "nodes": [_node(record) for record in records],
        "ungoverned": ungoverned(space, records),
        "drift": drift(space),
        "unfinished": _unfinished(space),
        "held_by": workspace.holder(space),
    }


def ungoverned(space: Workspace, records: Sequence[dict[str, Any]]) -> list[str]:
    """Names in custom_nodes that ComfyUI would load and no record names; a glance only."""
    try:
        folder = space.comfyui_dir
    except GovError:
        return []  # told already
    known = {registry.loader_name_in(record).lower() for record in records}
    new = [name for name in glance.loadable(folder) if name.lower() not in known]
    if not new:
        return []
    from governance import git

    tracked = git.tracked(folder, "custom_nodes")
    return [name for name in new if name not in tracked]


def drift(space: Workspace) -> dict[str, Any]:
    """The last verify's verdict and its time; `verdict` is None where none was made."""
    try:
        report = store.read_object(space.verify_report)
    except (OSError, GovError):
        return {"verdict": None, "checked_at": None}
    return {"verdict": report.get("verdict"), "checked_at": report.get("checked_at")}


def warnings(space: Workspace) -> list[str]:
    """What an operator should know before the next step."""
    told = []
    receipt = _receipt(space)
    if receipt and _differs(space, space.pyproject, receipt.get("pyproject_sha256")):
        told.append(
            "pyproject.toml was edited by hand: `bin/doit` takes the edit in, "
            "`gov rollback last` takes it back"
        )
    elif receipt and _differs(space, space.lock, receipt.get("lock_sha256")):
        told.append("uv.lock was changed outside gov: `gov rollback` brings it back")
    if space.generation is not None:
        broken = interpreter.problem(space, space.generation)
        told += [f"prod cannot start: {broken}; {interpreter.HINT}"] if broken else []
    if redo.pending(space) is not None:
        told.append("a command was cut off after its commit point: the next one finishes it")
    return [*told, *_stale_core(space), *_code(space), *_left_behind(space)]


def _left_behind(space: Workspace) -> list[str]:
    try:
        found = left_behind.sentence(space)
    except GovError:
        return []  # told already
    return [found] if found else []


def _code(space: Workspace) -> list[str]:
    """What lies on the disk and is not what was promoted.  git is paid for only where there is
    something to look at."""
    promoted = [record for record in registry.records(space) if record.get("last_snapshot")]
    try:
        has_git = (space.comfyui_dir / ".git").exists()
    except GovError:
        return []  # told already
    if not promoted and not has_git:
        return []
    from governance.operations import nodes_now

    comfyui = nodes_now.comfyui_sentence(space) if has_git else None
    return [*([comfyui] if comfyui else []), *nodes_now.sentences(space)]


def _stale_core(space: Workspace) -> list[str]:
    recorded = _receipt(space).get("core_sha256")
    try:
        path = space.comfyui_dir / "requirements.txt"
    except GovError as error:
        return [error.message]
    if recorded is None or not _differs(space, path, recorded):
        return []
    return ["ComfyUI's requirements.txt changed since init: `gov init` takes the change in"]


def _differs(space: Workspace, path: Path, recorded: object) -> bool:
    """Whether `path` is not what the receipt says; looked at only where it is newer than that,
    since the receipt is the last file of every commit."""
    try:
        if path.stat().st_mtime_ns <= space.receipt.stat().st_mtime_ns:
            return False
    except FileNotFoundError:
        return True
    return store.file_digest(path) != recorded


def _receipt(space: Workspace) -> dict[str, Any]:
    try:
        return store.read_object(space.receipt)
    except (OSError, GovError):
        return {}


def _unfinished(space: Workspace) -> str | None:
    intent = redo.pending(space)
    return str(intent["verb"]) if intent is not None else None


def _node(record: dict[str, Any]) -> dict[str, Any]:
    wanted = (
        "id",
        "kind",
        "git_url",
        "commit",
        "registry",
        "enabled",
        "last_txid",
        "last_snapshot",
    )
    return {name: record.get(name) for name in wanted}
