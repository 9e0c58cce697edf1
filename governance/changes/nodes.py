"""Nodes enter and leave: code in custom_nodes, a record in the registry, a group in the truth."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from governance import git, requirements
from governance.base import clock, names
from governance.base.errors import GovError, UsageError
from governance.boundaries import store
from governance.changes import gates, staging, trial_run
from governance.changes.gates import Approval
from governance.changes.session import Session
from governance.changes.staging import Edit, Stages
from governance.environments import generations
from governance.truth import redo, registry, resolution, snapshots
from governance.truth.documents import Plugin
from governance.truth.lockfile import Change
from governance.truth.workspace import Workspace


@dataclass(frozen=True)
class Added:
    plugin: Plugin
    adopted: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Removed:
    plugin: Plugin
    pre_snapshot: str
    generation: str | None
    changes: tuple[Change, ...]
    purged: bool


def add(session: Session, url: str, *, ref: str | None, node_id: str | None, cwd: Path) -> Added:
    """Clone a node into custom_nodes and register it; adopt a clone that is there already."""
    workspace = session.workspace
    protocols = workspace.config.texts("policy.git_protocols")
    source = git.source(url, protocols=protocols, cwd=cwd)
    chosen = names.node_id_from_url(source.url) if node_id is None else names.node_id(node_id)
    plugins = registry.load(workspace)
    _refuse_taken(plugins, chosen)
    target = workspace.custom_nodes / chosen
    if target.exists() or target.is_symlink():
        return _adopt(workspace, plugins, source, chosen, ref)
    return _clone(session, plugins, source, chosen, ref)


def remove(session: Session, node_id: str, *, purge: bool, approval: Approval) -> Removed:
    """Take a node out of the truth and out of prod; what other groups ask for stays."""
    workspace = session.workspace
    plugin = registry.find(registry.load(workspace), node_id)
    if purge:
        names.node_id(plugin.id)  # a record made by hand could name a place outside
    _ = workspace.comfyui_dir  # missing, it is told before anything is staged
    snapshots.index(workspace)  # and so is a damaged index
    stages = Stages(workspace, f"remove-{plugin.group}")
    try:
        return _remove(session, plugin, stages, purge, approval)
    finally:
        with session.tidying():
            stages.clear()


def _remove(
    session: Session, plugin: Plugin, stages: Stages, purge: bool, approval: Approval
) -> Removed:
    workspace = session.workspace
    found = _without(session, plugin, stages)
    gates.require_core(gates.core_changes(workspace, found), approval)
    generation = stages.build(session.uv).name if found else generations.current(workspace)
    if found and generation is not None:
        _try_without(session, plugin, stages, approval)
        generations.require_sound(workspace, generation)
    pre = snapshots.take(
        workspace,
        reason="remove_pre",
        generation=generations.current(workspace),
        ref=plugin.id,
    )
    rest = [other for other in registry.load(workspace) if other.id != plugin.id]
    moves = _purge(workspace, plugin) if purge else []
    _commit_removal(workspace, stages, rest, generation, moves)
    with session.tidying():
        for move in moves:
            store.remove_tree(move.target)
        snapshots.prune(workspace, keep=(pre.id,))
    return Removed(plugin, pre.id, generation, tuple(found), purge)


def _refuse_taken(plugins: Sequence[Plugin], chosen: str) -> None:
    for plugin in plugins:
        if names.same(plugin.id, chosen):
            raise UsageError(
                f"the node id {chosen!r} is taken by {plugin.id} ({plugin.git_url})",
                hint=f"choose another with --id, or `gov node remove {plugin.id}` first",
                code="node_exists",
                facts={"node_id": plugin.id},
            )


def _adopt(
    workspace: Workspace,
    plugins: Sequence[Plugin],
    source: git.Source,
    chosen: str,
    ref: str | None,
) -> Added:
    target = workspace.custom_nodes / chosen
    origin = git.origin(target) if git.is_repository(target) else None
    if target.is_symlink() or origin is None or not git.same_origin(origin, source.url):
        raise UsageError(
            f"{target} is there already, and it is no clone of {source.url}",
            hint="choose another name with --id, or move that folder away",
            code="folder_exists",
            facts={"path": str(target), "origin": origin},
        )
    head = git.head(target)
    if ref is not None and not _is_at(source, head, ref):
        raise UsageError(
            f"{target} is at {str(head)[:12]}, not at {ref}",
            hint=f"check {ref} out there, or leave --ref away to adopt it as it is",
            code="other_commit",
        )
    plugin = _new_record(workspace, source.url, chosen, ref, head)
    _register(workspace, plugins, plugin, ())
    return Added(plugin, True, tuple(_warnings(plugin)))


def _is_at(source: git.Source, head: str | None, ref: str) -> bool:
    """Whether `ref` (a branch, a tag, the beginning of a commit) is what is checked out."""
    if head is None:
        return False
    if len(ref) >= 7 and head.startswith(ref):
        return True
    refs = git.list_refs(source, protocols=(source.protocol,))
    return head in (refs.tags.get(ref), refs.branches.get(ref))


def _clone(
    session: Session,
    plugins: Sequence[Plugin],
    source: git.Source,
    chosen: str,
    ref: str | None,
) -> Added:
    """Clone beside custom_nodes, since its loader takes whatever lies inside; rename it in."""
    workspace = session.workspace
    session.say(f"cloning {source.url}")
    folder = _nursery(workspace)
    nursery = folder / f"add-{secrets.token_hex(4)}"
    target = workspace.custom_nodes / chosen
    try:
        cloned = git.clone(
            source,
            nursery,
            ref=ref,
            protocols=workspace.config.texts("policy.git_protocols"),
            timeout=workspace.config.number("policy.clone_timeout_seconds"),
            max_bytes=int(workspace.config.number("policy.clone_limit_mb") * 1024 * 1024),
            progress=session.say,
        )
        plugin = _new_record(workspace, source.url, chosen, ref, cloned.commit)
        store.sync_filesystem(folder)
        _register(workspace, plugins, plugin, (redo.Move(nursery, target),))
    except BaseException:
        # Beyond the commit point the clone belongs to the change, which recovery finishes.
        if not redo.is_pending(workspace):
            store.remove_tree(nursery)
        raise
    return Added(plugin, False, (*cloned.notes, *_warnings(plugin)))


def _nursery(workspace: Workspace) -> Path:
    """A folder on the filesystem of custom_nodes that ComfyUI's loader does not read."""
    nodes = workspace.custom_nodes
    if not nodes.is_dir():
        store.make_folder(nodes)
    if workspace.work.stat().st_dev == nodes.stat().st_dev:
        return workspace.work
    return store.make_folder(nodes.parent / redo.NURSERY)


