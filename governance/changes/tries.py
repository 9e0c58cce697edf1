"""Fixes of a conflict tried for real: each in a candidate of its own, in which ComfyUI starts.

Neither prod nor what the transaction has chosen changes; what came of it is kept in the report.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from governance.base import clock
from governance.base.errors import GovError, NeedsResolution, UsageError
from governance.boundaries import process, store
from governance.boundaries.uv_failures import OUTSIDE
from governance.changes import absence, choice, observing, trial_run
from governance.changes.session import Session
from governance.changes.staging import Stages
from governance.changes.trial_run import Load
from governance.changes.work import Work, open_work
from governance.environments import candidate
from governance.observation.record import COMPLETED, FAILED, Observation
from governance.requirements.distributions import is_well_known
from governance.truth import ledger, snapshots
from governance.truth.documents import Transaction
from governance.truth.workspace import Workspace

FIRST = 3
MOST = 5
_CORES_FOR_TWO = 4

Tried = dict[str, Any]


@dataclass(frozen=True)
class _Ready:
    """One fix, locked and built, so that nothing but the start is left."""

    number: int
    work: Work
    load: Load


def run(session: Session, txid: str, *, count: int = FIRST, until_one: bool = False) -> list[int]:
    """Start ComfyUI with the first `count` fixes; the numbers of those that were tried.

    `until_one`: what is known from earlier tries with today's prod is not tried again, and the
    first that comes up is enough.  Raises NeedsResolution where none came up.
    """
    work = open_work(session, txid)
    choice.require_resolvable(work.tx)
    if count < 1:
        raise UsageError(
            f"{count} fixes cannot be tried", hint=f"`gov resolve {txid} --try {FIRST}`"
        )
    report = choice.report_of(session.workspace, work.tx)
    fresh = choice.shown(session.workspace, report)
    known = _came_up(fresh) if until_one else []
    wanted = [] if known else _wanted(session, work.tx, fresh, until_one)[:count]
    found = _tried(work, report, wanted, until_one=until_one)
    if found:
        note(session.workspace, report, found)
    if not known and not any(one["verdict"] == COMPLETED for one in found.values()):
        raise _none_came_up(work.tx, fresh, list(found))
    return list(found)


def first_good(workspace: Workspace, tx: Transaction) -> int:
    """The first fix that came up with today's prod.  Raises NeedsResolution."""
    report = choice.shown(workspace, choice.report_of(workspace, tx))
    good = _came_up(report)
    if not good:
        raise _none_came_up(tx, report, [])
    return good[0]


def words(tried: Mapping[str, Any]) -> str:
    """What came of a try, as half a sentence."""
    if tried.get("verdict") != COMPLETED:
        return f"failed: {tried.get('reason') or 'see its log'}"
    others = tried.get("not_loaded", [])
    added = f" with {', '.join(tried['added'])} added" if tried.get("added") else ""
    told = f"came up{added}"
    told += f"; not loaded, as before: {', '.join(others)}" if others else ", all nodes loaded"
    asked = tried.get("installs", [])
    return f"{told}; installed at start: {', '.join(asked)}" if asked else told


def _log_of(tried: Mapping[str, Any]) -> str:
    """What ComfyUI said of it was not shown."""
    is_failed = tried.get("verdict") != COMPLETED and tried.get("log")
    return f"; its log: {tried['log']}" if is_failed else ""


def note(workspace: Workspace, report: Mapping[str, Any], found: Mapping[int, Tried]) -> None:
    """Write what came of the fixes into the report; all at once, so that Ctrl-C leaves no part."""
    suggestions = deepcopy(list(report["suggestions"]))
    for number, tried in found.items():
        suggestions[number - 1]["tried"] = tried
        if tried.get("added"):
            suggestions[number - 1]["added"] = tried["added"]
    path = workspace.conflicts / f"{report['txid']}.json"
    store.write_json(path, {**report, "suggestions": suggestions})


