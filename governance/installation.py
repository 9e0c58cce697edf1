"""`gov init`: a workspace made, or what is missing in it repaired.

ComfyUI's own requirements become group `core`; when they have changed since, they are taken in as
a gated change like any other.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from governance import (
    clock,
    comfyui,
    commit,
    config,
    environment,
    gates,
    git,
    history,
    process,
    registry,
    requirements,
    resolution,
    staging,
    store,
    trial,
    workspace,
)
from governance.errors import GovError, UsageError
from governance.gates import Approval
from governance.lockfile import Change
from governance.resolution import Index, Project, Settings
from governance.staging import Edit, Stages
from governance.transaction.session import Session
from governance.workspace import Workspace

STAGES = "init"
_TORCH_INDEX = "https://download.pytorch.org/whl/{}"


@dataclass(frozen=True)
class Options:
    """As typed; None where nothing was said.

    `date` is `auto`, `none` or an ISO 8601 day; `torch_backend` a name such as cpu or cu130, or
    the URL of an index.
    """

    python: str | None = None
    date: str | None = None
    torch_backend: str | None = None
    index: str | None = None
    approval: Approval = field(default_factory=Approval)


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


# --- the folder -------------------------------------------------------------------------------


def prepare(folder: Path, comfyui_dir: Path | None) -> Workspace:
    """Make the folders, config.toml and launchers; nothing of the truth yet.

    Raises UsageError for a folder that belongs to somebody else or a missing ComfyUI, before
    anything is made.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 (links in it are resolved below)
    _refuse_foreign(folder)
    space = Workspace(folder.resolve())
    named = _comfyui_of(space, comfyui_dir)
    store.make_folder(space.root)
    for path in space.folders():
        store.make_folder(path)
    if not space.config_path.is_file():
        store.write(space.config_path, config.template(comfyui_dir=str(named)).encode())
    _write_launchers(space)
    return Workspace(space.root)


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file", hint="name a folder", code="foreign_project")
    if (folder / "pyproject.toml").is_file() and not workspace.carries_marker(
        folder / "pyproject.toml"
    ):
        raise UsageError(
            f"{folder} holds somebody else's pyproject.toml",
            hint="name another folder: `gov init DIR` makes it",
            code="foreign_project",
            facts={"path": str(folder / "pyproject.toml")},
        )


def _comfyui_of(space: Workspace, given: Path | None) -> Path:
    """The ComfyUI that is named, configured, or lies where one would look."""
    configured = space.config.text("comfyui_dir")
    if given is not None:
        found = given.expanduser().resolve()
        workspace.require_comfyui(found)
        _refuse_other(space, configured, found)
        return found
    if configured:
        return space.comfyui_dir
    for guess in (space.root.parent, space.root.parent / "ComfyUI", Path.cwd()):
        if (guess / "main.py").is_file() and (guess / "requirements.txt").is_file():
            return guess.resolve()
    raise UsageError(
        "no ComfyUI is named, and none lies around the workspace",
        hint="name it: `gov init --comfyui-dir PATH`",
        code="no_comfyui",
    )


def _refuse_other(space: Workspace, configured: str, found: Path) -> None:
    if configured and (space.root / configured).resolve() != found:
        raise UsageError(
            f"{space.root} governs {configured}, not {found}",
            hint="make another workspace for it, or change comfyui_dir in config.toml if it moved",
            code="other_comfyui",
        )


def _write_launchers(space: Workspace) -> None:
    store.make_folder(space.root / "bin")
    for name, module in (("gov", "governance"), ("doit", "tasks")):
        main = workspace.CHECKOUT / module / "__main__.py"
        text = _LAUNCHER.format(python=shlex.quote(sys.executable), main=shlex.quote(str(main)))
        _write_new(space.root / "bin" / name, text, 0o755)
    _write_new(space.root / "dodo.py", "from tasks import *  # noqa: F403\n", 0o644)


def _write_new(path: Path, text: str, mode: int) -> None:
    if not path.is_file() or path.read_text() != text:
        store.write(path, text.encode(), mode=mode)
        path.chmod(mode)


_LAUNCHER = """#!/bin/sh
# Made by `gov init`: bound to the workspace that it lies in.
self=$(readlink -f -- "$0") || exit 2
GOV_ROOT=${{self%/bin/*}}
export GOV_ROOT
if [ ! -x {python} ]; then
    echo "error: the gov that made this workspace is gone: "{python} >&2
    echo "hint: run \\`gov init $GOV_ROOT\\` with a gov that is there" >&2
    exit 2
fi
exec {python} {main} "$@"
"""


