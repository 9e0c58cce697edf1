"""Nodes enter and leave: code in custom_nodes, a record in the registry, a group in the truth."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from governance import comfyui, git, requirements
from governance.base import clock, names
from governance.base.errors import UsageError
from governance.boundaries import store
from governance.changes import (
    audit,
    begin,
    checkouts,
    comfyui_fit,
    pipeline,
    staging,
    steps,
    supply_chain,
)
from governance.changes.gates import Approval
from governance.changes.promotion import Promotion
from governance.changes.session import Session
from governance.changes.steps import Step
from governance.code import capture
from governance.environments import generations
from governance.truth import inventory, redo, registry, snapshots
from governance.truth.documents import Plugin
from governance.truth.snapshots import Truth
from governance.truth.workspace import Workspace

# Where ComfyUI-Manager keeps the registry's id of a clone.
_REGISTRY_ID = ".git/.cnr-id"


@dataclass(frozen=True)
class Added:
    plugin: Plugin
    adopted: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Removed:
    plugin: Plugin
    promotion: Promotion
    purged: bool


def add(session: Session, url: str, *, ref: str | None, node_id: str | None, cwd: Path) -> Added:
    """Clone a node into custom_nodes and register it; adopt what lies there already.

    `url` may name an entry of custom_nodes: then that is adopted as it is.
    """
    workspace = session.workspace
    plugins = registry.load(workspace)
    if ref is None and is_entry(workspace, url):
        chosen = names.node_id(node_id or url.removesuffix(".py"))
        refuse_taken(plugins, chosen)
        return _adopt(session, plugins, None, chosen, None, workspace.custom_nodes / url)
    protocols = workspace.config.texts("policy.git_protocols")
    source = git.source(url, protocols=protocols, cwd=cwd)
    chosen = names.node_id_from_url(source.url) if node_id is None else names.node_id(node_id)
    refuse_taken(plugins, chosen)
    target = workspace.custom_nodes / chosen
    if os.path.lexists(target):
        return _adopt(session, plugins, source, chosen, ref, target)
    return clone(session, plugins, source, chosen, ref)


def is_entry(workspace: Workspace, text: str) -> bool:
    plain = "/" not in text and text not in ("", ".", "..") and not text.endswith(".disabled")
    return plain and os.path.lexists(workspace.custom_nodes / text)


def remove(session: Session, node_id: str, *, purge: bool, approval: Approval) -> Removed:
    """Take a node out of the truth and out of prod; what other groups ask for stays."""
    workspace = session.workspace
    plugin = registry.find(registry.load(workspace), node_id)
    if purge:
        names.node_id(plugin.id)  # a record made by hand could name a place outside
    _ = workspace.comfyui_dir  # missing, it is told before anything is staged
    snapshots.index(workspace)  # and so is a damaged index
    step = Step(steps.REMOVE, node_id, {"purge": purge})
    work = begin.begin(session, [step], kind="remove")
    return Removed(plugin, pipeline.apply(session, work, approval), purge)


def switch(session: Session, node_ids: Sequence[str], kind: str, approval: Approval) -> Promotion:
    """Enable or disable nodes: the code stays, packages that only they need go or come back."""
    plugins = registry.load(session.workspace)
    for node in node_ids:
        _require_switchable(session.workspace, registry.find(plugins, node), kind)
    work = begin.begin(session, [Step(kind, node) for node in node_ids], kind=kind)
    return pipeline.apply(session, work, approval)


def _require_switchable(workspace: Workspace, plugin: Plugin, kind: str) -> None:
    found = inventory.locate(workspace, plugin)
    if found.state == inventory.MISSING:
        raise begin.code_missing(plugin, found, "forgets it")
    if kind == steps.ENABLE and plugin.last_snapshot is None:
        raise UsageError(
            f"{plugin.id} was never promoted",
            hint=f"`gov tx run {plugin.id}` tries it",
            code="not_promoted",
        )
    is_off = not plugin.enabled and found.state == inventory.DISABLED
    is_on = plugin.enabled and found.state == inventory.PRESENT
    if (kind == steps.DISABLE and is_off) or (kind == steps.ENABLE and is_on):
        raise UsageError(
            f"{plugin.id} is {kind}d already",
            hint="`gov node list` shows all",
            code="nothing_to_do",
        )


def refuse_taken(plugins: Sequence[Plugin], chosen: str) -> None:
    for plugin in plugins:
        if names.same(plugin.id, chosen):
            raise UsageError(
                f"the node id {chosen!r} is taken by {plugin.id} ({plugin.git_url})",
                hint=f"choose another with --id, or `gov node remove {plugin.id}` first",
                code="node_exists",
                facts={"node_id": plugin.id},
            )


def _adopt(
    session: Session,
    plugins: Sequence[Plugin],
    source: git.Source | None,
    chosen: str,
    ref: str | None,
    target: Path,
) -> Added:
    """What lies there is governed as what it is: a clone, what ComfyUI-Manager unpacked from the
    registry, a single file, a loose folder, or a developer's link."""
    workspace = session.workspace
    is_clone = target.is_dir() and git.is_repository(target)
    origin = git.origin(target) if is_clone else None
    if source is not None and (is_clone or not _is_node(target)):
        _require_clone_of(target, origin, source)
    head = git.head(target) if is_clone else None
    if source is not None and ref is not None and not _is_at(source, head, ref):
        raise UsageError(
            f"{target} is at {str(head)[:12]}, not at {ref}",
            hint=f"check {ref} out there, or leave --ref away to adopt it as it is",
            code="other_commit",
        )
    url = source.url if source is not None else origin or ""
    supply_chain.require_node(session, chosen, url)
    found = capture.capture(checkouts.repository(workspace, chosen), target)
    plugin = replace(
        new_record(workspace, url, chosen, ref),
        kind=found.kind,
        commit=found.head or found.code,
        code=found.code,
        path=str(target),
    )
    register(session, plugins, plugin, ())
    return Added(plugin, True, (*_kind_notes(plugin), *warnings(workspace, plugin)))


