"""What a run saw, put into its record; and how a record ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from governance.base import clock
from governance.changes import absence, gates, provenance, trial_run
from governance.truth import ledger
from governance.truth.documents import Transaction
from governance.truth.lockfile import Change, changes, frozen_versions
from governance.truth.workspace import Workspace


def record(
    workspace: Workspace, tx: Transaction, seen: trial_run.Watched, *, environment_seconds: float
) -> None:
    """Put an observation into the record: freezes, diff, core impact, plan."""
    found = seen.observation
    found.times["environment"] = round(environment_seconds, 3)
    found.reason = absence.explained(workspace, tx, found)
    tx.observation = found.to_json()
    tx.post_freeze = list(found.post_freeze)
    tx.logs["run_exit_code"] = found.run_exit_code
    tx.candidate_env = _relative(workspace, seen.candidate.folder)
    undeclared = {change.name for change in seen.undeclared}
    found_changes = changes(frozen_versions(tx.pre_freeze), frozen_versions(tx.post_freeze))
    tx.diff = _diff(found_changes, undeclared)
    tx.core_impact = [c.to_json() for c in gates.core_changes(workspace, found_changes)]
    _take_additions(workspace, tx, seen.additions)


def _take_additions(
    workspace: Workspace, tx: Transaction, asked: Sequence[trial_run.Asked]
) -> None:
    """What was installed without a declaration is judged as a declared line would be."""
    judged = provenance.judged(workspace, asked)
    before = tx.promotion_plan["override_additions"]
    additions = dict.fromkeys([*before, *(line.text for line in judged.lines)])
    tx.promotion_plan["override_additions"] = list(additions)
    skipped = [entry.to_json() for entry in judged.skipped]
    tx.skipped_requirements += [entry for entry in skipped if entry not in tx.skipped_requirements]


def _diff(found: Sequence[Change], undeclared: set[str]) -> dict[str, Any]:
    changed = [
        {"name": c.name, "from": c.before, "to": c.after} for c in found if c.kind == "changed"
    ]
    return {
        "added": [_freeze_line(c.name, c.after) for c in found if c.kind == "added"],
        "removed": [_freeze_line(c.name, c.before) for c in found if c.kind == "removed"],
        "changed": changed,
        "undeclared": sorted(undeclared),
    }


def _freeze_line(name: str, version: str | None) -> str:
    text = version or ""
    return f"{name} {text}" if text.startswith("@") else f"{name}=={text}"


def end(workspace: Workspace, tx: Transaction, status: str, reason: str | None) -> None:
    if status != tx.status:
        tx.move(status)
    if reason is not None:
        tx.observation.setdefault("reason", reason)
    tx.ended_at = clock.stamp()
    tx.process = {}
    ledger.save(workspace, tx)


def _relative(workspace: Workspace, path: Path) -> str:
    return str(path.relative_to(workspace.root))
