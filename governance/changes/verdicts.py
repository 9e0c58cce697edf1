"""What is known of the set of packages and code that a change makes."""

from __future__ import annotations

from typing import Any

from governance.changes import observed, observing, steps
from governance.changes.work import Work
from governance.environments import generations
from governance.truth.documents import Transaction

ALWAYS = "always"


def is_observed(work: Work) -> bool:
    """Claim: this set of packages and code was observed, by this transaction or before."""
    if not work.stages.is_built():
        return False
    return has_run_before(work) or bool(verdict_of(work))


def has_run_before(work: Work) -> bool:
    """A snapshot that was prod comes back whole, code and packages."""
    return any(step.kind == steps.RESTORE and step.facts.get("whole") for step in work.steps)


def ran(work: Work) -> bool:
    """The packages of a snapshot that was prod, whatever has become of its code."""
    return any(step.kind == steps.RESTORE and step.facts.get("ran") for step in work.steps)


def verdict_of(work: Work) -> dict[str, Any]:
    """What is known of the set that the change makes; empty where it never ran."""
    generation = work.stages.generation().name
    seen = observing.seen_digest(work)
    receipt = work.stages.verdict()
    if receipt.get("seen") == seen:
        return receipt
    known = observed.verdict(work.workspace, generation, seen)
    # What a transaction is about is observed by itself: another run did not watch its nodes.
    return {} if steps.subjects(work.steps) else known


def wanted_smoke(work: Work) -> str:
    """The smoke test that this promote must pass beside its run: the operator's own command, or
    "always"; empty for none.  What was prod before comes back without a test, and the first prod
    has none."""
    config = work.workspace.config
    if ran(work) or generations.current(work.workspace) is None:
        return ""
    always = ALWAYS if config.text("tx.smoke_test") == ALWAYS else ""
    return config.text("tx.smoke_test_cmd") or always


def passed_smoke(work: Work) -> bool:
    wanted = wanted_smoke(work)
    return not wanted or work.stages.passed_smoke(observing.seen_digest(work), wanted)


def note_smoke(work: Work) -> None:
    work.stages.write_smoke(observing.seen_digest(work), wanted_smoke(work))


def note_time(tx: Transaction, what: str, seconds: float) -> None:
    """Seconds, kept with the promotion: what a promote waited for."""
    tx.promotion.setdefault("times", {})[what] = round(seconds, 3)
