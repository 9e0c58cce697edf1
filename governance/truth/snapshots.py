"""Snapshots of the truth: whole and durable before they are indexed."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance.base import clock, names
from governance.base.errors import Damaged, GovError, UsageError
from governance.base.shape import TEXT_OR_NONE, Shape, mismatch
from governance.boundaries import store
from governance.truth import freshness, ledger, log, redo, registry
from governance.truth.documents import Snapshot
from governance.truth.workspace import Workspace

_ENTRY: Shape = {"id": str, "created_at": str, "reason": str, "ref?": TEXT_OR_NONE}
FILES = PYPROJECT, LOCK, PLUGINS = ("pyproject.toml", "uv.lock", "plugins.json")
_DIGEST_OF = {PYPROJECT: "pyproject_sha256", LOCK: "lock_sha256", PLUGINS: "plugins_sha256"}


@dataclass(frozen=True)
class Truth:
    """The bytes of the three files."""

    pyproject: bytes
    lock: bytes
    plugins: bytes

    def digests(self) -> dict[str, str]:
        return dict(zip(_DIGEST_OF.values(), map(store.digest, _parts(self)), strict=True))

    def documents(self) -> dict[str, bytes]:
        """As paths of the workspace, for a commit."""
        return {
            "pyproject.toml": self.pyproject,
            "uv.lock": self.lock,
            "state/plugins.json": self.plugins,
        }


def truth(workspace: Workspace) -> Truth:
    """Raises GovError naming the file that is missing."""
    parts = []
    for path in workspace.truth:
        try:
            parts.append(redo.read_document(workspace, path))
        except FileNotFoundError:
            raise GovError(
                f"{path} is missing",
                hint="bring it back with `gov rollback <snapshot_id>` (see `gov snapshot list`), "
                "or run `gov init`",
                code="truth_missing",
                facts={"path": str(path)},
            ) from None
    return Truth(*parts)


def truth_as_it_is(workspace: Workspace) -> Truth:
    """As truth, with nothing where a file is missing: evidence, before a rollback replaces it."""
    return Truth(*(store.read_bytes(path) if path.is_file() else b"" for path in workspace.truth))


def index(workspace: Workspace) -> list[dict[str, Any]]:
    """The index entries, oldest first."""
    try:
        data = redo.read_document(workspace, workspace.snapshots_index)
    except FileNotFoundError:
        return []
    return [dict(entry) for entry in _entries(data, workspace.snapshots_index)]


@functools.lru_cache(maxsize=2)
def _entries(data: bytes, path: Path) -> list[dict[str, Any]]:
    """A command asks for them many times."""
    value = store.parse_json(data, path)
    if isinstance(value, dict):
        store.check_schema(value, path)
    entries = value.get("snapshots") if isinstance(value, dict) else None
    if not isinstance(entries, list) or not all(map(_is_entry, entries)):
        raise store.damaged(path, "it is not a list of snapshots")
    return entries


def _is_entry(value: Any) -> bool:
    if mismatch(value, _ENTRY, "an entry") is not None:
        return False
    return names.is_snapshot_id(value["id"])


def write(
    workspace: Workspace,
    content: Truth,
    *,
    reason: str,
    generation: str | None,
    ref: str | None,
    ran: bool | None = None,
    identity: str | None = None,
) -> Snapshot:
    """Write a snapshot whole and durable; it counts only once its index entry exists."""
    index(workspace)  # a damaged index could never take the entry: say so first
    moment = clock.now()
    snapshot = Snapshot(
        id=identity or names.new_snapshot_id(moment),
        created_at=clock.stamp(moment),
        reason=reason,
        ref=ref,
        generation=generation,
        digests=content.digests(),
        nodes=_node_ids(workspace, content),
        ran=ran,
        log=log.head(workspace).to_json(),
    )
    store.make_folder(workspace.snapshots)
    unfinished = workspace.snapshots / f"{store.TEMPORARY}{snapshot.id}"
    final = workspace.snapshots / snapshot.id
    try:
        files = dict(zip(FILES, _parts(content), strict=True))
        store.write_folder(unfinished, {**files, "meta.json": store.dump_json(snapshot.to_json())})
        store.move(unfinished, final)
    except BaseException:
        store.remove_tree(unfinished)
        raise
    return snapshot


def entry(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "id": snapshot.id,
        "created_at": snapshot.created_at,
        "reason": snapshot.reason,
        "ref": snapshot.ref,
    }


def _node_ids(workspace: Workspace, content: Truth) -> list[str]:
    """For the list of snapshots only: a damaged registry is kept as it is, as evidence."""
    try:
        value = store.parse_json(content.plugins, workspace.plugins)
        return [plugin.id for plugin in registry.parse(value, workspace)]
    except Damaged:
        return []


def take(
    workspace: Workspace,
    *,
    reason: str,
    generation: str | None,
    ref: str | None = None,
    content: Truth | None = None,
    ran: bool | None = None,
) -> Snapshot:
    """A snapshot of the truth as it is now (or of `content`), indexed at once.

    `ran`: whether prod was ever exactly this; None where nobody knows.
    """
    snapshot = write(
        workspace,
        content or truth(workspace),
        reason=reason,
        generation=generation,
        ref=ref,
        ran=ran,
    )
    store.write(workspace.snapshots_index, indexed(workspace, snapshot))
    return snapshot


def indexed(workspace: Workspace, *added: Snapshot) -> bytes:
    """The index document with `added` at its end."""
    entries = index(workspace) + [entry(snapshot) for snapshot in added]
    return store.dump_json({"snapshots": entries})


def load(workspace: Workspace, snapshot_id: str) -> Snapshot:
    """The metadata of an indexed snapshot.  UsageError where there is none."""
    known = {row["id"] for row in index(workspace)}
    if snapshot_id not in known:
        raise _unknown(snapshot_id)
    return _indexed(workspace, snapshot_id)


def _unknown(snapshot_id: str) -> UsageError:
    return UsageError(
        f"no snapshot {snapshot_id}",
        hint="`gov snapshot list` shows them",
        code="unknown_snapshot",
        facts={"snapshot_id": snapshot_id},
    )


def _indexed(workspace: Workspace, snapshot_id: str) -> Snapshot:
    """Of a snapshot that the index names."""
    path = workspace.snapshots / names.snapshot_id(snapshot_id) / "meta.json"
    if not path.is_file():
        raise _unknown(snapshot_id)
    found = Snapshot.from_json(store.read_object(path), path)
    if found.id != snapshot_id:
        raise store.damaged(path, f"it is the record of {found.id!a}")
    return found


def content(workspace: Workspace, snapshot: Snapshot) -> Truth:
    """The three files of a snapshot, checked against the digests in its meta.json."""
    return Truth(*(_part(workspace, snapshot, name) for name in FILES))


def _part(workspace: Workspace, snapshot: Snapshot, name: str) -> bytes:
    folder = workspace.snapshots / snapshot.id
    try:
        data = store.read_bytes(folder / name)
    except FileNotFoundError:
        raise store.damaged(folder / name, "it is missing") from None
    digest = _DIGEST_OF[name]
    if snapshot.digests.get(digest) != store.digest(data):
        raise store.damaged(folder, f"its files do not match {digest} in meta.json")
    return data


def mark(
    workspace: Workspace, snapshot_id: str, *, name: str | None = None, keep: bool | None = None
) -> dict[str, Any]:
    """Name a snapshot, or keep it beyond retention; its index entry.  Raises UsageError for a
    name that another has."""
    entries = index(workspace)
    row = next(row for row in entries if row["id"] == snapshot_id)
    if name is not None:
        _require_free(entries, snapshot_id, name)
        row["name"] = name
    if keep is not None:
        row["keep"] = keep
    store.write_json(workspace.snapshots_index, {"snapshots": entries})
    return {**row, "name": row.get("name"), "keep": bool(row.get("keep"))}


def _require_free(entries: Sequence[dict[str, Any]], snapshot_id: str, name: str) -> None:
    names.node_id(name)  # the same letters
    other = [r["id"] for r in entries if r.get("name") == name and r["id"] != snapshot_id]
    if other or name in ("last", "prod"):
        raise UsageError(
            f"the name {name!r} is taken" + (f" by {other[0]}" if other else ""),
            hint="choose another; `gov snapshot list` shows the names",
            code="name_taken",
        )


def is_of_prod(workspace: Workspace, content: Truth) -> bool:
    """Whether this truth is the one that gov left, and prod the environment of its lock."""
    now = content.digests()
    try:
        row = freshness.receipt(workspace)
    except Damaged:  # nobody knows; the way back must not stumble over it
        return False
    same = all(row.get(name) == now[name] for name in ("pyproject_sha256", "lock_sha256"))
    return same and freshness.prod_is_current(workspace)


def is_locked(workspace: Workspace, snapshot: Snapshot) -> bool:
    """Whether the snapshot's lock was made from its pyproject.toml: its generation was built from
    both, or it says that it ran."""
    if snapshot.ran is not None:
        return snapshot.ran
    path = freshness.manifest_path(workspace, str(snapshot.generation))
    try:
        made = store.read_object(path)
    except (OSError, GovError):
        return snapshot.reason.endswith(("_post", "init", "sync"))
    names = ("pyproject_sha256", "lock_sha256")
    return all(made.get(name) == snapshot.digests.get(name) for name in names)


def readable(workspace: Workspace, *parts: str) -> Iterator[tuple[bytes, ...]]:
    """The files `parts` of all snapshots that can be brought back (a damaged one cannot), each
    content once: most snapshots have them from the one before."""
    seen = set()
    for row in index(workspace):
        with suppress(GovError):
            snapshot = _indexed(workspace, row["id"])
            digests = tuple(snapshot.digests.get(_DIGEST_OF[name]) for name in parts)
            if digests not in seen:
                found = tuple(_part(workspace, snapshot, name) for name in parts)
                seen.add(digests)
                yield found


def prune(workspace: Workspace, *, keep: Sequence[str]) -> list[str]:
    """Drop the oldest snapshots beyond the limit, never one in `keep` or named by a pending
    transaction.  The index goes first, so that no entry ever lacks its folder."""
    limit = int(workspace.config.number("storage.snapshots_keep"))
    entries = index(workspace)
    excess = len(entries) - limit
    if excess <= 0:
        return []
    held = set(keep) | _named_by_pending(workspace) | _kept(workspace, entries)
    dropped = [row["id"] for row in entries if row["id"] not in held][:excess]
    rest = [row for row in entries if row["id"] not in dropped]
    store.write_json(workspace.snapshots_index, {"snapshots": rest})
    for snapshot_id in dropped:
        store.remove_tree(workspace.snapshots / names.snapshot_id(snapshot_id))
    return dropped


def _kept(workspace: Workspace, entries: Sequence[dict[str, Any]]) -> set[str]:
    """Those that somebody named or told gov to keep."""
    return {row["id"] for row in entries if row.get("keep") or row.get("name")}


def _parts(content: Truth) -> tuple[bytes, bytes, bytes]:
    return content.pyproject, content.lock, content.plugins


def _named_by_pending(workspace: Workspace) -> set[str]:
    found: set[str] = set()
    for row in ledger.overview(workspace).pending:
        if row["status"] == "damaged":
            continue
        tx = ledger.load(workspace, row["txid"])
        found |= {str(step["snapshot"]) for step in tx.steps if step.get("snapshot")}
        promotion = tx.promotion
        found |= {str(promotion.get("pre_snapshot")), str(promotion.get("post_snapshot"))}
    return found
