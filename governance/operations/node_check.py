"""`gov node check`: would this node fit?  In a temporary place; changes nothing."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from governance import comfyui, git, requirements
from governance.base import names
from governance.base.errors import NeedsResolution, UsageError
from governance.boundaries import scratch, store
from governance.catalogue import ids
from governance.changes import (
    comfyui_fit,
    explanation,
    gates,
    pipeline,
    provenance,
    supply_chain,
)
from governance.changes.session import Session
from governance.changes.work import Work
from governance.conflict import notes, shared
from governance.conflict.answer import Cause, Report
from governance.conflict.package_changes import Step, steps
from governance.conflict.problem import NODE, Owned
from governance.environments import generations
from governance.truth import lockfile, registry, resolution, snapshots
from governance.truth.documents import Plugin
from governance.truth.lockfile import Change
from governance.truth.resolution import Project
from governance.truth.workspace import Workspace

if TYPE_CHECKING:
    from governance.changes.published import Offer

FITS, CHANGES, CONFLICTS = "fits", "changes", "conflicts"


@dataclass(frozen=True)
class Checked:
    """`verdict` is fits, changes (packages that prod has move) or conflicts; `unfit` says that it
    is made for another ComfyUI."""

    node_id: str
    verdict: str
    commit: str | None
    declared: requirements.Declared
    steps: tuple[Step, ...] = ()
    shared: tuple[shared.Shared, ...] = ()
    notes: tuple[Cause, ...] = ()
    report: Report | None = None
    unfit: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "node_id": self.node_id,
            "verdict": self.verdict,
            "commit": self.commit,
            "declared": self.declared.to_json(),
            "changes": [step.to_json() for step in self.steps],
            "shared_files": [entry.to_json() for entry in self.shared],
            "notes": [cause.to_json() for cause in self.notes],
            "conflict": self.report.to_json() if self.report else None,
            "unfit": self.unfit,
        }


def check(
    session: Session, what: str, *, ref: str | None, cwd: Path, every_cause: bool = False
) -> Checked:
    """`what` is a git URL, a folder, the id of a node in custom_nodes, or `ID[@VERSION]` at the
    Comfy Registry, which does not count it as an installation.

    `every_cause`: where it conflicts, look for every line that it conflicts with.
    """
    workspace = session.workspace
    with _folder(session, what, ref, cwd) as (node_id, code):
        declared = provenance.read_declared(workspace, code.checkout)
        commit = git.head(code.checkout) if git.is_repository(code.checkout) else None
        done = _checked(session, node_id, commit, declared, code, every_cause=every_cause)
        asked = comfyui_fit.required_by(code.checkout)
        version = comfyui.version(workspace.comfyui_dir)
        return replace(done, unfit=comfyui_fit.unfit(node_id, asked, version))


@contextmanager
def _folder(
    session: Session, what: str, ref: str | None, cwd: Path
) -> Iterator[tuple[str, explanation.Code]]:
    """The node's id and its code; a clone is deleted at the end."""
    workspace = session.workspace
    known = next((plugin for plugin in registry.load(workspace) if plugin.id == what), None)
    local = workspace.custom_nodes / what if known else cwd / store.typed_path(what)
    if ref is None and local.is_dir():
        yield _local(workspace, local, what if known else None)
        return
    with scratch.folder("check") as temporary:
        folder = temporary / "node"
        wanted = _at_the_registry(session, what, known, cwd) if ref is None else None
        if wanted is not None and wanted.release is not None:
            yield _unpacked(session, wanted, folder)
            return
        url = wanted.repository if wanted else known.git_url if known else what
        yield _cloned(session, url, ref, cwd, folder, known)


def _at_the_registry(session: Session, what: str, known: Plugin | None, cwd: Path) -> Offer | None:
    """What `ID[@VERSION]` stands for there; None for what is no such id."""
    wanted = None if known and known.git_url else ids.parse(what)
    if wanted is None:
        return None
    from governance.changes import published  # urllib costs what no other check should pay

    if published.wanted(session.workspace, what, cwd) is None:
        return None
    session.say(f"looking {wanted.id} up")
    return published.look_up(session.workspace.config, wanted)


