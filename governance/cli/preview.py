"""`--dry-run`: what a change would do, by a lock in a temporary place; nothing is kept."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from governance.changes.steps import Step
from governance.changes.work import Work
from governance.cli import inspection, tables
from governance.cli.outcome import Outcome, Part
from governance.cli.report import Voice
from governance.truth import workspace


def show(arguments: Namespace, wanted: Sequence[Step], kind: str) -> Outcome:
    """The plan of these steps on today's truth."""
    from governance.changes import begin

    space = workspace.find(arguments.root)
    session = Voice(quiet=arguments.quiet).session(space)
    return of(begin.begin(session, wanted, kind=kind, dry_run=True))


def settings(arguments: Namespace, kind: str) -> list[Step]:
    """The steps of another torch or Python, looked up on this machine."""
    from governance.changes import updates
    from governance.changes.settings import Options

    session = Voice(quiet=arguments.quiet).session(workspace.find(arguments.root))
    if kind == "torch":
        return updates.torch_steps(session, arguments.backend)
    options = Options(python=arguments.version)
    return [updates.settings_step(session, options, arguments.version)]


def of(work: Work, notes: Sequence[str] = ()) -> Outcome:
    from governance.operations import node_check

    found, _ = node_check.foresee(work)
    changes = [step.to_json() for step in found]
    rows = [inspection.commits(node, part) for node, part in _parts(work)]
    parts: list[Part] = [line for row in rows for line in row]
    parts += tables.changes(changes, title="what would change in prod")
    parts.append("nothing was changed (--dry-run)")
    data = {
        "dry_run": True,
        "steps": [step.to_json() for step in work.steps],
        "nodes": work.tx.nodes,
        "comfyui": work.tx.comfyui,
        "changes": changes,
        "notes": list(notes),
    }
    return Outcome(data, parts, notes)


def _parts(work: Work) -> list[tuple[str, dict[str, Any]]]:
    own = [("ComfyUI", work.tx.comfyui)] if work.tx.comfyui.get("from") else []
    return [*own, *((n, p) for n, p in work.tx.nodes.items() if p.get("from"))]
