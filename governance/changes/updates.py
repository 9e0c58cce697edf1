"""Changes that bring something newer: nodes, ComfyUI, torch, Python, packages.

Each looks up what would come and makes the steps; the road is that of every change.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from governance import git, requirements
from governance.base.errors import Refused, UsageError
from governance.boundaries import process, store
from governance.changes import begin, checkouts, provenance, steps, supply_chain
from governance.changes.draft import COMFYUI
from governance.changes.session import Session
from governance.changes.settings import Options, settings_of
from governance.changes.steps import Step
from governance.changes.work import Work
from governance.code import fetching, head, merging
from governance.code.capture import CLONE, REGISTRY, State
from governance.code.fetching import Fetched
from governance.code.repository import Repository
from governance.truth import inventory, registry, resolution, snapshots
from governance.truth.documents import Plugin
from governance.truth.resolution import Project
from governance.truth.workspace import Workspace


@dataclass(frozen=True)
class Local:
    """What happens to files of a clone that the user edited and an update would overwrite:
    `keep` carries the edits over, `discard` overwrites them; neither refuses."""

    keep: bool = False
    discard: bool = False


@dataclass(frozen=True)
class Found:
    """What an update would bring: `parts` by node, `comfyui`; `notes` are sentences."""

    parts: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...] = ()


# --- nodes ------------------------------------------------------------------------------------


def look_up(
    session: Session,
    node_ids: Sequence[str],
    *,
    to: str | None,
    local: Local,
    all_nodes: bool,
    dry_run: bool = False,
    accept: str | None = None,
) -> Found:
    """Fetch what is newer of these nodes.  With `all_nodes`, what cannot be updated is a note.

    `accept` is why a version is taken that the Comfy Registry banned.
    """
    workspace = session.workspace
    plugins = registry.load(workspace)
    in_prod = [p for p in plugins if registry.is_promoted(p) and p.enabled]
    chosen = in_prod if all_nodes else [registry.find(plugins, node) for node in node_ids]

    def newer(plugin: Plugin) -> Found:
        try:
            return _newer(session, plugin, to, local, dry_run, accept)
        except (UsageError, Refused) as error:
            if not all_nodes:
                raise
            return Found({}, (f"{plugin.id} is left as it is: {error.message}",))

    found = process.side_by_side(newer, chosen)
    parts = {node: part for one in found for node, part in one.parts.items()}
    return Found(parts, tuple(note for one in found for note in one.notes))


def _newer(
    session: Session,
    plugin: Plugin,
    to: str | None,
    local: Local,
    dry_run: bool,
    accept: str | None,
) -> Found:
    supply_chain.require_node(session, plugin.id, plugin.git_url, plugin.registry)
    now = begin.present(session.workspace, plugin)
    if now.kind == REGISTRY and plugin.registry.get("id"):
        return _newer_version(session, plugin, now, to, local, dry_run, accept)
    if now.kind != CLONE:
        raise UsageError(
            f"{plugin.id} is no git clone ({now.kind}), and gov cannot fetch it",
            hint=f"update it with what installed it; `gov tx run {plugin.id}` takes it in",
            code="not_a_clone",
        )
    place = registry.place(session.workspace, plugin)
    ref = to or _followed(place, plugin)
    source = repository_of(session.workspace, plugin.id)
    with _fetched(
        session, place, plugin.git_url, ref, source, dry_run, f"fetching {plugin.id}"
    ) as found:
        notes = tuple(f"{plugin.id}: {note}" for note in found.notes)
        if found.commit == now.head == plugin.commit and plugin.last_snapshot is not None:
            return Found({}, notes)
        part = _part(source, plugin.id, now, found, local)
    return Found({plugin.id: {**part, "ref": to or plugin.ref}}, notes)


def _newer_version(
    session: Session,
    plugin: Plugin,
    now: State,
    to: str | None,
    local: Local,
    dry_run: bool,
    accept: str | None,
) -> Found:
    """Another version of what the Comfy Registry publishes; a dry run is not counted there."""
    from governance.changes import published  # urllib costs what no other update should pay

    session.say(f"looking for a newer version of {plugin.id}")
    found = published.newer(session, plugin, to, accept, counted=not dry_run)
    if found is None:
        return Found({})
    source = repository_of(session.workspace, plugin.id)
    base = _as_published(source, plugin, now)
    code, carried = _with_edits(source, plugin.id, base, found.code, local)
    if not dry_run:
        published.remember(session.workspace, found.registry)
    part = {
        "kind": REGISTRY,
        "before": now.code,
        "from": base.head,
        "commit": found.code,
        "code": code,
        "carried": carried,
        "subjects": [found.changelog] if found.changelog else [],
        "versions": [plugin.registry.get("version", "?"), found.version],
        "registry": found.registry,
    }
    return Found({plugin.id: part}, tuple(f"{plugin.id}: {note}" for note in found.notes))


def _as_published(source: Repository, plugin: Plugin, now: State) -> State:
    """Its `head` is what the archive held, so that an edit is noticed, a promoted one too."""
    base = plugin.registry.get("code") or str(plugin.code)
    if not source.has(base):
        base = now.code
    return replace(now, head=base, modified=tuple(source.differing(base, now.code)))


def fetch_newest(session: Session, plugin: Plugin) -> None:
    """Take what the node's remote has into its clone, where it changes nothing yet."""
    place = registry.place(session.workspace, plugin)
    source = repository_of(session.workspace, plugin.id)
    looking = f"looking for a newer commit of {plugin.id}"
    with _fetched(session, place, plugin.git_url, None, source, False, looking):
        pass


