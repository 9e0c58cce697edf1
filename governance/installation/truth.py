"""Truth and prod brought into being, or what is missing in them repaired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from governance import requirements
from governance.base import clock, names
from governance.base.errors import GovError
from governance.boundaries import store
from governance.changes import audit, begin, checkouts, draft, pipeline, provenance, steps, unmet
from governance.changes.session import Session
from governance.changes.settings import Options, settings_of
from governance.changes.steps import Step
from governance.environments import generations
from governance.installation import folder
from governance.truth import freshness, redo, registry, snapshots
from governance.truth.documents import Transaction
from governance.truth.lockfile import Change
from governance.truth.resolution import Project
from governance.truth.workspace import Workspace


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
    """Bring truth and prod into being, or take in what changed since.  The caller holds the lock.

    A second init is a change like any other: what changed in ComfyUI's requirements and in the
    settings comes in, lines that the operator added stay, and prod only moves to an environment
    in which everything still loads.
    """
    space = session.workspace
    restored = restore_missing(space)
    freshness.refuse_tampered_lock(space)
    folder.mark_governed(space)
    declared = provenance.core_requirements(space)
    if not space.pyproject.is_file():
        changes, warnings = _make(session, options, declared)
        return _result(session, declared, changes, True, (*restored, *warnings))
    wanted, found = _wanted(session, options, declared)
    if _is_current(space, wanted, found):
        return _result(session, declared, (), False, tuple(restored))
    work = begin.begin(session, wanted, kind="init", comfyui=found)
    done = pipeline.apply(session, work, options.approval)
    return _result(session, declared, done.changes, False, tuple(restored))


def _make(
    session: Session, options: Options, declared: requirements.Declared
) -> tuple[tuple[Change, ...], list[str]]:
    """The first truth and the first prod.  That ComfyUI does not come up is a warning here: on a
    machine where it cannot start at all, the environment is still what its requirements say."""
    space = session.workspace
    (step,), found = _first(session, options, declared)
    session.say("locking ComfyUI's requirements")
    work = begin.begin(session, [step], kind="init", comfyui=found)
    given = options.approval
    allowed = replace(given, failed_run=True, findings=True, supply=given.findings)
    done = pipeline.apply(session, work, allowed)
    verdict = work.tx.observation
    failed = verdict.get("verdict") != "completed"
    reason = verdict.get("reason") or "it could not be tried"
    word = "came up, but" if verdict.get("ready") else "does not come up:"
    warnings = [f"ComfyUI {word} {reason}"] if failed else []
    return done.changes, [*warnings, *unmet.sentences(space, done.generation)]


def of_comfyui(session: Session, options: Options) -> tuple[list[Step], dict[str, Any]]:
    """The steps that bring ComfyUI and the settings in, and what ComfyUI is; for a change that
    does more than `gov init`."""
    space = session.workspace
    declared = provenance.core_requirements(space)
    if space.pyproject.is_file():
        return _wanted(session, options, declared)
    return _first(session, options, declared)


def _first(
    session: Session, options: Options, declared: requirements.Declared
) -> tuple[list[Step], dict[str, Any]]:
    settings = settings_of(session, options)
    step = Step(steps.INIT, None, {"settings": settings.to_json()})
    core = [line.text for line in declared.lines]
    return [step], {**_comfyui(session.workspace), "core": core}


def _comfyui(space: Workspace) -> dict[str, Any]:
    """The code of ComfyUI as it lies on the disk."""
    state = checkouts.state_of_comfyui(space)
    found = {"manager": provenance.manager_lines(space)}
    if state is None:
        return found
    return {**found, "commit": state.head, "code": state.code, "before": state.code}


def restore_missing(space: Workspace) -> list[str]:
    """Truth files that are gone come back from the newest snapshot that the receipt names."""
    documents, told = {}, []
    try:
        receipt = store.read_object(space.receipt)
    except FileNotFoundError:
        receipt = {}
    for path, name in zip(space.truth, snapshots.FILES, strict=True):
        if not path.is_file() and receipt:
            wanted = str(receipt.get(f"{path.stem.replace('uv', 'lock')}_sha256"))
            documents[str(path.relative_to(space.root))] = _from_snapshot(space, name, wanted)
            told.append(f"{path.name} was missing and is back as it was")
    if documents:
        entry = audit.entry(
            identity=names.new_txid(clock.now()),
            verb="init",
            steps=[f"bring back {path}" for path in documents],
            changes=(),
            code=(),
            who=audit.made(space),
            facts={},
        )
        redo.commit(space, redo.Record("init", documents, entry=entry))
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
) -> tuple[list[Step], dict[str, Any]]:
    """Today's project with what the options, config.toml and ComfyUI changed."""
    space = session.workspace
    project = Project.read(store.read_bytes(space.pyproject), space.pyproject)
    settings = settings_of(session, options, project)
    lines = provenance.merged_core(space, project, declared)
    found = {**_comfyui(space), "core": lines}
    wanted = [Step(steps.SETTINGS, None, {"settings": settings.to_json()}), Step(steps.COMFYUI)]
    return wanted, found


def _is_current(space: Workspace, wanted: Sequence[Step], found: Mapping[str, Any]) -> bool:
    """Claim: truth and prod are there, belong together, and hold what they should, whole."""
    if not all(path.is_file() for path in space.truth):
        return False
    prod = generations.prod(space)
    if prod is None or prod.lock_sha256 != store.file_digest(space.lock):
        return False
    tx = Transaction(txid="", node_id=None, status="running")
    tx.steps, tx.comfyui = [step.to_json() for step in wanted], dict(found)
    text = draft.of(space, tx).project
    known = freshness.receipt(space).get("core_sha256")
    same = known in (None, store.file_digest(space.comfyui_dir / "requirements.txt"))
    is_whole = text.encoded == store.read_bytes(space.pyproject) and same
    return is_whole and not generations.check_files(space, prod.name)


def _result(
    session: Session,
    declared: requirements.Declared,
    changes: tuple[Change, ...],
    made: bool,
    warnings: Sequence[str],
) -> Initialised:
    space = session.workspace
    prod = generations.prod(space)
    project = Project.read(snapshots.truth(space).pyproject, space.pyproject)
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
