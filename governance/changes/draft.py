"""What a transaction makes of the installation: its steps applied to today's truth, as a value.

Nothing is written here and no program is started; what had to be read from code or fetched lies
in the transaction's record since it was begun.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from governance.base.errors import Refused
from governance.boundaries import store
from governance.changes import overrides, sources, steps
from governance.changes.provenance import COMFYUI as COMFYUI
from governance.changes.ruled import ruled
from governance.changes.steps import Step
from governance.code.capture import CLONE
from governance.requirements import requirement_name
from governance.truth import registry, resolution, snapshots
from governance.truth.documents import Plugin, Transaction
from governance.truth.resolution import Project
from governance.truth.workspace import Workspace


class Target(NamedTuple):
    """The code that a place is to hold; `commit` is a clone's HEAD, None for what is no clone."""

    commit: str | None
    code: str


@dataclass(frozen=True)
class Draft:
    """`lock` are the versions that uv prefers, or the very lock where `exact`; `upgrade` the
    packages whose versions are not preferred (`*` all of them); `wheels_only` those that cannot be
    built here; `code` what is to move, by node or COMFYUI; `purged` the nodes whose folder
    goes."""

    project: Project
    plugins: tuple[Plugin, ...]
    lock: bytes | None
    exact: bool = False
    generation: str | None = None
    upgrade: tuple[str, ...] = ()
    wheels_only: tuple[str, ...] = ()
    code: Mapping[str, Target] = field(default_factory=dict)
    purged: tuple[str, ...] = ()

    def plugin(self, node: str) -> Plugin:
        return registry.find(self.plugins, node)

    def with_plugin(self, plugin: Plugin) -> Draft:
        return replace(self, plugins=tuple(registry.replace(self.plugins, plugin)))

    def with_code(self, place: str, target: Target) -> Draft:
        return replace(self, code={**self.code, place: target})

    @property
    def loaded(self) -> tuple[Plugin, ...]:
        """The nodes that ComfyUI is to load with it."""
        groups = self.project.groups
        return tuple(p for p in self.plugins if p.enabled and p.group in groups)


def of(workspace: Workspace, tx: Transaction) -> Draft:
    """Raises what the documents of the truth raise where they are damaged or missing."""
    wanted = steps.of(tx.steps)
    draft = _base(workspace, tx, wanted)
    draft = replace(draft, wheels_only=tuple(row["package"] for row in tx.unbuildable))
    for step in wanted:
        draft = _APPLY[step.kind](draft, step, tx)
    draft = sources.resolved(overrides.resolved(workspace, draft, tx), tx)
    draft = ruled(workspace, draft, tx)
    return _preferring(draft, tx)


def _preferring(draft: Draft, tx: Transaction) -> Draft:
    """What came in from another environment keeps its versions, before those of today's lock."""
    if not tx.preferences or draft.exact:
        return draft
    from governance.truth import lockfile, preferences

    today = lockfile.versions_in(draft.lock.decode(errors="replace")) if draft.lock else {}
    lock = preferences.lock_of(draft.project, {**today, **tx.preferences})
    return replace(draft, lock=lock)


def _base(workspace: Workspace, tx: Transaction, wanted: Sequence[Step]) -> Draft:
    for step in wanted:
        if step.kind == steps.RESTORE:
            # What is brought back needs nothing of today's truth, which may be damaged.
            return _restored(workspace, step)
        if step.kind == steps.INIT:
            return _first(workspace, step)
    truth = snapshots.truth(workspace)
    project = Project.read(truth.pyproject, workspace.pyproject)
    plugins = registry.parse(store.parse_json(truth.plugins, workspace.plugins), workspace)
    return Draft(project, tuple(plugins), truth.lock)


def _first(workspace: Workspace, step: Step) -> Draft:
    """A workspace without a truth; nodes are registered already where only that was lost.

    Raises Refused where another command has made one since.
    """
    if workspace.pyproject.is_file():
        raise Refused(
            f"{workspace.root} has a truth by now, and this change would be its first one",
            hint="`gov adopt` takes the nodes in again, on the truth of today",
            code="truth_exists",
        )
    settings = resolution.Settings.from_json(step.facts["settings"])
    text = resolution.new_project(settings, ())
    plugins = registry.load(workspace) if workspace.plugins.is_file() else []
    lock = store.read_bytes(workspace.lock) if workspace.lock.is_file() else None
    return Draft(Project(text, workspace.pyproject), tuple(plugins), lock)


