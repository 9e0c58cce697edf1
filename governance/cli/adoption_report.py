"""What an adoption found and did, as tables and lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from governance.cli import inspection
from governance.cli.outcome import Outcome, Part, Table

_MOST = 40


def survey(facts: Mapping[str, Any]) -> Outcome:
    """`--dry-run`: what is there, and what would be asked of it."""
    rows = [
        (row["id"], row["kind"], "on" if row["enabled"] else "disabled", _origin(row))
        for row in facts["nodes"]
    ]
    parts: list[Part] = [_environment(facts)]
    if rows:
        parts.append(Table("nodes that would come in", ("node", "kind", "", "origin"), rows))
    parts += [*_left_out(facts), *_rest(facts), "nothing was changed (--dry-run)"]
    return Outcome({"dry_run": True, **facts}, parts)


def ended(data: Mapping[str, Any]) -> list[Part]:
    """A completed adoption, with what to type next."""
    head = f"{data['txid']}  {_count(data)}  {data['status']}"
    return [head, *parts(data), *_warnings(data), *inspection.next_steps(data)]


def _warnings(data: Mapping[str, Any]) -> list[str]:
    """What the old installation did not give reason for; the classes that are gone are told."""
    known = (data["adoption"].get("before") or {}).get("warnings", [])
    found = data["observation"].get("warnings", [])
    new = [text for text in found if text not in known and not text.startswith("gone against")]
    return [f"  warning: {text}" for text in new]


def parts(data: Mapping[str, Any]) -> list[Part]:
    """The facts of the adoption that a transaction keeps."""
    facts = data["adoption"]
    told: list[Part] = [_environment(facts)]
    if any("before" in row for row in facts.get("nodes", [])):
        told.append(_nodes(facts["nodes"]))
    told += _moved(facts)
    told += [
        f"  added to {row['node']}: {row['line']}"
        + (f" (it imports {row['module']})" if row["module"] else " (where it came from)")
        for row in facts.get("added", [])
    ]
    return [*told, *_left_out(facts), *_rest(facts)]


def _count(data: Mapping[str, Any]) -> str:
    count = len(data["nodes"])
    return f"{count} {'node' if count == 1 else 'nodes'} adopted"


def _environment(facts: Mapping[str, Any]) -> str:
    found = facts["environment"]
    return (
        f"from {found['folder']} (Python {found['python']}, {found['packages']} packages; "
        f"{found['found']}); it stays as it is"
    )


def _nodes(rows: Sequence[Mapping[str, Any]]) -> Table:
    shown = []
    marks = {}
    for number, row in enumerate(rows):
        now = _loads(row.get("now"))
        if row.get("set_aside"):
            now = "left out"
        elif not row["enabled"]:
            now = "disabled"
        if now in ("no", "left out") or row.get("classes_lost"):
            marks[number] = "bad"
        before = _loads(row.get("before")) if row["enabled"] else "disabled"
        shown.append(
            (row["id"], before, now, str(row.get("classes", "")), row["kind"], _origin(row))
        )
    heads = ("node", "loaded before", "loads now", "classes", "kind", "origin")
    return Table("nodes", heads, shown, marks)


def _loads(value: Any) -> str:
    return {True: "yes", False: "no", None: "-"}[value]


def _origin(row: Mapping[str, Any]) -> str:
    version = f"@{row['version']}" if row.get("version") else ""
    commit = f" {str(row['commit'])[:12]}" if row["kind"] == "clone" and row.get("commit") else ""
    return f"{row.get('origin') or '-'}{version}{commit}"


def _moved(facts: Mapping[str, Any]) -> list[Part]:
    rows = facts.get("moved")
    if rows is None:
        return []
    if not rows:
        return ["every version is as it was"]
    shown = [
        (row["direction"], row["name"], row["before"], row["after"], row["because"])
        for row in rows[:_MOST]
    ]
    marks = {number: "bad" for number, row in enumerate(shown) if row[0] == "down"}
    heads = ("", "package", "before", "after", "because")
    more = [f"  ... and {len(rows) - _MOST} more (--json has all)"] if len(rows) > _MOST else []
    return [Table("versions that moved", heads, shown, marks), *more]


def _left_out(facts: Mapping[str, Any]) -> list[Part]:
    aside = [row for row in facts["nodes"] if row.get("set_aside")]
    told: list[Part] = [
        f"  left out: {name}: {why}" for name, why in facts.get("left_out", {}).items()
    ]
    for row in aside:
        told.append(f"  left out: {row['id']}: {row['set_aside']}")
        told.append(f"      try it again with: gov tx run {row['id']}")
    return told


def _rest(facts: Mapping[str, Any]) -> list[Part]:
    behind = facts.get("left_behind", [])
    told: list[Part] = []
    if behind:
        shown = ", ".join(behind[:8]) + (" ..." if len(behind) > 8 else "")
        word = (
            "package that nobody asks for stays"
            if len(behind) == 1
            else ("packages that nobody asks for stay")
        )
        told.append(f"  {len(behind)} {word} behind: {shown}")
    told += [f"  note: {text}" for text in facts.get("notes", [])]
    for row in facts.get("proposals", []):
        command = f"; `{row['command']}` does that here" if row["command"] else ""
        told.append(f"  proposal: {row['sentence']} ({row['source']}){command}")
    return told
