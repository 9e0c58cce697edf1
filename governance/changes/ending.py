"""How transactions end: resolved, aborted, interrupted; and what is cleaned then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from governance.base import clock
from governance.base.errors import GovError, UsageError
from governance.boundaries import store
from governance.changes import plan
from governance.changes.observing import end
from governance.changes.session import Session
from governance.changes.staging import Stages
from governance.changes.work import open_work
from governance.environments import candidate
from governance.truth import ledger
from governance.truth.documents import (
    ABORTED,
    FAILED,
    NEEDS_RESOLUTION,
    PROMOTE_FAILED,
    PROMOTED,
    RESOLVED,
    Transaction,
)
from governance.truth.workspace import Workspace


def abort(session: Session, txid: str) -> Transaction:
    """End a transaction and clean its candidate; prod is not touched."""
    workspace = session.workspace
    tx = ledger.load(workspace, txid)
    if tx.status == ABORTED:
        return tx
    tx.move(ABORTED)
    tx.ended_at = clock.stamp()
    tx.process = {}
    ledger.save(workspace, tx)
    return tx


def clean(workspace: Workspace, txid: str) -> list[str]:
    """Delete a transaction's candidate and work folder; the warnings where that failed."""
    try:
        warning = candidate.discard(workspace, txid)
        store.remove_tree(workspace.work / txid)
    except (OSError, GovError, KeyboardInterrupt) as error:
        warning = f"the work of {txid} is not cleaned up ({error}); `gov clean` does it"
    return [warning] if warning else []


def end_interrupted(workspace: Workspace) -> list[str]:
    """Transactions whose process is gone become failed; part of every writing command."""
    ended = []
    for row in ledger.overview(workspace).pending:
        if row.get("interrupted"):
            tx = ledger.load(workspace, row["txid"])
            end(workspace, tx, FAILED, "interrupted: the process that ran it is gone")
            ended.append(tx.txid)
    return ended


def candidate_state(workspace: Workspace, tx: Transaction) -> str:
    """`present`, `cleaned` (the transaction is over) or `missing`; `none` before a run."""
    if tx.candidate_env is None:
        return "none"
    if (workspace.candidates / tx.txid).is_dir():
        return "present"
    return "cleaned" if tx.status in (PROMOTED, ABORTED) else "missing"


_CHOSEN = ("dropped", "exempt", "overrides", "replaced", "scoped")


def resolve(
    session: Session,
    txid: str,
    pins: Sequence[str],
    *,
    dropped: Sequence[str] = (),
    exempt: Sequence[str] = (),
    overrides: Sequence[str] = (),
    replaced: Sequence[Mapping[str, str]] = (),
    scoped: Sequence[Mapping[str, str]] = (),
    anew: bool = False,
) -> Transaction:
    """Lock once more with `pins` as overrides: resolved, or needs_resolution with a new report.

    `dropped` lines of the node are given up, `replaced` ones get another text; `scoped` changes
    what one version of a package asks for; `exempt` packages are free of the resolution date;
    `overrides` are the complete entries that an accepted fix was tried with; `anew` forgets what
    was chosen before.  Raises UsageError for a pin that cannot be had or that nothing asks for.
    """
    from governance import requirements
    from governance.changes import explanation

    workspace = session.workspace
    work = open_work(session, txid)
    tx = work.tx
    if tx.status not in (NEEDS_RESOLUTION, PROMOTE_FAILED, RESOLVED):
        tx.move(RESOLVED)
    latest = {pin.name: pin for pin in map(requirements.parse_pin, pins)}
    explanation.require_known(
        workspace, session.uv, work.draft.project, latest.values(), session.say
    )
    if anew:
        tx.resolution_pins = []
        tx.resolution |= {kind: [] for kind in _CHOSEN}
    kept = [p for p in tx.resolution_pins if requirements.requirement_name(p) not in latest]
    tx.resolution_pins = [*kept, *(pin.text for pin in latest.values())]
    given: tuple[Sequence[Any], ...] = (dropped, exempt, overrides, replaced, scoped)
    for kind, more in zip(_CHOSEN, given, strict=True):
        before = list(tx.resolution.get(kind, ()))
        tx.resolution[kind] = before + [one for one in more if one not in before]
    if plan.lock(work):
        _require_asked_for(tx, work.stages)
        tx.move(RESOLVED)
        tx.conflict_report = None
        tx.plan = {**tx.plan, **plan.summary(work)}
    ledger.save(workspace, tx)
    return tx


def _require_asked_for(tx: Transaction, stages: Stages) -> None:
    from governance import requirements

    locked = stages.lock_versions()
    idle = [pin for pin in tx.resolution_pins if requirements.requirement_name(pin) not in locked]
    if idle:
        raise UsageError(
            f"{idle[0]} would hold nothing: neither ComfyUI nor a node asks for that package",
            hint="leave that pin out",
            code="idle_pin",
            facts={"pins": idle},
        )
