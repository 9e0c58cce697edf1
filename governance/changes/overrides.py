"""uv's overrides in a draft: what a resolution chose, and whose they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    back = [pin for plugin in _enabled(draft, tx) for pin in plugin.override_deps]
    pins = list(dict.fromkeys([*(p for p in back if _is_pin(p)), *tx.resolution_pins]))
    without = [*(p for p in back if not _is_pin(p)), *tx.resolution.get("without", ())]
    project = draft.project
    if pins or without:
        # What an accepted fix was tried with has the extras of packages that are not in prod yet.
        asked = [*tx.lines, *tx.resolution.get("overrides", ())]
        project = project.with_overrides(_with(workspace, project, asked, pins, without))
        draft = _owned(draft, tx, [*tx.resolution_pins, *tx.resolution.get("without", ())])
    exempt = list(tx.resolution.get("exempt", ()))
    return replace(draft, project=project.with_exempt(exempt) if exempt else project)


def _enabled(draft: Draft, tx: Transaction) -> list[Plugin]:
    """Nodes that come back with the pins that were chosen for them."""
    named = {row.get("node") for row in tx.steps if row["kind"] == steps.ENABLE}
    return [plugin for plugin in draft.plugins if plugin.id in named]


def _is_pin(text: str) -> bool:
    """A bare name stands for a package that is to be left out."""
    return requirement_name(text) != text


def _owned(draft: Draft, tx: Transaction, pins: Sequence[str]) -> Draft:
    """The pins go with the node that they were chosen for."""
    owner = next((p for p in draft.plugins if p.id in tx.nodes), None)
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

    prod: dict[str, Any] = generations.lock_of_prod(workspace) if pins else {}
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
