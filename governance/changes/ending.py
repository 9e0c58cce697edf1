"""How transactions end: resolved, aborted, interrupted; and what is cleaned then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from governance.base import clock
from governance.base.errors import GovError, UsageError
from governance.boundaries import store
from governance.changes import begin, choice, plan
from governance.changes.observing import end
from governance.changes.session import Session
from governance.changes.work import Work, open_work
from governance.environments import candidate
from governance.truth import ledger
from governance.truth.documents import (
    ABORTED,
    FAILED,
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
            if not tx.observation.get("verdict"):
                clean(workspace, tx.txid)  # half made, it is of no use to anybody
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
    pins: Sequence[str] = (),
    *,
    anew: bool = False,
    reset: bool = False,
    **chosen: Any,
) -> Transaction:
    """Lock once more with what is chosen: resolved, or needs_resolution with a new report.

    `pins` become overrides; `chosen` are the other kinds of a choice (see choice.py).  `anew`
    replaces what was chosen before, as an accepted fix does; `reset` forgets it and chooses
    nothing.  Raises UsageError for a pin that cannot be had or that nothing asks for.
    """
    from governance import requirements
    from governance.changes import explanation

    work = open_work(session, txid)
    tx = work.tx
    choice.require_resolvable(tx)
    typed = [requirements.parse_pin(pin) for pin in pins]
    latest = list({pin.name: pin for pin in typed}.values())
    explanation.require_known(work.workspace, session.uv, work.draft.project, latest, session.say)
    wanted: choice.Choice = {**chosen, choice.PINS: [pin.text for pin in latest]}
    _set_run_aside(work)
    _choose(tx, wanted, anew=anew, reset=reset)
    if plan.lock(work):
        if not anew:
            _require_asked_for(tx, wanted[choice.PINS])
        tx.move(RESOLVED)
        tx.conflict_report = None
        tx.plan = {**tx.plan, **plan.summary(work)}
    ledger.save(work.workspace, tx)
    return tx


def _choose(tx: Transaction, wanted: choice.Choice, *, anew: bool, reset: bool) -> None:
    if reset:
        choice.forget(tx)
    else:
        now = {} if anew else choice.of(tx)
        choice.add(now, wanted)
        choice.put(tx, now)


def _set_run_aside(work: Work) -> None:
    """What failed was another choice; the next one is observed by itself, and compared with prod
    as it is now.  The failure stays to be looked at."""
    tx, seen = work.tx, work.tx.observation
    tx.promotion = {**tx.promotion, "status": None, "error": None}
    if seen.get("verdict") != "failed":
        return
    brief: dict[str, Any] = {
        name: seen[name] for name in ("verdict", "reason", "generation") if name in seen
    }
    earlier = tx.promotion.get("attempts", [])
    attempt = {**brief, "at": clock.stamp(), "resolution": choice.of(tx)}
    tx.promotion["attempts"] = [*earlier, attempt]
    blank = Transaction(txid=tx.txid, node_id=tx.node_id, status=tx.status)
    for name in ("observation", "post_freeze", "diff", "core_impact"):
        setattr(tx, name, getattr(blank, name))
    begin.note_prod(work.workspace, tx)


def _require_asked_for(tx: Transaction, typed: Sequence[str]) -> None:
    idle = [pin for pin in typed if pin not in tx.resolution_pins]
    if idle:
        raise UsageError(
            f"{idle[0]} would hold nothing: neither ComfyUI nor a node asks for that package",
            hint="leave that pin out",
            code="idle_pin",
            facts={"pins": idle},
        )
