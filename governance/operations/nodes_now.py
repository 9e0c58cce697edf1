"""What the governed nodes are right now, as rows: for `node list`, `node show`, `status` and `run`.

Read only.  The state of a clone is looked at with its own index, as `git status` would, side by
side for all nodes; what a change relies on is captured by the bytes instead.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from governance.base.errors import GovError
from governance.code import glance
from governance.truth import redo, registry
from governance.truth.workspace import Workspace

if TYPE_CHECKING:
    from governance.truth.documents import Plugin

PROMOTED, PENDING, DISABLED = "promoted", "pending", "disabled"
MISSING, MODIFIED, MOVED = "missing", "modified", "at another commit"

_Record = dict[str, Any]


def rows(workspace: Workspace) -> list[dict[str, Any]]:
    """One row a node: id, kind, commit, found, state, url, ref, asks_for, added."""
    places = _places(workspace)
    return [_row(places, record) for record in registry.records(workspace)]


class _Places(NamedTuple):
    """Where nodes lie, and where gov keeps their code."""

    nodes: Path
    code: Path


def _places(workspace: Workspace) -> _Places:
    return _Places(redo.real_custom_nodes(workspace), workspace.code)


def _row(places: _Places, record: _Record) -> dict[str, Any]:
    state, found = _state(places, record)
    return {
        "id": record.get("id"),
        "kind": record.get("kind", "clone"),
        "commit": record.get("commit"),
        "version": _version(record),
        "found": found,
        "state": state,
        "url": record.get("git_url"),
        "ref": record.get("ref"),
        "asks_for": list(record.get("managed_deps", [])),
        "added": list(record.get("added_deps", [])),
    }


def _version(record: _Record) -> str | None:
    """Of what the Comfy Registry published; None for a clone of its newest commit."""
    known = record.get("registry")
    version = known.get("version") if isinstance(known, dict) else None
    return None if version in (None, "nightly") else str(version)


def _state(places: _Places, record: _Record) -> tuple[str, str | None]:
    """Its state and the commit that lies there."""
    place = _place(places.nodes, record)
    if not record.get("enabled", True):
        return DISABLED, None
    if not os.path.lexists(place):
        return (DISABLED if _disabled_at(place) else MISSING), None
    usual = PROMOTED if record.get("last_snapshot") is not None else PENDING
    if record.get("kind", "clone") != "clone":
        return usual, record.get("commit")
    head = glance.head(Path(place)) or _asked_head(place)
    if head != record.get("commit"):
        return MOVED, head
    had_edits = record.get("code") not in (None, record.get("commit"))
    seen = glance.seen_path(places.code / f"{record.get('id')}.git", str(head))
    return (MODIFIED if not had_edits and _is_edited(place, seen) else usual), head


def _place(nodes: Path, record: _Record) -> str:
    """As registry.place, of a record that is not parsed."""
    return f"{nodes}/{registry.loader_name_in(record)}"


def _disabled_at(place: str) -> str | None:
    """As inventory.locate: where a node lies that somebody disabled."""
    if os.path.lexists(f"{place}.disabled"):
        return f"{place}.disabled"
    folder, _, name = place.rpartition("/")
    try:
        found = sorted(os.listdir(f"{folder}/.disabled"))  # noqa: PTH208 - pathlib is slow
    except OSError:
        return None
    same = [one for one in found if one.partition("@")[0].lower() == name.lower()]
    return f"{folder}/.disabled/{same[0]}" if same else None


def _asked_head(place: str) -> str | None:
    from governance import git  # its import costs as much as all else here

    return git.head(Path(place))


def _is_edited(place: str, seen: Path) -> bool:
    """git is asked only where a file's size or time is not as its index has it, nor as gov saw it
    when it read the files last."""
    if glance.looks_clean(Path(place)) or glance.is_as_seen(seen, Path(place)):
        return False
    from governance import git

    return git.modified(Path(place))


def sentences(workspace: Workspace) -> list[str]:
    """What is not as it was promoted, a line each with the command that settles it."""
    places = _places(workspace)
    promoted = [
        record
        for record in registry.records(workspace)
        if record.get("last_snapshot") and record.get("enabled", True)
    ]
    found = (_sentence(places, record) for record in promoted)
    return [text for text in found if text]


def _sentence(places: _Places, record: _Record) -> str | None:
    state, head = _state(places, record)
    name, place = str(record.get("id")), _place(places.nodes, record)
    if state == MISSING:
        return f"{name} is missing: {place} is not there (`gov rollback last` brings it back)"
    if state == DISABLED:
        path = _disabled_at(place)
        return f"{name} is disabled at {path} (`gov node disable {name}` takes that in)"
    if state == MOVED:
        now = f"at {head[:12]}" if head else "no clone that git can read"
        said = f"the record says {str(record.get('commit'))[:12]}"
        return f"{name} is {now}, {said} (`gov tx run {name}` observes it)"
    if state == MODIFIED:
        return f"{name} has edited files (`gov tx run {name}` observes it as it is)"
    return None


def comfyui_sentence(workspace: Workspace) -> str | None:
    """Where ComfyUI is at another commit than prod was made for."""
    import tomllib

    try:
        table = tomllib.loads(workspace.pyproject.read_text())
        recorded = table["tool"]["gov"]["comfyui"]["commit"]
        folder = workspace.comfyui_dir
    except (OSError, ValueError, LookupError, TypeError, GovError):
        return None  # nothing is recorded; what is damaged is told by who needs it
    now = glance.head(folder) or _asked_head(str(folder))
    if now in (None, recorded):
        return None
    return (
        f"ComfyUI is at {str(now)[:12]}, and prod was made for {str(recorded)[:12]} "
        "(`gov init` takes the change in)"
    )


def show(workspace: Workspace, node_id: str) -> dict[str, Any]:
    """One node with the changes that it was part of."""
    from governance.truth import history

    plugin = registry.find(registry.load(workspace), node_id)
    changes = [
        row
        for row in history.rows(workspace)
        if any(one.get("place") == node_id for one in row.get("code", []))
        or any(node_id in step.split() for step in row.get("steps", []))
    ]
    found = _row(_places(workspace), plugin.to_json())
    return {
        **found,
        "path": str(registry.place(workspace, plugin)),
        "group": plugin.group,
        "registry": plugin.registry,
        "code": plugin.code,
        "last_txid": plugin.last_txid,
        "last_snapshot": plugin.last_snapshot,
        "changes": changes,
    }


# --- what is newer ----------------------------------------------------------------------------


def with_newest(workspace: Workspace, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with `newest` and `outdated`, or `error`; the remotes are asked side by side."""
    plugins = {plugin.id: plugin for plugin in registry.load(workspace)}
    asked = {row["id"]: row for row in found if row["kind"] == "clone" and row["url"]}
    places = {node: registry.place(workspace, plugins[node]) for node in asked}
    answers = _ask(workspace, {node: (row["url"], places[node]) for node, row in asked.items()})
    versions = _newest_versions(workspace, plugins, found)
    return [
        {**row, **(versions.get(row["id"]) or _newest(row["commit"], answers.get(row["id"])))}
        for row in found
    ]


