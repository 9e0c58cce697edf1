"""uv's overrides in a draft: what a resolution chose, and whose they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from governance.changes import steps
from governance.environments import generations
from governance.requirements import requirement_name
from governance.truth.documents import Plugin, Transaction
from governance.truth.resolution import Project
from governance.truth.workspace import Workspace

if TYPE_CHECKING:
    from governance.changes.draft import Draft


def resolved(workspace: Workspace, draft: Draft, tx: Transaction) -> Draft:
    """The draft with the pins, the packages left out and the exemptions of its transaction."""
    back = [pin for plugin in enabled(draft, tx) for pin in plugin.override_deps]
    pins = list(dict.fromkeys([*(p for p in back if _is_pin(p)), *tx.resolution_pins]))
    without = [*(p for p in back if not _is_pin(p)), *tx.resolution.get("without", ())]
    project = draft.project
    if pins or without:
        # What an accepted fix was tried with has the extras of packages that are not in prod yet.
        asked = [*tx.lines, *tx.resolution.get("overrides", ())]
        project = project.with_overrides(_with(workspace, project, asked, pins, without))
        draft = _owned(draft, tx, [*tx.resolution_pins, *tx.resolution.get("without", ())])
    project = _scoped(project, draft, tx)
    draft = _of_others(_with_scopes(draft, tx), tx, project)
    project = draft.project
    exempt = list(tx.resolution.get("exempt", ()))
    return replace(draft, project=project.with_exempt(exempt) if exempt else project)


def _scoped(project: Project, draft: Draft, tx: Transaction) -> Project:
    """What single packages ask for: chosen now, or coming back with a node."""
    back = [row for plugin in enabled(draft, tx) for row in plugin.scoped_deps]
    chosen = [_row(row) for row in (*back, *tx.resolution.get("scoped", ()))]
    return project.with_scoped([*project.scoped, *chosen]) if chosen else project


def _row(row: Mapping[str, str]) -> tuple[str, str, str]:
    return row["package"], row["version"], row["dependency"]


def _with_scopes(draft: Draft, tx: Transaction) -> Draft:
    """They go with the node that they were chosen for, as pins do."""
    chosen = list(tx.resolution.get("scoped", ()))
    owner = owner_of(draft, tx)
    if owner is None or not chosen:
        return draft
    more = [row for row in chosen if row not in owner.scoped_deps]
    return draft.with_plugin(replace(owner, scoped_deps=[*owner.scoped_deps, *more]))


def _of_others(draft: Draft, tx: Transaction, project: Project) -> Draft:
    """Lines that nodes of today give up for the newcomer."""
    draft = replace(draft, project=project)
    for row in tx.resolution.get("replaced", ()):
        plugin = next((p for p in draft.plugins if f"node:{p.id}" == row["owner"]), None)
        if plugin is None or plugin.id in tx.nodes or row["text"] not in plugin.managed_deps:
            continue
        lines = [row["to"] if line == row["text"] else line for line in plugin.managed_deps]
        lines = [line for line in dict.fromkeys(lines) if line]
        gone = {"text": row["text"], "to": row["to"]}
        changed = replace(plugin, managed_deps=lines, given_up=[*plugin.given_up, gone])
        draft = replace(draft, project=draft.project.with_group(plugin.group, lines))
        draft = draft.with_plugin(changed)
    return draft


def enabled(draft: Draft, tx: Transaction) -> list[Plugin]:
    """Nodes that come back with the pins that were chosen for them."""
    named = {row.get("node") for row in tx.steps if row["kind"] == steps.ENABLE}
    return [plugin for plugin in draft.plugins if plugin.id in named]


def _is_pin(text: str) -> bool:
    """A bare name stands for a package that is to be left out."""
    return requirement_name(text) != text


def owner_of(draft: Draft, tx: Transaction) -> Plugin | None:
    """The node that what was chosen goes with; None for a change that is about no node."""
    return next((plugin for plugin in draft.plugins if plugin.id in tx.nodes), None)


def _owned(draft: Draft, tx: Transaction, pins: Sequence[str]) -> Draft:
    """The pins go with the node that they were chosen for."""
    owner = owner_of(draft, tx)
    if owner is None:
        return draft
    again = set(map(requirement_name, pins))
    earlier = [pin for pin in owner.override_deps if requirement_name(pin) not in again]
    kept = list(dict.fromkeys([*earlier, *pins]))
    return draft.with_plugin(replace(owner, override_deps=kept))


def others(plugins: Iterable[Plugin], plugin: Plugin, project: Project) -> list[str]:
    """The overrides less those for packages that only this node's promotion pinned."""
    own = {requirement_name(pin) for pin in plugin.override_deps}
    shared = {
        requirement_name(pin)
        for other in plugins
        if other.id != plugin.id and other.enabled
        for pin in other.override_deps
    }
    return [line for line in project.overrides if requirement_name(line) not in own - shared]


def other_scoped(
    plugins: Iterable[Plugin], plugin: Plugin, project: Project
) -> list[tuple[str, str, str]]:
    """The scoped overrides less those that only this node needs."""
    own = [_row(row) for row in plugin.scoped_deps]
    shared = [
        _row(row)
        for other in plugins
        if other.id != plugin.id and other.enabled
        for row in other.scoped_deps
    ]
    return [row for row in project.scoped if row not in own or row in shared]


def _with(
    workspace: Workspace,
    project: Project,
    lines: Sequence[str],
    pins: Sequence[str],
    without: Sequence[str],
) -> list[str]:
    """The project's overrides with `pins` in place of those for the same packages.

    uv's override drops the extras of what it replaces, so they are carried over from every line
    in the groups and every package in prod's lock that asks for it; the bare name stands for
    transitive demands that are not in prod yet.  Packages `without` which it is to go are not
    installed, whoever asks for them.
    """
    from governance import requirements
    from governance.conflict.chains import demands
    from governance.conflict.shared import away

    prod: Mapping[str, Any] = generations.lock_of_prod(workspace) if pins else {}
    asked = [line for group in project.groups.values() for line in group] + list(lines)
    made = [
        text
        for pin in map(requirements.parse_pin, pins)
        for text in requirements.override_text(
            pin, [pin.name, *_lines_for(pin.name, asked), *demands(prod, pin.name)]
        )
    ]
    made += away(without)
    replaced = {requirement_name(text) for text in made}
    kept = [line for line in project.overrides if requirement_name(line) not in replaced]
    return [*kept, *made]


def _lines_for(name: str, lines: Sequence[str]) -> list[str]:
    return [line for line in lines if requirement_name(line) == name]
