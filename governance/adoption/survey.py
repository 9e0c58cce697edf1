"""Every node that lies in custom_nodes, as it lies there, and what of it gov cannot take in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from governance import comfyui, git, requirements
from governance.base import clock, names
from governance.base.errors import GovError
from governance.boundaries import process, store
from governance.changes import checkouts, provenance
from governance.code import capture
from governance.environments import surroundings
from governance.truth import registry
from governance.truth.documents import Plugin
from governance.truth.workspace import Workspace

_ODD = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_PYPROJECT_BYTES = 1 << 20


@dataclass(frozen=True)
class Found:
    """One entry of custom_nodes: `name` as ComfyUI's loader calls it, `path` where it lies now."""

    name: str
    path: Path
    enabled: bool


@dataclass(frozen=True)
class Nodes:
    """`plugins` are records, new ones and those that were registered and never promoted;
    `left_out` maps a name to the reason; `notes` are sentences."""

    plugins: tuple[Plugin, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def enabled(self) -> tuple[Plugin, ...]:
        return tuple(plugin for plugin in self.plugins if plugin.enabled)


def nodes(workspace: Workspace) -> Nodes:
    """Look at all nodes that no prod has, and take their code into the workspace's store."""
    known = registry.load(workspace) if workspace.plugins.is_file() else []
    found, left_out = entries(workspace, known)
    ids = _ids(found, known)
    made = process.side_by_side(lambda one: _record(workspace, one, ids[one.name]), found)
    plugins = []
    for one, record in zip(found, made, strict=True):
        if isinstance(record, GovError):
            left_out[one.name] = record.message
        else:
            plugins.append(record)
    return Nodes(tuple(plugins), left_out, tuple(_twins(plugins)))


def elsewhere(node_folders: Mapping[str, list[str] | None], workspace: Workspace) -> list[str]:
    """Sentences about folders of nodes that files of extra model paths name."""
    told = []
    own = workspace.custom_nodes.resolve()
    for file, folders in node_folders.items():
        if folders is None:
            told.append(f"{file} could not be read: nodes that it names are not looked at")
        for folder in map(Path, folders or ()):
            inside = _names_in(folder) if folder.resolve() != own else []
            if inside:
                told.append(
                    f"{Path(file).name} names {folder}, which holds {', '.join(inside)}: gov "
                    "governs what lies in custom_nodes only (move or link them there)"
                )
    return told


def _names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*") if _is_node(path))


def _is_node(path: Path) -> bool:
    """What ComfyUI's loader can load."""
    return (path / "__init__.py").is_file() or (path.is_file() and ".py" in path.suffixes)


# --- what lies there --------------------------------------------------------------------------


def entries(workspace: Workspace, known: Sequence[Plugin]) -> tuple[list[Found], dict[str, str]]:
    """Enabled ones first; of a node that lies there several times the enabled one, else the
    newest."""
    tracked = git.tracked(workspace.comfyui_dir, "custom_nodes")
    governed = {registry.loader_name(p).lower() for p in known if p.last_snapshot is not None}
    left_out: dict[str, str] = {}
    found: dict[str, Found] = {}
    rows = comfyui.node_folders(workspace.comfyui_dir)
    for row in sorted(rows, key=lambda row: (not row.enabled, row.name, row.path.name[::-1])):
        key = row.name.lower()
        if row.name in tracked or key in governed or (row.name[:1] == "." and row.enabled):
            continue
        if not _is_node(row.path):
            if row.enabled:
                left_out[row.name] = "it has no __init__.py, so ComfyUI cannot load it"
        elif key in found:
            other = found[key]
            left_out[row.path.name] = f"{other.name} lies at {other.path} too, and that is taken"
        else:
            found[key] = Found(row.name, row.path, row.enabled)
    return list(found.values()), left_out


def _ids(found: Iterable[Found], known: Iterable[Plugin]) -> dict[str, str]:
    """Ids as names of folders, where these can be ids; each one once."""
    by_name = {registry.loader_name(plugin): plugin.id for plugin in known}
    taken = {names.normalise(plugin.id) for plugin in known}
    made = {}
    for one in found:
        chosen = by_name.get(one.name) or _free(_possible(one.name.removesuffix(".py")), taken)
        taken.add(names.normalise(chosen))
        made[one.name] = chosen
    return made


def _possible(name: str) -> str:
    if names.is_node_id(name):
        return name
    text = _ODD.sub("-", name).strip("-._")[: names.MAX_NODE_ID - 4] or "node"
    return text if names.is_node_id(text) else f"node-{text}"


def _free(name: str, taken: Iterable[str]) -> str:
    chosen, number = name, 2
    while names.normalise(chosen) in taken:
        chosen, number = f"{name}-{number}", number + 1
    return chosen


def _record(workspace: Workspace, one: Found, node_id: str) -> Plugin | GovError:
    try:
        surroundings.refuse_own(workspace, one.path)
        state = capture.capture(checkouts.repository(workspace, node_id), one.path)
        plugin = Plugin(
            id=node_id,
            git_url=_origin(one.path, state) or "",
            kind=state.kind,
            commit=state.head or state.code,
            code=state.code,
            path=str(workspace.custom_nodes / one.name),
            group=requirements.group_name(node_id),
            enabled=one.enabled,
            registry=_claims(one.path, state),
            created_at=clock.stamp(),
            updated_at=clock.stamp(),
        )
        return plugin if one.enabled else _asking(workspace, plugin, one.path)
    except GovError as error:
        return error


def _asking(workspace: Workspace, plugin: Plugin, place: Path) -> Plugin:
    """What a disabled node will ask for once it is enabled."""
    if place.is_file():
        return plugin
    declared = provenance.read_declared(workspace, place.resolve())
    return replace(plugin, managed_deps=[line.text for line in declared.lines])


def _origin(place: Path, state: capture.State) -> str | None:
    if state.kind not in (capture.CLONE, capture.LINK) or not git.is_repository(place):
        return None
    return git.origin(place)


def _claims(place: Path, state: capture.State) -> dict[str, str]:
    """The id and version of what was installed from the Comfy Registry, as its pyproject.toml says;
    of a clone the id that ComfyUI-Manager wrote into it."""
    if state.kind == capture.CLONE:
        known = _plain(place / ".git/.cnr-id").strip()
        return {"id": known, "version": "nightly"} if names.is_node_id(known) else {}
    if state.kind != capture.REGISTRY:
        return {}
    import tomllib

    try:
        project = tomllib.loads(_plain(place / "pyproject.toml")).get("project", {})
    except (ValueError, RecursionError):
        return {}
    found = {"id": project.get("name"), "version": project.get("version")}
    return {name: value for name, value in found.items() if isinstance(value, str)}


def _plain(path: Path) -> str:
    """ "" where no file lies there that can be read."""
    try:
        return (store.plain_bytes(path, _MAX_PYPROJECT_BYTES) or b"").decode(errors="replace")
    except OSError:
        return ""


def _twins(plugins: Sequence[Plugin]) -> list[str]:
    """Two clones of one repository register the same classes: the one that loads last serves
    them."""
    told = []
    for number, one in enumerate(plugins):
        for other in plugins[number + 1 :]:
            if not (one.git_url and other.git_url and one.enabled and other.enabled):
                continue
            if git.same_origin(one.git_url, other.git_url):
                told.append(
                    f"{one.id} and {other.id} are two clones of {one.git_url}: ComfyUI serves "
                    f"the classes of one of them only (`gov node disable {other.id}`)"
                )
    return told
