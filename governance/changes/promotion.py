"""`tx promote`: its stages, and the commit that makes a candidate's generation prod."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from governance import git
from governance.base import clock
from governance.base.errors import GovError, NeedsResolution, Refused, UsageError
from governance.changes import gates, plan, staging, trial_run
from governance.changes.gates import Approval
from governance.changes.recording import record
from governance.changes.session import Session
from governance.changes.staging import Stages
from governance.environments import generations
from governance.truth import ledger, redo, registry, snapshots
from governance.truth.documents import (
    COMPLETED,
    FAILED,
    PROMOTE_FAILED,
    PROMOTED,
    RESOLVED,
    Plugin,
    Snapshot,
    Transaction,
)
from governance.truth.lockfile import Change, changes, frozen_versions
from governance.truth.workspace import Workspace


@dataclass(frozen=True)
class Promotion:
    """What a promote did; `changes` are those that prod saw."""

    transaction: Transaction
    generation: str
    pre_snapshot: str
    post_snapshot: str
    changes: tuple[Change, ...]


def promotable(workspace: Workspace, txid: str, approval: Approval) -> Transaction:
    """The transaction, if its state and its run allow a promote; else Refused."""
    tx = ledger.load(workspace, txid)
    snapshots.index(workspace)  # damaged, it is told before anything is staged or tested
    if tx.status not in (COMPLETED, RESOLVED, FAILED, PROMOTE_FAILED):
        tx.move(PROMOTED)
    approval.check()
    verdict = tx.observation.get("verdict")
    if (tx.status == FAILED or verdict == "failed") and not approval.failed_run:
        raise Refused(
            f"the run of {txid} failed: {tx.observation.get('reason') or 'see its logs'}",
            hint="`gov tx inspect` tells more; --allow-failed-run promotes it all the same",
            code="failed_run",
            facts={"txid": txid},
        )
    asks = plan.skipped_policy(workspace) == "ask"
    if tx.skipped_requirements and asks and not approval.accept_skipped:
        raise plan.skipped_refusal(tx, "they would not be installed")
    _refuse_moved_node(workspace, tx)
    return tx


def _refuse_moved_node(workspace: Workspace, tx: Transaction) -> None:
    """The code that ComfyUI would load is the one whose requirements are promoted."""
    head = git.head(workspace.custom_nodes / tx.node_id)
    if tx.commit is None or head == tx.commit:
        return
    found = f"at {head[:12]}" if head else "no clone that git can read"
    raise Refused(
        f"{tx.node_id} is {found}, and {tx.commit[:12]} is what was observed",
        hint=f"`gov tx run {tx.node_id}` observes it as it is now; or check out what was observed",
        code="moved_node",
        facts={"txid": tx.txid, "observed": tx.commit, "found": head},
    )


def stage_plan(session: Session, txid: str, _: Approval | None = None) -> None:
    """Stage today's truth with the transaction's requirements."""
    tx = ledger.load(session.workspace, txid)
    Stages(session.workspace, txid).plan(plan.edit_of(session.workspace, tx))


def stage_lock(session: Session, txid: str, _: Approval | None = None) -> None:
    """Lock the staged requirements, once; a conflict moves the transaction and is raised."""
    workspace = session.workspace
    tx = ledger.load(workspace, txid)
    with _promoting(workspace, tx):
        if not plan.lock(session, tx, Stages(workspace, txid)):
            ledger.save(workspace, tx)
            raise plan.needs_resolution(tx)
        _refuse_moved_versions(workspace, tx)


def stage_build(session: Session, txid: str, approval: Approval | None = None) -> None:
    """Build the generation of the staged lock, unless it is there."""
    workspace = session.workspace
    stages = Stages(workspace, txid)
    if approval is not None:
        gates.require_core(gates.core_changes(workspace, stages.changes()), approval)
    with _promoting(workspace, ledger.load(workspace, txid)):
        if not stages.is_built():
            session.say("building the new environment")
        stages.build(session.uv)


def stage_smoke(session: Session, txid: str, approval: Approval | None = None) -> None:
    """The new generation is observed where no run has seen it, else smoke-tested."""
    workspace = session.workspace
    stages = Stages(workspace, txid)
    tx = ledger.load(workspace, txid)
    with _promoting(workspace, tx):
        if stages.is_tested():
            return
        if stages.verdict().get("kind") == "run":
            _smoke(session, tx, stages)
        else:
            _observe_again(session, tx, stages, approval or Approval())


def promote(session: Session, txid: str, approval: Approval) -> Promotion:
    """Every gate once more, the snapshots, and the switch.  This is what makes it true."""
    workspace = session.workspace
    tx = promotable(workspace, txid, approval)
    stages = Stages(workspace, txid)
    _require_current(workspace, tx, stages)
    found = stages.changes()
    core = gates.core_changes(workspace, found)
    core += gates.core_overwritten(workspace, stages.new_quarrels())
    gates.require_core(core, approval)
    _require_verdict(tx, stages, approval)
    with _promoting(workspace, tx):
        generation = stages.generation().name
        checked = generations.require_sound(workspace, generation)
        _note_time(tx, "file_check", checked)
        return _commit(session, tx, stages, approval, found, core)


def _smoke(session: Session, tx: Transaction, stages: Stages) -> None:
    session.say("smoke test of the new environment")
    started = time.monotonic()
    verdict = trial_run.smoke(
        session.workspace, stages, session.uv, node=tx.node_id, live=session.live
    )
    if not verdict.ok and tx.observation.get("verdict") != "failed":
        raise GovError(
            f"the smoke test failed: {verdict.reason}",
            hint=f"`gov tx inspect {tx.txid}` and state/logs/ tell more; prod is as it was",
            code="smoke_failed",
            facts={"txid": tx.txid},
        )
    _note_time(tx, "smoke", time.monotonic() - started)
    ledger.save(session.workspace, tx)
    stages.write_verdict("smoke", "completed" if verdict.ok else "failed", verdict.reason)


def _note_time(tx: Transaction, what: str, seconds: float) -> None:
    """Seconds, kept with the promotion: what a promote waited for."""
    tx.promotion.setdefault("times", {})[what] = round(seconds, 3)


def _observe_again(session: Session, tx: Transaction, stages: Stages, approval: Approval) -> None:
    """No run has seen this generation: watch it exactly as `tx run` does."""
    workspace = session.workspace
    session.say("observing the new environment, which no run has seen")
    for told in _locked_otherwise(tx, stages):
        session.say(told)
    seen = trial_run.watch(
        workspace,
        stages,
        session.uv,
        node=tx.node_id,
        timeout=workspace.config.number("tx.timeout_seconds"),
        live=session.live,
    )
    before = list(tx.promotion_plan["override_additions"])
    record(workspace, tx, seen, environment_seconds=0.0)
    ledger.save(workspace, tx)
    found = seen.observation
    if found.verdict != "completed" and not approval.failed_run:
        raise GovError(
            f"ComfyUI did not come up with the new environment: {found.reason}",
            hint=f"`gov tx inspect {tx.txid}` tells more; prod is as it was",
            code="smoke_failed",
            facts={"txid": tx.txid},
        )
    new = [line for line in tx.promotion_plan["override_additions"] if line not in before]
    if new:
        raise GovError(
            f"{tx.node_id} installed more at start: {', '.join(new)}",
            hint=f"they are in the plan now: run `gov tx promote {tx.txid}` again",
            code="more_undeclared",
            facts={"txid": tx.txid, "additions": new},
        )
    stages.write_verdict("promote", found.verdict, found.reason)


def _locked_otherwise(tx: Transaction, stages: Stages) -> list[str]:
    """The undeclared packages that the lock holds at another version than the node's own pip took,
    which knows neither the resolution date nor what the other nodes ask for."""
    locked = stages.lock_versions()
    taken = frozen_versions(tx.post_freeze)
    return [
        f"{tx.node_id} installed {name} {taken[name]} by itself, the lock takes {locked[name]}"
        for name in tx.diff.get("undeclared", [])
        if name in taken and locked.get(name, taken[name]) != taken[name]
    ]


def _require_current(workspace: Workspace, tx: Transaction, stages: Stages) -> None:
    """The staged files are today's truth with this transaction's edit, locked and built."""
    receipt = stages.receipt(stages.plan_receipt)
    expected = plan.edit_of(workspace, tx)
    if not stages.is_planned(expected) or staging.base_moved(workspace, receipt.get("base", {})):
        raise _stale(tx, "the truth or the plan has changed since it was staged")
    if not stages.is_locked() or not stages.is_built():
        raise _stale(tx, "it is not locked and built")


def _require_verdict(tx: Transaction, stages: Stages, approval: Approval) -> None:
    verdict = stages.verdict()
    if not stages.is_tested():
        raise _stale(tx, "the new environment has been neither observed nor tested")
    if verdict["verdict"] != "completed" and not approval.failed_run:
        raise Refused(
            f"the new environment did not pass: {verdict['reason']}",
            hint="--allow-failed-run promotes it all the same",
            code="failed_run",
        )


def _stale(tx: Transaction, why: str) -> Refused:
    return Refused(
        f"{tx.txid} cannot be committed: {why}",
        hint=f"run `gov tx promote {tx.txid}`, which does the missing stages first",
        code="stages_missing",
        facts={"txid": tx.txid},
    )


def moved_versions(workspace: Workspace, tx: Transaction, now: dict[str, str]) -> list[Change]:
    """On a moved base: where the plan of today has other versions than the node was observed
    with."""
    observed = frozen_versions(tx.observation.get("installed_freeze", []))
    # A resolution changes versions on purpose; promote observes what came of it.
    resolved = tx.resolution_pins or tx.resolution["dropped"] or tx.resolution["exempt"]
    is_run = tx.status in (COMPLETED, FAILED) or not resolved
    if not observed or not is_run or not staging.base_moved(workspace, tx.base):
        return []
    return [change for change in changes(observed, now) if change.kind == "changed"]


def _refuse_moved_versions(workspace: Workspace, tx: Transaction) -> None:
    moved = moved_versions(workspace, tx, Stages(workspace, tx.txid).lock_versions())
    if moved:
        told = "; ".join(gates.describe(change) for change in moved[:6])
        raise Refused(
            f"prod moved since {tx.txid} ran, and what it was observed with would differ: {told}",
            hint=f"`gov tx promote {tx.txid} --rebase` observes it again on today's truth first",
            code="moved_base",
            facts={"changes": [change.to_json() for change in moved]},
        )


def _commit(
    session: Session,
    tx: Transaction,
    stages: Stages,
    approval: Approval,
    found: Sequence[Change],
    core: Sequence[Change],
) -> Promotion:
    workspace = session.workspace
    generation = stages.generation().name
    old = generations.current(workspace)
    pre = snapshots.take(workspace, reason="promote_pre", generation=old, ref=tx.txid)
    documents = stages.documents()
    plugins = _plugins_after(workspace, tx, pre.id)
    tx.move(PROMOTED)
    tx.ended_at = clock.stamp()
    tx.promotion = {
        "status": PROMOTED,
        "reason": approval.reason,
        "pre_snapshot": pre.id,
        "post_snapshot": None,
        "error": None,
        "times": tx.promotion.get("times", {}),
        "approved_core": [change.to_json() for change in core],
        "allowed_failed_run": approval.failed_run and tx.observation.get("verdict") == "failed",
        "accepted_skipped": approval.accept_skipped and bool(tx.skipped_requirements),
    }
    new = snapshots.Truth(documents["pyproject.toml"], documents["uv.lock"], registry.dump(plugins))
    post = snapshots.write(
        workspace, new, reason="promote_post", generation=generation, ref=tx.txid
    )
    tx.promotion["post_snapshot"] = post.id
    _write_truth(session, tx, new, generation, post)
    with session.tidying():
        trial_run.adopt_baseline(workspace, stages, generation)
        snapshots.prune(workspace, keep=(pre.id, post.id))
    return Promotion(tx, generation, pre.id, post.id, tuple(found))


def _write_truth(
    session: Session,
    tx: Transaction,
    new: snapshots.Truth,
    generation: str,
    post: Snapshot,
) -> None:
    workspace = session.workspace
    documents = {
        **new.documents(),
        ledger.path(workspace, tx.txid): ledger.dump(tx),
        "state/snapshots_index.json": snapshots.indexed(workspace, post),
        "state/receipt.json": staging.receipt_bytes(workspace, new, generation, "tx promote"),
    }
    with ledger.indexed(workspace, tx.txid):
        redo.commit(workspace, redo.Change("tx promote", documents, generation))


def _plugins_after(workspace: Workspace, tx: Transaction, snapshot: str) -> list[Plugin]:
    plugins = registry.load(workspace)
    plugin = registry.find(plugins, tx.node_id)
    edit = plan.edit_of(workspace, tx)
    changed = replace(
        plugin,
        managed_deps=list(edit.lines or ()),
        override_deps=list(
            dict.fromkeys(
                [*plugin.override_deps, *tx.resolution_pins, *tx.resolution.get("without", ())]
            )
        ),
        last_txid=tx.txid,
        last_snapshot=snapshot,
        commit=tx.commit or plugin.commit,
        updated_at=clock.stamp(),
    )
    return registry.replace(plugins, changed)


@contextmanager
def _promoting(workspace: Workspace, tx: Transaction) -> Iterator[None]:
    """A stage that fails leaves `promote_failed` with the error; a refusal changes nothing."""
    try:
        yield
    except (Refused, NeedsResolution, UsageError):
        raise
    except GovError as error:
        error.facts.setdefault("txid", tx.txid)
        if redo.is_pending(workspace):
            raise  # the record is part of a change that recovery brings to its end
        fresh = ledger.load(workspace, tx.txid)
        if fresh.status != PROMOTED:
            fresh.move(PROMOTE_FAILED)
            fresh.promotion = {**fresh.promotion, "status": PROMOTE_FAILED, "error": error.message}
            ledger.save(workspace, fresh)
        raise
