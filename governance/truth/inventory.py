"""What lies in custom_nodes against what the registry says.

Apart from `nodes`, whose imports a rollback need not pay for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from governance import comfyui, git
from governance.boundaries import ownership
from governance.truth import redo, registry
from governance.truth.documents import Plugin
from governance.truth.workspace import Workspace

_CLONE = "clone"  # as code/capture.py names it
_UNREGISTERED = " is in custom_nodes, but not registered"
_NAMED = 4
PRESENT, DISABLED, MISSING = "present", "disabled", "missing"


class Place(NamedTuple):
    """Where a node's code lies; `state` is present, disabled (somebody renamed it, as
    ComfyUI-Manager does) or missing."""

    path: Path
    state: str


def locate(workspace: Workspace, plugin: Plugin) -> Place:
    place = registry.place(workspace, plugin)
    if os.path.lexists(place):
        return Place(place, PRESENT)
    for path in _disabled(place):
        ownership.require_own(path, ".git")
        return Place(path, DISABLED)
    return Place(place, MISSING)


def _disabled(place: Path) -> Iterator[Path]:
    """Old style `<name>.disabled`, new style `.disabled/<id>@<version>`, ids in lower case."""
    beside = place.with_name(f"{place.name}.disabled")
    if os.path.lexists(beside):
        yield beside
    for found in sorted(place.parent.glob(".disabled/*")):
        if found.name.partition("@")[0].lower() == place.name.lower():
            yield found


def kept(workspace: Workspace) -> list[Path]:
    """Folders that held files of the user's when their node was purged, the newest last."""
    found = [p for folder in redo.nurseries(workspace) for p in folder.glob("kept-*")]
    return sorted(found, key=lambda path: path.name.rpartition("-")[2])


def ungoverned(workspace: Workspace) -> list[str]:
    """Folders of custom_nodes that no record names and ComfyUI's own git does not track."""
    plugins = registry.load(workspace)
    known = {name for plugin in plugins for name in (plugin.id, registry.loader_name(plugin))}
    tracked = git.tracked(workspace.comfyui_dir, "custom_nodes")
    found = comfyui.node_folders(workspace.comfyui_dir)
    return [
        one.name
        for one in found
        if one.enabled and one.name not in known and one.name not in tracked
    ]


def mismatches(workspace: Workspace) -> list[str]:
    """Sentences: records without a clone or at another commit, and clones without a record."""
    told = []
    for plugin in registry.load(workspace):
        found_at = locate(workspace, plugin)
        if found_at.state == MISSING or (found_at.state == DISABLED and plugin.enabled):
            place = registry.place(workspace, plugin)
            told.append(f"{plugin.id} is registered, but {place} is not there")
            continue
        if plugin.kind != _CLONE:
            continue
        head = git.head(found_at.path)
        if plugin.commit and head != plugin.commit:
            found = f"at {head[:12]}" if head else "no clone that git can read"
            told.append(f"{plugin.id} is {found}, the record says {plugin.commit[:12]}")
    told += [f"{name}{_UNREGISTERED}" for name in ungoverned(workspace)]
    return told


def folded(sentences: Sequence[str]) -> list[str]:
    """The same with all clones without a record in one: there may be dozens, and none is news."""
    names = [text.removesuffix(_UNREGISTERED) for text in sentences if _is_of_unregistered(text)]
    if len(names) < 2:
        return list(sentences)
    others = [text for text in sentences if not _is_of_unregistered(text)]
    return [*others, f"in custom_nodes, but not registered: {few(names)}"]


def _is_of_unregistered(sentence: str) -> bool:
    return sentence.endswith(_UNREGISTERED)


def few(names: Sequence[str]) -> str:
    """The first ones by name, and how many more there are."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more (-v names all)" if more > 0 else "")
