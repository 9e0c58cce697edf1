"""What the graph derives from the truth: the lock, the environment, its freeze, a snapshot.

Each is idempotent, and says by a claim that reads as a sentence whether there is work.  They are
the road for a maintainer who edited pyproject.toml by hand; the same gates hold on it.
"""

from __future__ import annotations

from dataclasses import dataclass

from governance import (
    claims,
    commit,
    environment,
    gates,
    history,
    registry,
    resolution,
    staging,
    store,
    trial,
)
from governance.errors import GovError, NeedsResolution, Refused
from governance.gates import Approval
from governance.lockfile import Change
from governance.staging import Stages
from governance.transaction.session import Session
from governance.workspace import Workspace

LOCK_STAGES = "lock"
SYNC_STAGES = "sync"


@dataclass(frozen=True)
class Synced:
    generation: str
    pre_snapshot: str | None
    post_snapshot: str | None
    changes: tuple[Change, ...]


# --- lock -------------------------------------------------------------------------------------


def lock(session: Session) -> bool:
    """Lock a pyproject.toml that was edited by hand; whether there was work.

    A lock that was changed outside gov is an error, never a silent re-lock.
    """
    workspace = session.workspace
    if claims.lock_is_current(workspace):
        return False
    claims.refuse_tampered_lock(workspace)
    stages = Stages(workspace, LOCK_STAGES)
    pyproject = store.read_bytes(workspace.pyproject)
    project = resolution.Project.read(pyproject, workspace.pyproject)
    before = store.read_bytes(workspace.lock) if workspace.lock.is_file() else None
    resolution.stage(stages.folder, project, before)
    stages.lock_receipt.unlink(missing_ok=True)
    locked = stages.lock(session.uv)
    if not locked.ok:
        raise NeedsResolution(
            f"{workspace.pyproject} does not lock: " + " ".join(locked.log.split())[-600:],
            hint="mend the groups, or bring the file back with `gov rollback`",
            facts={"log": locked.log[-8000:]},
        )
    _commit_lock(workspace, stages)
    stages.clear()
    return True


def _commit_lock(workspace: Workspace, stages: Stages) -> None:
    documents = stages.documents()
    plugins = commit.read_document(workspace, workspace.plugins)
    new = history.Truth(documents["pyproject.toml"], documents["uv.lock"], plugins)
    generation = environment.current(workspace)
    changed = {
        "uv.lock": new.lock,
        "state/receipt.json": staging.receipt_bytes(workspace, new, generation, "lock"),
    }
    commit.commit(workspace, commit.Change("lock", changed))


# --- sync -------------------------------------------------------------------------------------


def sync(session: Session, approval: Approval) -> Synced | None:
    """Build the environment of uv.lock and switch prod to it, behind the core gate and a smoke
    test; None where there is no work."""
    workspace = session.workspace
    if claims.prod_is_current(workspace):
        return None
    if not claims.lock_is_current(workspace):
        claims.refuse_tampered_lock(workspace)
        raise Refused(
            "uv.lock is not that of pyproject.toml",
            hint="run `doit lock` first (a plain `doit` does both)",
            code="lock_stale",
        )
    stages = _staged_truth(workspace)
    generation = stages.build(session.uv)
    found = stages.changes()
    core = gates.core_changes(workspace, found)
    core += gates.core_overwritten(workspace, stages.new_quarrels())
    gates.require_core(core, approval)
    _smoke(session, stages)
    environment.require_sound(workspace, generation.name)
    done = _switch(workspace, generation.name, found)
    stages.clear()
    return done


def _staged_truth(workspace: Workspace) -> Stages:
    stages = Stages(workspace, SYNC_STAGES)
    truth = history.truth(workspace)
    project = resolution.Project.read(truth.pyproject, workspace.pyproject)
    resolution.stage(stages.folder, project, truth.lock)
    stages.write_lock_receipt()
    return stages


def _smoke(session: Session, stages: Stages) -> None:
    session.say("smoke test of the new environment")
    verdict = trial.smoke(session.workspace, stages, session.uv, node=None, live=session.live)
    if not verdict.ok:
        raise GovError(
            f"the smoke test failed: {verdict.reason}",
            hint="state/logs/ tells more; prod is as it was",
            code="smoke_failed",
        )


def _switch(workspace: Workspace, generation: str, found: list[Change]) -> Synced:
    truth = history.truth(workspace)
    old = environment.current(workspace)
    pre = history.take(workspace, reason="sync_pre", generation=old)
    post = history.write(workspace, truth, reason="sync", generation=generation, ref=None)
    documents = {
        "state/snapshots_index.json": history.indexed(workspace, post),
        "state/receipt.json": staging.receipt_bytes(workspace, truth, generation, "sync"),
    }
    commit.commit(workspace, commit.Change("sync", documents, generation))
    history.prune(workspace, keep=(pre.id, post.id))
    return Synced(generation, pre.id, post.id, tuple(found))


# --- freeze -----------------------------------------------------------------------------------


def freeze(workspace: Workspace) -> bool:
    """Write what prod holds, as `pip freeze` would; whether there was work."""
    name = environment.current(workspace)
    if claims.freeze_is_current(workspace) or name is None:
        return False
    lines = environment.freeze(environment.path(workspace, name))
    text = "\n".join([claims.FREEZE_HEADER.format(name), *lines]) + "\n"
    store.write(workspace.freeze, text.encode())
    return True


# --- snapshot ---------------------------------------------------------------------------------


def snapshot(workspace: Workspace, reason: str = "manual") -> str | None:
    """Take a snapshot of the truth, unless the newest one holds it; its id."""
    if claims.truth_is_snapshotted(workspace):
        return None
    registry.load(workspace)  # a snapshot of a damaged registry would be no way back
    taken = history.take(workspace, reason=reason, generation=environment.current(workspace))
    history.prune(workspace, keep=(taken.id,))
    return taken.id
