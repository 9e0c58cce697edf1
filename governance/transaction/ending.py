"""How transactions end: resolved, aborted, interrupted; and what is cleaned then."""

from __future__ import annotations

from collections.abc import Sequence

from governance import candidate, clock, ledger, store
from governance.errors import GovError
from governance.model import (
    ABORTED,
    FAILED,
    NEEDS_RESOLUTION,
    PROMOTE_FAILED,
    PROMOTED,
    RESOLVED,
    Transaction,
)
from governance.staging import Stages
from governance.transaction import plan
from governance.transaction.recording import end
from governance.transaction.session import Session
from governance.workspace import Workspace


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


def resolve(
    session: Session,
    txid: str,
    pins: Sequence[str],
    *,
    dropped: Sequence[str] = (),
    exempt: Sequence[str] = (),
) -> Transaction:
    """Lock once more with `pins` as overrides: resolved, or needs_resolution with a new report.

    `dropped` lines of the node are given up; `exempt` packages are free of the resolution date.
    """
    from governance import requirements

    workspace = session.workspace
    tx = ledger.load(workspace, txid)
    if tx.status not in (NEEDS_RESOLUTION, PROMOTE_FAILED, RESOLVED):
        tx.move(RESOLVED)
    parsed = [requirements.parse_pin(pin) for pin in pins]
    kept = [
        p
        for p in tx.resolution_pins
        if requirements.requirement_name(p) not in {pin.name for pin in parsed}
    ]
    tx.resolution_pins = [*kept, *(pin.text for pin in parsed)]
    tx.resolution = {
        "dropped": list(dict.fromkeys([*tx.resolution["dropped"], *dropped])),
        "exempt": list(dict.fromkeys([*tx.resolution["exempt"], *exempt])),
    }
    if plan.lock(session, tx, Stages(workspace, txid)):
        tx.move(RESOLVED)
        tx.conflict_report = None
        tx.plan = {**tx.plan, **plan.summary(workspace, Stages(workspace, txid))}
    ledger.save(workspace, tx)
    return tx