def _is_node(place: Path) -> bool:
    """Something that ComfyUI would load, as ComfyUI-Manager or a copy left it."""
    return (place / "__init__.py").is_file() or (place.is_file() and place.suffix == ".py")


def _kind_notes(plugin: Plugin) -> Iterator[str]:
    if plugin.kind == capture.LINK:
        yield f"{plugin.id} is a link to a folder elsewhere: gov records its code, never moves it"
    elif plugin.kind != capture.CLONE:
        yield f"{plugin.id} is no git clone ({plugin.kind}): its files are governed as they lie"


def _require_clone_of(target: Path, origin: str | None, source: git.Source) -> None:
    if origin is None or not git.same_origin(origin, source.url):
        raise UsageError(
            f"{target} is there already, and it is no clone of {source.url}",
            hint="choose another name with --id, or move that folder away",
            code="folder_exists",
            facts={"path": str(target), "origin": origin},
        )


def _is_at(source: git.Source, head: str | None, ref: str) -> bool:
    """Whether `ref` (a branch, a tag, the beginning of a commit) is what is checked out."""
    if head is None:
        return False
    if len(ref) >= 7 and head.startswith(ref):
        return True
    refs = git.list_refs(source, protocols=(source.protocol,))
    return head in (refs.tags.get(ref), refs.branches.get(ref))


def clone(
    session: Session,
    plugins: Sequence[Plugin],
    source: git.Source,
    chosen: str,
    ref: str | None,
    *,
    known: Mapping[str, str] | None = None,
    audited: Mapping[str, str] | None = None,
) -> Added:
    """Clone beside custom_nodes, since its loader takes whatever lies inside; rename it in.

    `known` is what the Comfy Registry says of it (the record's `registry`), `audited` goes into
    the history.
    """
    workspace = session.workspace
    supply_chain.require_node(session, chosen, source.url, known)
    folder = redo.nursery(workspace)
    unfinished = folder / f"add-{secrets.token_hex(4)}"
    target = redo.real_custom_nodes(workspace) / chosen
    try:
        with session.following(f"cloning {source.url}") as show:
            cloned = git.clone(
                source,
                unfinished,
                ref=ref,
                protocols=workspace.config.texts("policy.git_protocols"),
                timeout=workspace.config.number("policy.clone_timeout_seconds"),
                max_bytes=int(workspace.config.number("policy.clone_limit_mb") * 1024 * 1024),
                progress=show,
            )
        found = capture.capture(checkouts.repository(workspace, chosen), unfinished)
        plugin = replace(
            new_record(workspace, source.url, chosen, ref),
            commit=cloned.commit,
            code=found.code,
            registry=dict(known or {}),
        )
        if known:
            store.write(unfinished / _REGISTRY_ID, known["id"].encode())
        store.sync_filesystem(folder)
        register(session, plugins, plugin, (redo.Move(unfinished, target),), audited or {})
    except BaseException:
        # Beyond the commit point the clone belongs to the change, which recovery finishes.
        if not redo.is_pending(workspace):
            store.remove_tree(unfinished)
        raise
    return Added(plugin, False, (*cloned.notes, *warnings(workspace, plugin)))


