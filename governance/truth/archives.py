"""state/archives.json: the digest of every archive that was ever taken from the Comfy Registry.

No part of the truth: a rollback never forgets what the bytes of a version were.
"""

from __future__ import annotations

from typing import Any

from governance.base import clock
from governance.base.errors import Refused
from governance.boundaries import store
from governance.catalogue import ids
from governance.truth.workspace import Workspace


def recorded(workspace: Workspace, node_id: str, version: str) -> str | None:
    """The SHA-256 of the archive that was taken under this id and version; None for the first."""
    row = _read(workspace)["archives"].get(ids.key(node_id, version))
    return None if row is None else str(row["sha256"])


def note(workspace: Workspace, node_id: str, version: str, sha256: str) -> None:
    """Keep a digest.  Raises Refused (code `archive_changed`) where another one is kept."""
    document = _read(workspace)
    name = ids.key(node_id, version)
    known = document["archives"].setdefault(name, {"sha256": sha256, "at": clock.stamp()})
    if known["sha256"] != sha256:
        raise Refused(
            f"{name} was taken with another SHA-256: {known['sha256'][:16]}..., not "
            f"{sha256[:16]}...",
            hint="one of them is not what its author published; ask there",
            code="archive_changed",
            facts={"archive": name, "sha256": sha256, "expected": known["sha256"]},
        )
    store.write_json(workspace.archives, document)


def _read(workspace: Workspace) -> dict[str, Any]:
    try:
        document = store.read_object(workspace.archives)
    except FileNotFoundError:
        return {"schema": store.SCHEMA, "archives": {}}
    rows = document.get("archives")
    if not isinstance(rows, dict) or not all(_is_row(row) for row in rows.values()):
        raise store.damaged(workspace.archives, "the field 'archives' is no object of digests")
    return document


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and isinstance(row.get("sha256"), str)
