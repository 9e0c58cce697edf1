"""What a transaction does to the declared truth: planned, locked, compared with prod."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from governance.base.errors import GovError, NeedsResolution, Refused
from governance.boundaries import store
from governance.changes import gates
from governance.changes.session import Session
from governance.changes.staging import Edit, Stages
from governance.conflict.package_changes import steps
from governance.environments import generations
from governance.truth import lockfile, registry, snapshots
from governance.truth.documents import FAILED, NEEDS_RESOLUTION, Transaction
from governance.truth.resolution import Project
from governance.truth.workspace import Workspace


def lock(session: Session, tx: Transaction, stages: Stages) -> bool:
    """Plan and lock; on a conflict write the report, move the transaction and return False."""
    session.say("locking the requirements")
    workspace = session.workspace
    stages.plan(edit_of(workspace, tx))
    locked = stages.lock(session.uv)
    if locked.ok:
        _note(workspace, tx, stages, locked.log)
        return True
    # Explaining is a subject of its own, and its import is paid for only where there is a conflict.
    from governance.changes import conflict_report

    tx.conflict_report = conflict_report.write(session, tx, stages, locked.log)
    tx.move(NEEDS_RESOLUTION)
    return False


def _note(workspace: Workspace, tx: Transaction, stages: Stages, log: str) -> None:
    """Keep what the lock did not fail on, and what somebody should know all the same."""
    from governance.requirements import requirement_name

    truth = snapshots.truth(workspace)
    standing = Project.read(truth.pyproject, workspace.pyproject).overrides
    own = set(map(requirement_name, tx.resolution_pins))
    standing = [text for text in standing if requirement_name(text) not in own]
    if "warning:" not in log and not standing:
        return
    from governance.changes import provenance
    from governance.conflict import notes
    from governance.conflict.problem import NODE

    places = provenance.places_of(tx.plan.get("declared", {}))
    lines = provenance.owned(f"{NODE}{tx.node_id}", tx.lines, places)
    outvoted = notes.outvoted(standing, stages.lock_versions(), lines)
    tx.plan["notes"] = [cause.to_json() for cause in (*notes.noted(log, lines), *outvoted)]


def edit_of(workspace: Workspace, tx: Transaction) -> Edit:
    """What the transaction does to the declared truth: the node's group, and its pins."""
    lines = tx.lines
    plugin = registry.find(registry.load(workspace), tx.node_id)
    overrides = None
    without = tx.resolution.get("without", ())
    if tx.resolution_pins or without:
        # What an accepted fix was tried with has the extras of packages that are not in prod yet.
        asked = [*lines, *tx.resolution.get("overrides", ())]
        overrides = tuple(_overrides_with(workspace, asked, tx.resolution_pins, without))
    exempt = tuple(tx.resolution.get("exempt", ()))
    return Edit(group=plugin.group, lines=tuple(lines), overrides=overrides, exempt=exempt)


def _overrides_with(
    workspace: Workspace, lines: Sequence[str], pins: Sequence[str], without: Sequence[str]
) -> list[str]:
    """Today's overrides with `pins` in place of those for the same packages.

    uv's override drops the extras of what it replaces, so they are carried over from every line
    in the groups and every package in prod's lock that asks for it; the bare name stands for
    transitive demands that are not in prod yet.  Packages `without` which it is to go are not
    installed, whoever asks for them.
    """
    from governance import requirements
    from governance.conflict.chains import demands
    from governance.conflict.shared import away

    truth = snapshots.truth(workspace)
    prod = _prod_lock(workspace) if pins else {}
    project = Project.read(truth.pyproject, workspace.pyproject)
    asked = [line for group in project.groups.values() for line in group] + list(lines)
    made = [
        text
        for pin in map(requirements.parse_pin, pins)
        for text in requirements.override_text(
            pin, [pin.name, *_lines_for(pin.name, asked), *demands(prod, pin.name)]
        )
    ]
    made += away(without)
    replaced = {requirements.requirement_name(text) for text in made}
    kept = [o for o in project.overrides if requirements.requirement_name(o) not in replaced]
    return [*kept, *made]


def _lines_for(name: str, lines: Sequence[str]) -> list[str]:
    from governance import requirements

    return [line for line in lines if requirements.requirement_name(line) == name]


def summary(workspace: Workspace, stages: Stages) -> dict[str, Any]:
    """What the staged lock would change in prod and who asks for it, as data for a table."""
    found = steps(_prod_lock(workspace), _lock_in(stages.folder), gates.core_names(workspace))
    manifest = stages.generation() if stages.is_built() else None
    return {
        "generation": manifest.name if manifest else None,
        "changes": [step.to_json() for step in found],
        "shared_files": manifest.shared_files if manifest else [],
    }


def _prod_lock(workspace: Workspace) -> dict[str, Any]:
    name = generations.current(workspace)
    return _lock_in(generations.papers(workspace, name)) if name else {}


def _lock_in(folder: Path) -> dict[str, Any]:
    path = folder / "uv.lock"
    return lockfile.parse(store.read_bytes(path), path)


def error_of(tx: Transaction) -> GovError | None:
    """The error that goes with a transaction that did not complete."""
    if tx.status == NEEDS_RESOLUTION:
        return needs_resolution(tx)
    if tx.status == FAILED:
        return GovError(
            f"the run of {tx.node_id} failed: {tx.observation.get('reason', 'see the log')}",
            hint=f"the log is {tx.logs.get('stderr')}; `gov tx inspect {tx.txid}` tells more",
            code="run_failed",
            facts={"txid": tx.txid},
        )
    return None


def needs_resolution(tx: Transaction) -> NeedsResolution:
    return NeedsResolution(
        f"the requirements of {tx.node_id} conflict; the report is {tx.conflict_report}",
        hint=f"type one of the commands above; `gov resolve {tx.txid} --suggest` shows them again",
        facts={"txid": tx.txid, "conflict_report": tx.conflict_report},
    )


def skipped_policy(workspace: Workspace) -> str:
    return workspace.config.text("policy.skipped_requirements")


def skipped_refusal(tx: Transaction, why: str) -> Refused:
    first = tx.skipped_requirements[0]
    origin = first["origin"]
    place = f"{origin['file']}:{origin['line']}" if origin["file"] else "installed at start,"
    more = len(tx.skipped_requirements) - 1
    tail = f" and {more} more" if more else ""
    return Refused(
        f"{tx.node_id}: requirement lines were skipped, {why}: "
        f"{place} {first['raw']!r} ({first['reason']}){tail}",
        hint="--accept-skipped goes on without them; config.toml's [policy] can take more kinds",
        code="skipped_requirements",
        facts={"skipped": tx.skipped_requirements},
    )
