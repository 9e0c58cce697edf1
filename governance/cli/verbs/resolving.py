"""resolve: pins typed, read from a file, taken from the suggestions, or asked for; suggestions
tried for real."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from governance.base.errors import EXIT_NEEDS_RESOLUTION, EXIT_OK, NeedsResolution, UsageError
from governance.cli import conflicts, inspection
from governance.cli.decision import Decision, deciding
from governance.cli.outcome import Outcome
from governance.cli.report import Voice
from governance.truth import ledger, typed, workspace
from governance.truth.documents import NEEDS_RESOLUTION, RESOLVED, Transaction
from governance.truth.workspace import Workspace

_MAX_PINS_BYTES = 1 << 20


def resolve(arguments: Namespace) -> Outcome:
    _require_one_wish(arguments)
    if arguments.suggest:
        return _suggest(arguments)
    if arguments.everything:
        raise UsageError(
            "--all shows everything that conflicts, and goes with --suggest",
            hint=f"gov resolve {arguments.txid} --suggest --all",
        )
    with deciding(arguments) as decision:
        tx = _resolvable(arguments, decision.space)
        if arguments.count is not None:
            return _try(decision, tx, arguments.count)
        if arguments.best:
            return _best(decision, tx)
        if arguments.reset:
            return _resolved(decision, tx, {"reset": True})
        ref = _ref_of(decision.space, tx, arguments.accept)
        if ref is not None:
            return _at_another_commit(decision, tx, ref)
        return _resolved(decision, tx, _chosen(arguments, decision.space, tx))


_WISHES = ("suggest", "count", "best", "reset")
_SPELT = {"count": "try"}


def _require_one_wish(arguments: Namespace) -> None:
    """Each of these says by itself what is to be done."""
    given = [name for name in _WISHES if getattr(arguments, name) not in (None, False)]
    lists = arguments.pins or arguments.added
    choosing = lists or arguments.pins_file is not None or arguments.accept is not None
    if len(given) > 1 or (given and choosing):
        word = f"--{_SPELT.get(given[0], given[0])}"
        raise UsageError(
            f"{word} stands alone",
            hint=f"`gov resolve {arguments.txid} {word}`, then the rest in a command of its own",
        )


def _resolvable(arguments: Namespace, space: Workspace) -> Transaction:
    from governance.changes import choice

    tx = ledger.load(space, typed.transaction(space, arguments.txid))
    choice.require_resolvable(tx)
    return tx


def _ref_of(space: Workspace, tx: Transaction, number: int | None) -> str | None:
    """The commit of its node that a fix takes; None for any other fix."""
    from governance.changes import choice

    if number is None:
        return None
    return str(choice.fix(tx, _report(space, tx), number).get("ref") or "") or None


def _at_another_commit(decision: Decision, tx: Transaction, ref: str) -> Outcome:
    """`node update --to`: a transaction of its own, in place of the one that conflicts."""
    from governance.cli.verbs.tx import observed

    given = {"nodes": [tx.node_id], "to": ref, "all_nodes": False, "timeout": None}
    local = {"keep_local": False, "discard_local": False, "all_or_nothing": False}
    done, notes = decision.run("node_update", **given, **local)
    if done is None:
        raise UsageError(
            f"{tx.node_id} is at {ref[:12]} already",
            hint=f"`gov tx run {tx.node_id}` looks at it anew",
            code="nothing_to_do",
        )
    seen = observed(decision.space, done, notes)
    if done.status == NEEDS_RESOLUTION:
        return seen  # the other fixes of the first one may still be wanted
    decision.run(f"tx_abort:{tx.txid}")
    told = f"{tx.txid} is aborted: {done.txid} takes its place"
    return seen._replace(parts=[told, *seen.parts])


def _resolved(decision: Decision, tx: Transaction, chosen: dict[str, Any]) -> Outcome:
    """Lock with what was chosen, and show what came of it."""
    from governance.changes import choice, plan

    space = decision.space
    was_stale = bool(chosen.get("anew")) and choice.is_stale(space, _report(space, tx).get("base"))
    done = decision.run(f"resolve:{tx.txid}", **chosen)
    data = {**_data(space, done), "plan": done.plan.get("changes", [])}
    ok = done.status == RESOLVED
    parts = inspection.resolution(space, done)
    warnings = [_STALE] if was_stale else []
    code = EXIT_OK if ok else EXIT_NEEDS_RESOLUTION
    return Outcome(data, parts, warnings, code, None if ok else plan.error_of(done))


_STALE = (
    "prod changed since this fix was found; it was locked anew with prod as it is now, "
    "and the promote starts ComfyUI with it"
)


def _data(space: Workspace, tx: Transaction) -> dict[str, Any]:
    report = _report(space, tx)
    return {
        "txid": tx.txid,
        "status": tx.status,
        "resolution_pins": tx.resolution_pins,
        "suggestions": report.get("suggestions", []),
        "stale": report.get("stale", False),
    }


def _suggest(arguments: Namespace) -> Outcome:
    space = workspace.find(arguments.root)
    tx = ledger.load(space, typed.transaction(space, arguments.txid))
    report = _report(space, tx)
    if arguments.everything:
        report = _with_every_cause(arguments, space, tx, report)
    data = {
        **_data(space, tx),
        "causes": report.get("causes", []),
        "complete": report.get("complete", True),
    }
    return Outcome(data, conflicts.screen(report, tx.txid, whole=arguments.everything))


def _with_every_cause(
    arguments: Namespace, space: Workspace, tx: Transaction, report: dict[str, Any]
) -> dict[str, Any]:
    """The report with all causes in it, looked for now; as it was where nothing conflicts now."""
    from governance.changes import conflict_report

    if not report or tx.status != NEEDS_RESOLUTION:
        return report
    voice = Voice(quiet=arguments.quiet)
    found = conflict_report.every_cause(voice.session(space), tx.txid)
    if not found.causes:
        voice.say("nothing was found now; what follows is what was found when it was locked")
        return report
    return {**report, "causes": found.to_json()["causes"], "complete": found.complete}


# --- tried for real ---------------------------------------------------------------------------


def _try(decision: Decision, tx: Transaction, count: int) -> Outcome:
    tried, error = _tried(decision, tx, count=count)
    space = decision.space
    data = {**_data(space, tx), "tried": tried}
    parts = conflicts.tried(_report(space, tx), tried, tx.txid)
    code = EXIT_OK if error is None else error.exit_code
    return Outcome(data, parts, (), code, error)


def _best(decision: Decision, tx: Transaction) -> Outcome:
    """The first fix that came up, tried before or now, is accepted."""
    from governance.changes import choice, tries

    tried, error = _tried(decision, tx, count=tries.MOST, until_one=True)
    space = decision.space
    shown = conflicts.tried(_report(space, tx), tried, tx.txid)
    if error is not None:
        return Outcome({**_data(space, tx), "tried": tried}, shown, (), error.exit_code, error)
    number = tries.first_good(space, tx)
    chosen = {**choice.of_fix(tx, _report(space, tx), number), "anew": True}
    done = _resolved(decision, tx, chosen)
    data = {**done.data, "tried": tried, "accepted": number}
    return done._replace(data=data, parts=[f"fix {number} is taken", *done.parts])


def _tried(
    decision: Decision, tx: Transaction, **given: Any
) -> tuple[list[int], NeedsResolution | None]:
    """The numbers of the fixes; the error where none of them came up, which they are shown with."""
    try:
        return decision.run(f"resolve_try:{tx.txid}", **given), None
    except NeedsResolution as error:
        return list(error.facts.get("tried", [])), error


# --- what is chosen ---------------------------------------------------------------------------


def _chosen(arguments: Namespace, space: Workspace, tx: Transaction) -> dict[str, Any]:
    """Pins and all else that a fix is made of, from all the ways to say them.

    A suggestion comes with all that had been chosen when it was tried, in place of what is now.
    """
    chosen: dict[str, Any] = {}
    if arguments.accept is not None:
        _add(chosen, _accepted(space, tx, arguments.accept))
    if arguments.pins_file is not None:
        _add(chosen, {"pins": _from_file(arguments.pins_file)})
    _add(chosen, {"pins": arguments.pins})
    if arguments.added:
        _add(chosen, {"added": _added(space, tx, arguments.added)})
    if not any(chosen.values()):
        chosen = _ask(space, tx)
    if not any(chosen.values()):
        raise UsageError(
            "no pin was given",
            hint="--pin package==version, --accept N, or answer the prompt",
            code="no_pins",
        )
    return chosen


def _add(chosen: dict[str, Any], more: dict[str, Any]) -> None:
    from governance.changes import choice

    choice.add(chosen, more)


def _from_file(path: Any) -> list[str]:
    try:
        with path.open("rb") as stream:  # maybe a pipe, as `<(...)` makes one
            lines = stream.read(_MAX_PINS_BYTES).decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}", hint="name a text file in UTF-8") from None
    stripped = (line.partition("#")[0].strip() for line in lines)
    pins = [_checked(pin, f"{path}:{number}") for number, pin in enumerate(stripped, 1) if pin]
    if not pins:
        raise UsageError(
            f"{path} holds no pin", hint="one pin a line: package==version", code="no_pins"
        )
    return pins


def _added(space: Workspace, tx: Transaction, lines: list[str]) -> list[str]:
    """Of --with, as `tx run` takes it."""
    from governance.changes import updates

    if tx.node_id is None:
        raise UsageError(
            f"{tx.txid} is about no node, so nothing can be added to one",
            hint=f"`gov resolve {tx.txid} --suggest` shows what can be done",
            code="no_node",
        )
    return updates.named_lines(space, tx.node_id, lines)


def _checked(pin: str, place: str) -> str:
    from governance.requirements import parse_pin

    try:
        parse_pin(pin)
    except UsageError as error:
        raise UsageError(
            f"{place}: {error.message}", hint=error.hint, code="bad_pin", facts=error.facts
        ) from None
    return pin


def _accepted(space: Workspace, tx: Transaction, number: int) -> dict[str, Any]:
    from governance.changes import choice

    return {**choice.of_fix(tx, _report(space, tx), number), "anew": True}


def _ask(space: Workspace, tx: Transaction) -> dict[str, Any]:
    """As the seed says: one a line, an empty line ends; a number takes a suggestion."""
    if not sys.stdin.isatty():
        raise UsageError(
            "no pin was given, and there is no terminal to ask on",
            hint="--pin package==version, --pins-file FILE or --accept N",
            code="no_pins",
        )
    for part in conflicts.screen(_report(space, tx), tx.txid):
        sys.stderr.write(f"{part}\n")
    chosen: dict[str, Any] = {}
    while True:
        sys.stderr.write("pin (package==version, a suggestion's number, empty to end): ")
        sys.stderr.flush()
        line = sys.stdin.readline().strip()
        if not line:
            return chosen
        _add(chosen, _answered(space, tx, line))


def _answered(space: Workspace, tx: Transaction, line: str) -> dict[str, Any]:
    """What one answer adds; a wrong one is told, and asked again."""
    from governance import requirements

    try:
        if line.isdigit():
            return _accepted(space, tx, int(line))
        return {"pins": [requirements.parse_pin(line).text]}
    except UsageError as error:
        sys.stderr.write(f"error: {error.message}\nhint: {error.hint}\n")
        return {}


def _report(space: Workspace, tx: Transaction) -> dict[str, Any]:
    from governance.changes import choice

    report = choice.shown(space, ledger.conflict(space, tx.txid))
    # Its own promote changes prod, too, and then there is nothing to look for anew.
    is_over = tx.status not in choice.RESOLVABLE
    return {**report, "stale": False} if is_over and report else report
