"""Claims about the products, each looked at in a moment: is the lock that of the project, is prod
that of the lock, does the freeze tell of prod, does a snapshot hold the truth?

Asked before every run of the graph, so nothing heavy is imported: only digests are compared.
"""

from __future__ import annotations

from typing import Any

from governance.base import names
from governance.base.errors import GovError, UsageError
from governance.boundaries import store
from governance.truth import redo
from governance.truth.workspace import Workspace

FREEZE_HEADER = "# generation {}"


def receipt(workspace: Workspace) -> dict[str, Any]:
    """state/receipt.json, empty where there is none: the truth as the last command left it."""
    try:
        return store.read_object(workspace.receipt)
    except FileNotFoundError:
        return {}


def lock_is_current(workspace: Workspace) -> bool:
    """uv.lock is what was locked from this pyproject.toml."""
    row = receipt(workspace)
    return (
        workspace.lock.is_file()
        and row.get("pyproject_sha256") == store.file_digest(workspace.pyproject)
        and row.get("lock_sha256") == store.file_digest(workspace.lock)
    )


def refuse_tampered_lock(workspace: Workspace) -> None:
    """Raises GovError for a lock that was changed outside gov: no gate has seen it."""
    wanted = receipt(workspace).get("lock_sha256")
    found = store.file_digest(workspace.lock)
    if wanted is not None and found is not None and found != wanted:
        raise GovError(
            f"{workspace.lock} was changed outside gov",
            hint="bring it back with `gov rollback <snapshot_id>`, or delete it and run "
            "`gov init`, which restores it",
            code="lock_tampered",
            facts={"expected": wanted, "found": found},
        )


def prod_is_current(workspace: Workspace) -> bool:
    """Prod is the environment of this uv.lock."""
    name = workspace.generation
    if name is None:
        return False
    try:
        manifest = store.read_object(manifest_path(workspace, name))
    except FileNotFoundError:
        return False
    return manifest.get("lock_sha256") == store.file_digest(workspace.lock)


def is_settled(workspace: Workspace) -> bool:
    """Prod is the environment of this pyproject.toml and uv.lock."""
    return lock_is_current(workspace) and prod_is_current(workspace)


def freeze_is_current(workspace: Workspace) -> bool:
    """state/prod.freeze.txt tells of the environment that prod leads to."""
    try:
        text = store.read_bytes(workspace.freeze)
    except (OSError, GovError):
        return False
    return text.partition(b"\n")[0] == FREEZE_HEADER.format(workspace.generation).encode()


def truth_is_snapshotted(workspace: Workspace) -> bool:
    """The newest snapshot holds exactly this truth."""
    index = store.parse_json(
        redo.read_document(workspace, workspace.snapshots_index), workspace.snapshots_index
    )
    try:
        newest = names.snapshot_id(index["snapshots"][-1]["id"])
    except (LookupError, TypeError, UsageError):
        return False  # none, or a damaged index, which the action names
    meta = store.read_object(workspace.snapshots / newest / "meta.json")
    digests = ("pyproject_sha256", "lock_sha256", "plugins_sha256")
    found = {
        name: store.file_digest(path) for name, path in zip(digests, workspace.truth, strict=True)
    }
    return bool(meta.get("digests") == found)


def manifest_path(workspace: Workspace, name: str) -> Any:
    return workspace.generations / f"{name}.d" / "manifest.json"