# --- the truth --------------------------------------------------------------------------------


def initialise(session: Session, options: Options) -> Initialised:
    """Bring truth and prod into being, or repair what is missing.  The caller holds the lock."""
    space = session.workspace
    restored = _restore_missing(space)
    declared = core_requirements(space)
    edit, project = _wanted(session, options, declared)
    made = not space.lock.is_file()
    if _is_current(space, project, edit):
        return _result(session, project, declared, (), False, tuple(restored))
    stages = Stages(space, STAGES)
    _stage(space, stages, project, edit)
    generation, changes, warnings = _build(session, stages, options)
    _commit(space, stages, generation)
    stages.clear()
    told = (*restored, *warnings)
    return _result(session, stages_project(space), declared, tuple(changes), made, told)


def core_requirements(space: Workspace) -> requirements.Declared:
    """What ComfyUI's requirements.txt declares; its torch lines are its own business."""
    path = comfyui.requirements_path(space.comfyui_dir)
    if path is None:
        return requirements.Declared()
    policy = requirements.Policy(torch_family=frozenset(), allow_git=True, allow_urls=True)
    return requirements.read_file(path, space.comfyui_dir, policy=policy)


def core_is_stale(space: Workspace) -> bool:
    """ComfyUI's requirements are not those that group `core` holds (a `git pull` since)."""
    project = stages_project(space)
    wanted = [line.text for line in core_requirements(space).lines]
    return project.groups.get(resolution.CORE_GROUP) != wanted


def stages_project(space: Workspace) -> Project:
    return Project.read(history.truth(space).pyproject, space.pyproject)


def _restore_missing(space: Workspace) -> list[str]:
    """Truth files that are gone come back from the newest snapshot that the receipt names."""
    told = []
    try:
        receipt = store.read_object(space.receipt)
    except FileNotFoundError:
        receipt = {}
    for path, name in zip(space.truth, history.FILES, strict=True):
        if not path.is_file() and receipt:
            wanted = receipt[f"{path.stem.replace('uv', 'lock')}_sha256"]
            store.write(path, _from_snapshot(space, name, wanted))
            told.append(f"{path.name} was missing and is back as it was")
    if not space.plugins.is_file():
        store.write(space.plugins, registry.dump([]))
    return told


def _from_snapshot(space: Workspace, name: str, wanted: str) -> bytes:
    for row in reversed(history.index(space)):
        path = space.snapshots / str(row["id"]) / name
        if store.file_digest(path) == wanted:
            return path.read_bytes()
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
        settings = _settings(session, options)
        text = resolution.new_project(settings, core)
        return Edit(), Project(text, space.pyproject)
    project = Project.read(space.pyproject.read_bytes(), space.pyproject)
    if any((options.python, options.date, options.torch_backend, options.index)):
        project = project.with_settings(_settings(session, options, project))
    same = project.groups.get(resolution.CORE_GROUP) == list(core)
    return Edit(core=None if same else core), project


def _settings(session: Session, options: Options, project: Project | None = None) -> Settings:
    spec = options.python or (project.python if project else this_minor())
    python = session.uv.find_python(spec)
    done = process.run([str(python), "-I", "-c", _VERSION])
    if not done.ok:
        raise UsageError(
            f"{python} does not run: {done.stderr.strip()[-200:]}",
            hint="name another interpreter with --python",
            code="bad_python",
        )
    indexes, sources = _indexes(options, project)
    return Settings(
        python=spec,
        version=done.stdout.strip(),
        date=_date(session.workspace, options, project),
        indexes=indexes,
        sources=sources,
        no_build=not session.workspace.config.flag("policy.allow_source_builds"),
    )


_VERSION = "import platform; print(platform.python_version())"


def this_minor() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _date(space: Workspace, options: Options, project: Project | None) -> str | None:
    """Up to when packages count: the day after an old ComfyUI commit, else no bound."""
    asked = options.date
    if asked is None and project is not None:
        return project.date
    if asked == "none":
        return None
    if asked not in (None, "auto"):
        return _parsed_date(str(asked))
    committed = git.commit_date(space.comfyui_dir) if git.is_repository(space.comfyui_dir) else None
    recent = timedelta(days=space.config.number("resolution.recent_days"))
    if committed is None or clock.now() - committed < recent:
        return None
    return clock.stamp(committed + timedelta(days=1))


