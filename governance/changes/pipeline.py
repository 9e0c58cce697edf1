"""The one road: plan, fetch, lock, build, observe, gates, commit.

Every change of prod or of code takes it, whatever verb made its steps.  Each stage leaves a
receipt in `state/work/<txid>/` and does nothing where that is current; the commit checks all of
them again, since an option of doit can walk past any stage.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from governance.base.errors import GovError, NeedsResolution, Refused, UsageError
from governance.changes import (
    building,
    gates,
    log_end,
    observing,
    plan,
    promotion,
    supply_chain,
    trial_run,
    tries,
    unmet,
    verdicts,
)
from governance.changes.gates import Approval
from governance.changes.observing import end
from governance.changes.promotion import Promotion
from governance.changes.session import Session
from governance.changes.work import Work, open_work
from governance.environments import candidate
from governance.truth import lockfile, redo, signing, snapshots
from governance.truth.documents import (
    ABORTED,
    COMPLETED,
    FAILED,
    NEEDS_RESOLUTION,
    PROMOTE_FAILED,
    PROMOTED,
    Generation,
    Transaction,
)
from governance.truth.lockfile import Change, frozen_versions

NOTHING = Approval()


# --- the stages -------------------------------------------------------------------------------


def stage_plan(session: Session, txid: str, _: Approval | None = None) -> None:
    """Today's truth with the steps of the transaction."""
    work = open_work(session, txid)
    work.stages.plan(work.draft)


def stage_lock(session: Session, txid: str, approval: Approval | None = None) -> None:
    """One `uv lock`; a conflict moves the transaction and is raised, and so is what the gates of a
    supply chain do not let in."""
    work = open_work(session, txid)
    with _promoting(work):
        pins = list(work.tx.resolution_pins)
        if not plan.lock(work):
            work.save()
            raise plan.needs_resolution(work)
        if work.tx.resolution_pins != pins:
            work.save()
        _refuse_moved_versions(work)
        if approval is not None:
            supply_chain.require(work, approval)


def stage_build(session: Session, txid: str, approval: Approval | None = None) -> None:
    """The environment of the lock, unless it is there.

    Where the approval is known, the core gate is asked before anything is built, and that of
    unmet requirements right after; a stage that doit runs by itself knows none, and the commit
    asks.
    """
    work = open_work(session, txid)
    if approval is not None:
        gates.require_core(promotion.core_changes(work), approval)
    with _promoting(work):
        if _built(work) is None:
            work.save()
            raise plan.needs_resolution(work)
    # Before ComfyUI is started: a person who is asked after minutes has to wait for them twice.
    found = unmet.note(work)
    if approval is not None:
        promotion.require_owners(work, approval)
        unmet.require_accepted(work, found, approval)


def _built(work: Work) -> Generation | None:
    if work.stages.is_built():
        return building.build(work)
    with work.session.step("building the new environment"):
        return building.build(work)


def stage_observe(session: Session, txid: str, approval: Approval | None = None) -> None:
    """ComfyUI is started where nothing has seen this set of packages and code."""
    work = open_work(session, txid)
    with _promoting(work):
        if not verdicts.is_observed(work):
            _observe(work, approval or NOTHING)
            if verdicts.wanted_smoke(work) == verdicts.ALWAYS:
                verdicts.note_smoke(work)
        _own_smoke(work)


# --- roads of whole verbs ---------------------------------------------------------------------


def run(session: Session, work: Work, *, timeout: float | None = None) -> Transaction:
    """Observe a change and record what it did; nothing moves.

    Ends as completed, failed or needs_resolution, each of them recorded; raises only for what
    kept the run from being made at all.
    """
    session.say(f"transaction {work.tx.txid}")
    with _ending(work):
        started = time.monotonic()
        if not plan.lock(work):
            return work.tx
        locked = time.monotonic()
        with session.step("building the candidate environment"):
            generation = building.build(work)
        if generation is None:
            return work.tx
        work.tx.plan.update(plan.summary(work))
        built = time.monotonic()
        log = log_end.name_of(work.tx.txid)
        session.say(f"starting ComfyUI with {work.tx.what}; its log: {log}")
        with session.during(lambda: "looking at the candidate"):
            seen = observing.watch(work, timeout=timeout)
        log_end.show(session, work.tx.txid, seen.observation)
        observing.record(work, seen, environment_seconds=built - started)
        work.tx.observation["times"] |= {
            "file_check": generation.check_seconds,
            "build": round(built - locked, 3),
        }
        observing.remember(work, seen.observation.verdict, seen.observation.reason)
        work.tx.move(COMPLETED if seen.observation.verdict == "completed" else FAILED)
    return work.tx


