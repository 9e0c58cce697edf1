"""The frame of every writing command: hold the workspace, finish what was cut off, go on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from governance.base import names
from governance.base.errors import GovError, Refused
from governance.boundaries import scratch, store
from governance.environments import generations
from governance.operations import takeover
from governance.truth import ledger, redo, workspace
from governance.truth.documents import ABORTED, PROMOTED
from governance.truth.workspace import GOES, Workspace


@contextmanager
def exclusive(space: Workspace, verb: str) -> Iterator[list[str]]:
    """Hold the workspace alone, recovered; yields sentences that tell what recovery did."""
    with workspace.writing(space, verb) as just_now:
        if not just_now:
            yield []
            return
        told = [*recover(space), *takeover.take_over(space)]
        try:
            yield told
        except Refused as error:
            _log_refusal(space, verb, error)
            raise


def _log_refusal(space: Workspace, verb: str, error: Refused) -> None:
    from governance.changes import audit

    audit.refused(space, verb, error)


def recover(space: Workspace) -> list[str]:
    """Roll an interrupted commit forward, then drop what other interrupted work left behind."""
    for folder in space.folders():
        store.refuse_link(folder)
    done = []
    verb = redo.recover(space)
    if verb is not None:
        done.append(f"finished the interrupted `gov {verb}`")
        ledger.rebuild(space)
    for name in generations.discard_unfinished(space):
        done.append(f"deleted the unfinished environment {name}")
    for txid in _end_interrupted(space):
        done.append(f"transaction {txid} was interrupted and is failed now")
    _drop_temporaries(space)
    _drop_node_code(space)
    _drop_work(space)
    _drop_candidates(space)
    _drop_scratch(space)
    return done


def _end_interrupted(space: Workspace) -> list[str]:
    if not any(row.get("interrupted") for row in ledger.overview(space).pending):
        return []
    from governance.changes import ending  # half of what a rollback would import otherwise

    return ending.end_interrupted(space)


def _drop_temporaries(space: Workspace) -> None:
    """Files and snapshots that were being written: none of them has come to count."""
    for folder in (space.root, space.root / "bin", *space.folders()):
        for left in folder.glob(f"{store.TEMPORARY}*"):
            store.remove_tree(left)
    for left in space.generations.glob(f"*.d/{store.TEMPORARY}*"):
        store.remove_tree(left)


def _drop_node_code(space: Workspace) -> None:
    """Clones that never came into custom_nodes, and code that had left it to be deleted."""
    for folder in redo.nurseries(space):
        for pattern in ("add-*", "purge-*"):
            for left in folder.glob(pattern):
                store.remove_tree(left)


def _drop_work(space: Workspace) -> None:
    """Stages of changes that were cut off before they had a record, and what was being fetched."""
    for left in space.work.glob("fetch-*"):
        store.remove_tree(left)
    for path in space.work.glob("*"):
        if _is_nobodys(space, path.name):
            store.remove_tree(path)


def _drop_candidates(space: Workspace) -> None:
    """Of tries and smoke tests, which end with their command, and those of transactions that are
    over and were to be cleaned."""
    for path in sorted(space.candidates.glob("[!.]*")):
        if _is_nobodys(space, path.name) or _is_over(space, path):
            store.remove_tree(path)
            store.remove_tree(space.work / path.name)


_IN_PASSING = re.compile(r"-(?:smoke|before|try\d+)$")


def _is_nobodys(space: Workspace, name: str) -> bool:
    if _IN_PASSING.search(name):
        return True
    return names.is_txid(name) and not (space.transactions / f"{name}.json").is_file()


def _is_over(space: Workspace, path: Path) -> bool:
    if not (path / GOES).is_file():
        return False
    try:
        return ledger.load(space, path.name).status in (PROMOTED, ABORTED)
    except GovError:
        return False


def _drop_scratch(space: Workspace) -> None:
    """Folders for a moment, of processes that are gone; `gov run` and `tx shell` may be using
    theirs."""
    for folder in (space.candidates, space.generations):
        scratch.sweep(folder, scratch.PROBE)
    scratch.sweep()
