"""What was found of a lock or a node, as rows for the record, the screen and the gates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from governance.supply.rules import OFF, Rules

Row = dict[str, Any]


def row(rules: Rules, kind: str, subject: str, version: str, sentence: str, **more: Any) -> Row:
    """`kind` is the code of the error that refuses it, `subject` a package or a node; `known` is
    set by `marked`."""
    return {
        "kind": kind,
        "subject": subject,
        "version": version,
        "sentence": sentence,
        "policy": rules.mode(kind),
        "known": False,
        **more,
    }


def marked(found: Iterable[Row], before: Mapping[str, str]) -> list[Row]:
    """The rows, with `known` where prod holds the very release (`before`: name to version)."""
    return [{**r, "known": r["known"] or before.get(r["subject"]) == r["version"]} for r in found]


def gating(found: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that a change is asked for: what prod has already is told, and no reason to stop."""
    return [one for one in found if one["policy"] != OFF and not one["known"]]


def counted(found: Sequence[Mapping[str, Any]]) -> str:
    """The first sentence, and how many more there are."""
    more = f" (and {len(found) - 1} more)" if found[1:] else ""
    return f"{found[0]['sentence']}{more}"