def note_promote(work: Work, seen: Observation) -> None:
    """A promote that started ComfyUI with an accepted fix has tried it, too."""
    # A damaged report must not hide why the promote failed; `--suggest` reports the damage.
    with suppress(GovError):
        report = ledger.conflict(work.workspace, work.tx.txid)
        number = choice.number_of(work.tx, report)
        if number is not None:
            log = str(work.tx.logs.get("stderr"))
            note(work.workspace, report, {number: _result(work.workspace, seen, log)})


# --- which ------------------------------------------------------------------------------------


def _came_up(report: Mapping[str, Any]) -> list[int]:
    return [
        number
        for number, found in enumerate(report["suggestions"], 1)
        if found.get("tried", {}).get("verdict") == COMPLETED
        and not found["tried"]["stale"]
        and choice.personal(found) is None
    ]


def _wanted(
    session: Session, tx: Transaction, report: Mapping[str, Any], only_new: bool
) -> list[int]:
    """Fixes that can be tried, in their order; the others are reported."""
    wanted = []
    for number, found in enumerate(report["suggestions"], 1):
        why = choice.obstacle(tx, found) or (choice.personal(found) if only_new else None)
        tried = found.get("tried", {})
        if why is not None:
            taking = f"`gov resolve {tx.txid} --accept {number}` takes it"
            session.say(f"fix {number} is not tried: it {why}; {taking}")
        elif not (only_new and tried and not tried["stale"]):
            wanted.append(number)
    return wanted


def _at_once() -> int:
    """A start keeps about two cores busy: ComfyUI's own, and what watches it."""
    cores = len(os.sched_getaffinity(0))
    return cores // 2 if cores >= _CORES_FOR_TWO else 1


# --- trying -----------------------------------------------------------------------------------


def _tried(
    work: Work, report: Mapping[str, Any], numbers: Sequence[int], *, until_one: bool
) -> dict[int, Tried]:
    found: dict[int, Tried] = {}
    most = _at_once()
    for start in range(0, len(numbers), most):
        together = numbers[start : start + most]
        found |= _together(work, report, together)
        found |= _with_missing(work, report, found, together)
        for number in together:
            work.session.say(f"fix {number} {words(found[number])}{_log_of(found[number])}")
        if until_one and any(found[number]["verdict"] == COMPLETED for number in together):
            break
    return found


def _with_missing(
    work: Work, report: Mapping[str, Any], found: Mapping[int, Tried], numbers: Sequence[int]
) -> dict[int, Tried]:
    """Where a module is missing that only the line given up brought: once more, with the package
    that brings it; kept where that comes up."""
    missing = {number: found[number].get("missing", []) for number in numbers}
    again = [
        number for number, names in missing.items() if names and all(map(is_well_known, names))
    ]
    for number in again:
        added = ", ".join(missing[number])
        work.session.say(f"fix {number} {words(found[number])}; once more with {added}")
    seen = _together(work, report, again, missing) if again else {}
    return {
        number: {**tried, "added": list(missing[number])}
        for number, tried in seen.items()
        if tried["verdict"] == COMPLETED
    }


def _together(
    work: Work,
    report: Mapping[str, Any],
    numbers: Sequence[int],
    added: Mapping[int, Sequence[str]] | None = None,
) -> dict[int, Tried]:
    """Locked and built one after the other, since two fixes may need the same environment; only
    the starts, which take the time, are side by side."""
    found: dict[int, Tried] = {}
    with _cleaned(work, numbers):
        ready = []
        for number in numbers:
            try:
                ready.append(_ready(work, report, number, (added or {}).get(number, ())))
            except GovError as error:
                if error.code in OUTSIDE:
                    raise  # it says nothing about the fix
                found[number] = _failed(work.workspace, error.message)
        for number, tried in process.side_by_side(_watched, ready):
            found[number] = tried
    return found


def _name(txid: str, number: int) -> str:
    """Of its candidate, work folder and logs: `gov clean` knows them as no transaction's."""
    return f"{txid}-try{number}"


@contextmanager
def _cleaned(work: Work, numbers: Sequence[int]) -> Iterator[None]:
    """However it ends, nothing of a try is left but its logs and the environment it built."""
    try:
        yield
    finally:
        for number in numbers:
            name = _name(work.tx.txid, number)
            with work.session.tidying():
                candidate.discard(work.workspace, name)
                Stages(work.workspace, name).clear()


