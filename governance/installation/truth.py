"""Truth and prod brought into being, or what is missing in them repaired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from governance import requirements
from governance.base.errors import GovError
from governance.boundaries import store
from governance.changes import gates, provenance, staging, trial_run
from governance.changes.session import Session
from governance.changes.staging import Edit, Stages
from governance.environments import generations
from governance.installation.settings import Options, settings_of
from governance.truth import freshness, redo, registry, resolution, snapshots
from governance.truth.lockfile import Change
from governance.truth.resolution import Project
from governance.truth.workspace import Workspace

STAGES = "init"


@dataclass(frozen=True)
class Initialised:
    workspace: Workspace
    python: str
    generation: str
    lock_sha256: str
    changes: tuple[Change, ...]
    made: bool
    date: str | None
    skipped: tuple[requirements.Skipped, ...]
    warnings: tuple[str, ...]


def initialise(session: Session, options: Options) -> Initialised:
    """Bring truth and prod into being, or repair what is missing.  The caller holds the lock."""
    space = session.workspace
    restored = _restore_missing(space)
    freshness.refuse_tampered_lock(space)
    declared = provenance.core_requirements(space)
    edit, project = _wanted(session, options, declared)
    made = not space.lock.is_file()
    if _is_current(space, project, edit):
        return _result(session, project, declared, (), False, tuple(restored))
    stages = Stages(space, STAGES)
    _stage(space, stages, project, edit)
    generation, changes, warnings = _build(session, stages, options)
    _commit(session, stages, generation)
    with session.tidying():
        stages.clear()
    told = (*restored, *warnings)
    return _result(session, stages_project(space), declared, tuple(changes), made, told)


def stages_project(space: Workspace) -> Project:
    return Project.read(snapshots.truth(space).pyproject, space.pyproject)


def _restore_missing(space: Workspace) -> list[str]:
    """Truth files that are gone come back from the newest snapshot that the receipt names."""
    told = []
    try:
        receipt = store.read_object(space.receipt)
    except FileNotFoundError:
        receipt = {}
    for path, name in zip(space.truth, snapshots.FILES, strict=True):
        if not path.is_file() and receipt:
            wanted = str(receipt.get(f"{path.stem.replace('uv', 'lock')}_sha256"))
            store.write(path, _from_snapshot(space, name, wanted))
            told.append(f"{path.name} was missing and is back as it was")
    if not space.plugins.is_file():
        store.write(space.plugins, registry.dump([]))
    return told


def _from_snapshot(space: Workspace, name: str, wanted: str) -> bytes:
    for row in reversed(snapshots.index(space)):
        path = space.snapshots / str(row["id"]) / name
        if store.file_digest(path) == wanted:
            return store.read_bytes(path)
    raise GovError(
        f"{name} is missing, and no snapshot holds it as it was",
        hint="`gov snapshot list`, then `gov rollback <snapshot_id>` to one that you want",
        code="truth_missing",
    )


def _wanted(
    session: Session, options: Options, declared: requirements.Declared
) -> tuple[Edit, Project]:
    """The project as it should be: new, or today's with what the options and ComfyUI changed."""
    space = session.workspace
    core = tuple(line.text for line in declared.lines)
    if not space.pyproject.is_file():
        settings = settings_of(session, options)
        text = resolution.new_project(settings, core)
        return Edit(), Project(text, space.pyproject)
    project = Project.read(store.read_bytes(space.pyproject), space.pyproject)
    if any((options.python, options.date, options.torch_backend, options.index)):
        project = project.with_settings(settings_of(session, options, project))
    same = project.groups.get(resolution.CORE_GROUP) == list(core)
    return Edit(core=None if same else core), project


