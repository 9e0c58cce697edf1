"""What may be deleted: never what runs, what prod is or came from, or what a transaction needs."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from governance.base.errors import GovError
from governance.boundaries import scratch, store
from governance.changes.staging import Stages
from governance.environments import generations
from governance.operations import cache_retention, code_retention
from governance.truth import inventory, ledger, snapshots
from governance.truth.workspace import Workspace

_DAY_SECONDS = 24 * 3600


def clean(workspace: Workspace, *, dry_run: bool = False) -> list[str]:
    """Delete what is beyond retention; what was deleted (or would be), as workspace paths."""
    doomed = [
        *_generations(workspace),
        *_of_finished(workspace, workspace.candidates),
        *_of_finished(workspace, workspace.work),
        *_kept(workspace),
        *_logs(workspace),
        *_orphan_snapshots(workspace),
    ]
    if not dry_run:
        for path in doomed:
            _delete(workspace, path)
    forgotten = code_retention.forget(workspace, dry_run=dry_run)
    gone = frozenset(path.name for path in doomed if path.parent == workspace.generations)
    forgotten += cache_retention.forget(workspace, gone, dry_run=dry_run)
    return [*(_shown(workspace, path) for path in doomed), *forgotten]


def _shown(workspace: Workspace, path: Path) -> str:
    within = path.is_relative_to(workspace.root)
    return str(path.relative_to(workspace.root)) if within else str(path)


def _generations(workspace: Workspace) -> list[Path]:
    """Generations beyond the newest N that nothing needs; one with damaged papers is old."""
    kept = _needed(workspace)
    made = {name: generations.usable(workspace, name) for name in generations.names(workspace)}
    spare = [name for name in made if name not in kept]
    spare.sort(key=lambda name: found.created_at if (found := made[name]) else "", reverse=True)
    limit = int(workspace.config.number("storage.generations_keep"))
    doomed = [name for name in spare[limit:] if not generations.is_in_use(workspace, name)]
    return [generations.path(workspace, name) for name in doomed]


def _needed(workspace: Workspace) -> set[str]:
    """Prod, its parent, the newest snapshots' and what pending transactions would switch to."""
    current = str(generations.current(workspace))
    needed = {current}
    prod = generations.usable_prod(workspace)
    if prod is not None:
        needed.add(str(prod.parent))
    for row in ledger.overview(workspace).pending:
        stages = Stages(workspace, row["txid"])
        needed.add(str(stages.receipt(stages.build_receipt).get("generation")))
        with contextlib.suppress(GovError):
            tx = ledger.load(workspace, row["txid"])
            needed.add(str(tx.observation.get("generation")))
            needed.add(str(tx.plan.get("generation")))
    for row in snapshots.index(workspace)[-2:]:
        with contextlib.suppress(GovError):
            needed.add(str(snapshots.load(workspace, row["id"]).generation))
    return needed


def _of_finished(workspace: Workspace, folder: Path) -> list[Path]:
    """Entries that belong to no transaction that is still open; of probes recovery knows more."""
    if not folder.is_dir():
        return []
    held = {row["txid"] for row in ledger.overview(workspace).pending}
    return [
        p
        for p in sorted(folder.iterdir())
        if p.name.removesuffix("-smoke") not in held
        and not p.name.startswith(("kept-", scratch.PROBE))
    ]


def _kept(workspace: Workspace) -> list[Path]:
    """Folders of purged nodes that held files of the user's, after a time."""
    seconds = workspace.config.number("storage.kept_days") * _DAY_SECONDS
    limit = time.time() - seconds
    return [path for path in inventory.kept(workspace) if path.stat().st_ctime < limit]


def _logs(workspace: Workspace) -> list[Path]:
    """Logs of transactions that are over, beyond the newest N."""
    if not workspace.logs.is_dir():
        return []
    limit = int(workspace.config.number("storage.logs_keep"))
    held = {row["txid"] for row in ledger.overview(workspace).pending}
    found = sorted(workspace.logs.iterdir())
    # By time: what a bug or a smoke test left has no transaction's id, which would sort by time.
    newest_first = sorted(found, key=lambda path: path.lstat().st_mtime_ns, reverse=True)
    ids = list(dict.fromkeys(path.name.partition(".")[0] for path in newest_first))
    doomed = {name for name in ids[limit:] if name.removesuffix("-smoke") not in held}
    return [path for path in found if path.name.partition(".")[0] in doomed]


def _orphan_snapshots(workspace: Workspace) -> list[Path]:
    """Snapshot folders that no index entry names: written before a commit that never came."""
    if not workspace.snapshots.is_dir():
        return []
    known = {row["id"] for row in snapshots.index(workspace)}
    return [p for p in sorted(workspace.snapshots.iterdir()) if p.name not in known]


def _delete(workspace: Workspace, path: Path) -> None:
    if path.parent == workspace.generations:
        generations.discard(workspace, path.name)
    else:
        store.remove_tree(path)
