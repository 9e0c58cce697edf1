"""Decisions: one person decided, one commit follows.  The stages of a promote are tasks with
receipts under state/work/<txid>/; the commit owns no target and is never up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tasks.claims import Claim
from tasks.context import (
    APPROVAL_PARAMS,
    FAILED_RUN_PARAM,
    PROMOTE_PARAMS,
    act,
    approval_of,
    current,
    here,
)

Task = dict[str, Any]


def task_node_add() -> Task:
    """clone a node into custom_nodes and register it"""
    return {
        "actions": [(_node_add,)],
        "params": [
            {"name": "url", "long": "url", "type": str, "default": "", "help": "where from"},
            {
                "name": "ref",
                "long": "ref",
                "type": str,
                "default": "",
                "help": "what to check out",
            },
            {"name": "node_id", "long": "id", "type": str, "default": "", "help": "its folder"},
        ],
        "uptodate": [False],
    }


def task_node_remove() -> Iterator[Task]:
    """take a node and what only it needed out of prod"""
    yield _group("node_remove", task_node_remove)
    for node_id in _node_ids():
        yield {
            "name": node_id,
            "actions": [(_node_remove, [node_id])],
            "params": [
                *APPROVAL_PARAMS,
                FAILED_RUN_PARAM,
                {
                    "name": "purge_code",
                    "long": "purge-code",
                    "type": bool,
                    "default": False,
                    "help": "delete its folder too",
                },
            ],
            "uptodate": [False],
        }


def task_tx_run() -> Iterator[Task]:
    """start ComfyUI with a node in a candidate, and record what it changed"""
    yield _group("tx_run", task_tx_run)
    for node_id in _node_ids():
        yield {
            "name": node_id,
            "actions": [(_tx_run, [node_id])],
            "params": [
                {
                    "name": "timeout",
                    "long": "timeout",
                    "type": float,
                    "default": 0.0,
                    "help": "seconds until ComfyUI must answer",
                }
            ],
            "uptodate": [False],
        }


def task_promote_plan() -> Iterator[Task]:
    """stage 1: today's truth with the transaction's requirements"""
    yield _group("promote_plan", task_promote_plan)
    space = here()
    for txid, stages in _promotable():
        yield _stage(
            "promote_plan",
            txid,
            file_dep=[space.pyproject, space.lock],
            targets=[stages.plan_receipt, stages.folder / "pyproject.toml"],
            claim=Claim("the staged plan is today's", _is_planned, txid),
        )


def task_promote_lock() -> Iterator[Task]:
    """stage 2: one uv lock of the plan"""
    yield _group("promote_lock", task_promote_lock)
    for txid, stages in _promotable():
        yield _stage(
            "promote_lock",
            txid,
            after="promote_plan",
            file_dep=[stages.folder / "pyproject.toml"],
            targets=[stages.lock_receipt],
            claim=Claim("the staged lock is that of the plan", stages.is_locked),
        )


def task_promote_build() -> Iterator[Task]:
    """stage 3: the environment of the staged lock"""
    yield _group("promote_build", task_promote_build)
    for txid, stages in _promotable():
        yield _stage(
            "promote_build",
            txid,
            after="promote_lock",
            file_dep=[stages.lock_receipt],
            targets=[stages.build_receipt],
            claim=Claim("the staged environment is built", stages.is_built),
        )


def task_promote_smoke() -> Iterator[Task]:
    """stage 4: ComfyUI starts in it: observed, or tested"""
    yield _group("promote_smoke", task_promote_smoke)
    for txid, stages in _promotable():
        yield _stage(
            "promote_smoke",
            txid,
            after="promote_build",
            file_dep=[stages.build_receipt],
            targets=[stages.verdict_receipt],
            claim=Claim("the staged environment was tested", stages.is_tested),
        )


def task_promote() -> Iterator[Task]:
    """stage 5: the gates, the snapshots and the switch of prod"""
    yield _group("promote", task_promote)
    for txid, _ in _promotable():
        yield {
            "name": txid,
            "actions": [(_promote, [txid])],
            "params": PROMOTE_PARAMS,
            "task_dep": [f"promote_smoke:{txid}"],
            "uptodate": [False],
        }


def task_resolve() -> Iterator[Task]:
    """lock a conflicting transaction once more, with pins"""
    yield _group("resolve", task_resolve)
    for txid in _pending():
        yield {
            "name": txid,
            "actions": [(_resolve, [txid])],
            "params": [
                {
                    "name": "pins",
                    "long": "pin",
                    "type": list,
                    "default": [],
                    "help": "package==version; may be given several times",
                }
            ],
            "uptodate": [False],
        }


def task_tx_abort() -> Iterator[Task]:
    """end a transaction and clean its candidate"""
    yield _group("tx_abort", task_tx_abort)
    for txid in _pending():
        yield {"name": txid, "actions": [(_tx_abort, [txid])], "uptodate": [False]}


def task_rollback() -> Iterator[Task]:
    """bring back a snapshot: its truth and its environment"""
    yield _group("rollback", task_rollback)
    for snapshot_id in _snapshot_ids():
        yield {"name": snapshot_id, "actions": [(_rollback, [snapshot_id])], "uptodate": [False]}


def task_repair() -> Task:
    """build anew what verify found broken, from the lock"""
    return {"actions": [(act, ["repair", _repair])], "uptodate": [False]}


def task_prune() -> Task:
    """delete environments, candidates, work folders and logs beyond retention"""
    return {"actions": [(act, ["prune", _clean])], "uptodate": [False]}


# --- shapes -----------------------------------------------------------------------------------


def _group(basename: str, creator: Callable[..., Any]) -> Task:
    """So that the group is listed with its sentence even while it has no members."""
    return {"basename": basename, "name": None, "doc": creator.__doc__}


def _stage(
    basename: str,
    txid: str,
    *,
    file_dep: list[Any],
    targets: list[Any],
    claim: Claim,
    after: str | None = None,
) -> Task:
    return {
        "name": txid,
        "actions": [(_run_stage, [basename, txid])],
        "task_dep": [f"{after}:{txid}"] if after else [],
        "file_dep": file_dep,
        "targets": targets,
        "uptodate": [claim],
    }


def _promotable() -> Iterator[tuple[str, Any]]:
    for row in _overview():
        if row["status"] in _PROMOTABLE:
            from governance.changes.staging import (
                Stages,  # only paid for where something is pending
            )

            yield row["txid"], Stages(here(), row["txid"])


_PROMOTABLE = ("completed", "resolved", "failed", "promote_failed")


def _pending() -> list[str]:
    return [row["txid"] for row in _overview() if row["status"] != "damaged"]


def _overview() -> list[dict[str, Any]]:
    from governance.truth import ledger

    return ledger.overview(here()).pending


def _node_ids() -> list[str]:
    from governance.base.errors import GovError
    from governance.truth import registry

    try:
        return [str(record["id"]) for record in registry.records(here()) if "id" in record]
    except GovError:
        return []  # the action of any other task tells what is wrong


def _snapshot_ids() -> list[str]:
    from governance.base.errors import GovError
    from governance.boundaries import store

    try:
        rows = store.read_object(here().snapshots_index)["snapshots"]
        return [str(row["id"]) for row in rows]
    except (GovError, FileNotFoundError, KeyError, TypeError):
        return []  # the action of any other task tells what is wrong


def _is_planned(txid: str) -> bool:
    from governance.changes import plan
    from governance.changes.staging import Stages
    from governance.truth import ledger

    space = here()
    return Stages(space, txid).is_planned(plan.edit_of(space, ledger.load(space, txid)))


# --- actions ----------------------------------------------------------------------------------


def _node_add(url: str = "", ref: str = "", node_id: str = "") -> Any:
    from pathlib import Path

    from governance.changes import nodes

    def added(session: Any, **given: Any) -> Any:
        return nodes.add(session, **given)

    typed = {"url": url, "ref": ref or None, "node_id": node_id or None, "cwd": Path.cwd()}
    return act("node_add", added, **typed)


def _node_remove(
    node_id: str,
    approve_core: bool = False,
    reason: str = "",
    purge_code: bool = False,
    allow_failed_run: bool = False,
) -> Any:
    from governance.changes import nodes

    def removed(session: Any, **given: Any) -> Any:
        return nodes.remove(session, node_id, **given)

    approval = approval_of(approve_core, reason, allow_failed_run)
    return act(f"node_remove:{node_id}", removed, purge=purge_code, approval=approval)


def _tx_run(node_id: str, timeout: float = 0.0) -> Any:
    from governance.changes import run

    def ran(session: Any, **given: Any) -> Any:
        return run.run(session, node_id, **given)

    return act(f"tx_run:{node_id}", ran, timeout=timeout or None)


def _run_stage(basename: str, txid: str) -> Any:
    from governance.changes import promotion

    stages = {
        "promote_plan": promotion.stage_plan,
        "promote_lock": promotion.stage_lock,
        "promote_build": promotion.stage_build,
        "promote_smoke": promotion.stage_smoke,
    }
    approval = current().given.get(f"promote:{txid}", {}).get("approval")

    def staged(session: Any) -> Any:
        return stages[basename](session, txid, approval)

    return act(f"{basename}:{txid}", staged)


def _promote(
    txid: str,
    approve_core: bool = False,
    reason: str = "",
    allow_failed_run: bool = False,
    accept_skipped: bool = False,
) -> Any:
    from governance.changes import promotion

    def promoted(session: Any, **given: Any) -> Any:
        return promotion.promote(session, txid, **given)

    approval = approval_of(approve_core, reason, allow_failed_run, accept_skipped)
    return act(f"promote:{txid}", promoted, approval=approval)


def _resolve(txid: str, pins: list[str]) -> Any:
    from governance.changes import ending

    def resolved(session: Any, **given: Any) -> Any:
        return ending.resolve(session, txid, **given)

    return act(f"resolve:{txid}", resolved, pins=pins)


def _tx_abort(txid: str) -> Any:
    from governance.changes import ending

    def aborted(session: Any, **given: Any) -> Any:
        return ending.abort(session, txid, **given)

    return act(f"tx_abort:{txid}", aborted)


def _rollback(snapshot_id: str) -> Any:
    from governance.changes import rollback

    def rolled_back(session: Any) -> Any:
        return rollback.rollback(session, snapshot_id)

    return act(f"rollback:{snapshot_id}", rolled_back)


def _repair(session: Any) -> Any:
    from governance.operations import verify

    return verify.repair(session)


def _clean(session: Any, dry_run: bool = False) -> Any:
    from governance.operations import retention

    return retention.clean(session.workspace, dry_run=dry_run)
