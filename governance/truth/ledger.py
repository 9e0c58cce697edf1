"""Transaction records, and a small index that lets `status` answer without reading them all.

`status` reads only the index: what is needed for a record is imported where one is read.
The index is derived: it holds the transactions folder's mtime and counts only while that is
unchanged.  Writers refresh it; a reader that finds it stale reads the records.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from governance.base import clock, liveness
from governance.base.errors import GovError, UsageError
from governance.boundaries import store
from governance.truth import redo
from governance.truth.workspace import Workspace

if TYPE_CHECKING:
    from governance.truth.documents import Transaction

RECENT = 10
_RECORD = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}\.json")
_FINAL = (b"promoted", b"aborted")
_STATUS = re.compile(rb'^  "status": "([a-z_]+)"', re.MULTILINE)


class Overview(NamedTuple):
    """`pending` and `recent`: brief rows, newest last; `total` counts all records."""

    total: int
    pending: list[dict[str, Any]]
    recent: list[dict[str, Any]]


def begin(workspace: Workspace, node_id: str | None, *, kind: str = "add") -> Transaction:
    """A new running transaction, named by pid and start time, not yet written."""
    from governance.base import names
    from governance.truth.documents import RUNNING, Transaction

    moment = clock.now()
    own = {"pid": os.getpid(), "start_time": liveness.start_time(os.getpid())}
    txid = names.new_txid(moment)
    return Transaction(
        txid=txid,
        node_id=node_id,
        kind=kind,
        status=RUNNING,
        started_at=clock.stamp(moment),
        process=own,
    )


def path(workspace: Workspace, txid: str) -> str:
    """The record's path relative to the workspace."""
    from governance.base import names

    return f"state/transactions/{names.txid(txid)}.json"


def load(workspace: Workspace, txid: str) -> Transaction:
    """Raises UsageError for an unknown or ill-formed id, Damaged for a bad record."""
    from governance.base import names
    from governance.truth.documents import Transaction

    file = workspace.root / path(workspace, txid)
    try:
        data = redo.read_document(workspace, file)
    except FileNotFoundError:
        raise UsageError(
            f"no transaction {txid}",
            hint="`gov status` lists the recent ones",
            code="unknown_transaction",
            facts={"txid": txid},
        ) from None
    found = Transaction.from_json(store.parse_json(data, file), file)
    if found.txid != txid:
        raise store.damaged(file, f"it is the record of {found.txid!a}")
    if found.node_id is not None and not names.is_node_id(found.node_id):
        raise store.damaged(file, f"{found.node_id!a} is no node id")
    return _with_nodes(found)


def _with_nodes(tx: Transaction) -> Transaction:
    """A record of the first version is about one node, and says so in other fields."""
    if tx.node_id is not None and not tx.steps:
        tx.steps = [{"kind": "add", "node": tx.node_id}]
        tx.nodes = {
            tx.node_id: {
                "commit": tx.commit,
                "direct_additions": list(tx.promotion_plan.get("direct_additions", ())),
                "override_additions": list(tx.promotion_plan.get("override_additions", ())),
                "declared": tx.plan.get("declared", {}),
            }
        }
    return tx


def conflict(workspace: Workspace, txid: str) -> dict[str, Any]:
    """The conflict report of a transaction as JSON; empty where there is none."""
    from governance.base import names
    from governance.truth.documents import Conflict

    file = workspace.conflicts / f"{names.txid(txid)}.json"
    try:
        return Conflict.from_json(store.read_json(file), file).to_json()
    except FileNotFoundError:
        return {}


def save(workspace: Workspace, transaction: Transaction) -> None:
    with indexed(workspace, transaction.txid):
        store.write(workspace.root / path(workspace, transaction.txid), dump(transaction))


@contextmanager
def indexed(workspace: Workspace, txid: str) -> Iterator[None]:
    """Keep the index true over a write of the record `txid` (by save or by a commit)."""
    before = _current_index(workspace)
    yield
    _write_index(
        workspace, _scan(workspace) if before is None else _updated(workspace, before, txid)
    )


def dump(transaction: Transaction) -> bytes:
    return store.dump_json(transaction.to_json())


def is_interrupted(transaction: Transaction) -> bool:
    """Running by its record, though the process that ran it is gone."""
    if transaction.status != "running":
        return False
    pid = transaction.process.get("pid")
    started = transaction.process.get("start_time")
    return not isinstance(pid, int) or liveness.start_time(pid) != started