def _restored(workspace: Workspace, step: Step) -> Draft:
    """A snapshot's truth.  Its lock is taken as it is where it was locked from that project."""
    snapshot = snapshots.load(workspace, str(step.facts["snapshot"]))
    content = snapshots.content(workspace, snapshot)
    path = workspace.snapshots / snapshot.id / "plugins.json"
    plugins = registry.parse(store.parse_json(content.plugins, path), workspace)
    draft = Draft(
        Project.read(content.pyproject, path.with_name("pyproject.toml")),
        tuple(plugins),
        content.lock,
        exact=bool(step.facts.get("exact")),
        generation=snapshot.generation,
    )
    for place, target in dict(step.facts.get("code", {})).items():
        draft = draft.with_code(place, Target(target["commit"], target["code"]))
    return draft


# --- nodes ------------------------------------------------------------------------------------


def _take(draft: Draft, step: Step, tx: Transaction) -> Draft:
    """add, update: the group holds what the node asks for at that commit."""
    node = str(step.node)
    part = tx.nodes.get(node, {})
    plugin = draft.plugin(node)
    # What a resolution adds is for the first node, as its pins are.
    chosen = tx.resolution.get("added", ()) if node == tx.node_id else ()
    added = _with_added(plugin.added_deps, list(chosen))
    lines = _with_added(tx.lines_of(node), added)
    changed = replace(
        plugin,
        kind=str(part.get("kind") or plugin.kind),
        commit=part.get("commit") or plugin.commit,
        code=part.get("code") or plugin.code,
        registry=dict(part.get("registry") or plugin.registry),
        ref=part.get("ref", plugin.ref),
        enabled=True,
        managed_deps=lines,
        added_deps=added,
        given_up=tx.given_up(node),
    )
    draft = replace(draft, project=draft.project.with_group(plugin.group, lines))
    draft = draft.with_plugin(changed)
    if part.get("code") and part["code"] != part.get("before"):
        draft = draft.with_code(node, Target(head_of(changed), str(part["code"])))
    return draft


def head_of(plugin: Plugin) -> str | None:
    """The commit that HEAD of its clone is to be at; None for what is no clone."""
    return plugin.commit if plugin.kind == CLONE else None


def _with_added(lines: Iterable[str], added: Sequence[str]) -> list[str]:
    """What the operator added replaces a line of the node's for the same package."""
    names = {requirement_name(line) for line in added}
    return [*(line for line in lines if requirement_name(line) not in names), *added]


def _remove(draft: Draft, step: Step, tx: Transaction) -> Draft:
    plugin = draft.plugin(str(step.node))
    draft = _without_group(draft, plugin)
    rest = tuple(other for other in draft.plugins if other.id != plugin.id)
    purged = (*draft.purged, plugin.id) if step.facts.get("purge") else draft.purged
    return replace(draft, plugins=rest, purged=purged)


def _without_group(draft: Draft, plugin: Plugin) -> Draft:
    project = draft.project.without_group(plugin.group)
    if plugin.override_deps:
        project = project.with_overrides(overrides.others(draft.plugins, plugin, project))
    if plugin.scoped_deps:
        project = project.with_scoped(overrides.other_scoped(draft.plugins, plugin, project))
    if plugin.index_sources:
        project = sources.without(draft.plugins, plugin, project)
    return replace(draft, project=project)


def _disable(draft: Draft, step: Step, tx: Transaction) -> Draft:
    plugin = draft.plugin(str(step.node))
    return _without_group(draft, plugin).with_plugin(replace(plugin, enabled=False))


def _enable(draft: Draft, step: Step, tx: Transaction) -> Draft:
    plugin = draft.plugin(str(step.node))
    project = draft.project.with_group(plugin.group, plugin.managed_deps)
    return replace(draft, project=project).with_plugin(replace(plugin, enabled=True))


def _with(draft: Draft, step: Step, tx: Transaction) -> Draft:
    plugin = draft.plugin(str(step.node))
    added = _with_added(plugin.added_deps, list(step.facts.get("lines", ())))
    lines = _with_added(plugin.managed_deps, added)
    return _relined(draft, replace(plugin, added_deps=added, managed_deps=lines))


def _without(draft: Draft, step: Step, tx: Transaction) -> Draft:
    plugin = draft.plugin(str(step.node))
    gone = set(step.facts.get("packages", ()))
    kept = [line for line in plugin.added_deps if requirement_name(line) not in gone]
    dropped = set(plugin.added_deps) - set(kept)
    lines = [line for line in plugin.managed_deps if line not in dropped]
    return _relined(draft, replace(plugin, added_deps=kept, managed_deps=lines))


