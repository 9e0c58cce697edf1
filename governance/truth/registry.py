"""state/plugins.json: the nodes that this workspace governs.  Part of the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from governance.base.errors import UsageError
from governance.boundaries import ownership, store
from governance.truth import redo
from governance.truth.workspace import Workspace

if TYPE_CHECKING:
    from governance.truth.documents import Plugin


def load(workspace: Workspace) -> list[Plugin]:
    """All records.  A damaged file raises Damaged and is left as it is; so is a missing one."""
    return parse(records(workspace), workspace)


def records(workspace: Workspace) -> list[dict[str, Any]]:
    """As load, but as they stand in the file: for questions, which need not pay for the model."""
    try:
        data = redo.read_document(workspace, workspace.plugins)
    except FileNotFoundError:
        raise store.damaged(workspace.plugins, "it is missing") from None
    value = store.parse_json(data, workspace.plugins)
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise store.damaged(workspace.plugins, "it is not a list of objects")
    return value


def parse(value: Any, workspace: Workspace) -> list[Plugin]:
    from governance.base import names
    from governance.truth.documents import Plugin

    if not isinstance(value, list):
        raise store.damaged(workspace.plugins, f"holds a {type(value).__name__}, not a list")
    plugins = [Plugin.from_json(record, workspace.plugins) for record in value]
    for name in (name for plugin in plugins for name in (plugin.id, plugin.group)):
        if not names.is_node_id(name):
            raise store.damaged(workspace.plugins, f"{name!a} can name neither folder nor group")
    return plugins


def dump(plugins: Sequence[Plugin]) -> bytes:
    return store.dump_json([plugin.to_json() for plugin in plugins])


def find(plugins: Sequence[Plugin], node_id: str) -> Plugin:
    """The record of `node_id`; UsageError names the near ones."""
    for plugin in plugins:
        if plugin.id == node_id:
            return plugin
    known = ", ".join(plugin.id for plugin in plugins[:8]) or "none"
    raise UsageError(
        f"no node {node_id!r} is registered",
        hint=f"registered: {known}; add one with `gov node add <git_url>`",
        code="unknown_node",
        facts={"node_id": node_id},
    )


def replace(plugins: Sequence[Plugin], changed: Plugin) -> list[Plugin]:
    return [changed if plugin.id == changed.id else plugin for plugin in plugins]


def loader_name(plugin: Plugin) -> str:
    """How ComfyUI's loader calls it: the name of its folder, or of its single file."""
    return plugin.path.rpartition("/")[2] or plugin.id


def loader_name_in(record: Mapping[str, Any]) -> str:
    """The same of a record that is not parsed."""
    return str(record.get("path", "")).rpartition("/")[2] or str(record.get("id"))


def place(workspace: Workspace, plugin: Plugin) -> Path:
    """Where its code lies while it is enabled.  Raises Refused where that is another user's: it
    would be run, and git in it by its settings."""
    found = redo.real_custom_nodes(workspace) / loader_name(plugin)
    ownership.require_own(found, ".git")
    return found


def is_promoted(plugin: Plugin) -> bool:
    """Taken into prod once, and not disabled since."""
    return plugin.enabled and plugin.last_snapshot is not None


def promoted(workspace: Workspace) -> tuple[Plugin, ...]:
    return tuple(filter(is_promoted, load(workspace)))


def parse_or_none(workspace: Workspace) -> list[Plugin]:
    """As load, and none where the file is damaged: for who brings an older one back."""
    from governance.base.errors import GovError

    try:
        return load(workspace)
    except GovError:
        return []
