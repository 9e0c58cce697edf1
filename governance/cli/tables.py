"""Plans and changes as tables: what an operator reads before deciding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from governance.cli.outcome import Part, Table
from governance.conflict import package_changes
from governance.truth.lockfile import Change

_ORDER = {"down": 0, "removed": 1, "up": 2, "other": 2, "added": 3}
_LONG = 40
_ADDED = 8


def changes(
    found: Iterable[Change | Mapping[str, Any]], *, title: str, core: Iterable[str] = ()
) -> list[Part]:
    """Downgrades first, then removals, upgrades, additions; core packages are marked."""
    marked = set(core)
    rows = [_row(entry, marked) for entry in found]
    if not rows:
        return [f"{title}: no package"]
    rows.sort(key=lambda row: (_ORDER.get(row[0], 9), row[1]))
    rows, added = _without_added(rows)
    marks = {
        n: "core" if row[4] else "bad" for n, row in enumerate(rows) if row[4] or row[0] == "down"
    }
    heads = ("", "package", "before", "after", "", "asked by")
    used = [i for i, head in enumerate(heads) if i < 4 or any(row[i] for row in rows)]
    shown = [[row[i] for i in used] for row in rows[:_LONG]]
    table = Table(title, tuple(heads[i] for i in used), shown, marks)
    return [*([table] if rows else [title]), *_more(rows), *_in_a_line(added)]


def _without_added(rows: list[list[str]]) -> tuple[list[list[str]], list[list[str]]]:
    """What only comes in takes one line where it is much: what moves is read first."""
    added = [row for row in rows if row[0] == "added" and not row[4]]
    if len(added) <= _ADDED:
        return rows, []
    return [row for row in rows if row not in added], added


def _in_a_line(rows: Sequence[Sequence[str]]) -> list[Part]:
    if not rows:
        return []
    named = ", ".join(f"{row[1]} {row[3]}" for row in rows[:_LONG])
    more = f" and {len(rows) - _LONG} more (--json has all)" if len(rows) > _LONG else ""
    askers = {row[5] for row in rows} - {""}
    tail = f", asked by {min(askers)}" if len(askers) == 1 else ""
    return [f"  added {len(rows)} packages{tail}: {named}{more}"]


def _more(rows: Sequence[Any]) -> list[Part]:
    return [f"  ... and {len(rows) - _LONG} more (--json has all)"] if len(rows) > _LONG else []


def _row(entry: Change | Mapping[str, Any], core: set[str]) -> list[str]:
    facts = entry.to_json() if isinstance(entry, Change) else dict(entry)
    name, before, after = str(facts["name"]), facts.get("before"), facts.get("after")
    is_core = bool(facts.get("core")) or name in core
    asked = ", ".join(group.removeprefix("node-") for group in facts.get("asked_by", ()))
    word = direction(before, after)
    return [word, name, before or "-", after or "-", "core" if is_core else "", asked]


def direction(before: str | None, after: str | None) -> str:
    """added, removed, up, down, or other where versions cannot be compared."""
    return package_changes.direction(Change("", before, after))


def code(rows: Iterable[Mapping[str, Any]]) -> list[Part]:
    """Commits of ComfyUI and of nodes that moved, or nodes that came and went."""
    shown = [
        (str(row["place"]), _short(row.get("before")), _short(row.get("after"))) for row in rows
    ]
    return [Table("what changed in code", ("", "before", "after"), shown)] if shown else []


def _short(commit: str | None) -> str:
    return commit[:12] if commit else "-"