def apply(session: Session, work: Work, approval: Approval) -> Promotion:
    """A change that one command makes: all stages and the commit.

    Where it does not come to its end the transaction is over, except for a conflict, which
    `resolve` can act on.
    """
    txid = work.tx.txid
    try:
        signing.require(session.workspace)
        for stage in STAGES.values():
            stage(session, txid, approval)
        work.tx.status = COMPLETED
        candidate.let_go(session.workspace, txid)
        done = promotion.commit(work, approval)
        with session.tidying():
            candidate.discard(session.workspace, txid)
            work.stages.clear()
        return done
    except NeedsResolution:
        raise
    except BaseException as error:
        if not redo.is_pending(session.workspace):
            _give_up(work, str(getattr(error, "message", error) or "interrupted"))
        raise


def _give_up(work: Work, reason: str) -> None:
    """What was seen on the way stays to be looked at; all else goes."""
    tx = work.tx
    candidate.let_go(work.workspace, tx.txid)
    if tx.observation and tx.status not in (PROMOTED, ABORTED):
        end(work.workspace, tx, ABORTED, reason)
    with work.session.tidying():
        candidate.discard(work.workspace, tx.txid)
        work.stages.clear()


STAGES: dict[str, Callable[[Session, str, Approval | None], None]] = {
    "plan": stage_plan,
    "lock": stage_lock,
    "build": stage_build,
    "observe": stage_observe,
}


# --- observing --------------------------------------------------------------------------------


def _observe(work: Work, approval: Approval) -> None:
    """No run has seen this set: watch it exactly as `tx run` does."""
    session, tx = work.session, work.tx
    for sentence in _locked_otherwise(work):
        session.say(sentence)
    log = log_end.name_of(tx.txid)
    session.say(f"starting ComfyUI with the new environment; its log: {log}")
    with session.during(lambda: "looking at the candidate"):
        seen = observing.watch(work)
    found = seen.observation
    log_end.show(session, tx.txid, found)
    if tx.observation.get("verdict"):
        # What the first run saw it ask for and do is never overwritten by a later one.
        tx.promotion["observation"] = _brief(found.to_json())
        new = observing.take_additions(work, seen.additions)
    else:
        before = list(tx.promotion_plan["override_additions"])
        observing.record(work, seen, environment_seconds=0.0)
        new = [a for a in tx.promotion_plan["override_additions"] if a not in before]
    work.save()
    if found.verdict != "completed" and not approval.failed_run:
        tries.note_promote(work, found)
        raise _failed(work, found.reason, came_up=found.came_up)
    if new:
        raise GovError(
            f"{tx.what} installed more at start: {', '.join(new)}",
            hint=f"they are in the plan now: run `gov tx promote {tx.txid}` again",
            code="more_undeclared",
            facts={"txid": tx.txid, "additions": new},
        )
    observing.remember(work, found.verdict, found.reason)


def _brief(seen: dict[str, Any]) -> dict[str, Any]:
    wanted = ("verdict", "reason", "generation", "times", "collateral", "warnings", "isolation")
    return {name: seen[name] for name in wanted}


def _failed(work: Work, reason: str, *, came_up: bool) -> GovError:
    word = "does not load all that it loaded" if came_up else "does not come up"
    return GovError(
        f"with this change ComfyUI {word}: {reason}",
        hint=f"`gov tx inspect {work.tx.txid}` shows more; prod is as it was; "
        "--allow-failed-run goes on all the same",
        code="smoke_failed",
        facts={"txid": work.tx.txid, "reason": reason},
    )


