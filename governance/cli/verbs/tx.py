"""tx run, promote, abort, shell."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from governance.base import names
from governance.base.errors import EXIT_FAILED, EXIT_NEEDS_RESOLUTION, EXIT_OK, GovError
from governance.changes.gates import Approval
from governance.cli import tables
from governance.cli.decision import Decision, approval, deciding
from governance.cli.outcome import Outcome
from governance.truth import workspace
from governance.truth.workspace import Workspace

_STDERR = 2


def tx_run(arguments: Namespace) -> Outcome:
    with deciding(arguments) as decision:
        without = [names.normalise(name) for name in arguments.without]
        chosen = {"resolution": {"without": without}} if without else {}
        tx = _run(
            decision,
            arguments.nodes,
            timeout=arguments.timeout,
            added=arguments.added,
            all_or_nothing=arguments.all_or_nothing,
            **chosen,
        )
        space = decision.space
    return observed(space, tx)


def observed(space: Workspace, tx: Any, notes: Sequence[str] = ()) -> Outcome:
    """A run as it ended, with what to type next."""
    from governance.changes import ending, plan
    from governance.cli import inspection
    from governance.truth.documents import COMPLETED, NEEDS_RESOLUTION

    codes = {COMPLETED: EXIT_OK, NEEDS_RESOLUTION: EXIT_NEEDS_RESOLUTION}
    data = {**tx.to_json(), "candidate_state": ending.candidate_state(space, tx)}
    return Outcome(
        data,
        [*inspection.parts(space, data, is_news=True), *inspection.next_steps(data)],
        [*notes, *tx.observation.get("warnings", [])],
        codes.get(tx.status, EXIT_FAILED),
        plan.error_of(tx),
    )


def tx_promote(arguments: Namespace) -> Outcome:
    from governance.truth import typed

    allowed = approval(arguments)
    txid = typed.transaction(workspace.find(arguments.root), arguments.txid)
    if arguments.dry_run:
        return _dry_run(arguments, txid)
    with deciding(arguments) as decision:
        if arguments.rebase:
            txid = _rebased(decision, txid)
        return promoted(decision, txid, allowed, keep=arguments.keep)


def promoted(decision: Decision, txid: str, allowed: Approval, *, keep: bool = False) -> Outcome:
    """Take a transaction into prod, then clean what it was observed in."""
    from governance.changes import ending, pipeline
    from governance.environments import candidate

    pipeline.promotable(decision.session(), txid, allowed)
    candidate.let_go(decision.space, txid, keep=keep)
    done = decision.run(f"promote:{txid}", approval=allowed)
    warnings = [] if keep else ending.clean(decision.space, txid)
    return _promoted(done, warnings)


def tx_abort(arguments: Namespace) -> Outcome:
    from governance.changes import ending
    from governance.environments import candidate
    from governance.truth import ledger, typed
    from governance.truth.documents import ABORTED

    with deciding(arguments) as decision:
        tx = ledger.load(decision.space, typed.transaction(decision.space, arguments.txid))
        tx.move(ABORTED)
        candidate.let_go(decision.space, tx.txid, keep=arguments.keep)
        tx = decision.run(f"tx_abort:{tx.txid}")
        warnings = [] if arguments.keep else ending.clean(decision.space, tx.txid)
    return Outcome(tx.to_json(), [f"{tx.txid} is aborted; prod was not touched"], warnings)


def tx_shell(arguments: Namespace) -> Outcome:
    from governance.operations import shell
    from governance.truth import typed

    # With --json our stdout holds one document and nothing else.
    stdout = _STDERR if arguments.json else None
    with deciding(arguments) as decision:
        txid = typed.transaction(decision.space, arguments.txid)
        code = shell.enter(decision.session(), txid, arguments.command, stdout=stdout)
    return Outcome({"txid": txid, "exit_code": code}, exit_code=code, passed_on=True)


def _run(decision: Decision, nodes: Sequence[str], **given: Any) -> Any:
    from governance.truth import registry

    plugins = registry.load(decision.space)
    for node in nodes:
        registry.find(plugins, node)
    return decision.run("tx_run", nodes=list(nodes), **given)


def _rebased(decision: Decision, txid: str) -> str:
    """A new run of the same steps on today's truth, with all that was resolved before; the old
    transaction is aborted."""
    from governance.changes import ending
    from governance.truth import ledger
    from governance.truth.documents import ABORTED, COMPLETED

    old = ledger.load(decision.space, txid)
    old.move(ABORTED)
    new = decision.run(f"tx_rerun:{txid}")
    if new.status != COMPLETED:
        raise GovError(
            f"observed again as {new.txid}, {old.what} ended as {new.status}",
            hint=f"`gov tx inspect {new.txid}` tells why; {txid} is as it was",
            code="rebase_failed",
            facts={"txid": new.txid},
        )
    decision.run(f"tx_abort:{txid}")
    ending.clean(decision.space, txid)
    return str(new.txid)


def _dry_run(arguments: Namespace, txid: str) -> Outcome:
    """The plan on today's truth: the stored one where it still holds, else locked anew."""
    from governance.changes import pipeline, staging
    from governance.changes.gates import Approval
    from governance.cli import inspection, supply
    from governance.cli.report import Voice
    from governance.operations import node_check

    space = workspace.find(arguments.root)
    everything = Approval(failed_run=True, accept_skipped=True, findings=True, incompatible=True)
    session = Voice(quiet=arguments.quiet).session(space)
    work = pipeline.promotable(session, txid, everything)
    tx = work.tx
    steps, moved = node_check.foresee(work)
    tx.plan["changes"] = [step.to_json() for step in steps]
    parts = tables.changes(tx.plan["changes"], title="prod would change")
    parts += inspection.shared_files(tx.plan, " ".join(inspection.nodes_of(tx.to_json())))
    parts += inspection.incompatible(tx.plan)
    parts += supply.parts(tx.supply.get("rows", ()))
    rebase = [f"next: gov tx promote {tx.txid} --rebase"]
    parts += rebase if moved else inspection.next_steps({**tx.to_json(), "core_impact": []})
    is_moved = bool(tx.base) and staging.base_moved(space, tx.base)
    data = {
        "txid": tx.txid,
        "status": tx.status,
        "dry_run": True,
        "base_moved": is_moved,
        "changes": tx.plan["changes"],
        "incompatible": tx.plan.get("incompatible", []),
        "supply": list(tx.supply.get("rows", ())),
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
        "code": list(done.code),
    }
    core = [row["name"] for row in tx.promotion.get("approved_core", [])]
    parts = tables.changes(done.changes, title="what changed in prod", core=core)
    parts += tables.code(done.code)
    parts.append(f"promoted: {tx.what}; prod is generation {done.generation}")
    if done.pre_snapshot:  # there is none before the first prod
        parts.append(f"back with: gov rollback {done.pre_snapshot}")
    return Outcome(data, parts, warnings)
