"""What may be deleted: never what runs, what prod is or came from, or what a transaction needs."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from governance import environment, history, ledger, store
from governance.errors import GovError
from governance.workspace import Workspace


def clean(workspace: Workspace, *, dry_run: bool = False) -> list[str]:
    """Delete what is beyond retention; what was deleted (or would be), as workspace paths."""
    doomed = [
        *_generations(workspace),
        *_of_finished(workspace, workspace.candidates),
        *_of_finished(workspace, workspace.work),
        *_logs(workspace),
        *_orphan_snapshots(workspace),
    ]
    if not dry_run:
        for path in doomed:
            _delete(workspace, path)
    return [str(path.relative_to(workspace.root)) for path in doomed]


@contextlib.contextmanager
def in_use(workspace: Workspace, generation: str) -> Iterator[None]:
    """Hold a generation against clean-up while a program runs in it."""
    with open(_hold(workspace, generation), "a") as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)
        yield


def is_in_use(workspace: Workspace, generation: str) -> bool:
    path = _hold(workspace, generation)
    if not path.is_file():
        return False
    with open(path, "a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _hold(workspace: Workspace, generation: str) -> Path:
    return environment.papers(workspace, generation) / ".in-use"


def _generations(workspace: Workspace) -> list[Path]:
    """Finished generations beyond the newest N that nothing needs."""
    kept = _needed(workspace)
    made = (environment.manifest(workspace, name) for name in environment.names(workspace))
    found = [manifest for manifest in made if manifest is not None]
    found.sort(key=lambda m: m.created_at, reverse=True)
    spare = [m.name for m in found if m.name not in kept]
    limit = int(workspace.config.number("storage.generations_keep"))
    doomed = [name for name in spare[limit:] if not is_in_use(workspace, name)]
    return [environment.path(workspace, name) for name in doomed]


def _needed(workspace: Workspace) -> set[str]:
    """Prod, its parent, the newest snapshots' and what pending transactions would switch to."""
    needed = {str(environment.current(workspace))}
    prod = environment.prod(workspace)
    if prod is not None:
        needed.add(str(prod.parent))
    for row in ledger.overview(workspace).pending:
        with contextlib.suppress(GovError):
            tx = ledger.load(workspace, row["txid"])
            needed.add(str(tx.observation.get("generation")))
            needed.add(str(tx.plan.get("generation")))
    for row in history.index(workspace)[-2:]:
        with contextlib.suppress(GovError):
            needed.add(str(history.load(workspace, row["id"]).generation))
    return needed


def _of_finished(workspace: Workspace, folder: Path) -> list[Path]:
    """Entries that belong to no transaction that is still open."""
    if not folder.is_dir():
        return []
    held = {row["txid"] for row in ledger.overview(workspace).pending}
    return [p for p in sorted(folder.iterdir()) if p.name.removesuffix("-smoke") not in held]


def _logs(workspace: Workspace) -> list[Path]:
    """Logs of transactions that are over, beyond the newest N."""
    if not workspace.logs.is_dir():
        return []
    limit = int(workspace.config.number("storage.logs_keep"))
    held = {row["txid"] for row in ledger.overview(workspace).pending}
    ids = sorted({path.name.partition(".")[0] for path in workspace.logs.iterdir()})
    doomed = {name for name in ids[:-limit] if name.removesuffix("-smoke") not in held}
    return [p for p in sorted(workspace.logs.iterdir()) if p.name.partition(".")[0] in doomed]


def _orphan_snapshots(workspace: Workspace) -> list[Path]:
    """Snapshot folders that no index entry names: written before a commit that never came."""
    if not workspace.snapshots.is_dir():
        return []
    known = {row["id"] for row in history.index(workspace)}
    return [p for p in sorted(workspace.snapshots.iterdir()) if p.name not in known]


def _delete(workspace: Workspace, path: Path) -> None:
    if path.parent == workspace.generations:
        environment.discard(workspace, path.name)
    else:
        store.remove_tree(path)