def _unpacked(session: Session, offer: Offer, folder: Path) -> tuple[str, explanation.Code]:
    """The files of a version; nothing of them is run."""
    from governance.changes import published

    version = offer.release.version if offer.release else ""
    published.require_allowed(session, offer, offer.id)
    published.obtain(session, offer.id, version, folder, counted=False)
    command = f"gov node add {shlex.quote(offer.id)}@{{ref}}"
    return names.node_id(offer.id.lower()), explanation.Code(folder, command)


def _cloned(
    session: Session, url: str, ref: str | None, cwd: Path, folder: Path, known: Plugin | None
) -> tuple[str, explanation.Code]:
    workspace = session.workspace
    source = git.source(url, protocols=workspace.config.texts("policy.git_protocols"), cwd=cwd)
    chosen = known.id if known else names.node_id_from_url(source.url)
    supply_chain.require_node(session, chosen, source.url)
    session.say(f"cloning {source.url}")
    git.clone(
        source,
        folder,
        ref=ref,
        protocols=workspace.config.texts("policy.git_protocols"),
        timeout=workspace.config.number("policy.clone_timeout_seconds"),
        max_bytes=int(workspace.config.number("policy.clone_limit_mb") * 1024 * 1024),
    )
    return chosen, explanation.Code(folder, _adding(source.url))


def _local(workspace: Workspace, folder: Path, known: str | None) -> tuple[str, explanation.Code]:
    if known is not None:
        return known, explanation.in_place(workspace.custom_nodes / known, known)
    return names.node_id(folder.resolve().name), explanation.Code(folder, _adding(str(folder)))


def _adding(url: str) -> str:
    return f"gov node add {shlex.quote(url)} --ref {{ref}}"


def _checked(
    session: Session,
    node_id: str,
    commit: str | None,
    declared: requirements.Declared,
    code: explanation.Code,
    *,
    every_cause: bool,
) -> Checked:
    workspace = session.workspace
    truth = snapshots.truth(workspace)
    today = Project.read(truth.pyproject, workspace.pyproject)
    group = requirements.group_name(node_id)
    project = today.with_group(group, [line.text for line in declared.lines])
    owner = f"{NODE}{node_id}"
    own = tuple(
        Owned(line.text, owner, line.origin.file, line.origin.line, line.name)
        for line in declared.lines
    )
    session.say("locking it with today's truth")
    with scratch.folder("check") as folder:
        (folder / "pyproject.toml").write_bytes(project.encoded)
        (folder / "uv.lock").write_bytes(truth.lock)
        locked = resolution.lock(session.uv, folder, project)
        if locked.ok:
            after = (folder / "uv.lock").read_bytes()
            said = (*notes.noted(locked.log, own), *_outvoted(today, after, own))
            return _fitting(workspace, node_id, commit, declared, after, said)
    report = _explained(session, project, owner, own, locked.log, code=code)
    if every_cause:
        session.say("looking for every line that conflicts")
        found = _explained(session, project, owner, own, locked.log, thorough=True)
        report = replace(report, causes=found.causes, complete=found.complete)
    return Checked(node_id, CONFLICTS, commit, declared, report=report)


def _explained(
    session: Session,
    project: Project,
    owner: str,
    own: tuple[Owned, ...],
    log: str,
    **more: Any,
) -> Report:
    """Why the owner's `own` lines do not lock with the others of the project."""
    return explanation.of_project(
        session.workspace,
        session.uv,
        project,
        newcomers=(owner,),
        newcomer_lines=own,
        log=log,
        say=session.say,
        **more,
    )


def _fitting(
    workspace: Workspace,
    node_id: str,
    commit: str | None,
    declared: requirements.Declared,
    after: bytes,
    said: tuple[Cause, ...],
) -> Checked:
    new = lockfile.parse(after, workspace.lock)
    found = steps(generations.lock_of_prod(workspace), new, gates.core_names(workspace))
    moved = any(step.before is not None for step in found)
    return Checked(
        node_id,
        CHANGES if moved else FITS,
        commit,
        declared,
        found,
        shared.families(list(lockfile.versions(new))),
        said,
    )


