"""state/conflicts/<txid>.json: why a lock failed, and the fixes that were tried."""

from __future__ import annotations

from governance.base import clock, masking
from governance.boundaries import store
from governance.changes import choice, explanation, plan, provenance, sources, updates
from governance.changes.session import Session
from governance.changes.work import Work, open_work
from governance.conflict.answer import Report
from governance.conflict.problem import NODE
from governance.truth import registry, snapshots
from governance.truth.documents import Conflict
from governance.truth.resolution import Project


def write(work: Work, log: str) -> str:
    """Explain a failed lock, write the report, and return its path in the workspace."""
    tx = work.tx
    with work.session.step("the requirements conflict; looking for the cause and for fixes"):
        found = _explained(work, log)
    if found.fixes:
        plan.leave_out_idle(work, _asked_for(work, found))
    document = Conflict(
        txid=tx.txid,
        node_id=tx.node_id,
        created_at=clock.stamp(),
        raw_log=masking.text(log),
        summary=masking.text(found.summary or " ".join(log.split())[:2000]),
        detected_packages=list(found.packages),
        input_hint="package==version",
        causes=[cause.to_json() for cause in found.causes],
        suggestions=found.to_json()["suggestions"],
        resolver_runs=found.runs,
        complete=found.complete,
        resolution=choice.of(tx),
        base=snapshots.truth_as_it_is(work.workspace).digests(),
    )
    path = f"state/conflicts/{tx.txid}.json"
    store.write_json(work.workspace.root / path, document.to_json())
    return path


def every_cause(session: Session, txid: str) -> Report:
    """All lines that the transaction's cannot stand with, on today's truth; writes nothing."""
    work = open_work(session, txid)
    with session.step("looking for every line that conflicts"):
        # What uv said then may be about lines that have changed since: it is asked once more.
        return _looked_for(work, work.draft.project, "", thorough=True)


def _asked_for(work: Work, found: Report) -> set[str]:
    """Packages of prod, of the lines, and of the locks that the fixes were seen to make."""
    from governance.requirements import requirement_name

    lines = [line for group in work.stages.project().groups.values() for line in group]
    named = {requirement_name(line) for line in lines}
    fixed = {change.name for fix in found.fixes for change in fix.changes}
    return {*explanation.versions_now(work.workspace), *named, *fixed}


def _explained(work: Work, log: str) -> Report:
    nodes = list(work.tx.nodes)
    code = _code(work, nodes[0]) if len(nodes) == 1 else None
    return _looked_for(work, work.stages.project(), log, code=code)


def _looked_for(
    work: Work,
    project: Project,
    log: str,
    *,
    code: explanation.Code | None = None,
    thorough: bool = False,
) -> Report:
    """The lines of its nodes are the new ones; of a change without nodes all lines are old."""
    tx, workspace = work.tx, work.workspace
    if tx.unbuildable:
        project = project.with_wheels_only(row["package"] for row in tx.unbuildable)
    nodes = list(tx.nodes)
    owners = tuple(f"{NODE}{node}" for node in nodes) or (provenance.newcomer(tx),)
    lines = tuple(line for node in nodes for line in plan.owned_lines(tx, node))
    return explanation.of_project(
        workspace,
        work.session.uv,
        project,
        newcomers=owners,
        newcomer_lines=lines,
        log=log,
        say=work.session.say,
        code=code,
        indexes=sources.named(tx),
        unbuildable=tuple((row["package"], row["said"]) for row in tx.unbuildable),
        thorough=thorough,
    )


def _code(work: Work, node: str) -> explanation.Code:
    plugin = work.draft.plugin(node)
    place = registry.place(work.workspace, plugin)
    return explanation.in_place(place, node, lambda: updates.fetch_newest(work.session, plugin))