def _relined(draft: Draft, plugin: Plugin) -> Draft:
    """Another set of lines for a node; its group follows where it is in prod."""
    project = draft.project
    if plugin.group in project.groups:
        project = project.with_group(plugin.group, plugin.managed_deps)
    return replace(draft, project=project).with_plugin(plugin)


# --- the rest of the installation -------------------------------------------------------------


def _comfyui(draft: Draft, step: Step, tx: Transaction) -> Draft:
    """ComfyUI at another commit, with its own requirements; lines of the operator's stay."""
    found = tx.comfyui
    project = draft.project
    if "core" in found:
        project = project.with_group(resolution.CORE_GROUP, list(found["core"]))
    if "manager" in found:
        lines = found["manager"]
        group = resolution.MANAGER_GROUP
        project = project.with_group(group, lines) if lines else project.without_group(group)
    if found.get("code"):
        project = project.with_comfyui(found.get("commit"), str(found["code"]))
    draft = replace(draft, project=project)
    if found.get("code") and found["code"] != found.get("before"):
        draft = draft.with_code(COMFYUI, Target(found.get("commit"), str(found["code"])))
    return draft


def _settings(draft: Draft, step: Step, tx: Transaction) -> Draft:
    """They were looked up when the transaction was begun, since that asks the machine."""
    settings = resolution.Settings.from_json(step.facts["settings"])
    return replace(draft, project=draft.project.with_settings(settings))


def _upgrade(draft: Draft, step: Step, tx: Transaction) -> Draft:
    return replace(draft, upgrade=tuple(step.facts.get("packages", ())) or ("*",))


def _pin(draft: Draft, step: Step, tx: Transaction) -> Draft:
    lines = _with_added(draft.project.constraints, list(step.facts["lines"]))
    return replace(draft, project=draft.project.with_constraints(lines))


def _unpin(draft: Draft, step: Step, tx: Transaction) -> Draft:
    """A package is free again, also where an override of an accepted fix held it."""
    gone = set(step.facts["packages"])
    project = draft.project
    kept = [line for line in project.constraints if requirement_name(line) not in gone]
    left = [line for line in project.overrides if requirement_name(line) not in gone]
    scoped = [row for row in project.scoped if requirement_name(row[2]) not in gone]
    project = project.with_constraints(kept).with_overrides(left).with_scoped(scoped)
    plugins = tuple(_freed(plugin, gone) for plugin in draft.plugins)
    return replace(draft, project=project, plugins=plugins, upgrade=(*draft.upgrade, *sorted(gone)))


def _freed(plugin: Plugin, gone: set[str]) -> Plugin:
    kept = [pin for pin in plugin.override_deps if requirement_name(pin) not in gone]
    scoped = [row for row in plugin.scoped_deps if requirement_name(row["dependency"]) not in gone]
    return replace(plugin, override_deps=kept, scoped_deps=scoped)


def _nothing_more(draft: Draft, step: Step, tx: Transaction) -> Draft:
    """An edited pyproject.toml is today's, and a snapshot's was taken as the base."""
    return draft


def _bring(draft: Draft, step: Step, tx: Transaction) -> Draft:
    """Its record came with the snapshot; what a run saw it install joins its lines."""
    plugin = draft.plugin(str(step.node))
    lines = list(dict.fromkeys([*plugin.managed_deps, *tx.lines_of(plugin.id)]))
    if lines == plugin.managed_deps:
        return draft
    return replace(_relined(draft, replace(plugin, managed_deps=lines)), exact=False)


_APPLY: dict[str, Callable[[Draft, Step, Transaction], Draft]] = {
    steps.ADD: _take,
    steps.UPDATE: _take,
    steps.REMOVE: _remove,
    steps.ENABLE: _enable,
    steps.DISABLE: _disable,
    steps.WITH: _with,
    steps.WITHOUT: _without,
    steps.INIT: _comfyui,
    steps.COMFYUI: _comfyui,
    steps.SETTINGS: _settings,
    steps.UPGRADE: _upgrade,
    steps.PIN: _pin,
    steps.UNPIN: _unpin,
    steps.EDIT: _nothing_more,
    steps.RESTORE: _nothing_more,
    steps.BRING: _bring,
}
