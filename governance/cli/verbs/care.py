"""rollback, undo, verify, repair, clean."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from governance.base.errors import EXIT_FAILED, EXIT_OK, GovError
from governance.cli import tables
from governance.cli.decision import approval, deciding
from governance.cli.outcome import Outcome, Part, Table
from governance.cli.report import Voice
from governance.truth import workspace
from governance.truth.workspace import Workspace


def rollback(arguments: Namespace) -> Outcome:
    from governance.truth import typed

    space = workspace.find(arguments.root)
    snapshot_id = typed.snapshot(space, arguments.snapshot_id)
    if arguments.dry_run:
        return _foreseen(space, snapshot_id)
    allowed = approval(arguments)
    with deciding(arguments) as decision:
        done = decision.run(
            f"rollback:{snapshot_id}",
            approval=allowed,
            packages_only=arguments.packages_only,
            discard_local=arguments.discard_local,
        )
    return _came_back(done, arguments)


def undo(arguments: Namespace) -> Outcome:
    from governance.changes import rollback as way_back

    space = workspace.find(arguments.root)
    if arguments.dry_run:
        return _foreseen(space, way_back.before_last(space))
    allowed = approval(arguments)
    with deciding(arguments) as decision:
        done = decision.run("undo", approval=allowed, discard_local=arguments.discard_local)
    return _came_back(done, arguments)


def _foreseen(space: Workspace, snapshot_id: str) -> Outcome:
    from governance.cli import comparing

    return comparing.outcome(space, "prod", snapshot_id, {"dry_run": True})


def _came_back(done: Any, arguments: Namespace) -> Outcome:
    made = done.promotion
    data = {
        "snapshot_id": done.snapshot_id,
        "rollback_pre": made.pre_snapshot,
        "generation": made.generation,
        "changes": [change.to_json() for change in made.changes],
        "code": list(made.code),
        "rebuilt": done.rebuilt,
        "file_check_seconds": round(made.check_seconds, 3),
        "mismatches": list(done.warnings),
    }
    parts = tables.changes(made.changes, title="what changed in prod")
    parts += tables.code(made.code)
    parts.append(f"prod is generation {made.generation}, as of {done.snapshot_id}")
    parts.append(f"its files were checked in {made.check_seconds:.2f} s")
    parts.append(f"undo with: gov rollback {made.pre_snapshot}")
    return Outcome(data, parts, _few(done.warnings, arguments))


def _few(warnings: Sequence[str], arguments: Namespace) -> Sequence[str]:
    """A person reads the names of the first few nodes; scripts, and -v, all."""
    from governance.truth import inventory

    return warnings if arguments.json or arguments.verbose else inventory.folded(warnings)


def verify(arguments: Namespace) -> Outcome:
    """A question: the report is shown, not stored (`doit verify` stores it)."""
    from governance.operations import verify

    space = workspace.find(arguments.root)
    uv = Voice(quiet=arguments.quiet).session(space).uv if arguments.fetch else None
    report = verify.verify(space, full=arguments.full or arguments.fetch, uv=uv)
    notes = _few(report.notes, arguments)
    rows = [(f.kind, f.path, f.detail) for f in report.findings]
    parts: list[Part] = [Table("", ("finding", "where", ""), rows[:40])] if rows else []
    if report.ok:
        parts.append(f"no drift: generation {report.generation} is as it was built")
        return Outcome(report.to_json(), parts, notes, EXIT_OK)
    error = GovError(
        f"{len(rows)} findings in {report.generation or 'prod'}",
        hint=report.cure,
        code="drift",
    )
    return Outcome(report.to_json(), parts, notes, EXIT_FAILED, error)


def repair(arguments: Namespace) -> Outcome:
    from governance.operations import verify

    with deciding(arguments) as decision:
        done = decision.run("repair", fetch=arguments.fetch)
    data = {"done": list(done.done), "left": [finding.to_json() for finding in done.left]}
    left = [f"{f.kind} {f.path}: {f.detail}; no build mends that" for f in done.left]
    if done.done or not left:
        return Outcome(data, list(done.done) or ["nothing to repair"], left)
    error = GovError(left[0], hint=verify.Report(done.left, (), True, None).cure, code="drift")
    return Outcome(data, [], left[1:], EXIT_FAILED, error)


def clean(arguments: Namespace) -> Outcome:
    with deciding(arguments) as decision:
        gone = decision.run("prune", dry_run=arguments.dry_run)
    word = "would be deleted" if arguments.dry_run else "deleted"
    parts = [f"{word}: {path}" for path in gone] or ["nothing beyond retention"]
    return Outcome({"deleted": gone, "dry_run": arguments.dry_run}, parts)
