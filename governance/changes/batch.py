"""A transaction of many nodes helps itself: what fails by itself is set aside, the rest goes on.

Locks are cheap and starts are not: what does not lock is found by locks alone, and one start shows
all nodes that fail to load.  Only where a start fails without naming its culprit are halves tried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from governance.base.errors import GovError
from governance.boundaries import scratch
from governance.boundaries.uv_failures import OUTSIDE
from governance.changes import begin, observing, pipeline, steps, supply_chain
from governance.changes.session import Session
from governance.changes.work import Work, open_work
from governance.truth import registry, resolution
from governance.truth.documents import FAILED, RUNNING, Transaction

_MOST_STARTS = 12


Mend = Callable[[Work], bool]


def run(
    session: Session,
    work: Work,
    *,
    timeout: float | None = None,
    all_or_nothing: bool = False,
    mend: Mend | None = None,
) -> Transaction:
    """As pipeline.run; of several nodes those that fail are set aside with the reason.

    `mend` sees the transaction after its first run; where it changed it so that another run may
    end better, that is made before any node is set aside.
    """
    if all_or_nothing:
        return pipeline.run(session, work, timeout=timeout)
    txid = work.tx.txid
    with pipeline.recorded(work):
        drop_unfit(session, work)
    tx = pipeline.run(session, open_work(session, txid), timeout=timeout)
    if mend is not None and mend(open_work(session, txid)):
        again = open_work(session, txid)
        with pipeline.recorded(again):
            drop_unfit(session, again)
        tx = _again(session, txid, timeout)
    for _ in range(_MOST_STARTS):
        failed = _failed(open_work(session, txid))
        if tx.status != FAILED or not failed or len(failed) >= len(tx.nodes):
            break
        for node, reason in failed.items():
            set_aside(session, txid, node, reason)
        tx = _again(session, txid, timeout)
    if tx.status == FAILED and len(tx.nodes) > 1:
        session.say("one of them breaks the others; trying halves")
        for node, reason in _breaking(open_work(session, txid), timeout):
            set_aside(session, txid, node, reason)
        tx = _again(session, txid, timeout)
    return tx


def drop_unfit(session: Session, work: Work) -> None:
    """Set aside the nodes with which the rest does not lock; what does lock is staged."""
    nodes = steps.subjects(work.steps)
    if len(nodes) < 2 or locks(work):
        return
    unfit = _not_locking(session, work, nodes)
    # Where none of them fits, a report with fixes for all says more than an empty transaction.
    for node, reason in unfit if len(unfit) < len(nodes) else ():
        set_aside(session, work.tx.txid, node, reason)


def locks(work: Work) -> bool:
    """The one lock that a change costs where all is well: the run finds it staged."""
    work.stages.plan(work.draft)
    if not work.stages.is_locked():
        work.session.say("locking the requirements")
    try:
        locked = work.stages.lock(work.session.uv).ok
        return locked and supply_chain.refusal_of(work, work.stages.folder) is None
    except GovError as error:
        if error.code in OUTSIDE:
            raise
        return False  # looked at node by node, it is known whose line it is


def set_aside(session: Session, txid: str, node: str, reason: str) -> None:
    """Take one node out of the transaction, and keep why."""
    work = open_work(session, txid)
    session.say(f"{node} is set aside: {reason}")
    row = next(row for row in work.tx.steps if row.get("node") == node)
    work.tx.set_aside.append({"step": dict(row), "reason": reason})
    begin.without_node(work, node)


def _failed(work: Work) -> dict[str, str]:
    """Nodes that did not load, by their own fault, with the reason."""
    found = work.tx.observation.get("failed_subjects", {})
    ids = {registry.loader_name(plugin): plugin.id for plugin in work.draft.plugins}
    return {ids[name]: why for name, why in found.items() if ids.get(name) in work.tx.nodes}


def _again(session: Session, txid: str, timeout: float | None) -> Transaction:
    """Observe the rest, as a run that begins."""
    work = open_work(session, txid)
    work.tx.status = RUNNING
    work.tx.observation = {}
    work.stages.clear()
    return pipeline.run(session, work, timeout=timeout)


# --- looking for culprits ---------------------------------------------------------------------

One = TypeVar("One")


def culprits(
    found: Sequence[One], fails: Callable[[Sequence[One]], str | None]
) -> list[tuple[One, str]]:
    """What fails beside that before it, with the reason; halves are tried, so that few culprits
    among many cost few tries.  `fails` says why a set fails, None where it works."""
    good: list[One] = []
    bad: list[tuple[One, str]] = []
    _sort(list(found), good, bad, fails)
    return bad


def _sort(
    found: list[One],
    good: list[One],
    bad: list[tuple[One, str]],
    fails: Callable[[Sequence[One]], str | None],
) -> None:
    reason = fails([*good, *found])
    if reason is None:
        good += found
    elif len(found) == 1:
        bad.append((found[0], reason))
    else:
        middle = len(found) // 2
        _sort(found[:middle], good, bad, fails)
        _sort(found[middle:], good, bad, fails)


def _not_locking(session: Session, work: Work, nodes: Sequence[str]) -> list[tuple[str, str]]:
    """Nodes whose requirements do not lock beside prod and the nodes before them."""

    def fails(tried: Sequence[str]) -> str | None:
        made = _only(work, tried).draft
        with scratch.folder("batch") as folder:
            resolution.stage(folder, made.project, made.lock)
            try:
                locked = resolution.lock(session.uv, folder, made.project, made.upgrade)
            except GovError as error:
                if error.code in OUTSIDE:
                    raise
                return error.message
            if locked.ok:
                return supply_chain.refusal_of(work, folder)
        return "its requirements conflict with prod or with the others"

    return culprits(nodes, fails)


def _breaking(work: Work, timeout: float | None) -> list[tuple[str, str]]:
    """Nodes with which ComfyUI does not start, or another node does not load any more."""

    def fails(tried: Sequence[str]) -> str | None:
        small = _only(work, tried)
        small.stages.plan(small.draft)
        if not small.stages.lock(work.session.uv).ok:
            return "its requirements conflict with prod or with the others"
        small.stages.build(work.session.uv)
        seen = observing.watch(small, timeout=timeout).observation
        return None if seen.verdict == "completed" else seen.reason

    return culprits(list(work.tx.nodes), fails)


def _only(work: Work, nodes: Sequence[str]) -> Work:
    """The same transaction of fewer nodes, as a value: its record is not touched."""
    tx = replace(work.tx)
    tx.steps = [row for row in tx.steps if row.get("node") in nodes or row.get("node") is None]
    tx.nodes = {node: part for node, part in tx.nodes.items() if node in nodes}
    return Work(work.session, tx)
