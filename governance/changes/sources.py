"""Packages that come from an index which a node names: chosen by a person, gone with the node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from governance.changes import overrides
from governance.requirements.index_line import NamedIndex, named_index
from governance.truth.documents import Plugin, Transaction
from governance.truth.resolution import Project

if TYPE_CHECKING:
    from governance.changes.draft import Draft

_Source = tuple[str, str, bool]


def named(tx: Transaction) -> tuple[NamedIndex, ...]:
    """The indexes that lines of its nodes name, each once; none of them is asked by itself."""
    found = (named_index(str(row["raw"])) for row in tx.skipped_requirements)
    return tuple(dict.fromkeys(index for index in found if index is not None))


def resolved(draft: Draft, tx: Transaction) -> Draft:
    """The draft with the sources that its transaction has chosen, or that come back with a node."""
    chosen = list(tx.resolution.get("sources", ()))
    back = [row for plugin in overrides.enabled(draft, tx) for row in plugin.index_sources]
    if not chosen and not back:
        return draft
    project = draft.project
    rows = [*project.sources, *map(_row, (*back, *chosen))]
    draft = replace(draft, project=project.with_sources(dict.fromkeys(rows)))
    owner = overrides.owner_of(draft, tx)
    if owner is None:
        return draft
    more = [row for row in chosen if row not in owner.index_sources]
    return draft.with_plugin(replace(owner, index_sources=[*owner.index_sources, *more]))


def without(plugins: Iterable[Plugin], plugin: Plugin, project: Project) -> Project:
    """Less the sources that only this node needs."""
    others = [one for one in plugins if one.id != plugin.id and one.enabled]
    shared = {_row(row) for other in others for row in other.index_sources}
    gone = set(map(_row, plugin.index_sources)) - shared
    return project.with_sources(row for row in project.sources if row not in gone)


def _row(row: Mapping[str, Any]) -> _Source:
    return str(row["package"]), str(row["url"]), bool(row["flat"])
