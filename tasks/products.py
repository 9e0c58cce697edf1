"""Products: derived from the truth, idempotent, rerun only where something changed."""

from __future__ import annotations

from typing import Any

from governance.truth import freshness
from tasks.claims import Claim
from tasks.context import act, approval_of, current, here
from tasks.parameters import GATES

Task = dict[str, Any]


def task_init() -> Task:
    """make the workspace, or repair what is missing in it"""
    space = here()
    return {
        "actions": [(act, ["init", _init])],
        "file_dep": [path for path in (space.config_path, _requirements(space)) if path.is_file()],
        "targets": [space.receipt],
        "uptodate": [Claim("truth and prod are there", _is_initialised, space)],
    }


def task_lock() -> Task:
    """the lock of a pyproject.toml that was edited by hand, staged"""
    space = here()
    return {
        "actions": [(act, ["lock", _lock])],
        "file_dep": [space.pyproject],
        "uptodate": [
            Claim(
                "uv.lock is what was locked from this pyproject.toml",
                freshness.lock_is_current,
                space,
            )
        ],
    }


def task_sync() -> Task:
    """prod from pyproject.toml: locked, built, observed, and one switch"""
    space = here()
    return {
        "actions": [(_sync,)],
        "params": [param.to_doit() for param in GATES],
        "task_dep": ["lock"],
        "file_dep": [space.pyproject, *([space.lock] if space.lock.is_file() else [])],
        "targets": [space.prod],
        "uptodate": [
            Claim("prod is the environment of this project and lock", freshness.is_settled, space)
        ],
    }


def task_freeze() -> Task:
    """state/prod.freeze.txt: what prod holds, line by line"""
    space = here()
    return {
        "actions": [(act, ["freeze", _freeze])],
        "task_dep": ["sync"],
        # Not the manifest of prod: which one that is, `sync` may change in this very run.
        "file_dep": [space.lock],
        "targets": [space.freeze],
        "uptodate": [
            Claim("the freeze is that of today's prod", freshness.freeze_is_current, space)
        ],
    }


def task_snapshot() -> Task:
    """a snapshot of the truth, unless the newest one holds it"""
    space = here()
    return {
        "actions": [(act, ["snapshot", _snapshot])],
        "file_dep": list(space.truth),
        "targets": [space.snapshots_index],
        "uptodate": [
            Claim("the newest snapshot holds this truth", freshness.truth_is_snapshotted, space)
        ],
    }


def _init(session: Any, options: Any = None) -> Any:
    from governance import installation

    return installation.initialise(session, options or installation.Options())


def _lock(session: Any) -> Any:
    from governance.changes import derive

    return derive.lock(session)


def _sync(
    approve_core: bool = False,
    reason: str = "",
    allow_failed_run: bool = False,
    accept_skipped: bool = False,
    accept_findings: bool = False,
    accept_incompatible: bool = False,
) -> Any:
    from governance.changes import derive

    approval = approval_of(
        approve_core,
        reason,
        allow_failed_run,
        accept_skipped,
        accept_findings,
        accept_incompatible,
    )
    return act("sync", derive.sync, approval=approval)


def _freeze(session: Any) -> Any:
    from governance.changes import derive

    return derive.freeze(session.workspace)


def _snapshot(session: Any) -> Any:
    from governance.changes import derive

    return derive.snapshot(session.workspace)


def _is_initialised(space: Any) -> bool:
    """`gov init` always looks for itself, since its options may change what is wanted."""
    return (
        "init" not in current().given
        and freshness.prod_is_current(space)
        and freshness.lock_is_current(space)
    )


def _requirements(space: Any) -> Any:
    return space.root / space.config.text("comfyui_dir") / "requirements.txt"
