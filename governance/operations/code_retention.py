"""Which commits of code may be forgotten: those that nothing can bring back any more."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress

from governance.base.errors import GovError
from governance.changes.draft import COMFYUI
from governance.code.repository import Repository
from governance.truth import ledger, snapshots
from governance.truth.workspace import Workspace

_COMMIT = re.compile(r'"([0-9a-f]{40}|[0-9a-f]{64})"')


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
    now = snapshots.truth_as_it_is(workspace)
    kept = snapshots.readable(workspace, snapshots.PYPROJECT, snapshots.PLUGINS)
    needed = {one for pair in ((now.pyproject, now.plugins), *kept) for one in _named(*pair)}
    return needed | set(_pending(workspace))


def _named(pyproject: bytes, plugins: bytes) -> Iterator[tuple[str, str]]:
    """Commits by place.  Whatever looks like one counts: keeping too much harms nobody, and a
    thousand registries are read."""
    yield from ((COMFYUI, commit) for commit in _COMMIT.findall(pyproject.decode(errors="replace")))
    try:
        rows = json.loads(plugins or b"[]")
    except (ValueError, RecursionError):
        return
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict):
            known = row.get("registry")
            published = known.get("code") if isinstance(known, dict) else None
            for commit in (row.get("code"), row.get("commit"), published):
                if isinstance(commit, str):
                    yield str(row.get("id")), commit


def _pending(workspace: Workspace) -> Iterator[tuple[str, str]]:
    for row in ledger.overview(workspace).pending:
        with suppress(GovError):
            tx = ledger.load(workspace, row["txid"])
            parts = [*tx.nodes.items(), (COMFYUI, tx.comfyui)]
            for place, part in parts:
                for name in ("before", "from", "commit", "code"):
                    if part.get(name):
                        yield place, str(part[name])
