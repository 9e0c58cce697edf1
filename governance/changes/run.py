"""`tx run`: start ComfyUI with a node in a candidate and record what it changed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from governance import git, requirements
from governance.base.errors import GovError, UsageError
from governance.boundaries import store
from governance.changes import plan, provenance, trial_run
from governance.changes.recording import end, record
from governance.changes.session import Session
from governance.changes.staging import Stages
from governance.environments import candidate, generations
from governance.truth import ledger, registry, snapshots
from governance.truth.documents import ABORTED, COMPLETED, FAILED, Plugin, Transaction
from governance.truth.workspace import Workspace


def run(
    session: Session,
    node_id: str,
    *,
    timeout: float | None = None,
    pins: Sequence[str] = (),
    resolution: Mapping[str, Any] | None = None,
) -> Transaction:
    """Start ComfyUI with the node in a candidate and record what it changed.

    `pins` and `resolution` are decided on beforehand, as a transaction keeps them.

    Ends as completed, failed or needs_resolution, each of them recorded; raises only for what
    kept the run from being made at all.
    """
    workspace = session.workspace
    plugin = registry.find(registry.load(workspace), node_id)
    declared = _declared(workspace, plugin)
    tx = _begun(workspace, plugin, declared)
    tx.resolution_pins = list(pins)
    tx.resolution |= resolution or {}
    ledger.save(workspace, tx)
    session.say(f"transaction {tx.txid}")
    with _ending(workspace, tx):
        _run(session, tx, timeout or workspace.config.number("tx.timeout_seconds"))
    return tx


def _run(session: Session, tx: Transaction, timeout: float) -> None:
    workspace = session.workspace
    stages = Stages(workspace, tx.txid)
    started = time.monotonic()
    if not plan.lock(session, tx, stages):
        return
    session.say("building the candidate environment")
    generation = stages.build(session.uv)
    tx.plan.update(plan.summary(workspace, stages))
    built = time.monotonic() - started
    session.say(f"starting ComfyUI with {tx.node_id}")
    seen = trial_run.watch(
        workspace, stages, session.uv, node=tx.node_id, timeout=timeout, live=session.live
    )
    record(workspace, tx, seen, environment_seconds=built)
    tx.observation["times"]["file_check"] = generation.check_seconds
    stages.write_verdict("run", seen.observation.verdict, seen.observation.reason)
    tx.move(COMPLETED if seen.observation.verdict == "completed" else FAILED)


def _begun(workspace: Workspace, plugin: Plugin, declared: requirements.Declared) -> Transaction:
    tx = ledger.begin(workspace, plugin.id)
    prod = generations.prod(workspace)
    tx.commit = git.head(workspace.custom_nodes / plugin.id)
    tx.base = snapshots.truth(workspace).digests()
    tx.pre_freeze = list(prod.packages) if prod else []
    tx.promotion_plan["direct_additions"] = [line.text for line in declared.lines]
    tx.plan = {"declared": declared.to_json()}
    tx.skipped_requirements = [
        entry.to_json() for entry in _weighty(declared.skipped, prod.locked if prod else {})
    ]
    for stream in ("stdout", "stderr"):
        tx.logs[stream] = f"state/logs/{tx.txid}.{stream}.log"
    if tx.skipped_requirements and plan.skipped_policy(workspace) == "refuse":
        raise plan.skipped_refusal(tx, "policy.skipped_requirements is refuse")
    return tx


def _declared(workspace: Workspace, plugin: Plugin) -> requirements.Declared:
    folder = workspace.custom_nodes / plugin.id
    if not folder.is_dir():
        raise UsageError(
            f"the code of {plugin.id} is not at {folder}",
            hint=f"`gov node remove {plugin.id}` forgets it, then add it again",
            code="node_code_missing",
        )
    store.refuse_link(folder)  # where it leads, the node could write
    return provenance.read_declared(workspace, folder)


def _weighty(
    skipped: Sequence[requirements.Skipped], locked: dict[str, str]
) -> list[requirements.Skipped]:
    """Skipped lines that somebody has to decide on: a torch line that ComfyUI's own torch
    satisfies asks for nothing."""
    return [e for e in skipped if not (e.kind == "torch" and _is_satisfied(e.raw, locked))]


def _is_satisfied(line: str, locked: dict[str, str]) -> bool:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        wanted = Requirement(line.split("#")[0].strip())
    except InvalidRequirement:
        return False
    version = locked.get(wanted.name.lower())
    plain = wanted.url is None and version is not None and not version.startswith("@")
    return plain and wanted.specifier.contains(str(version).partition("+")[0], prereleases=True)


@contextmanager
def _ending(workspace: Workspace, tx: Transaction) -> Iterator[None]:
    """Whatever happens, the transaction ends with a state and a time."""
    try:
        yield
    except KeyboardInterrupt:
        end(workspace, tx, ABORTED, "interrupted")
        candidate.discard(workspace, tx.txid)
        Stages(workspace, tx.txid).clear()
        raise
    except GovError as error:
        end(workspace, tx, FAILED, error.message)
        error.facts.setdefault("txid", tx.txid)
        raise
    end(workspace, tx, tx.status, None)