def _ready(work: Work, report: Mapping[str, Any], number: int, added: Sequence[str]) -> _Ready:
    """Raises GovError where the fix does not lock (any more) or cannot be built."""
    say = work.session.say
    made = _with_fix(work, report, number, added)
    say(f"fix {number}: locking and building it")
    made.stages.plan(made.draft)
    if not made.stages.lock(made.session.uv).ok:
        raise NeedsResolution(
            "its requirements do not lock with prod as it is now",
            hint=f"`gov resolve {work.tx.txid} --reset` looks anew",
        )
    made.stages.build(made.session.uv)
    return _Ready(number, made, observing.load_of(made))


def _with_fix(work: Work, report: Mapping[str, Any], number: int, added: Sequence[str]) -> Work:
    """The same transaction with that fix, as a value: its record is not touched."""
    tx = deepcopy(work.tx)
    chosen = choice.of_fix(work.tx, report, number)
    choice.add(chosen, {"added": list(added)})
    choice.put(tx, chosen)
    made = replace(work, session=_speaking(work.session, number), tx=tx, _opened={})
    made.stages = Stages(work.workspace, _name(tx.txid, number))  # not the transaction's own
    return made


def _speaking(session: Session, number: int) -> Session:
    """Side by side, each line of a program says which fix it is about."""
    if _at_once() == 1:
        return session
    return replace(session, live=lambda stream, text: session.live(stream, f"fix {number}: {text}"))


def _watched(ready: _Ready) -> tuple[int, Tried]:
    """What goes wrong with one fix keeps the others from nothing."""
    work = ready.work
    work.session.say(f"fix {ready.number}: starting ComfyUI")
    limit = work.workspace.config.number("tx.timeout_seconds")
    try:
        seen = trial_run.watch(work.session, work.stages, ready.load, timeout=limit)
    except GovError as error:
        return ready.number, _failed(work.workspace, error.message)
    log = f"state/logs/{work.stages.name}.stderr.log"
    tried = _result(work.workspace, seen.observation, log)
    absent = absence.missing(work.workspace, work.tx.nodes, seen.observation)
    names = [one.distribution for one in absent if one.distribution and not one.declared]
    asked = [asked.text for asked in seen.additions]
    return ready.number, {**tried, "installs": asked, "missing": sorted(set(names))}


def _result(workspace: Workspace, seen: Observation, log: str) -> Tried:
    loaded = [name for name, report in seen.nodes.items() if report.loaded]
    return {
        "verdict": seen.verdict,
        "reason": seen.reason,
        "at": clock.stamp(),
        "nodes": len(loaded),
        "not_loaded": [name for name, report in seen.nodes.items() if report.loaded is False],
        "log": log,
        "base": snapshots.truth_as_it_is(workspace).digests(),
    }


def _failed(workspace: Workspace, reason: str) -> Tried:
    """It came to no start."""
    base = snapshots.truth_as_it_is(workspace).digests()
    return {"verdict": FAILED, "reason": reason, "at": clock.stamp(), "nodes": 0, "base": base}


def _none_came_up(
    tx: Transaction, report: Mapping[str, Any], tried: Sequence[int]
) -> NeedsResolution:
    fixes = dict(enumerate(report["suggestions"], 1))
    can = [number for number, found in fixes.items() if choice.obstacle(tx, found) is None]
    left = [number for number in can if number not in tried and not fixes[number].get("tried")]
    more = f"`gov resolve {tx.txid} --try {len(can)}` tries all of them, " if left else ""
    return NeedsResolution(
        f"with none of the fixes tried for {tx.what} does ComfyUI come up and load all nodes"
        if can
        else f"none of the fixes for {tx.what} can be tried",
        hint=f"{more}`gov resolve {tx.txid} --pin package==version` chooses by hand",
        code="no_fix_came_up",
        facts={"txid": tx.txid, "tried": list(tried)},
    )
