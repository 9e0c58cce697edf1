"""node list and show, history, diff, outdated, snapshot name and keep."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from governance.base.errors import EXIT_OK
from governance.cli.outcome import Outcome, Part, Table
from governance.truth import workspace


def node_list(arguments: Namespace) -> Outcome:
    from governance.operations import nodes_now

    space = workspace.find(arguments.root)
    rows = nodes_now.rows(space)
    if arguments.outdated:
        rows = nodes_now.with_newest(space, rows)
    shown = [_shown(row, arguments.outdated) for row in rows]
    more = ("newest",) if arguments.outdated else ()
    heads = ("node", "kind", "commit", "state", "asks for", *more)
    marks = {n: "bad" for n, row in enumerate(rows) if row["state"] not in _QUIET}
    table = Table("", heads, shown, marks)
    parts: list[Part] = [table] if rows else ["no node is governed yet: `gov node add <git_url>`"]
    return Outcome({"nodes": rows}, parts)


_QUIET = ("promoted", "pending", "disabled")


def _shown(row: Mapping[str, Any], newest: bool) -> tuple[str, ...]:
    asks = row["asks_for"]
    told = ", ".join(asks[:3]) + (f" and {len(asks) - 3} more" if len(asks) > 3 else "")
    found = (row["id"], _kind(row), str(row["commit"] or "?")[:12], row["state"], told)
    if not newest:
        return found
    latest = row.get("newest")
    word = (
        str(latest)[:12] if row.get("outdated") else "-" if latest else str(row.get("error", "?"))
    )
    return (*found, word)


def _kind(row: Mapping[str, Any]) -> str:
    """`registry 1.1.2` where the version is known."""
    return f"{row['kind']} {row['version']}" if row.get("version") else str(row["kind"])


def node_show(arguments: Namespace) -> Outcome:
    from governance.operations import nodes_now

    data = nodes_now.show(workspace.find(arguments.root), arguments.node_id)
    parts: list[Part] = [
        f"{name:14} {_text(value)}" for name, value in data.items() if value and name != "changes"
    ]
    if data["changes"]:
        parts.append(_changes(data["changes"]))
    return Outcome(data, parts)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def history(arguments: Namespace) -> Outcome:
    from governance.truth import history as changes

    limit = arguments.limit if arguments.limit > 0 else sys.maxsize
    shown, total = changes.newest(workspace.find(arguments.root), limit)
    parts: list[Part] = [_changes(shown)] if shown else ["no change yet"]
    return Outcome({"changes": shown, "total": total}, parts)


def _changes(rows: list[dict[str, Any]]) -> Table:
    return Table(
        "",
        ("when", "who", "what", "packages", "code", "undo with"),
        [_change(row) for row in rows],
    )


def _change(row: dict[str, Any]) -> tuple[str, ...]:
    from governance.truth.history import words

    reason = f" ({row['reason']})" if row.get("reason") else ""
    packages = [_package(*package) for package in row.get("packages", [])]
    code = [
        f"{one['place']} {str(one.get('before') or '-')[:7]} -> {str(one.get('after') or '-')[:7]}"
        for one in row.get("code", [])
    ]
    return (
        str(row.get("at", "")),
        str(row.get("who", {}).get("user", "?")),
        f"{words(row)}{reason}",
        _few(packages),
        _few(code),
        str(row.get("pre") or ""),
    )


def _package(name: str, before: str | None, after: str | None) -> str:
    return f"{name} {before or '-'} -> {after or '-'}"


def _few(texts: list[str]) -> str:
    return ", ".join(texts[:3]) + (f" and {len(texts) - 3} more" if len(texts) > 3 else "")


def diff(arguments: Namespace) -> Outcome:
    from governance.changes import rollback
    from governance.cli import comparing

    space = workspace.find(arguments.root)
    before = arguments.before or rollback.before_last(space)
    return comparing.outcome(space, before, arguments.after or "prod")


def outdated(arguments: Namespace) -> Outcome:
    from governance.operations import nodes_now

    space = workspace.find(arguments.root)
    rows = [nodes_now.comfyui(space), *nodes_now.with_newest(space, nodes_now.rows(space))]
    found = [row for row in rows if row.get("outdated")]
    unknown = [f"{r['id']}: {r['error']}" for r in rows if r.get("error")]
    warned = [f"{r['id']} {r['version']} is {r['status']}" for r in rows if _is_warned(r)]
    shown = [(r["id"], _now(r)[:12], str(r["newest"])[:12]) for r in found]
    parts: list[Part] = [Table("", ("", "now", "newest"), shown)] if shown else []
    parts.append(_advice(found))
    data = {"outdated": found, "unknown": unknown}
    return Outcome(data, parts, [*warned, *unknown], EXIT_OK)


def _now(row: Mapping[str, Any]) -> str:
    return str(row.get("version") or row["commit"])


def _is_warned(row: Mapping[str, Any]) -> bool:
    """What the registry says today of a version that is installed."""
    return row.get("status") not in (None, "", "active")


def _advice(found: list[dict[str, Any]]) -> str:
    if not found:
        return "everything that could be asked is at its newest commit or version"
    nodes = [row["id"] for row in found if row["kind"] != "comfyui"]
    verbs = ["gov node update --all"] if nodes else []
    verbs += ["gov comfyui update"] if len(nodes) < len(found) else []
    return f"next: {' and '.join(verbs)}"


def snapshot_name(arguments: Namespace) -> Outcome:
    return _marked(arguments, name=arguments.name)


def snapshot_keep(arguments: Namespace) -> Outcome:
    return _marked(arguments, keep=not arguments.no)


def _marked(arguments: Namespace, **marks: Any) -> Outcome:
    from governance.operations import recovery
    from governance.truth import snapshots, typed

    space = workspace.find(arguments.root)
    with recovery.exclusive(space, arguments.words):
        snapshot_id = typed.snapshot(space, arguments.snapshot_id)
        row = snapshots.mark(space, snapshot_id, **marks)
    word = f"is named {row['name']}" if "name" in marks else "is kept" if row["keep"] else "may go"
    return Outcome({"snapshot": row}, [f"{snapshot_id} {word}"])