def _new_record(
    workspace: Workspace, url: str, chosen: str, ref: str | None, head: str | None
) -> Plugin:
    now = clock.stamp()
    return Plugin(
        id=chosen,
        git_url=url,
        ref=ref,
        commit=head,
        path=str(workspace.custom_nodes / chosen),
        group=requirements.group_name(chosen),
        created_at=now,
        updated_at=now,
    )


def _register(
    workspace: Workspace,
    plugins: Sequence[Plugin],
    plugin: Plugin,
    moves: Sequence[redo.Move],
) -> None:
    truth = snapshots.truth(workspace)
    new = replace(truth, plugins=registry.dump([*plugins, plugin]))
    generation = generations.current(workspace)
    documents = {
        "state/plugins.json": new.plugins,
        "state/receipt.json": staging.receipt_bytes(workspace, new, generation, "node add"),
    }
    redo.commit(workspace, redo.Change("node add", documents, moves=tuple(moves)))


def _warnings(plugin: Plugin) -> Iterator[str]:
    yield (
        f"{plugin.id} lies in custom_nodes now: a ComfyUI started without `gov run` would load "
        "it before it is promoted"
    )


def _without(session: Session, plugin: Plugin, stages: Stages) -> list[Change]:
    """Lock today's truth without the node's group and the overrides that only it brought."""
    workspace = session.workspace
    truth = snapshots.truth(workspace)
    project = resolution.Project.read(truth.pyproject, workspace.pyproject)
    if plugin.group not in project.groups:
        return []
    edit = Edit(group=plugin.group, overrides=_other_overrides(workspace, plugin, project))
    stages.plan(edit)
    session.say("locking the requirements without it")
    locked = stages.lock(session.uv)
    if not locked.ok:
        raise GovError(
            f"without {plugin.id} the rest does not lock",
            hint="the log is in the facts of --json; another node needs what its pins settled",
            code="lock_conflict",
            facts={"log": locked.log[-8000:]},
        )
    return stages.changes()


def _try_without(session: Session, plugin: Plugin, stages: Stages, approval: Approval) -> None:
    """Another node may live on a package that only this one's group asked for."""
    session.say("smoke test of the environment without it")
    verdict = trial_run.smoke(
        session.workspace, stages, session.uv, node=None, live=session.live, without=plugin.id
    )
    if not verdict.ok and not approval.failed_run:
        raise GovError(
            f"without {plugin.id}, ComfyUI does not come up as before: {verdict.reason}",
            hint="--allow-failed-run removes it all the same; prod is as it was",
            code="smoke_failed",
            facts={"node_id": plugin.id},
        )


def _other_overrides(
    workspace: Workspace, plugin: Plugin, project: resolution.Project
) -> tuple[str, ...]:
    """The overrides less those for packages that only this node's promotion pinned."""
    name = requirements.requirement_name
    own = {name(pin) for pin in plugin.override_deps}
    others = {
        name(pin)
        for other in registry.load(workspace)
        if other.id != plugin.id
        for pin in other.override_deps
    }
    return tuple(o for o in project.overrides if name(o) not in own - others)


def _purge(workspace: Workspace, plugin: Plugin) -> list[redo.Move]:
    """The code leaves custom_nodes by one rename within the commit, and is deleted after it."""
    source = workspace.custom_nodes / names.node_id(plugin.id)
    if not source.exists():
        return []
    return [redo.Move(source, _nursery(workspace) / f"purge-{secrets.token_hex(4)}")]


def _commit_removal(
    workspace: Workspace,
    stages: Stages,
    rest: Sequence[Plugin],
    generation: str | None,
    moves: Sequence[redo.Move],
) -> None:
    truth = snapshots.truth(workspace)
    documents = stages.documents() if stages.is_locked() else {}
    new = snapshots.Truth(
        documents.get("pyproject.toml", truth.pyproject),
        documents.get("uv.lock", truth.lock),
        registry.dump(rest),
    )
    post = snapshots.write(workspace, new, reason="remove_post", generation=generation, ref=None)
    changed = {
        **new.documents(),
        "state/snapshots_index.json": snapshots.indexed(workspace, post),
        "state/receipt.json": staging.receipt_bytes(workspace, new, generation, "node remove"),
    }
    redo.commit(workspace, redo.Change("node remove", changed, generation, tuple(moves)))
