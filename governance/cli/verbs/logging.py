"""log show and log verify: the audit log."""

from __future__ import annotations

import re
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from governance.base.errors import EXIT_FAILED, GovError, UsageError
from governance.cli.outcome import Outcome, Part, Table
from governance.truth import log, workspace
from governance.truth.workspace import Workspace

_SHOWN = 40


def log_show(arguments: Namespace) -> Outcome:
    space = workspace.find(arguments.root)
    found = list(log.rows(log.read(space.history)))
    head = log.head(space)
    limit = arguments.limit if arguments.limit > 0 else sys.maxsize
    shown = found[-limit:]
    heads = ("line", "when", "who", "what", "came to")
    marks = {n: "bad" for n, (_, row) in enumerate(shown) if row.get("outcome") == log.REFUSED}
    rows = [(str(number), *_told(row)) for number, row in shown]
    parts: list[Part] = [Table("", heads, rows, marks)] if rows else ["nothing is logged yet"]
    if rows:
        parts.append(f"{log.counted(head.lines, 'line')}, head {head.lines}:{head.digest}")
    entries = [{"line": number, **row} for number, row in shown]
    return Outcome({"entries": entries, "total": len(found), "head": head.to_json()}, parts)


def _told(row: Mapping[str, Any]) -> tuple[str, ...]:
    from governance.truth.history import words

    who = row.get("who") or {}
    reason = f" ({row['reason']})" if row.get("reason") else ""
    return (
        str(row.get("at", "")),
        f"{who.get('user', '?')}@{who.get('host', '?')}",
        f"{words(dict(row))}{reason}",
        _came_to(row),
    )


def _came_to(row: Mapping[str, Any]) -> str:
    if row.get("outcome") == log.REFUSED:
        return f"refused: {(row.get('error') or {}).get('message', '?')}"
    approved = ", ".join(row.get("approvals") or ()).replace("_", " ")
    signed = "signed" if row.get("signature") else ""
    return "; ".join(part for part in ("done", approved, signed) if part)


def log_verify(arguments: Namespace) -> Outcome:
    space = None if arguments.file else workspace.find(arguments.root)
    data = log.read(_file(arguments, space))
    noted = [*(log.heads(space) if space else ()), *_typed(arguments.head)]
    problems = log.problems(data, noted)
    signers = _signers(arguments, space)
    signed = log.signatures(data, signers) if signers else None
    problems += signed.problems if signed else []
    told = log.notes(data)
    head = log.head_of(data)
    facts = {
        "lines": head.lines,
        "unchained": log.unchained(data),
        "head": head.to_json(),
        "problems": [problem._asdict() for problem in problems],
        "notes": told,
        "signed_by": signed.by_line if signed else None,
    }
    parts: list[Part] = [problem.sentence for problem in problems[:_SHOWN]]
    if problems:
        error = GovError(
            f"the audit log is not as gov wrote it: {problems[0].sentence}",
            hint="compare state/history.jsonl with a copy from elsewhere; `gov log --limit 0` "
            "shows all lines",
            code="log_broken",
            facts={"line": problems[0].line},
        )
        return Outcome(facts, parts[1:], told, EXIT_FAILED, error)
    told_lines = log.counted(head.lines, "line")
    parts.append(f"the audit log is whole: {told_lines}, head {head.lines}:{head.digest}")
    if facts["unchained"]:
        parts.append(f"lines 1 to {facts['unchained']} are of an earlier gov, held as one")
    parts += signed.sentences if signed else []
    return Outcome(facts, parts, told)


def _file(arguments: Namespace, space: Workspace | None) -> Path:
    if space is not None:
        return space.history
    named: Path = arguments.file
    if not named.is_file():
        raise UsageError(
            f"no such file: {named}",
            hint="name a copy of a workspace's state/history.jsonl",
            code="no_file",
            facts={"path": str(named)},
        )
    return named


def _signers(arguments: Namespace, space: Workspace | None) -> Path | None:
    from governance.truth import signing

    named: Path | None = arguments.allowed_signers
    found = named or (signing.allowed_signers(space) if space else None)
    if found is not None:
        signing.require_file(found)
    return found


def _typed(head: str | None) -> list[log.Head]:
    if head is None:
        return []
    found = re.fullmatch(r"([0-9]{1,12}):([0-9a-f]{64})", head)
    if found is None:
        raise UsageError(
            f"{head} is no head of a log",
            hint="`gov log` prints it in its last line, for example --head 12:9f86d0...",
        )
    return [log.Head(int(found[1]), found[2], "--head")]
