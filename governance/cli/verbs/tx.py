"""tx run, promote, abort, shell."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from governance.base.errors import EXIT_FAILED, EXIT_NEEDS_RESOLUTION, EXIT_OK, GovError
from governance.cli import tables
from governance.cli.decision import Decision, approval, deciding
from governance.cli.outcome import Outcome
from governance.truth import workspace

_STDERR = 2


def tx_run(arguments: Namespace) -> Outcome:
    from governance.base import names
    from governance.changes import ending, plan
    from governance.cli import inspection
    from governance.truth.documents import COMPLETED, NEEDS_RESOLUTION

    with deciding(arguments) as decision:
        without = [names.normalise(name) for name in arguments.without]
        chosen = {"resolution": {"without": without}} if without else {}
        tx = _run(decision, arguments.node_id, timeout=arguments.timeout, **chosen)
        space = decision.space
    codes = {COMPLETED: EXIT_OK, NEEDS_RESOLUTION: EXIT_NEEDS_RESOLUTION}
    data = {**tx.to_json(), "candidate_state": ending.candidate_state(space, tx)}
    return Outcome(
        data,
        [*inspection.parts(space, data), *inspection.next_steps(data)],
        tx.observation.get("warnings", []),
        codes.get(tx.status, EXIT_FAILED),
        plan.error_of(tx),
    )


def tx_promote(arguments: Namespace) -> Outcome:
    from governance.changes import ending, promotion
    from governance.truth import ledger

    allowed = approval(arguments)
    if arguments.dry_run:
        return _dry_run(arguments)
    with deciding(arguments) as decision:
        txid = arguments.txid
        if arguments.rebase:
            txid = _rebased(decision, txid)
        promotion.promotable(decision.space, ledger.load(decision.space, txid).txid, allowed)
        done = decision.run(f"promote:{txid}", approval=allowed)
        warnings = [] if arguments.keep else ending.clean(decision.space, txid)
    return _promoted(done, warnings)


def tx_abort(arguments: Namespace) -> Outcome:
    from governance.changes import ending
    from governance.truth import ledger
    from governance.truth.documents import ABORTED

    with deciding(arguments) as decision:
        tx = ledger.load(decision.space, arguments.txid)
        tx.move(ABORTED)
        tx = decision.run(f"tx_abort:{tx.txid}")
        warnings = [] if arguments.keep else ending.clean(decision.space, tx.txid)
    return Outcome(tx.to_json(), [f"{tx.txid} is aborted; prod was not touched"], warnings)


def tx_shell(arguments: Namespace) -> Outcome:
    from governance.operations import shell

    # With --json our stdout holds one document and nothing else.
    stdout = _STDERR if arguments.json else None
    with deciding(arguments) as decision:
        code = shell.enter(decision.session(), arguments.txid, arguments.command, stdout=stdout)
    return Outcome({"txid": arguments.txid, "exit_code": code}, exit_code=code, passed_on=True)


def _run(decision: Decision, node_id: str, **given: Any) -> Any:
    from governance.truth import registry

    registry.find(registry.load(decision.space), node_id)
    return decision.run(f"tx_run:{node_id}", **given)


def _rebased(decision: Decision, txid: str) -> str:
    """A new run of the same node on today's truth, with all that was resolved before; the old
    transaction is aborted."""
    from governance.changes import ending
    from governance.truth import ledger
    from governance.truth.documents import ABORTED, COMPLETED

    old = ledger.load(decision.space, txid)
    old.move(ABORTED)
    new = _run(decision, old.node_id, pins=old.resolution_pins, resolution=old.resolution)
    if new.status != COMPLETED:
        raise GovError(
            f"observed again as {new.txid}, {old.node_id} ended as {new.status}",
            hint=f"`gov tx inspect {new.txid}` tells why; {txid} is as it was",
            code="rebase_failed",
            facts={"txid": new.txid},
        )
    decision.run(f"tx_abort:{txid}")
    ending.clean(decision.space, txid)
    return str(new.txid)


def _dry_run(arguments: Namespace) -> Outcome:
    """The plan on today's truth: the stored one where it still holds, else locked anew."""
    from governance.changes import promotion, staging
    from governance.changes.gates import Approval
    from governance.changes.session import open_session
    from governance.cli import inspection
    from governance.cli.report import Voice
    from governance.operations import node_check

    space = workspace.find(arguments.root)
    everything = Approval(failed_run=True, accept_skipped=True)
    tx = promotion.promotable(space, arguments.txid, everything)
    session = open_session(space, Voice(quiet=arguments.quiet).say)
    steps, moved = node_check.foresee(session, tx)
    tx.plan["changes"] = [step.to_json() for step in steps]
    parts = tables.changes(tx.plan["changes"], title="prod would change")
    parts += inspection.shared_files(tx.plan, tx.node_id)
    rebase = [f"next: gov tx promote {tx.txid} --rebase"]
    parts += rebase if moved else inspection.next_steps({**tx.to_json(), "core_impact": []})
    is_moved = bool(tx.base) and staging.base_moved(space, tx.base)
    data = {
        "txid": tx.txid,
        "status": tx.status,
        "dry_run": True,
        "base_moved": is_moved,
        "changes": tx.plan["changes"],
        "unobserved": [change.to_json() for change in moved],
    }
    return Outcome(data, parts, inspection.moved(moved) if is_moved else ())


def _promoted(done: Any, warnings: list[str]) -> Outcome:
    tx = done.transaction
    data = {
        "txid": tx.txid,
        "status": tx.status,
        "pre_snapshot": done.pre_snapshot,
        "post_snapshot": done.post_snapshot,
        "generation": done.generation,
        "changes": [change.to_json() for change in done.changes],
    }
    core = [row["name"] for row in tx.promotion.get("approved_core", [])]
    parts = tables.changes(done.changes, title="prod changed", core=core)
    parts.append(f"{tx.node_id} is promoted: prod is generation {done.generation}")
    parts.append(f"back with: gov rollback {done.pre_snapshot}")
    return Outcome(data, parts, warnings)
