"""What a resolution chooses: pins, lines to leave out, and whatever else a fix is made of.

A choice is a dict: `pins` are the transaction's `resolution_pins`, every other kind stands in its
`resolution` under the same name.  Kinds are not listed here, so that a new one needs no change.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from governance.base.errors import UsageError
from governance.changes import staging
from governance.truth import ledger
from governance.truth.documents import NEEDS_RESOLUTION, PROMOTE_FAILED, RESOLVED, Transaction
from governance.truth.workspace import Workspace

Choice = dict[str, Any]

PINS = "pins"
RESOLVABLE = (NEEDS_RESOLUTION, PROMOTE_FAILED, RESOLVED)

# A fix has its pins twice: as a person types them, and as complete entries for the truth, which
# may name extras.
_FIELD_OF = {PINS: "typed", "overrides": "pins"}


def require_resolvable(tx: Transaction) -> None:
    """Raises Refused, naming the moves that are allowed."""
    if tx.status not in RESOLVABLE:
        tx.move(RESOLVED)


# --- the choice of a transaction --------------------------------------------------------------


def of(tx: Transaction) -> Choice:
    return {PINS: list(tx.resolution_pins), **deepcopy(tx.resolution)}


def put(tx: Transaction, chosen: Mapping[str, Any]) -> None:
    """Make `chosen` the whole choice; kinds that it does not name are as if never chosen."""
    rest = {kind: value for kind, value in chosen.items() if kind != PINS}
    tx.resolution_pins = _one_each(chosen.get(PINS, ()))
    tx.resolution = {**{kind: type(value)() for kind, value in tx.resolution.items()}, **rest}


def forget(tx: Transaction) -> None:
    """Only what the command that began the transaction chose (`tx run --without`) stays."""
    begun = tx.audit.get("resolution", {"without": tx.resolution.get("without", [])})
    put(tx, deepcopy(begun))


def add(chosen: Choice, more: Mapping[str, Any]) -> None:
    """Take `more` into `chosen`: lists grow, without doubles; anything else is replaced."""
    for kind, value in more.items():
        if isinstance(value, list):
            grown = [*chosen.get(kind, ()), *value]
            chosen[kind] = _one_each(grown) if kind == PINS else _without_doubles(grown)
        else:
            chosen[kind] = value


def _one_each(pins: list[str]) -> list[str]:
    """The last pin of a package counts."""
    from governance import requirements

    return list({requirements.requirement_name(pin): pin for pin in pins}.values())


def _without_doubles(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


# --- the choice of a fix ----------------------------------------------------------------------


def report_of(workspace: Workspace, tx: Transaction) -> dict[str, Any]:
    """The conflict report.  Raises UsageError where there is none or where it has no fix."""
    report = ledger.conflict(workspace, tx.txid)
    if report.get("suggestions"):
        return report
    raise UsageError(
        f"no fix is known for {tx.txid}",
        hint=f"`gov resolve {tx.txid} --pin package==version` chooses a version by hand",
        code="unknown_suggestion",
    )


def fix(tx: Transaction, report: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Raises UsageError where there is no such suggestion."""
    suggestions = report.get("suggestions", [])
    if not 1 <= number <= len(suggestions):
        raise UsageError(
            f"there is no suggestion {number}",
            hint=f"`gov resolve {tx.txid} --suggest` lists {len(suggestions)}",
            code="unknown_suggestion",
        )
    return dict(suggestions[number - 1])


def of_fix(tx: Transaction, report: Mapping[str, Any], number: int) -> Choice:
    """All that was chosen when the fix was found, and the fix.

    Raises UsageError for a fix that is more than a choice, as another commit of a node.
    """
    found = fix(tx, report, number)
    why = obstacle(tx, found)
    if why is not None:
        raise UsageError(
            f"suggestion {number} {why}",
            hint=f"`gov resolve {tx.txid} --accept {number}` updates the node to it",
            code="other_ref",
        )
    chosen = {**_nothing(), **of(tx), **deepcopy(dict(report.get("resolution", {})))}
    for kind in chosen:
        value = found.get(_FIELD_OF.get(kind, kind))
        if value:
            add(chosen, {kind: _texts(value)})
    return chosen


def _nothing() -> Choice:
    """Of all kinds, also of those that an older record does not have."""
    return of(Transaction(txid="", node_id=None, status=RESOLVED))


def obstacle(tx: Transaction, found: Mapping[str, Any]) -> str | None:
    """Why a fix is no choice of this transaction; None where it is."""
    if found.get("ref"):
        return f"is another commit of {tx.node_id}, and takes a transaction of its own"
    return None


def personal(found: Mapping[str, Any]) -> str | None:
    """Why only a person may choose a fix; None where a command may."""
    if found.get("sources"):
        return "takes a package from an index that only the node names"
    return None


def _texts(value: Any) -> Any:
    """Lines of requirements stand in a report with their owners; chosen is the text."""
    if not isinstance(value, list):
        return value
    return [_chosen(one) if isinstance(one, dict) else one for one in value]


def _chosen(one: dict[str, Any]) -> Any:
    """A line that is left out is its text; one that gets another is named with its owner."""
    if "to" in one:
        return {"owner": one["line"]["owner"], "text": one["line"]["text"], "to": one["to"]}
    return one.get("text", one)


def number_of(tx: Transaction, report: Mapping[str, Any]) -> int | None:
    """The suggestion that the transaction has chosen; None where it is none of them."""
    for number, found in enumerate(report.get("suggestions", []), 1):
        if obstacle(tx, found) is None and _is_same(of_fix(tx, report, number), of(tx)):
            return number
    return None


def _is_same(one: Choice, other: Choice) -> bool:
    return all(
        sorted(map(str, one.get(kind) or ())) == sorted(map(str, other.get(kind) or ()))
        for kind in one.keys() | other.keys()
    )


# --- reports and today's prod -----------------------------------------------------------------


def is_stale(workspace: Workspace, base: Mapping[str, Any] | None) -> bool:
    """Claim: prod has other requirements or another lock than at `base`."""
    return bool(base) and staging.base_moved(workspace, dict(base or {}))


def shown(workspace: Workspace, report: Mapping[str, Any]) -> dict[str, Any]:
    """A report with `stale` for all of it and for each fix that was tried; empty stays empty."""
    if not report:
        return {}
    suggestions = [dict(found) for found in report.get("suggestions", [])]
    for found in suggestions:
        if found.get("tried"):
            stale = is_stale(workspace, found["tried"].get("base"))
            found["tried"] = {**found["tried"], "stale": stale}
    stale = is_stale(workspace, report.get("base"))
    return {**report, "suggestions": suggestions, "stale": stale}
