"""node update, enable, disable, with, without; comfyui update; torch, python, upgrade, pin, unpin.

Those that bring something new are observed as `tx run` observes, and promoted then; `--promote`
does both in one command.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from governance.base.errors import UsageError
from governance.changes import steps
from governance.cli import preview, tables
from governance.cli.decision import Decision, approval, deciding
from governance.cli.outcome import Outcome
from governance.cli.verbs import tx as tx_verbs


def node_update(arguments: Namespace) -> Outcome:
    if not arguments.nodes and not arguments.all_nodes:
        raise UsageError(
            "no node is named", hint="`gov node update --all` updates every promoted node"
        )
    if arguments.to and (arguments.all_nodes or len(arguments.nodes) != 1):
        raise UsageError("--to is for one node", hint="gov node update NODE_ID --to REF")
    given = {
        "nodes": arguments.nodes,
        "to": arguments.to,
        "all_nodes": arguments.all_nodes,
        "keep_local": arguments.keep_local,
        "discard_local": arguments.discard_local,
    }
    more = {"all_or_nothing": arguments.all_or_nothing}
    return _fetched(arguments, "node_update", given, more, "every node is at its newest commit")


def comfyui_update(arguments: Namespace) -> Outcome:
    given = {
        "to": arguments.to,
        "keep_local": arguments.keep_local,
        "discard_local": arguments.discard_local,
    }
    return _fetched(arguments, "comfyui_update", given, {}, "ComfyUI is at the newest commit")


def _fetched(
    arguments: Namespace,
    task: str,
    given: dict[str, Any],
    more: dict[str, Any],
    nothing: str,
) -> Outcome:
    """Fetch, say what would come, and observe it."""
    with deciding(arguments) as decision:
        if arguments.dry_run:
            work, notes = decision.run(task, **given, dry_run=True)
            found = None if work is None else preview.of(work, notes)
            return found or Outcome(_empty(notes), [nothing], notes)
        tx, notes = decision.run(task, **given, **more, timeout=arguments.timeout)
        if tx is None:
            return Outcome(_empty(notes), [nothing], notes)
        return ended(decision, arguments, tx, notes)


def _empty(notes: Sequence[str]) -> dict[str, Any]:
    return {"txid": None, "status": None, "steps": [], "notes": list(notes)}


def ended(decision: Decision, arguments: Namespace, tx: Any, notes: Sequence[str] = ()) -> Outcome:
    """The run, or with --promote what it became."""
    from governance.truth.documents import COMPLETED

    if not arguments.promote or tx.status != COMPLETED:
        return tx_verbs.observed(decision.space, tx, notes)
    seen = tx_verbs.observed(decision.space, tx, notes)
    done = tx_verbs.promoted(decision, tx.txid, approval(arguments))
    return done._replace(warnings=[*seen.warnings, *done.warnings])


def node_with(arguments: Namespace) -> Outcome:
    words = [arguments.node_id, *arguments.packages]
    step = steps.Step(steps.WITH, arguments.node_id, {"lines": arguments.packages})
    return _observed(arguments, "node_with", {"words": words}, [step], "with")


def node_without(arguments: Namespace) -> Outcome:
    words = [arguments.node_id, *arguments.packages]
    step = steps.Step(steps.WITHOUT, arguments.node_id, {"packages": arguments.packages})
    return _observed(arguments, "node_without", {"words": words}, [step], "without")


def torch(arguments: Namespace) -> Outcome:
    return _observed(arguments, "torch", {"words": [arguments.backend]}, None, "torch")


def python(arguments: Namespace) -> Outcome:
    return _observed(arguments, "python", {"words": [arguments.version]}, None, "python")


def upgrade(arguments: Namespace) -> Outcome:
    if not arguments.packages and not arguments.all_packages:
        raise UsageError("no package is named", hint="`gov upgrade --all` upgrades every package")
    step = steps.Step(steps.UPGRADE, None, {"packages": arguments.packages})
    given = {"words": arguments.packages, "all_packages": arguments.all_packages}
    return _observed(arguments, "upgrade", given, [step], "upgrade")


def pin(arguments: Namespace) -> Outcome:
    step = steps.Step(steps.PIN, None, {"lines": arguments.pins})
    return _observed(arguments, "pin", {"words": arguments.pins}, [step], "pin")


def unpin(arguments: Namespace) -> Outcome:
    step = steps.Step(steps.UNPIN, None, {"packages": arguments.packages})
    return _observed(arguments, "unpin", {"words": arguments.packages}, [step], "unpin")


def _observed(
    arguments: Namespace,
    task: str,
    given: dict[str, Any],
    wanted: list[steps.Step] | None,
    kind: str,
) -> Outcome:
    if arguments.dry_run:
        return preview.show(arguments, wanted or preview.settings(arguments, kind), kind)
    with deciding(arguments) as decision:
        tx = decision.run(task, **given, timeout=arguments.timeout)
        return ended(decision, arguments, tx)


def node_enable(arguments: Namespace) -> Outcome:
    return _switched(arguments, steps.ENABLE)


def node_disable(arguments: Namespace) -> Outcome:
    return _switched(arguments, steps.DISABLE)


def _switched(arguments: Namespace, kind: str) -> Outcome:
    if arguments.dry_run:
        return preview.show(arguments, [steps.Step(kind, node) for node in arguments.nodes], kind)
    allowed = approval(arguments)
    with deciding(arguments) as decision:
        done = decision.run(f"node_{kind}", nodes=arguments.nodes, approval=allowed)
    data = {
        "nodes": list(arguments.nodes),
        "txid": done.transaction.txid,
        "pre_snapshot": done.pre_snapshot,
        "post_snapshot": done.post_snapshot,
        "generation": done.generation,
        "changes": [change.to_json() for change in done.changes],
    }
    parts = tables.changes(done.changes, title="what changed in prod")
    word = "loaded again" if kind == steps.ENABLE else "disabled; their code stays"
    parts.append(f"{', '.join(arguments.nodes)}: {word}")
    parts.append(f"back with: gov rollback {done.pre_snapshot}")
    return Outcome(data, parts)