def _followed(place: Path, plugin: Plugin) -> str | None:
    """A node that was added at a tag or a commit stays there; one on a branch follows it."""
    return plugin.ref if git.branch(place) is None else None


def repository_of(workspace: Workspace, place: str) -> Repository:
    return checkouts.repository(workspace, place)


@contextmanager
def _fetched(
    session: Session,
    place: Path,
    url: str,
    ref: str | None,
    source: Repository,
    dry_run: bool,
    saying: str,
) -> Iterator[Fetched]:
    """What the remote has, taken into the workspace's repository; into the clone too, where it is
    harmless, unless nothing is to change."""
    workspace = session.workspace
    protocols = workspace.config.texts("policy.git_protocols")
    quarantine = workspace.work / f"fetch-{secrets.token_hex(4)}"
    try:
        with session.following(saying) as show:
            found = fetching.fetch(
                place.resolve(),
                git.source(url, protocols=protocols, cwd=Path("/")),
                ref=ref,
                quarantine=quarantine,
                protocols=protocols,
                timeout=workspace.config.number("policy.clone_timeout_seconds"),
                max_bytes=int(workspace.config.number("policy.clone_limit_mb") * 1024 * 1024),
                progress=show,
            )
        source.take_from(found.commit, found.objects, git.objects(place.resolve()))
        if not dry_run:
            head.give_objects(place, found.objects, found.commit)
            if found.branch is not None:
                head.note_remote(place, found.branch, found.commit)
        yield found
    finally:
        store.remove_tree(quarantine)


def _part(
    source: Repository, name: str, now: State, found: Fetched, local: Local
) -> dict[str, Any]:
    """A place at the commit that was fetched, with the user's edits where they are kept."""
    code, carried = _with_edits(source, name, now, found.commit, local)
    return {
        "kind": CLONE,
        "before": now.code,
        "from": now.head,
        "commit": found.commit,
        "code": code,
        "carried": carried,
        "branch": found.branch,
        "subjects": list(found.subjects),
        "count": found.count,
    }


def _with_edits(
    source: Repository, name: str, now: State, commit: str, local: Local
) -> tuple[str, bool]:
    if not now.modified or local.discard:
        return commit, False
    both = sorted(set(now.modified) & set(source.differing(str(now.head), commit)))
    if both and not local.keep:
        verb = "gov comfyui update" if name == COMFYUI else f"gov node update {name}"
        raise Refused(
            f"{name.lstrip('@')}: files that would be overwritten were edited: "
            f"{', '.join(both[:5])}",
            hint=f"`{verb} --keep-local` carries your edits over; --discard-local overwrites them "
            "and keeps a copy",
            code="local_changes",
            facts={"place": name.lstrip("@"), "paths": both},
        )
    code, conflicts = merging.carry_over(source, str(now.head), now.code, commit)
    if conflicts:
        raise Refused(
            f"{name.lstrip('@')}: your edits and the new version change the same lines of "
            f"{', '.join(conflicts[:5])}",
            hint="put those files back or edit them to fit; --discard-local overwrites them and "
            "keeps a copy",
            code="local_changes",
            facts={"place": name.lstrip("@"), "paths": list(conflicts)},
        )
    return code, True