def _is_current(space: Workspace, project: Project, edit: Edit) -> bool:
    """Claim: truth and prod are there, belong together, and hold what they should, whole."""
    if edit.core is not None or not all(path.is_file() for path in space.truth):
        return False
    prod = generations.prod(space)
    same_text = store.read_bytes(space.pyproject) == project.encoded
    if prod is None or prod.lock_sha256 != store.file_digest(space.lock):
        return False
    return same_text and not generations.check_files(space, prod.name)


def _stage(space: Workspace, stages: Stages, project: Project, edit: Edit) -> None:
    lock = store.read_bytes(space.lock) if space.lock.is_file() else None
    wanted = edit.apply(project)
    unchanged = lock is not None and store.read_bytes(space.pyproject) == wanted.encoded
    resolution.stage(stages.folder, wanted, lock)
    if unchanged:
        stages.write_lock_receipt()
    else:
        stages.lock_receipt.unlink(missing_ok=True)


def _build(
    session: Session, stages: Stages, options: Options
) -> tuple[str, list[Change], list[str]]:
    session.say("locking ComfyUI's requirements")
    locked = stages.lock(session.uv)
    if not locked.ok:
        raise GovError(
            "ComfyUI's own requirements do not lock: " + " ".join(locked.log.split())[-600:],
            hint="another --python or --resolution-date may do; see docs/08",
            code="lock_conflict",
            facts={"log": locked.log[-8000:]},
        )
    changes = stages.changes()
    if generations.current(session.workspace) is not None:
        gates.require_core(gates.core_changes(session.workspace, changes), options.approval)
    session.say("building the environment")
    generation = stages.build(session.uv).name
    return generation, changes, _try(session, stages, generation)


def _try(session: Session, stages: Stages, generation: str) -> list[str]:
    """Start ComfyUI once in the new environment.  A warning, not an error: on a machine where
    ComfyUI cannot start at all, the environment is still what its requirements say."""
    session.say("starting ComfyUI once to see that it comes up")
    try:
        verdict = trial_run.smoke(
            session.workspace, stages, session.uv, node=None, live=session.live, quick=False
        )
    except GovError as error:
        return [f"ComfyUI could not be tried: {error.message}"]
    trial_run.adopt_baseline(session.workspace, stages, generation)
    return [] if verdict.ok else [f"ComfyUI does not come up: {verdict.reason}"]


def _commit(session: Session, stages: Stages, generation: str) -> None:
    space = session.workspace
    documents = stages.documents()
    plugins = redo.read_document(space, space.plugins)
    new = snapshots.Truth(documents["pyproject.toml"], documents["uv.lock"], plugins)
    old = generations.current(space)
    if old is not None and all(path.is_file() for path in space.truth):
        snapshots.take(space, reason="init_pre", generation=old)
    post = snapshots.write(space, new, reason="init", generation=generation, ref=None)
    changed = {
        **new.documents(),
        "state/snapshots_index.json": snapshots.indexed(space, post),
        "state/receipt.json": staging.receipt_bytes(
            space,
            new,
            generation,
            "init",
            core_sha256=store.file_digest(space.comfyui_dir / "requirements.txt"),
        ),
    }
    redo.commit(space, redo.Change("init", changed, generation))
    with session.tidying():
        snapshots.prune(space, keep=(post.id,))


def _result(
    session: Session,
    project: Project,
    declared: requirements.Declared,
    changes: tuple[Change, ...],
    made: bool,
    warnings: Sequence[str],
) -> Initialised:
    space = session.workspace
    prod = generations.prod(space)
    return Initialised(
        space,
        project.python,
        prod.name if prod else "",
        store.file_digest(space.lock) or "",
        changes,
        made,
        project.date,
        declared.skipped,
        tuple(warnings),
    )


def to_json(done: Initialised) -> dict[str, Any]:
    return {
        "root": str(done.workspace.root),
        "python": done.python,
        "lock_sha256": done.lock_sha256,
        "generation": done.generation,
        "changes": [change.to_json() for change in done.changes],
        "resolution_date": done.date,
        "skipped_requirements": [entry.to_json() for entry in done.skipped],
    }
