"""What the graph derives from the truth: the lock, the environment, its freeze, a snapshot.

Each is idempotent, and says by a claim that reads as a sentence whether there is work.  They are
the road for a maintainer who edited pyproject.toml by hand; the same gates hold on it.
"""

from __future__ import annotations

from dataclasses import dataclass

from governance.base.errors import GovError, NeedsResolution, Refused
from governance.boundaries import store
from governance.changes import gates, staging, trial_run
from governance.changes.gates import Approval
from governance.changes.session import Session
from governance.changes.staging import Stages
from governance.environments import generations
from governance.truth import freshness, redo, registry, resolution, snapshots
from governance.truth.lockfile import Change
from governance.truth.workspace import Workspace

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
    if freshness.lock_is_current(workspace):
        return False
    freshness.refuse_tampered_lock(workspace)
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
    plugins = redo.read_document(workspace, workspace.plugins)
    new = snapshots.Truth(documents["pyproject.toml"], documents["uv.lock"], plugins)
    generation = generations.current(workspace)
    changed = {
        "uv.lock": new.lock,
        "state/receipt.json": staging.receipt_bytes(workspace, new, generation, "lock"),
    }
    redo.commit(workspace, redo.Change("lock", changed))


# --- sync -------------------------------------------------------------------------------------


def sync(session: Session, approval: Approval) -> Synced | None:
    """Build the environment of uv.lock and switch prod to it, behind the core gate and a smoke
    test; None where there is no work."""
    workspace = session.workspace
    if freshness.prod_is_current(workspace):
        return None
    if not freshness.lock_is_current(workspace):
        freshness.refuse_tampered_lock(workspace)
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
    generations.require_sound(workspace, generation.name)
    done = _switch(workspace, generation.name, found)
    stages.clear()
    return done


def _staged_truth(workspace: Workspace) -> Stages:
    stages = Stages(workspace, SYNC_STAGES)
    truth = snapshots.truth(workspace)
    project = resolution.Project.read(truth.pyproject, workspace.pyproject)
    resolution.stage(stages.folder, project, truth.lock)
    stages.write_lock_receipt()
    return stages


def _smoke(session: Session, stages: Stages) -> None:
    session.say("smoke test of the new environment")
    verdict = trial_run.smoke(session.workspace, stages, session.uv, node=None, live=session.live)
    if not verdict.ok:
        raise GovError(
            f"the smoke test failed: {verdict.reason}",
            hint="state/logs/ tells more; prod is as it was",
            code="smoke_failed",
        )


def _switch(workspace: Workspace, generation: str, found: list[Change]) -> Synced:
    truth = snapshots.truth(workspace)
    old = generations.current(workspace)
    pre = snapshots.take(workspace, reason="sync_pre", generation=old)
    post = snapshots.write(workspace, truth, reason="sync", generation=generation, ref=None)
    documents = {
        "state/snapshots_index.json": snapshots.indexed(workspace, post),
        "state/receipt.json": staging.receipt_bytes(workspace, truth, generation, "sync"),
    }
    redo.commit(workspace, redo.Change("sync", documents, generation))
    snapshots.prune(workspace, keep=(pre.id, post.id))
    return Synced(generation, pre.id, post.id, tuple(found))


# --- freeze -----------------------------------------------------------------------------------


def freeze(workspace: Workspace) -> bool:
    """Write what prod holds, as `pip freeze` would; whether there was work."""
    name = generations.current(workspace)
    if freshness.freeze_is_current(workspace) or name is None:
        return False
    lines = generations.freeze(generations.path(workspace, name))
    text = "\n".join([freshness.FREEZE_HEADER.format(name), *lines]) + "\n"
    store.write(workspace.freeze, text.encode())
    return True


# --- snapshot ---------------------------------------------------------------------------------


def snapshot(workspace: Workspace, reason: str = "manual") -> str | None:
    """Take a snapshot of the truth, unless the newest one holds it; its id."""
    if freshness.truth_is_snapshotted(workspace):
        return None
    registry.load(workspace)  # a snapshot of a damaged registry would be no way back
    taken = snapshots.take(workspace, reason=reason, generation=generations.current(workspace))
    snapshots.prune(workspace, keep=(taken.id,))
    return taken.id
