"""resolve: pins typed, read from a file, taken from the suggestions, or asked for."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from governance.base.errors import EXIT_NEEDS_RESOLUTION, EXIT_OK, UsageError
from governance.cli import conflicts, inspection
from governance.cli.decision import deciding
from governance.cli.outcome import Outcome
from governance.cli.report import Voice
from governance.truth import ledger, typed, workspace
from governance.truth.documents import NEEDS_RESOLUTION, RESOLVED, Transaction
from governance.truth.workspace import Workspace

_MAX_PINS_BYTES = 1 << 20


def resolve(arguments: Namespace) -> Outcome:
    from governance.changes import plan

    if arguments.suggest:
        return _suggest(arguments)
    if arguments.everything:
        raise UsageError(
            "--all shows everything that conflicts, and goes with --suggest",
            hint=f"gov resolve {arguments.txid} --suggest --all",
        )
    with deciding(arguments) as decision:
        tx = ledger.load(decision.space, typed.transaction(decision.space, arguments.txid))
        _require_resolvable(tx)
        chosen = _chosen(arguments, decision.space, tx)
        done = decision.run(f"resolve:{tx.txid}", **chosen)
        space = decision.space
    suggestions = _report(space, done).get("suggestions", [])
    data = {
        "txid": done.txid,
        "status": done.status,
        "resolution_pins": done.resolution_pins,
        "suggestions": suggestions,
        "plan": done.plan.get("changes", []),
    }
    ok = done.status == RESOLVED
    parts = inspection.resolution(space, done)
    code = EXIT_OK if ok else EXIT_NEEDS_RESOLUTION
    return Outcome(data, parts, (), code, None if ok else plan.error_of(done))


def _suggest(arguments: Namespace) -> Outcome:
    space = workspace.find(arguments.root)
    tx = ledger.load(space, typed.transaction(space, arguments.txid))
    report = _report(space, tx)
    if arguments.everything:
        report = _with_every_cause(arguments, space, tx, report)
    data = {
        "txid": tx.txid,
        "status": tx.status,
        "resolution_pins": tx.resolution_pins,
        "suggestions": report.get("suggestions", []),
        "causes": report.get("causes", []),
        "complete": report.get("complete", True),
    }
    return Outcome(data, conflicts.screen(report, tx.txid, whole=arguments.everything))


def _with_every_cause(
    arguments: Namespace, space: Workspace, tx: Transaction, report: dict[str, Any]
) -> dict[str, Any]:
    """The report with all causes in it, looked for now; as it was where nothing conflicts now."""
    from governance.changes import conflict_report
    from governance.changes.session import open_session

    if not report or tx.status != NEEDS_RESOLUTION:
        return report
    voice = Voice(quiet=arguments.quiet)
    found = conflict_report.every_cause(open_session(space, voice.say), tx.txid)
    if not found.causes:
        voice.say("nothing was found now; what follows is what was found when it was locked")
        return report
    return {**report, "causes": found.to_json()["causes"], "complete": found.complete}


def _require_resolvable(tx: Transaction) -> None:
    from governance.truth.documents import PROMOTE_FAILED

    if tx.status not in (NEEDS_RESOLUTION, PROMOTE_FAILED, RESOLVED):
        tx.move(RESOLVED)


def _chosen(arguments: Namespace, space: Workspace, tx: Transaction) -> dict[str, Any]:
    """Pins, lines to give up and packages to exempt, from all the ways to say them.

    A suggestion comes with all that had been chosen when it was tried, in place of what is now.
    """
    chosen = _nothing()
    if arguments.accept is not None:
        _add(chosen, _accepted(space, tx, arguments.accept))
    if arguments.pins_file is not None:
        _add(chosen, {"pins": _from_file(arguments.pins_file)})
    _add(chosen, {"pins": arguments.pins})
    if not any(chosen.values()):
        chosen = _ask(space, tx)
    if not any(chosen.values()):
        raise UsageError(
            "no pin was given",
            hint="--pin package==version, --accept N, or answer the prompt",
            code="no_pins",
        )
    return chosen


def _nothing() -> dict[str, Any]:
    lists = ("pins", "dropped", "exempt", "overrides", "replaced", "scoped")
    return {**{name: [] for name in lists}, "anew": False}


def _add(chosen: dict[str, Any], more: dict[str, Any]) -> None:
    for kind, values in more.items():
        chosen[kind] = values if kind == "anew" else [*chosen[kind], *values]


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
    report = _report(space, tx)
    suggestions = report.get("suggestions", [])
    if not 1 <= number <= len(suggestions):
        raise UsageError(
            f"there is no suggestion {number}",
            hint=f"`gov resolve {tx.txid} --suggest` lists {len(suggestions)}",
            code="unknown_suggestion",
        )
    fix = suggestions[number - 1]
    if fix.get("ref"):
        raise UsageError(
            f"suggestion {number} is another commit of {tx.node_id}, and its code is yours to move",
            hint=f"`{fix.get('command')}`",
            code="other_ref",
        )
    base = report.get("resolution", {})
    return {
        "pins": [*base.get("pins", []), *fix.get("typed", [])],
        "dropped": [*base.get("dropped", []), *(line["text"] for line in fix.get("dropped", []))],
        "exempt": [*base.get("exempt", []), *fix.get("exempt", [])],
        "overrides": [*base.get("overrides", []), *fix.get("pins", [])],
        "replaced": [*base.get("replaced", []), *map(_as_chosen, fix.get("replaced", []))],
        "scoped": [*base.get("scoped", []), *fix.get("scoped", [])],
        "anew": True,
    }


def _as_chosen(replaced: dict[str, Any]) -> dict[str, str]:
    line = replaced["line"]
    return {"owner": line["owner"], "text": line["text"], "to": replaced["to"]}


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
    chosen = _nothing()
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
    return ledger.conflict(space, tx.txid)
