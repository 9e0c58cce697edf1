"""Demands of packages that a change would leave unmet: recorded, gated, and known afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from governance.base.errors import Damaged
from governance.changes import gates, verdicts
from governance.changes.draft import Draft
from governance.changes.gates import Approval
from governance.changes.work import Work
from governance.environments import generations
from governance.environments.compatibility import Incompatible
from governance.requirements import requirement_name
from governance.truth import freshness
from governance.truth.documents import Plugin
from governance.truth.resolution import Project
from governance.truth.workspace import Workspace

# In state/receipt.json: what prod leaves unmet and somebody has accepted.
ACCEPTED = "incompatible"


def rows(work: Work) -> list[dict[str, Any]]:
    """What the built environment leaves unmet and prod does not, each with its sentence."""
    found = work.stages.new_incompatible()
    if not found:
        return []
    made = work.draft
    return [row(one, made.project, made.plugins) for one in found]


def row(one: Incompatible, project: Project, plugins: Iterable[Plugin]) -> dict[str, Any]:
    """`overrides` are those that keep the two apart, `chosen_for` the nodes they came with."""
    held = [text for text in project.overrides if requirement_name(text) == one.name]
    scoped = [row for row in project.scoped if _is_about(one, row[0], row[2])]
    chosen = [p.id for p in plugins if _is_chosen_for(p, one)] if held or scoped else []
    return {
        **one.to_json(),
        "at_stake": one.at_stake,
        "overrides": held,
        "chosen_for": chosen,
        "sentence": one.sentence + _why(one.name, held, bool(scoped), chosen),
    }


def _is_about(one: Incompatible, package: str, dependency: str) -> bool:
    return (package, requirement_name(dependency)) == (one.package, one.name)


def _is_chosen_for(plugin: Plugin, one: Incompatible) -> bool:
    rows = plugin.scoped_deps
    return one.name in map(requirement_name, plugin.override_deps) or any(
        _is_about(one, row["package"], row["dependency"]) for row in rows
    )


def _why(name: str, held: Sequence[str], is_scoped: bool, owners: Sequence[str]) -> str:
    chosen = f", chosen for {', '.join(owners)}" if owners else ""
    if held:
        return f": kept apart by your override of {name}{chosen}"
    return f": its range of {name} is not asked for any more{chosen}" if is_scoped else ""


def note(work: Work) -> list[dict[str, Any]]:
    """The same, kept in the record; what `resolve` chose was not built yet when it was written."""
    found = rows(work)
    if found != work.tx.plan.get("incompatible", []):
        work.tx.plan["incompatible"] = found
        work.save()
    return found


def require_accepted(work: Work, found: Sequence[dict[str, Any]], approval: Approval) -> None:
    """Raises Refused.  What was prod once passed this gate then."""
    if not verdicts.ran(work):
        gates.require_compatible(work.workspace, found, approval)


def newly_accepted(work: Work, made: Draft, approval: Approval) -> list[dict[str, Any]]:
    """What this commit lets stand beyond what was accepted before, for the audit.

    With the word of the operator that is all that the new prod leaves unmet: also what an earlier
    version of gov let in unasked, which stays a finding of `gov verify` until then.
    """
    workspace = work.workspace
    if not (_is_first(workspace) or approval.incompatible or gates.allows_incompatible(workspace)):
        return []
    known = accepted(workspace)
    found = generations.incompatible(workspace, work.stages.generation())
    return [row(one, made.project, made.plugins) for one in found if one.key not in known]


def _is_first(workspace: Workspace) -> bool:
    """There was nobody to ask: `gov init` tells what its prod leaves unmet."""
    return generations.current(workspace) is None


def receipt(work: Work, new: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """For state/receipt.json: what is accepted and still unmet."""
    known = accepted(work.workspace) | {(one["package"], one["requires"]) for one in new}
    present = generations.incompatible(work.workspace, work.stages.generation())
    standing = [one for one in present if one.key in known]
    return {ACCEPTED: [{"package": one.package, "requires": one.requires} for one in standing]}


def accepted(workspace: Workspace) -> set[tuple[str, str]]:
    """The demands that somebody has accepted to be unmet in prod."""
    try:
        found = freshness.receipt(workspace).get(ACCEPTED)
    except Damaged:
        return set()  # the commit that follows keeps it as evidence, and writes a new one
    listed = found if isinstance(found, list) else []
    return {(str(r.get("package")), str(r.get("requires"))) for r in listed if isinstance(r, dict)}


def sentences(workspace: Workspace, generation: str) -> list[str]:
    """All that an environment leaves unmet."""
    made = generations.manifest(workspace, generation)
    return [one.sentence for one in generations.incompatible(workspace, made)] if made else []
