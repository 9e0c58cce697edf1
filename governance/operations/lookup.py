"""What the Comfy Registry, or ComfyUI-Manager's list, says of nodes.  Read only, and nothing here
counts as an installation."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from governance import git
from governance.base import names
from governance.base.errors import GovError, UsageError
from governance.boundaries import process
from governance.boundaries.config import Config
from governance.catalogue import ids
from governance.catalogue.answers import ACTIVE, Published, Release
from governance.catalogue.api import Registry
from governance.catalogue.offline import Catalogue, Listed
from governance.operations import nodes_now
from governance.truth import registry
from governance.truth.workspace import Workspace

REGISTRY, CATALOGUE = "registry", "catalogue"
_SIDE_BY_SIDE = 8


@dataclass(frozen=True)
class Answer:
    """`source` is who answered: the registry, or Manager's list (catalogue), and then `why`."""

    source: str
    nodes: tuple[Published | Listed, ...]
    why: str = ""


def search(workspace: Workspace, word: str) -> Answer:
    """Raises GovError where neither answers."""
    if not word.strip():
        raise UsageError("nothing is asked for", hint="for example: gov node search kjnodes")
    catalogue = Catalogue.of(workspace.config)
    try:
        return Answer(REGISTRY, tuple(Registry.of(workspace.config).search(word)))
    except GovError as error:
        if catalogue is None or isinstance(error, UsageError):
            raise
        return Answer(CATALOGUE, tuple(catalogue.search(word)), error.message)


def info(workspace: Workspace, typed: str) -> tuple[Answer, list[Release]]:
    """One node, with all its versions where the registry answers.

    Raises UsageError where nobody knows it.
    """
    node_id = ids.require_id(typed.partition("@")[0])
    asked = Registry.of(workspace.config)
    try:
        found = asked.node(node_id)
    except GovError as error:
        listed = _listed(workspace, node_id)
        if not listed:
            raise
        return Answer(CATALOGUE, tuple(listed), error.message), []
    if found is not None:
        return Answer(REGISTRY, (found,)), _versions(asked, found)
    listed = _listed(workspace, node_id)
    if listed:
        return Answer(CATALOGUE, tuple(listed), "the registry does not know it"), []
    raise UsageError(
        f"the registry does not know a node {node_id!r}",
        hint=f"`gov node search {node_id}` looks for it",
        code="unknown_registry_node",
        facts={"node_id": node_id},
    )


def _listed(workspace: Workspace, node_id: str) -> list[Listed]:
    catalogue = Catalogue.of(workspace.config)
    return catalogue.find(node_id) if catalogue else []


def _versions(asked: Registry, found: Published) -> list[Release]:
    """The newest first; none where that question fails, since the node itself is known."""
    with suppress(GovError):
        return sorted(asked.versions(found.id), key=lambda one: one.created_at, reverse=True)
    return []


def installed(workspace: Workspace, node: Published | Listed) -> list[dict[str, Any]]:
    """The governed nodes that are this one: by the registry's id, or by the repository."""
    address = node.url if isinstance(node, Listed) else node.repository
    plugins = {plugin.id: plugin for plugin in registry.load(workspace)}
    found = []
    for row in nodes_now.rows(workspace):
        plugin = plugins[row["id"]]
        known = plugin.registry.get("id")
        is_named = names.same(known or "", node.id) if known and node.id else False
        cloned_from = plugin.git_url or plugin.registry.get("repository", "")
        if is_named or (address and cloned_from and git.same_origin(cloned_from, address)):
            found.append(row)
    return found


def newest(config: Config, installed: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, Any]]:
    """For governed nodes (by their id) with the record's `registry`: what is newest, whether that
    is another version, and what is said of the installed one today; or why nobody knows."""
    asked = Registry.of(config)
    statuses = _statuses(asked, installed)

    def ask(known: Mapping[str, str]) -> dict[str, Any]:
        version = known.get("version", "")
        try:
            found = asked.node(known["id"])
        except GovError as error:
            return {"newest": None, "outdated": False, "error": error.message}
        if found is None or found.latest is None:
            why = "the registry has no version of it any more"
            return {"newest": None, "outdated": False, "error": why}
        latest = found.latest.version
        today = statuses.get(ids.key(known["id"], version)) if version else None
        return {
            "newest": latest,
            "outdated": latest != version and not ids.is_newer(version, latest),
            "status": today.status or ACTIVE if today else None,
        }

    answers = process.side_by_side(ask, installed.values(), _SIDE_BY_SIDE)
    return dict(zip(installed, answers, strict=True))


def _statuses(asked: Registry, installed: Mapping[str, Mapping[str, str]]) -> dict[str, Release]:
    """In one call; without an answer nothing is said of them."""
    pairs = [(one["id"], one["version"]) for one in installed.values() if one.get("version")]
    with suppress(GovError):
        return asked.statuses(pairs)
    return {}
