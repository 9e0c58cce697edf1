"""Which commits of code may be forgotten: those that nothing can bring back any more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from governance.base.errors import GovError
from governance.boundaries import store
from governance.changes import promotion
from governance.changes.draft import COMFYUI
from governance.code.repository import Repository
from governance.truth import ledger, registry, snapshots
from governance.truth.resolution import Project
from governance.truth.workspace import Workspace


def forget(workspace: Workspace, *, dry_run: bool) -> list[str]:
    """Drop commits that neither the truth, nor a snapshot, nor a pending transaction names; what
    was dropped, as sentences."""
    needed = _needed(workspace)
    told = []
    for path in sorted(workspace.code.glob("*.git")):
        source = Repository(path)
        place = path.name.removesuffix(".git")
        gone = [one for one in source.commits() if (place, one) not in needed]
        if gone and not dry_run:
            source.drop(gone)
        if gone:
            told.append(f".code/{path.name}: {len(gone)} commits")
    return told


def _needed(workspace: Workspace) -> set[tuple[str, str]]:
    """(place, commit) of everything that may be brought back."""
    contents = [snapshots.truth_as_it_is(workspace), *snapshots.readable(workspace)]
    needed = {one for content in contents for one in _named(workspace, content)}
    return needed | set(_pending(workspace))


def _named(workspace: Workspace, content: snapshots.Truth) -> Iterator[tuple[str, str]]:
    try:
        comfyui = Project.read(content.pyproject, workspace.pyproject).comfyui
        rows = store.parse_json(content.plugins, workspace.plugins)
        plugins = registry.parse(rows, workspace)
    except GovError:
        return
    for plugin in plugins:
        if plugin.registry.get("code"):
            yield plugin.id, plugin.registry["code"]
    for place, target in promotion.targets_of(plugins, comfyui).items():
        yield place, target.code
        if target.commit:
            yield place, target.commit


def _pending(workspace: Workspace) -> Iterator[tuple[str, str]]:
    for row in ledger.overview(workspace).pending:
        with suppress(GovError):
            tx = ledger.load(workspace, row["txid"])
            parts = [*tx.nodes.items(), (COMFYUI, tx.comfyui)]
            for place, part in parts:
                for name in ("before", "from", "commit", "code"):
                    if part.get(name):
                        yield place, str(part[name])
