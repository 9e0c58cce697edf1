"""Plans and changes as tables: what an operator reads before deciding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from governance.cli.outcome import Part, Table
from governance.lockfile import Change

_ORDER = {"down": 0, "removed": 1, "up": 2, "changed": 2, "added": 3}
_LONG = 40


def changes(
    found: Iterable[Change | Mapping[str, Any]], *, title: str, core: Iterable[str] = ()
) -> list[Part]:
    """Downgrades first, then removals, upgrades, additions; core packages are marked."""
    marked = set(core)
    rows = [_row(entry, marked) for entry in found]
    if not rows:
        return [f"{title}: nothing changes"]
    rows.sort(key=lambda row: (_ORDER.get(row[0], 9), row[1]))
    marks = {
        n: "core" if row[4] else "bad" for n, row in enumerate(rows) if row[4] or row[0] == "down"
    }
    return [Table(title, ("", "package", "before", "after", ""), rows[:_LONG], marks), *_more(rows)]


def _more(rows: Sequence[Any]) -> list[Part]:
    return [f"  ... and {len(rows) - _LONG} more (--json has all)"] if len(rows) > _LONG else []


def _row(entry: Change | Mapping[str, Any], core: set[str]) -> list[str]:
    facts = entry.to_json() if isinstance(entry, Change) else dict(entry)
    name, before, after = str(facts["name"]), facts.get("before"), facts.get("after")
    is_core = bool(facts.get("core")) or name in core
    return [direction(before, after), name, before or "-", after or "-", "core" if is_core else ""]


def direction(before: str | None, after: str | None) -> str:
    """added, removed, up, down, or changed where versions cannot be compared."""
    if before is None:
        return "added"
    if after is None:
        return "removed"
    from packaging.version import InvalidVersion, Version

    try:
        return "up" if Version(after) > Version(before) else "down"
    except InvalidVersion:
        return "changed"


def pairs(title: str, values: Mapping[str, Any]) -> Table:
    """Two columns: name and value."""
    return Table(title, ("", ""), [(name, str(value)) for name, value in values.items()])