def _newest_versions(
    workspace: Workspace, plugins: dict[str, Plugin], found: list[dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """As `_newest`, of what the Comfy Registry published."""
    asked = {row["id"]: plugins[row["id"]].registry for row in found if row["kind"] == "registry"}
    known = {node: facts for node, facts in asked.items() if facts.get("id")}
    if not known:
        return {}
    from governance.operations import lookup  # urllib costs what no other question should pay

    return lookup.newest(workspace.config, known)


def comfyui(workspace: Workspace) -> dict[str, Any]:
    """A row of ComfyUI itself, with what is newer."""
    from governance import git

    folder = workspace.comfyui_dir
    is_clone = git.is_repository(folder)
    url = git.origin(folder) if is_clone else None
    row = {"id": "ComfyUI", "kind": "comfyui", "commit": git.head(folder) if is_clone else None}
    if url is None:
        return {**row, "newest": None, "outdated": False, "error": "it has no git remote"}
    answer = _ask(workspace, {"ComfyUI": (url, folder)})["ComfyUI"]
    return {**row, **_newest(row["commit"], answer)}


def _ask(workspace: Workspace, asked: dict[str, tuple[str, Path]]) -> dict[str, str | GovError]:
    from governance import git
    from governance.code import fetching

    protocols = workspace.config.texts("policy.git_protocols")
    ready: dict[str, Any] = {}
    answers: dict[str, str | GovError] = {}
    for name, (url, place) in asked.items():
        try:
            source = git.source(url, protocols=protocols, cwd=Path("/"))
            branch = git.branch(place) if git.is_repository(place) else None
            ready[name] = (source, None, branch)
        except GovError as error:
            answers[name] = error
    return answers | fetching.newest(ready, protocols)


def _newest(commit: str | None, answer: str | GovError | None) -> dict[str, Any]:
    if isinstance(answer, GovError):
        return {"newest": None, "outdated": False, "error": answer.message}
    return {"newest": answer, "outdated": answer is not None and answer != commit}
