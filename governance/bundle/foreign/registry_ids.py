"""The one place where an id of the Comfy Registry becomes a node."""

from __future__ import annotations

from governance.base.errors import UsageError
from governance.catalogue import ids
from governance.catalogue.ids import Wanted
from governance.changes import published
from governance.changes.session import Session
from governance.truth import registry


def add(session: Session, node_id: str, version: str | None) -> str:
    """Fetch and register it as `gov node add ID@VERSION` does; the node's id here.

    Raises GovError where it cannot be had, or where another version of it is governed.
    """
    if ids.parse(node_id) is None:
        raise UsageError(
            f"{node_id!r} cannot be an id of the Comfy Registry", hint="it is left out"
        )
    wanted = Wanted(node_id, ids.require_version(version) if version else None)
    for plugin in registry.load(session.workspace):
        if plugin.registry.get("id", "").lower() == node_id.lower():
            if wanted.version in (None, plugin.registry.get("version")):
                return plugin.id
            raise UsageError(
                f"{plugin.id} is governed at version {plugin.registry.get('version')}",
                hint=f"`gov node update {plugin.id} --to {wanted.version}` takes that version",
                code="node_exists",
            )
    return published.add(session, wanted, ref=None, node_id=None, accept=None).plugin.id