# --- ComfyUI ----------------------------------------------------------------------------------


def look_up_comfyui(
    session: Session, *, to: str | None, local: Local, dry_run: bool = False
) -> tuple[list[Step], dict[str, Any], tuple[str, ...]]:
    """ComfyUI's commit, requirements and resolution date as steps; none where it is the newest."""
    workspace = session.workspace
    checkout = workspace.comfyui_dir
    now = checkouts.state_of_comfyui(workspace)
    url = git.origin(checkout) if now is not None else None
    if now is None or url is None:
        raise UsageError(
            f"{checkout} is no git checkout with a remote, and gov cannot fetch it"
            if now is None
            else f"the checkout {checkout} has no remote named origin",
            hint="update it as you installed it; `gov init` takes the new version in",
            code="not_a_clone",
        )
    source = repository_of(workspace, COMFYUI)
    with _fetched(session, checkout, url, to, source, dry_run, "fetching ComfyUI") as found:
        project = today(workspace)
        if found.commit == now.head and project.comfyui.get("code") == now.code:
            return [], {}, found.notes
        part = _part(source, COMFYUI, now, found, local)
    declared = provenance.core_at(source, part["code"])
    part["core"] = provenance.merged_core(workspace, project, declared)
    part["manager"] = provenance.manager_lines(workspace, part["code"])
    settings = settings_of(session, Options(), project, committed=source.date(found.commit))
    wanted = [Step(steps.SETTINGS, None, {"settings": settings.to_json()}), Step(steps.COMFYUI)]
    return wanted, part, found.notes


def today(workspace: Workspace) -> Project:
    return Project.read(snapshots.truth(workspace).pyproject, workspace.pyproject)


# --- settings and packages --------------------------------------------------------------------


def settings_step(session: Session, options: Options, told: str) -> Step:
    """Torch from another backend, or another Python, with all other settings as they are."""
    settings = settings_of(session, options, today(session.workspace))
    return Step(steps.SETTINGS, None, {"settings": settings.to_json(), "told": [told]})


def torch_steps(session: Session, backend: str) -> list[Step]:
    """The family moves together: its locked versions are not preferred."""
    step = settings_step(session, Options(torch_backend=backend), backend)
    return [step, Step(steps.UPGRADE, None, {"packages": list(resolution.TORCH_FAMILY)})]


def pinned(texts: Sequence[str]) -> list[str]:
    """Pins as requirement lines.  Raises UsageError for what is no pin."""
    return [requirements.parse_pin(text).text for text in texts]


def named_lines(workspace: Workspace, node: str, texts: Sequence[str]) -> list[str]:
    """Lines that the operator gives a node, judged as a declared line would be."""
    judged = provenance.judged(workspace, [(text, "") for text in texts])
    if judged.skipped:
        first = judged.skipped[0]
        raise UsageError(
            f"{first.raw!r} cannot be a requirement of {node}: {first.reason}",
            hint=f"write a name and a range: gov node with {node} 'numpy<2'",
            code="bad_requirement",
        )
    return [line.text for line in judged.lines]


def disabled(workspace: Workspace) -> list[str]:
    """Promoted nodes that somebody renamed out of the loader's sight."""
    return [
        plugin.id
        for plugin in registry.promoted(workspace)
        if inventory.locate(workspace, plugin).state == inventory.DISABLED
    ]


def _told(part: Mapping[str, Any]) -> dict[str, Any]:
    """The version for the history; a clone's commits are there anyway."""
    return {"told": part["versions"][1:]} if part.get("versions") else {}


def begun(session: Session, found: Found, local: Local, *, dry_run: bool = False) -> Work:
    """A transaction over all nodes that have something newer."""
    wanted = [Step(steps.UPDATE, node, _told(part)) for node, part in found.parts.items()]
    return begin.begin(
        session,
        wanted,
        kind="update",
        parts=found.parts,
        discard_local=local.discard,
        dry_run=dry_run,
    )
