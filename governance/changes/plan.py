"""What a transaction does to the declared truth: planned, locked, compared with prod."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from governance.base.errors import GovError, NeedsResolution, Refused
from governance.boundaries import uv_failures
from governance.boundaries.uv import Locked
from governance.changes import gates, hashes, owned, provenance, supply_chain, unmet
from governance.changes.work import Work
from governance.conflict.package_changes import steps
from governance.conflict.problem import NODE, Owned
from governance.environments import generations
from governance.truth import ledger, lockfile, registry
from governance.truth.documents import FAILED, NEEDS_RESOLUTION, Transaction


def lock(work: Work) -> bool:
    """Plan and lock; on a conflict write the report, move the transaction and return False."""
    try:
        locked = _locked(work)
    except GovError as error:
        log = str(error.facts.get("log"))
        if error.code == uv_failures.UNDATED and supply_chain.gives_up_age(work, log):
            return lock(work)
        raise
    if locked.ok and _leave_out_idle(work):
        return lock(work)
    if locked.ok and supply_chain.learns(work):
        return lock(work)
    if locked.ok:
        _note(work, locked.log)
        _note_hashes(work)
        supply_chain.require_allowed(work)
        return True
    if supply_chain.gives_up_age(work, locked.log):
        return lock(work)
    # Explaining is a subject of its own, and its import is paid for only where there is a conflict.
    from governance.changes import conflict_report

    tx = work.tx
    tx.conflict_report = conflict_report.write(work, locked.log)
    tx.move(NEEDS_RESOLUTION)
    return False


def _locked(work: Work) -> Locked:
    """What was given up before is tried again; where that fails, it is given up once more."""
    supply_chain.prepare(work)
    work.stages.plan(work.draft)
    if not work.stages.is_locked():
        work.session.say("locking the requirements")
    locked = work.stages.lock(work.session.uv)
    if locked.ok or not _gives_up_again(work):
        return locked
    work.session.say("locking without the lines that were given up before")
    again = work.stages.lock(work.session.uv)
    if again.ok:
        return again
    work.tx.resolution["replaced"] = []
    work.stages.plan(work.draft)
    return locked


def _gives_up_again(work: Work) -> bool:
    """Choose what an earlier resolution gave up, unless something else was chosen already."""
    tx = work.tx
    if any(tx.resolution.values()) or tx.resolution_pins:
        return False
    asked = {node: tx.lines_of(node) for node in tx.nodes}
    known = registry.load(work.workspace) if work.workspace.plugins.is_file() else []
    tx.resolution["replaced"] = [
        {"owner": f"{NODE}{plugin.id}", **row}
        for plugin in known
        for row in plugin.given_up
        if row["text"] in asked.get(plugin.id, ())
    ]
    if not tx.resolution["replaced"]:
        return False
    work.stages.plan(work.draft)
    return True


def _leave_out_idle(work: Work) -> bool:
    if not work.tx.resolution_pins:
        return False
    return leave_out_idle(work, work.stages.lock_versions())


def leave_out_idle(work: Work, asked_for: Container[str]) -> bool:
    """Pins of packages that nothing asks for are no part of the choice: nobody would miss them,
    and one day they would hold what another node asks for."""
    from governance.requirements import requirement_name

    tx = work.tx
    idle = [pin for pin in tx.resolution_pins if requirement_name(pin) not in asked_for]
    if not idle:
        return False
    work.session.say(f"nothing asks for {', '.join(idle)}: left out")
    gone = set(map(requirement_name, idle))
    tx.resolution_pins = [pin for pin in tx.resolution_pins if pin not in idle]
    overrides = tx.resolution.get("overrides", [])
    tx.resolution["overrides"] = [text for text in overrides if requirement_name(text) not in gone]
    return True


def _note(work: Work, log: str) -> None:
    """Keep what the lock did not fail on, and what somebody should know all the same."""
    from governance.requirements import requirement_name

    tx, project = work.tx, work.draft.project
    own = set(map(requirement_name, tx.resolution_pins))
    standing = [text for text in project.overrides if requirement_name(text) not in own]
    if not tx.nodes or ("warning:" not in log and not standing):
        return
    from governance.conflict import notes

    lines = [line for node in tx.nodes for line in owned_lines(tx, node)]
    outvoted = notes.outvoted(standing, work.stages.lock_versions(), lines)
    tx.plan["notes"] = [cause.to_json() for cause in (*notes.noted(log, lines), *outvoted)]


def _note_hashes(work: Work) -> None:
    sentences = hashes.check(work)
    for sentence in sentences:
        work.session.say(sentence)
    if sentences and work.tx.nodes:
        noted = [{"sentence": sentence} for sentence in sentences]
        work.tx.plan["notes"] = [*work.tx.plan.get("notes", []), *noted]


def owned_lines(tx: Transaction, node: str) -> list[Owned]:
    """A node's lines of the transaction, with the file and line that each was read from."""
    places = provenance.places_of(tx.nodes[node].get("declared", {}))
    return provenance.owned(f"{NODE}{node}", tx.lines_of(node), places)


