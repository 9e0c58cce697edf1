"""Bring back any snapshot: packages and code of nodes and of ComfyUI together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from governance import git
from governance.base.errors import GovError, UsageError
from governance.boundaries import store
from governance.changes import begin, checkouts, pipeline, promotion, steps
from governance.changes.draft import COMFYUI, Target
from governance.changes.gates import Approval
from governance.changes.promotion import Promotion
from governance.changes.session import Session
from governance.changes.steps import Step
from governance.environments import generations
from governance.truth import history, inventory, registry, snapshots
from governance.truth.documents import Snapshot
from governance.truth.resolution import Project
from governance.truth.workspace import Workspace

# The reason of gates that a state passed when it became prod for the first time.
BEFORE = "it was prod before"


@dataclass(frozen=True)
class RolledBack:
    """`rebuilt` says whether uv was needed; where the generation was there, it was not."""

    snapshot_id: str
    promotion: Promotion
    rebuilt: bool
    warnings: tuple[str, ...]


def rollback(
    session: Session,
    snapshot_id: str,
    approval: Approval | None = None,
    *,
    packages_only: bool = False,
    discard_local: bool = False,
    kind: str = "rollback",
) -> RolledBack:
    """Restore the truth of a snapshot, its environment and its code.

    Without the network where the environment exists.  What never ran as prod asks the gates and
    is observed, as any change.
    """
    workspace = session.workspace
    snapshot = snapshots.load(workspace, snapshot_id)
    content = snapshots.content(workspace, snapshot)
    warnings: list[str] = []
    targets = {} if packages_only else _targets(workspace, content, warnings)
    step = Step(steps.RESTORE, None, _facts(workspace, snapshot, content, targets, packages_only))
    work = begin.begin(session, [step], kind=kind)
    work.discard_local = discard_local
    before = set(generations.names(workspace))
    done = pipeline.apply(session, work, _approval(approval, step))
    with session.tidying():
        warnings += inventory.mismatches(workspace)
    rebuilt = done.generation not in before
    return RolledBack(snapshot_id, done, rebuilt, tuple(warnings))


def _approval(given: Approval | None, step: Step) -> Approval:
    """What was prod once passed its gates then; what was blocked since is asked about."""
    made = given or Approval()
    if not step.facts["ran"]:
        return made
    return Approval(True, made.reason or BEFORE, True, True, True, True, made.accepts_supply)


def _facts(
    workspace: Workspace,
    snapshot: Snapshot,
    content: snapshots.Truth,
    targets: Mapping[str, Target],
    packages_only: bool,
) -> dict[str, Any]:
    """`exact`: its lock is that of its project; `whole`: prod was exactly this, code included."""
    locked = snapshots.is_locked(workspace, snapshot)
    named = _named(workspace, content)
    is_whole = locked and snapshot.ran is True and COMFYUI in named and targets == named
    return {
        "snapshot": snapshot.id,
        "exact": locked,
        "ran": locked,
        "whole": is_whole and not packages_only,
        "packages_only": packages_only,
        "code": {place: target._asdict() for place, target in targets.items()},
    }


def _named(workspace: Workspace, content: snapshots.Truth) -> dict[str, Target]:
    """The code that a truth names, by place."""
    project = Project.read(content.pyproject, workspace.pyproject)
    plugins = registry.parse(store.parse_json(content.plugins, workspace.plugins), workspace)
    return promotion.targets_of(plugins, project.comfyui)


def _targets(
    workspace: Workspace, content: snapshots.Truth, warnings: list[str]
) -> dict[str, Target]:
    """What can be brought back; of a snapshot of the first version, what a clone still has."""
    found = {}
    for place, target in _named(workspace, content).items():
        if is_known(workspace, place, target):
            found[place] = target
        else:
            warnings.append(
                f"the code of {place.lstrip('@')} at {target.code[:12]} is not kept anywhere; "
                "it stays as it lies on the disk"
            )
    return found


def is_known(workspace: Workspace, place: str, target: Target) -> bool:
    """Whether the code is in the workspace's own repository; taken into it where a clone has it."""
    source = checkouts.repository(workspace, place)
    if source.has(target.code):
        return True
    plugins = registry.parse_or_none(workspace)
    try:
        clone = checkouts.folder(workspace, place, plugins)
        if not git.is_repository(clone):
            return False
        source.take(clone, target.code)
    except GovError:
        return False
    return source.has(target.code)


def undo(session: Session, approval: Approval, *, discard_local: bool = False) -> RolledBack:
    """Take back the last change: bring back the snapshot from before it."""
    wanted = before_last(session.workspace)
    return rollback(session, wanted, approval, discard_local=discard_local, kind="undo")


def before_last(workspace: Workspace) -> str:
    """The snapshot from before the last change.  Raises UsageError where there is none."""
    last = history.last_change(workspace)
    if last is None:
        raise UsageError(
            "there is no change to undo", hint="`gov history` shows them all", code="nothing_to_do"
        )
    return str(last["pre"])