def _outvoted(project: Project, after: bytes, own: tuple[Owned, ...]) -> Iterator[Cause]:
    versions = lockfile.versions(lockfile.parse(after, project.path))
    return notes.outvoted(project.overrides, versions, own)


def foresee(work: Work) -> tuple[tuple[Step, ...], list[Change]]:
    """What a promote would do today: its plan, and the versions that its run did not see.

    Raises NeedsResolution where today's truth does not lock with it.
    """
    workspace, session, tx = work.workspace, work.session, work.tx
    made = work.draft
    project = made.project
    with scratch.folder("plan") as folder:
        (folder / "pyproject.toml").write_bytes(project.encoded)
        (folder / "uv.lock").write_bytes(made.lock or b"")
        locked = resolution.lock(session.uv, folder, project, made.upgrade)
        if not locked.ok:
            raise NeedsResolution(
                f"with today's truth the requirements of {tx.what} conflict",
                hint=f"`gov tx promote {tx.txid}` changes nothing then, and tells why",
                facts={"txid": tx.txid},
            )
        new = lockfile.parse((folder / "uv.lock").read_bytes(), workspace.lock)
    found = steps(generations.lock_of_prod(workspace), new, gates.core_names(workspace))
    return found, pipeline.moved_versions(work, lockfile.versions(new))


def require_package(workspace: Workspace, package: str) -> str:
    """The normalised name; UsageError where the lock does not hold it."""
    wanted = names.normalise(package)
    versions = lockfile.versions(lockfile.parse(store.read_bytes(workspace.lock), workspace.lock))
    if wanted not in versions:
        near = get_close_matches(wanted, versions, n=1)
        raise UsageError(
            f"{package} is not in the lock",
            hint=f"is {near[0]} meant?" if near else "uv.lock holds all that is",
            code="unknown_package",
        )
    return wanted


def hold(session: Session, package: str, spec: str) -> tuple[tuple[Step, ...], Report | None]:
    """What would happen if `package` were held at `spec`: the plan, or the conflict explained."""
    workspace = session.workspace
    truth = snapshots.truth(workspace)
    project = Project.read(truth.pyproject, workspace.pyproject)
    line = _wish(package, spec)
    owner = f"{NODE}what-if"
    with scratch.folder("why") as folder:
        free = [o for o in project.overrides if requirements.requirement_name(o) != package]
        held = project.with_group("node-what-if", [line]).with_overrides(free)
        (folder / "pyproject.toml").write_bytes(held.encoded)
        (folder / "uv.lock").write_bytes(truth.lock)
        locked = resolution.lock(session.uv, folder, held)
        if locked.ok:
            new = lockfile.parse((folder / "uv.lock").read_bytes(), workspace.lock)
            found = steps(generations.lock_of_prod(workspace), new, gates.core_names(workspace))
            return tuple(_without_wish(step) for step in found), None
    own = (Owned(line, owner, "--if", 0, package),)
    report = _explained(session, held, owner, own, locked.log, causes_only=True)
    return (), _about(report, owner)


def _about(report: Report, owner: str) -> Report:
    """Without the quarrels of others, which an override that was set free here settles today."""
    own = [cause for cause in report.causes if any(line.owner == owner for line in cause.lines)]
    return replace(report, causes=tuple(own)) if own else report


def _without_wish(step: Step) -> Step:
    return replace(step, asked_by=tuple(g for g in step.asked_by if g != "node-what-if"))


def _wish(package: str, spec: str) -> str:
    """A requirement line of what was typed after --if: `<2`, or a bare version."""
    from packaging.requirements import InvalidRequirement, Requirement

    line = f"{package}{spec if spec[:1] in ('<', '>', '=', '!', '~') else '==' + spec}"
    try:
        wanted = Requirement(line)
    except InvalidRequirement:
        wanted = None
    if wanted is None or not wanted.specifier or wanted.marker:
        raise UsageError(
            f"{spec!r} is no version and no range",
            hint=f"for example: gov why {package} --if '<2'",
            code="bad_wish",
        )
    return line