def _own_smoke(work: Work) -> None:
    """The operator's own test at every promote, and ours where it is wanted always."""
    if verdicts.passed_smoke(work):
        return
    started = time.monotonic()
    with work.session.step("smoke test of the new environment"):
        verdict = trial_run.smoke(work.session, work.stages, observing.load_of(work))
    if not verdict.ok and work.tx.observation.get("verdict") != "failed":
        raise GovError(
            f"the smoke test failed: {verdict.reason}",
            hint=f"`gov tx inspect {work.tx.txid}` and state/logs/ show more; prod is as it was",
            code="smoke_failed",
            facts={"txid": work.tx.txid},
        )
    verdicts.note_smoke(work)
    verdicts.note_time(work.tx, "smoke", time.monotonic() - started)
    work.save()


def _locked_otherwise(work: Work) -> list[str]:
    """The undeclared packages that the lock holds at another version than the node's own pip took,
    which knows neither the resolution date nor what the other nodes ask for."""
    locked = work.stages.lock_versions()
    taken = frozen_versions(work.tx.post_freeze)
    return [
        f"{work.tx.what} installed {name} {taken[name]} by itself, the lock takes {locked[name]}"
        for name in work.tx.diff.get("undeclared", [])
        if name in taken and locked.get(name, taken[name]) != taken[name]
    ]


def moved_versions(work: Work, now: dict[str, str]) -> list[Change]:
    """On a moved base: where the plan of today has other versions than the nodes were observed
    with."""
    from governance.changes import staging

    tx = work.tx
    seen = frozen_versions(tx.observation.get("installed_freeze", []))
    # A resolution changes versions on purpose; promote observes what came of it.
    chosen = ("dropped", "exempt", "replaced", "scoped", "sources", "added")
    resolved = tx.resolution_pins or any(tx.resolution.get(kind) for kind in chosen)
    is_run = tx.status in (COMPLETED, FAILED) or not resolved
    if not seen or not is_run or not staging.base_moved(work.workspace, tx.base):
        return []
    return [change for change in lockfile.changes(seen, now) if change.kind == "changed"]


def _refuse_moved_versions(work: Work) -> None:
    moved = moved_versions(work, work.stages.lock_versions())
    if moved:
        listed = "; ".join(gates.describe(change) for change in moved[:6])
        txid = work.tx.txid
        raise Refused(
            f"prod moved since {txid} ran, and what it was observed with would differ: {listed}",
            hint=f"`gov tx promote {txid} --rebase` observes it again on today's truth first",
            code="moved_base",
            facts={"changes": [change.to_json() for change in moved]},
        )


# --- how it ends ------------------------------------------------------------------------------


@contextmanager
def _ending(work: Work) -> Iterator[None]:
    """Whatever happens, the transaction ends with a state and a time."""
    with recorded(work):
        yield
    end(work.workspace, work.tx, work.tx.status, None)


@contextmanager
def recorded(work: Work) -> Iterator[None]:
    """What stops the work on a transaction becomes its end."""
    workspace, tx = work.workspace, work.tx
    try:
        yield
    except KeyboardInterrupt:
        end(workspace, tx, ABORTED, "interrupted")
        candidate.discard(workspace, tx.txid)
        work.stages.clear()
        raise
    except GovError as error:
        end(workspace, tx, FAILED, error.message)
        error.facts.setdefault("txid", tx.txid)
        raise


@contextmanager
def _promoting(work: Work) -> Iterator[None]:
    """A stage that fails leaves `promote_failed` with the error; a refusal changes nothing."""
    try:
        yield
    except (Refused, NeedsResolution, UsageError):
        raise
    except GovError as error:
        promotion.note_failure(work, error)
        raise


def promotable(session: Session, txid: str, approval: Approval) -> Work:
    """The transaction, if its state and its run allow a promote; else Refused."""
    workspace = session.workspace
    work = open_work(session, txid)
    tx = work.tx
    snapshots.index(workspace)  # damaged, it is told before anything is staged or tested
    if tx.status == NEEDS_RESOLUTION:
        raise plan.unresolved(tx)
    if tx.status not in (COMPLETED, "resolved", FAILED, PROMOTE_FAILED):
        tx.move(PROMOTED)
    approval.check()
    signing.require(workspace)
    promotion.require_run(work, approval)
    promotion.refuse_moved_code(work)
    return work