def new_record(workspace: Workspace, url: str, chosen: str, ref: str | None) -> Plugin:
    now = clock.stamp()
    return Plugin(
        id=chosen,
        git_url=url,
        ref=ref,
        path=str(workspace.custom_nodes / chosen),
        group=requirements.group_name(chosen),
        created_at=now,
        updated_at=now,
    )


def register(
    session: Session,
    plugins: Sequence[Plugin],
    plugin: Plugin,
    moves: Sequence[redo.Move],
    audited: Mapping[str, str] | None = None,
) -> None:
    """The registry with one node more.  Prod stays: the node is loaded once it is promoted.

    `audited` are further facts for the history.
    """
    truth = snapshots.truth(session.workspace)
    facts = {"node": plugin.id, **(audited or {})}
    entry = _entry(session, "node add", [plugin], facts)
    _write(session, truth, [*plugins, plugin], entry, moves)


def _entry(
    session: Session, verb: str, new: Sequence[Plugin], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """The line of the history that tells of new nodes."""
    return audit.entry(
        identity=names.new_txid(clock.now()),
        verb=verb,
        steps=[" ".join(["register", *(plugin.id for plugin in new)])],
        changes=(),
        code=[{"place": plugin.id, "before": None, "after": plugin.commit} for plugin in new],
        who=audit.made(session.workspace),
        facts=facts,
    )


def _write(
    session: Session,
    truth: Truth | None,
    after: Sequence[Plugin],
    entry: Mapping[str, Any],
    moves: Sequence[redo.Move] = (),
) -> None:
    """The registry as it is to be, in one change.  Without a `truth` there is nothing yet that a
    receipt could tell of."""
    workspace, verb = session.workspace, str(entry["verb"])
    documents = {"state/plugins.json": registry.dump(after)}
    if truth is not None:
        new = replace(truth, plugins=documents["state/plugins.json"])
        current = generations.current(workspace)
        documents["state/receipt.json"] = staging.receipt_bytes(workspace, new, current, verb)
    redo.commit(workspace, redo.Record(verb, documents, moves=tuple(moves), entry=entry))


def warnings(workspace: Workspace, plugin: Plugin) -> Iterator[str]:
    asked = comfyui_fit.required_at(workspace, plugin.id, plugin.code)
    unfit = comfyui_fit.unfit(plugin.id, asked, comfyui.version(workspace.comfyui_dir))
    if unfit:
        yield unfit
    yield (
        f"{plugin.id} lies in custom_nodes now: a ComfyUI started without `gov run` would load "
        "it before it is promoted"
    )


# --- many at once -----------------------------------------------------------------------------


def register_all(session: Session, plugins: Sequence[Plugin], verb: str) -> None:
    """One change of the registry: the nodes as they lie there.  Prod stays as it is."""
    space = session.workspace
    before_it = registry.load(space)
    known = {plugin.id: plugin for plugin in before_it}
    fresh = {plugin.id: _renewed(known.get(plugin.id), plugin) for plugin in plugins}
    after = [fresh.pop(plugin.id, plugin) for plugin in before_it] + list(fresh.values())
    if after == before_it:
        return
    truth = snapshots.truth(space) if space.pyproject.is_file() else None
    told = {"nodes": [plugin.id for plugin in plugins]}
    _write(session, truth, after, _entry(session, verb, plugins, told))


def _renewed(known: Plugin | None, found: Plugin) -> Plugin:
    """One that was registered before keeps what was typed then."""
    if known is None:
        return found
    now = replace(known, kind=found.kind, commit=found.commit, code=found.code, path=found.path)
    return replace(now, enabled=found.enabled, registry=known.registry or found.registry)
