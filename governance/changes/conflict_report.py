"""state/conflicts/<txid>.json: why a lock failed, and the fixes that were tried."""

from __future__ import annotations

from governance.base import clock
from governance.boundaries import store
from governance.changes import explanation, provenance
from governance.changes.session import Session
from governance.changes.staging import Stages
from governance.conflict.answer import Report
from governance.conflict.problem import NODE
from governance.truth.documents import Conflict, Transaction


def write(session: Session, tx: Transaction, stages: Stages, log: str) -> str:
    """Explain a failed lock, write the report, and return its path in the workspace."""
    session.say("the requirements conflict; looking for the cause and for fixes")
    found = _explained(session, tx, stages, log)
    chosen = {name: tx.resolution.get(name, []) for name in ("dropped", "exempt", "overrides")}
    document = Conflict(
        txid=tx.txid,
        node_id=tx.node_id,
        created_at=clock.stamp(),
        raw_log=log,
        summary=found.summary or " ".join(log.split())[:2000],
        detected_packages=list(found.packages),
        input_hint="package==version",
        causes=[cause.to_json() for cause in found.causes],
        suggestions=found.to_json()["suggestions"],
        resolver_runs=found.runs,
        complete=found.complete,
        resolution={"pins": tx.resolution_pins, **chosen},
    )
    path = f"state/conflicts/{tx.txid}.json"
    store.write_json(session.workspace.root / path, document.to_json())
    return path


def _explained(session: Session, tx: Transaction, stages: Stages, log: str) -> Report:
    project = stages.project()
    owner = f"{NODE}{tx.node_id}"
    places = provenance.places_of(tx.plan.get("declared", {}))
    return explanation.of_project(
        session.workspace,
        session.uv,
        project,
        newcomer=owner,
        newcomer_lines=tuple(provenance.owned(owner, tx.lines, places)),
        log=log,
        say=session.say,
        code=explanation.Code.in_place(session.workspace, tx.node_id),
    )
