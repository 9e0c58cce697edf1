"""The one place where an id of the Comfy Registry becomes a node."""

from __future__ import annotations

from governance.base.errors import UsageError
from governance.changes.session import Session


def add(session: Session, node_id: str, version: str | None) -> str:
    """Fetch and register it as `gov node add ID@VERSION` does; the node's id here.

    Raises GovError where it cannot be had.
    """
    raise UsageError(
        "gov does not fetch from the Comfy Registry yet",
        hint="add it from its repository: gov node add GIT_URL",
        code="registry_id",
        facts={"id": node_id, "version": version},
    )
