"""What the graph derives from the truth: the lock, the environment, its freeze, a snapshot.

Each is idempotent, and says by a claim that reads as a sentence whether there is work.  They are
the road for a maintainer who edited pyproject.toml by hand; the same gates hold on it.
"""

from __future__ import annotations

from dataclasses import dataclass

from governance.base.errors import NeedsResolution, Refused
from governance.boundaries import store
from governance.changes import begin, pipeline, steps
from governance.changes.draft import Draft
from governance.changes.gates import Approval
from governance.changes.session import Session
from governance.changes.staging import Stages
from governance.changes.steps import Step
from governance.environments import generations
from governance.truth import freshness, registry, resolution, snapshots
from governance.truth.lockfile import Change
from governance.truth.workspace import Workspace

LOCK_STAGES = "lock"


@dataclass(frozen=True)
class Synced:
    generation: str
    pre_snapshot: str | None
    post_snapshot: str | None
    changes: tuple[Change, ...]


# --- lock -------------------------------------------------------------------------------------


def lock(session: Session) -> bool:
    """Lock a pyproject.toml that was edited by hand; whether there was work.

    The lock is staged like any other and becomes uv.lock with the commit of `sync`, so that an
    edit that a gate refuses leaves no trace.  A lock that was changed outside gov is an error.
    """
    workspace = session.workspace
    if freshness.lock_is_current(workspace):
        return False
    freshness.refuse_tampered_lock(workspace)
    stages = Stages(workspace, LOCK_STAGES)
    stages.plan(_edited(workspace))
    locked = stages.lock(session.uv)
    if not locked.ok:
        raise NeedsResolution(
            f"{workspace.pyproject} does not lock: " + " ".join(locked.log.split())[-600:],
            hint="mend the groups, or take the edit back with `gov rollback last`",
            facts={"log": locked.log[-8000:]},
        )
    return True


def _edited(workspace: Workspace) -> Draft:
    """Today's truth as somebody edited it; a lost uv.lock is made anew."""
    data = store.read_bytes(workspace.pyproject)
    before = store.read_bytes(workspace.lock) if workspace.lock.is_file() else None
    project = resolution.Project.read(data, workspace.pyproject)
    return Draft(project, tuple(registry.load(workspace)), before)


# --- sync -------------------------------------------------------------------------------------


def sync(session: Session, approval: Approval) -> Synced | None:
    """Take a hand edit into prod, on the same road as any change; None where there is no work."""
    workspace = session.workspace
    if freshness.is_settled(workspace):
        return None
    work = begin.begin(session, [Step(steps.EDIT)], kind="edit")
    work.stages.adopt(Stages(workspace, LOCK_STAGES))
    try:
        done = pipeline.apply(session, work, approval)
    except Refused as error:
        raise _taken_back(workspace, error) from None
    with session.tidying():
        Stages(workspace, LOCK_STAGES).clear()
    return Synced(done.generation, done.pre_snapshot, done.post_snapshot, done.changes)


def _taken_back(workspace: Workspace, error: Refused) -> Refused:
    """How to go on with an edit that a gate refused, and how to take it back."""
    way = 'bin/doit sync --approve-core --reason "why"' if error.code == "core_approval" else ""
    go_on = f"`{way}` takes the edit in; " if way else f"{error.hint}; "
    return Refused(
        f"{workspace.pyproject} was edited, and {error.message}",
        hint=f"{go_on}`gov rollback last` takes it back",
        code=error.code,
        facts=error.facts,
    )


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
