"""Names that people type for transactions and snapshots: ids, parts of them, `last`, `@3`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import islice

from governance.base import names
from governance.base.errors import UsageError
from governance.truth import history, ledger, registry, snapshots
from governance.truth.workspace import Workspace

_BACK = re.compile(r"@([0-9]{1,4})")
_FEWEST_LETTERS = 3
_SHOWN = 4


def transaction(workspace: Workspace, text: str) -> str:
    """The id of a transaction: whole, a unique beginning or end of it, `last`, or the id of a node
    that has exactly one pending transaction.  Raises UsageError."""
    ids = ledger.ids(workspace)
    if text in ids:
        return text
    if text == "last" and ids:
        return ids[-1]
    of_node = [
        row["txid"]
        for row in ledger.overview(workspace).pending
        if row["node_id"] == text and row["status"] != "damaged"
    ]
    found = of_node or _parts(ids, text)
    if not found:
        _refuse_idle_node(workspace, text)
    return _only(
        found,
        text,
        "transaction",
        "unknown_transaction",
        lambda: names.txid(text),
        "`gov status` lists the recent ones",
        ids,
    )


def _refuse_idle_node(workspace: Workspace, text: str) -> None:
    if any(record.get("id") == text for record in registry.records(workspace)):
        raise UsageError(
            f"{text} has no pending transaction",
            hint=f"`gov tx run {text}` makes one; `gov status` lists the recent ones",
            code="unknown_transaction",
            facts={"typed": text},
        )


def snapshot(workspace: Workspace, text: str) -> str:
    """The id of a snapshot: whole, a unique part of it, a name, `last`, or `@N` for the state
    from before the last N changes.  Raises UsageError."""
    rows = snapshots.index(workspace)
    ids = [str(row["id"]) for row in rows]
    named = [str(row["id"]) for row in rows if row.get("name") == text]
    if text in ids or named:
        return text if text in ids else str(named[0])
    if text == "last" and ids:
        return ids[-1]
    back = _BACK.fullmatch(text)
    found = _before(workspace, int(back[1]), ids) if back else _parts(ids, text)
    return _only(
        found,
        text,
        "snapshot",
        "unknown_snapshot",
        lambda: names.snapshot_id(text),
        "`gov snapshot list` shows them",
        [*ids, *(str(row["name"]) for row in rows if row.get("name"))],
    )


def _before(workspace: Workspace, count: int, ids: list[str]) -> list[str]:
    """@0 is what is there now."""
    if count == 0:
        return ids[-1:]
    pres = (row["pre"] for row in history.newest_first(workspace) if row.get("pre"))
    return [one for one in islice(pres, count - 1, count) if one in ids]


def _parts(ids: Iterable[str], text: str) -> list[str]:
    if len(text) < _FEWEST_LETTERS:
        return []
    listed = list(ids)
    ends = [one for one in listed if one.startswith(text) or one.endswith(text)]
    return ends or [one for one in listed if text in one]


def _only(
    found: list[str],
    text: str,
    what: str,
    code: str,
    check: Callable[[], str],
    hint: str,
    known: list[str],
) -> str:
    if len(found) == 1:
        return str(found[0])
    if found:
        raise UsageError(
            f"{text} stands for {len(found)} {what}s: {', '.join(found[-_SHOWN:])}",
            hint="type more of the id",
            code="ambiguous",
            facts={"found": found[-20:]},
        )
    near = _near(known, text)
    if not text.startswith("@") and not near:
        check()  # what has not even the form of an id, says so
    raise UsageError(
        f"no {what} {text}" + (f"; near it: {', '.join(near)}" if near else ""),
        hint=hint,
        code=code,
        facts={"typed": text, "near": near},
    )


def _near(known: list[str], text: str) -> list[str]:
    """Ids and names that are a slip of the finger away, whole or by their last part."""
    import difflib

    by_word = {word: one for one in known for word in (one, one.rpartition("-")[2])}
    close = difflib.get_close_matches(text, by_word, n=_SHOWN, cutoff=0.75)
    return list(dict.fromkeys(by_word[word] for word in close))
