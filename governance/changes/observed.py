"""Which sets of packages and code have been seen to work, so that none is started twice.

A set is the content of an environment and the code of everything that is loaded in it.  It is
kept with the generation that it was observed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from governance.base import clock
from governance.base.errors import GovError
from governance.boundaries import store
from governance.environments import generations
from governance.truth.workspace import Workspace

FILE = "observed.json"
_KEPT = 50


def digest(key: str, codes: Mapping[str, str | None]) -> str:
    """`key` is that of the generation (lock, interpreter, platform), `codes` the captured commit
    of every place that is loaded."""
    rows = [[place, code] for place, code in sorted(codes.items())]
    return store.digest(store.dump_json([key, rows]))


def verdict(workspace: Workspace, generation: str, seen: str) -> dict[str, Any]:
    """What was observed of this set; empty where it never ran."""
    found = _read(_path(workspace, generation)).get("sets", {}).get(seen, {})
    return found if isinstance(found, dict) else {}


def remember(workspace: Workspace, generation: str, seen: str, row: Mapping[str, Any]) -> None:
    """Keep a verdict; the oldest go beyond a number that nobody reaches by hand."""
    path = _path(workspace, generation)
    sets = dict(_read(path).get("sets", {}))
    sets.pop(seen, None)
    sets[seen] = {**row, "at": clock.stamp()}
    kept = dict(list(sets.items())[-_KEPT:])
    store.write_json(path, {"schema": 1, "sets": kept})


def _path(workspace: Workspace, generation: str) -> Path:
    return generations.papers(workspace, generation) / FILE


def _read(path: Path) -> dict[str, Any]:
    try:
        return store.read_object(path)
    except (OSError, GovError):
        return {}