def overview(workspace: Workspace) -> Overview:
    index = _current_index(workspace)
    if index is None:
        return _scan(workspace)
    pending, recent = (_as_of_now(workspace, index[name]) for name in ("pending", "recent"))
    return Overview(index["total"], pending, recent)


def _as_of_now(workspace: Workspace, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The process of a running one may have gone since its row was written."""
    return [_row(workspace, row["txid"]) if row["status"] == "running" else row for row in rows]


def rebuild(workspace: Workspace) -> None:
    """Derive the index from all records anew."""
    _write_index(workspace, _scan(workspace))


def _write_index(workspace: Workspace, found: Overview) -> None:
    """Not synced, since it can always be derived; where it cannot be written, readers do that."""
    value = {
        "folder_mtime_ns": _folder_mtime(workspace),
        "total": found.total,
        "pending": found.pending,
        "recent": found.recent,
    }
    temporary = workspace.transactions_index.with_suffix(".tmp")
    with suppress(OSError):
        temporary.write_bytes(store.dump_json(value))
        temporary.chmod(0o600)
        temporary.replace(workspace.transactions_index)


def _current_index(workspace: Workspace) -> dict[str, Any] | None:
    index = _read_index(workspace)
    fresh = index is not None and index["folder_mtime_ns"] == _folder_mtime(workspace)
    return index if fresh else None


def _read_index(workspace: Workspace) -> dict[str, Any] | None:
    try:
        index = json.loads(store.read_bytes(workspace.transactions_index))
    except (OSError, GovError, ValueError, RecursionError):
        return None
    return index if isinstance(index, dict) and _is_index(index) else None


def _is_index(value: dict[str, Any]) -> bool:
    numbers = (value.get("folder_mtime_ns"), value.get("total"))
    lists = (value.get("pending"), value.get("recent"))
    return all(isinstance(number, int) for number in numbers) and all(
        isinstance(rows, list) and all(map(_is_row, rows)) for rows in lists
    )


def _is_row(value: Any) -> bool:
    named = isinstance(value, dict) and "node_id" in value
    known = named and _RECORD.fullmatch(f"{value.get('txid')}.json") is not None
    return known and isinstance(value.get("status"), str)


def _folder_mtime(workspace: Workspace) -> int:
    try:
        return workspace.transactions.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def ids(workspace: Workspace) -> list[str]:
    """All transaction ids, oldest first; other names in the folder are nobody's record."""
    try:
        found = os.listdir(workspace.transactions)  # noqa: PTH208 (names only, thousands of them)
    except FileNotFoundError:
        return []
    return sorted(name[:-5] for name in found if _RECORD.fullmatch(name))


def _scan(workspace: Workspace) -> Overview:
    known = ids(workspace)
    return _overview_of(workspace, known, known)


def _updated(workspace: Workspace, index: dict[str, Any], txid: str) -> Overview:
    """The overview after a write of `txid`: no other record can have changed."""
    known = ids(workspace)
    open_ids = sorted({row["txid"] for row in index["pending"]} | {txid})
    return _overview_of(workspace, known, open_ids)


def _overview_of(workspace: Workspace, known: list[str], open_ids: list[str]) -> Overview:
    rows = (_pending_row(workspace, txid) for txid in open_ids)
    recent = [_row(workspace, txid) for txid in known[-RECENT:]]
    return Overview(len(known), [row for row in rows if row is not None], recent)


def _pending_row(workspace: Workspace, txid: str) -> dict[str, Any] | None:
    """The row of a transaction that is not over; the status is looked up without parsing."""
    file = workspace.transactions / f"{txid}.json"
    try:
        found = _STATUS.search(store.read_bytes(file))
    except OSError:
        return None
    except GovError:
        return _row(workspace, txid)
    if found is not None and found[1] in _FINAL:
        return None
    return _row(workspace, txid)


def _row(workspace: Workspace, txid: str) -> dict[str, Any]:
    try:
        tx = load(workspace, txid)
    except GovError as error:
        return {"txid": txid, "node_id": None, "status": "damaged", "error": error.message}
    return {
        "txid": txid,
        "node_id": tx.node_id,
        "kind": tx.kind,
        "status": tx.status,
        "interrupted": is_interrupted(tx),
        "started_at": tx.started_at,
        "ended_at": tx.ended_at,
        "base": tx.base,
    }