def _parsed_date(text: str) -> str:
    try:
        moment = clock.parse(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is not a date",
            hint="write 2026-01-31, or auto, or none",
            code="bad_date",
        ) from None
    return clock.stamp(moment)


def _indexes(options: Options, project: Project | None) -> tuple[list[Index], dict[str, str]]:
    """Package indexes and which packages come from which; the torch family has its own."""
    indexes, sources = [], {}
    kept = project.indexes if project else []
    default = options.index or os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL")
    if default and (options.index or not kept):
        indexes.append(_index(default))
    else:
        indexes += [_index(str(i["url"])) for i in kept if i.get("default")]
    torch = options.torch_backend
    url = next((str(i["url"]) for i in kept if i.get("name") == "torch"), None)
    if torch is not None:
        url = torch if "://" in torch else _TORCH_INDEX.format(torch)
    if url is not None:
        indexes.insert(0, Index(url, name="torch", default=False, explicit=True))
        sources = dict.fromkeys(("torch", "torchvision", "torchaudio"), "torch")
    return indexes, sources


def _index(url: str) -> Index:
    """A simple index, or a flat folder of packages by path or file://."""
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise UsageError(
            f"the index at {parts.hostname} was named with credentials",
            hint="they would be stored: give them as UV_INDEX_GOV_USERNAME and "
            "UV_INDEX_GOV_PASSWORD instead",
            code="credentials_in_url",
        )
    if parts.scheme in ("http", "https"):
        return Index(url)
    folder = Path(parts.path if parts.scheme == "file" else url).expanduser().resolve()
    if not folder.is_dir():
        raise UsageError(
            f"{url} is neither an index nor a folder of packages",
            hint="name the URL of a simple index, or a folder of wheels",
            code="bad_index",
        )
    return Index(str(folder), flat=True)


# --- stages -----------------------------------------------------------------------------------


def _is_current(space: Workspace, project: Project, edit: Edit) -> bool:
    """Claim: truth and prod are there, belong together, and hold what they should."""
    if edit.core is not None or not all(path.is_file() for path in space.truth):
        return False
    prod = environment.prod(space)
    same_text = space.pyproject.read_bytes() == project.encoded
    return same_text and prod is not None and prod.lock_sha256 == store.file_digest(space.lock)


def _stage(space: Workspace, stages: Stages, project: Project, edit: Edit) -> None:
    lock = space.lock.read_bytes() if space.lock.is_file() else None
    wanted = edit.apply(project)
    unchanged = lock is not None and space.pyproject.read_bytes() == wanted.encoded
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
    if environment.current(session.workspace) is not None:
        gates.require_core(gates.core_changes(session.workspace, changes), options.approval)
    session.say("building the environment")
    generation = stages.build(session.uv).name
    return generation, changes, _try(session, stages, generation)


def _try(session: Session, stages: Stages, generation: str) -> list[str]:
    """Start ComfyUI once in the new environment.  A warning, not an error: on a machine where
    ComfyUI cannot start at all, the environment is still what its requirements say."""
    session.say("starting ComfyUI once to see that it comes up")
    try:
        verdict = trial.smoke(
            session.workspace, stages, session.uv, node=None, live=session.live, quick=False
        )
    except GovError as error:
        return [f"ComfyUI could not be tried: {error.message}"]
    trial.adopt_baseline(session.workspace, stages, generation)
    return [] if verdict.ok else [f"ComfyUI does not come up: {verdict.reason}"]


def _commit(space: Workspace, stages: Stages, generation: str) -> None:
    documents = stages.documents()
    plugins = commit.read_document(space, space.plugins)
    new = history.Truth(documents["pyproject.toml"], documents["uv.lock"], plugins)
    old = environment.current(space)
    if old is not None and all(path.is_file() for path in space.truth):
        history.take(space, reason="init_pre", generation=old)
    post = history.write(space, new, reason="init", generation=generation, ref=None)
    changed = {
        **new.documents(),
        "state/snapshots_index.json": history.indexed(space, post),
        "state/receipt.json": staging.receipt_bytes(
            space,
            new,
            generation,
            "init",
            core_sha256=store.file_digest(space.comfyui_dir / "requirements.txt"),
        ),
    }
    commit.commit(space, commit.Change("init", changed, generation))
    history.prune(space, keep=(post.id,))


def _result(
    session: Session,
    project: Project,
    declared: requirements.Declared,
    changes: tuple[Change, ...],
    made: bool,
    warnings: Sequence[str],
) -> Initialised:
    space = session.workspace
    prod = environment.prod(space)
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
