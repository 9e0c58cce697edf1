"""Packages of prod whose files would be another package's: what is shown, and what a gate asks."""

from __future__ import annotations

from typing import Any

from governance.changes.work import Work
from governance.conflict import chains
from governance.environments import generations
from governance.truth import registry


def rows(work: Work) -> list[dict[str, Any]]:
    """Each change with the promoted nodes that ask for the package, directly or not."""
    found = work.stages.owner_changes() if work.stages.is_built() else []
    if not found:
        return []
    lock = generations.lock_of_prod(work.workspace)
    plugins = registry.parse_or_none(work.workspace)
    by_group = {plugin.group: plugin.id for plugin in plugins if registry.is_promoted(plugin)}
    return [
        {
            **one.to_json(),
            "nodes": sorted(
                by_group[group] for group in chains.owners(lock, one.package) if group in by_group
            ),
        }
        for one in found
    ]
