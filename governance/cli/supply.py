"""What the gates of a supply chain found, as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from governance.cli.outcome import Part, Table
from governance.supply import rules as policy
from governance.supply.rows import gating

_LONG = 60
_FEW = 3
_WORDS = {policy.OFF: "", policy.ASK: "asked", policy.REFUSE: "refused"}


def parts(found: Iterable[Mapping[str, Any]]) -> list[Part]:
    """Of a transaction: what a change brings in, and how much of it prod has already."""
    rows = list(found)
    new = [row for row in rows if not row["known"]]
    asked = any(row["policy"] != policy.OFF for row in new)
    is_short = len(new) <= _FEW and not asked
    told = [_line(row) for row in new] if is_short else table(new, "supply chain")
    known = len([row for row in rows if row["known"] and row["kind"] != policy.SOURCE_BUILD])
    return [*told, *([f"  prod has {known} more of them already: gov audit"] if known else [])]


def _line(row: Mapping[str, Any]) -> str:
    return f"  {str(row['kind']).replace('_', ' ')}: {row['sentence']}"


def table(rows: Sequence[Mapping[str, Any]], title: str) -> list[Part]:
    if not rows:
        return []
    ordered = sorted(rows, key=lambda row: (row["policy"] == policy.OFF, row["kind"]))
    shown = [
        (str(row["kind"]).replace("_", " "), str(row["sentence"]), _WORDS[row["policy"]])
        for row in ordered[:_LONG]
    ]
    marks = {n: "bad" for n, row in enumerate(ordered[:_LONG]) if row["policy"] != policy.OFF}
    more = len(rows) - _LONG
    return [
        Table(title, ("", "what", "policy"), shown, marks),
        *([f"  ... and {more} more (--json has all)"] if more > 0 else []),
    ]


def asks(data: Mapping[str, Any]) -> bool:
    """Whether a promote of this transaction needs --accept-findings for them."""
    return bool(gating(data.get("supply", {}).get("rows", ())))
