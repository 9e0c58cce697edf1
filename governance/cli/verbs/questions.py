"""status, inspect, list, why: no task, no lock, no write."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from governance.cli.outcome import Outcome, Part, Table
from governance.operations import status as facts
from governance.truth import workspace


def status(arguments: Namespace) -> Outcome:
    space = workspace.find(arguments.root)
    data = facts.status(space)
    parts: list[Part] = [
        f"workspace    {data['root']}",
        f"ComfyUI      {data['comfyui_dir']}",
        f"prod         {data['generation'] or 'missing: run `gov init`'}",
        f"lock         {'there' if data['lock_exists'] else 'missing: run `gov init`'}",
        f"nodes        {data['nodes_total']}{_published(data['nodes'])}",
        f"transactions {data['transactions_total']}, {data['transactions_pending']} pending",
        f"drift        {_drift(data['drift'])}",
    ]
    if data["ungoverned"]:
        told = ", ".join(data["ungoverned"][:4])
        more = len(data["ungoverned"]) - 4
        told += f" and {more} more" if more > 0 else ""
        parts.append(f"inbox        {told}: not governed (`gov inbox`)")
    if data["held_by"]:
        held = data["held_by"]
        parts.append(f"busy         gov {held['verb']} (pid {held['pid']}, since {held['since']})")
    if data["recent_transactions"]:
        parts.append(_transactions(data["recent_transactions"]))
    return Outcome(data, parts, facts.warnings(space))


def _published(nodes: list[dict[str, Any]]) -> str:
    """Which of them are versions of the Comfy Registry."""
    known = [(n["id"], n["registry"]) for n in nodes if isinstance(n["registry"], dict)]
    told = [f"{name} {facts['version']}" for name, facts in known if "version" in facts]
    more = f" and {len(told) - 3} more" if len(told) > 3 else ""
    return f" (from the registry: {', '.join(told[:3])}{more})" if told else ""


def tx_inspect(arguments: Namespace) -> Outcome:
    from governance.changes import ending
    from governance.cli import inspection
    from governance.truth import ledger, typed

    space = workspace.find(arguments.root)
    tx = ledger.load(space, typed.transaction(space, arguments.txid))
    data = {
        **tx.to_json(),
        "interrupted": ledger.is_interrupted(tx),
        "candidate_state": ending.candidate_state(space, tx),
    }
    return Outcome(data, inspection.parts(space, data))


def snapshot_list(arguments: Namespace) -> Outcome:
    from governance.truth import snapshots

    rows = snapshots.index(workspace.find(arguments.root))
    table = Table(
        "",
        ("snapshot", "created", "reason", "ref", "name"),
        [(r["id"], r["created_at"], r["reason"], r.get("ref") or "", _mark(r)) for r in rows],
    )
    return Outcome({"snapshots": rows}, [table] if rows else ["no snapshots yet"])


def _mark(row: dict[str, Any]) -> str:
    return str(row.get("name") or ("kept" if row.get("keep") else ""))


def snapshot_inspect(arguments: Namespace) -> Outcome:
    from governance.truth import snapshots, typed

    space = workspace.find(arguments.root)
    snapshot = snapshots.load(space, typed.snapshot(space, arguments.snapshot_id))
    data = snapshot.to_json()
    lines: list[Part] = [f"{name:12} {value}" for name, value in data.items() if value]
    return Outcome(data, lines)


def why(arguments: Namespace) -> Outcome:
    from governance.cli import whence
    from governance.cli.report import Voice

    space = workspace.find(arguments.root)
    voice = Voice(quiet=arguments.quiet)
    return whence.why(space, arguments.package, arguments.wish, voice=voice)


def complete(arguments: Namespace) -> Outcome:
    from governance.cli import completion as scripts

    return Outcome(None, scripts.candidates(arguments.typed))


def _drift(drift: dict[str, Any]) -> str:
    if drift["verdict"] is None:
        return "never verified (`bin/doit verify` keeps a report)"
    return f"{drift['verdict']} at {drift['checked_at']}"


def _transactions(rows: list[dict[str, Any]]) -> Table:
    marks = {"failed": "bad", "promoted": "good", "needs_resolution": "core", "aborted": "dim"}
    shown = [
        (
            row["txid"],
            row["node_id"] or "?",
            "interrupted" if row.get("interrupted") else row["status"],
            row.get("started_at") or "",
        )
        for row in rows
    ]
    return Table(
        "",
        ("transaction", "node", "status", "started"),
        shown,
        {n: marks[row[2]] for n, row in enumerate(shown) if row[2] in marks},
    )