def summary(work: Work) -> dict[str, Any]:
    """What the staged lock would change in prod and who asks for it, as data for a table."""
    workspace, stages = work.workspace, work.stages
    found = steps(
        generations.lock_of_prod(workspace),
        lockfile.read(stages.folder / "uv.lock"),
        gates.core_names(workspace),
    )
    manifest = stages.generation() if stages.is_built() else None
    return {
        "generation": manifest.name if manifest else None,
        "changes": [step.to_json() for step in found],
        "shared_files": manifest.shared_files if manifest else [],
        "owner_changes": owned.rows(work) if manifest else [],
        "notes": [*work.tx.plan.get("notes", []), *_misrecorded(work)],
        "incompatible": unmet.rows(work) if manifest else [],
    }


def _misrecorded(work: Work) -> list[dict[str, Any]]:
    """Once a package: in prod it is known, and a record that is written again has it already."""
    if not work.stages.is_built():
        return []
    known = [note["sentence"] for note in work.tx.plan.get("notes", [])]
    told = work.stages.new_misrecorded()
    return [{"sentence": sentence} for sentence in told if sentence not in known]


def error_of(tx: Transaction) -> GovError | None:
    """The error that goes with a transaction that did not complete."""
    if tx.status == NEEDS_RESOLUTION:
        return NeedsResolution(
            f"the requirements of {tx.what} conflict; the report is {tx.conflict_report}",
            hint=f"type one of the commands above; `gov resolve {tx.txid} --suggest` shows them "
            "again",
            facts={"txid": tx.txid, "conflict_report": tx.conflict_report},
        )
    if tx.status == FAILED:
        return GovError(
            f"the run of {tx.what} failed: {tx.observation.get('reason', 'see the log')}",
            hint=f"the log is {tx.logs.get('stderr')}; `gov tx inspect {tx.txid}` tells more",
            code="run_failed",
            facts={"txid": tx.txid},
        )
    return None


def needs_resolution(work: Work) -> NeedsResolution:
    """Where a verb of one command ends with it: the screen shows nothing but this."""
    tx = work.tx
    found = ledger.conflict(work.workspace, tx.txid)
    why = str(found.get("summary") or "").strip() or "see the report"
    return NeedsResolution(
        f"the requirements of {tx.what} conflict: {why[:600]}",
        hint=f"`gov resolve {tx.txid} --suggest` shows the fixes that were tried",
        facts={"txid": tx.txid, "conflict_report": tx.conflict_report},
    )


def unresolved(tx: Transaction) -> Refused:
    return Refused(
        f"{tx.txid} has a conflict that is not resolved",
        hint=f"`gov resolve {tx.txid} --suggest` lists the fixes that were tried",
        code="bad_transition",
        facts={"status": tx.status, "txid": tx.txid},
    )
