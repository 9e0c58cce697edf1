"""inbox: what was changed beside gov, taken in or put back."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from governance.base.errors import UsageError
from governance.cli.decision import approval, deciding
from governance.cli.outcome import Outcome, Part, Table
from governance.cli.verbs import changing
from governance.truth import workspace

_NOTHING = "nothing was changed beside gov"


def inbox(arguments: Namespace) -> Outcome:
    if arguments.take and arguments.put_back:
        raise UsageError(
            "--take and --put-back are two ways", hint="`gov inbox` lists what there is"
        )
    if arguments.take:
        return _take(arguments)
    return _put_back(arguments) if arguments.put_back else _listed(arguments)


def _listed(arguments: Namespace) -> Outcome:
    from governance.operations import inbox as box

    found = box.chosen(workspace.find(arguments.root), arguments.ids)
    rows = [item.to_json() for item in found]
    if not found:
        return Outcome({"items": rows}, [_NOTHING])
    table = Table("", ("what", "about", "found"), [(i.kind, i.id, i.sentence) for i in found])
    takes = [item for item in found if item.take.startswith("gov inbox")]
    parts: list[Part] = [table]
    parts += ["take all of it in: gov inbox --take"] if takes else []
    parts += [f"{item.id}: {item.take}" for item in found if item.take and item not in takes]
    return Outcome({"items": rows}, [*parts, "put all of it back: gov inbox --put-back"])


def _take(arguments: Namespace) -> Outcome:
    with deciding(arguments) as decision:
        given: dict[str, Any] = {"wanted": arguments.ids, "timeout": arguments.timeout}
        tx = decision.run("inbox_take", **given)
        if tx is None:
            return Outcome({"txid": None, "status": None}, [_NOTHING])
        return changing.ended(decision, arguments, tx)


def _put_back(arguments: Namespace) -> Outcome:
    allowed = approval(arguments)
    with deciding(arguments) as decision:
        done = decision.run("inbox_put_back", wanted=arguments.ids, approval=allowed)
    rows = [item.to_json() for item in done.items]
    if not rows:
        return Outcome({"items": [], "snapshot": None}, [_NOTHING])
    parts: list[Part] = [f"put back: {item.id} ({item.kind})" for item in done.items]
    return Outcome({"items": rows, "snapshot": done.snapshot}, parts, done.warnings)
