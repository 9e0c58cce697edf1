"""Whose fault a missing module is: a line that nobody wrote, one that was skipped, or a version."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from governance import comfyui
from governance.base import names
from governance.changes import comfyui_own
from governance.changes.comfyui_own import Lacking
from governance.observation import Observation
from governance.requirements.distributions import distribution_of
from governance.truth.documents import Transaction
from governance.truth.lockfile import frozen_versions
from governance.truth.workspace import Workspace

_MISSING = re.compile(r"No module named '?([\w.]+)'?")
# A node that catches the ImportError raises one of its own.
_CAUSE = re.compile(r"^ModuleNotFoundError: No module named '([^']+)'")
# Words of urllib, requests, aiohttp and of the sockets under them; none of them names the host.
_UNREACHED = re.compile(
    r"urlopen error|name resolution|name or service not known|network is unreachable"
    r"|max retries exceeded|connection (?:refused|reset|aborted|timed out)|cannot connect to host",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Missing:
    """A module that a node failed for; `declared`: the node asks for a package that would bring
    it, which did not."""

    node: str
    module: str
    distribution: str | None
    declared: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def explained(
    workspace: Workspace, tx: Transaction, seen: Observation, own: Sequence[Lacking] = ()
) -> str:
    """The reason of an observation; after `No module named 'x'`, whose module that is.  `own` is
    what is missing of ComfyUI's own.

    All that a node declares was installed before it started, so what is missing is not declared,
    unless its line was skipped.
    """
    reason = seen.reason
    for one in own:
        error = seen.nodes[one.place].error or ""
        is_named = comfyui_own.wanted_in(error) is not None
        told = f", {one.sentence}" if is_named else f" (no {one.wanted}, {one.sentence})"
        reason = reason.replace(error, error + told, 1) if error else reason
    known = {one.place for one in own}
    for name, module, error in _absent(seen):
        why = None if name in known else _why(workspace, tx, seen, name, module)
        if why and error:
            is_named = bool(_MISSING.search(error))
            told = f", {why}" if is_named else f" (no module named {module!r}, {why})"
            reason = reason.replace(error, error + told, 1)
    for error, hosts in _unreached(seen):
        reason = reason.replace(error, f"{error} (it tried to reach {hosts})", 1)
    return reason


def _unreached(seen: Observation) -> Iterator[tuple[str, str]]:
    """The errors of nodes that wanted something from the network, and from which hosts."""
    for name in seen.failed_subjects:
        report = seen.nodes.get(name)
        error = (report.error if report else None) or ""
        rows = [row for row in seen.hosts if row.get("node") == name and not row.get("known")]
        hosts = dict.fromkeys(str(row["host"]) for row in rows if row.get("host"))
        if hosts and _UNREACHED.search(error):
            yield error, ", ".join([*hosts][:3])


def missing(workspace: Workspace, nodes: Mapping[str, Any], seen: Observation) -> list[Missing]:
    """The modules that nodes, or parts of them, failed for and that a package would bring.

    `nodes` as a transaction has them, id -> part with `declared`.
    """
    locked = frozen_versions(seen.post_freeze)
    return [
        _missing(nodes, name, module, locked)
        for name, module, _ in _absent(seen)
        if _comes_from_a_package(workspace, name, module, locked)
    ]


def _missing(
    nodes: Mapping[str, Any], name: str, module: str, locked: Mapping[str, str]
) -> Missing:
    node = name.removesuffix(".py")
    distribution = distribution_of(module, locked)
    lines = nodes.get(node, {}).get("declared", {}).get("lines", [])
    asked = {line["name"] for line in lines}
    return Missing(node, module, distribution, distribution in asked)


def _absent(seen: Observation) -> Iterator[tuple[str, str, str]]:
    """Node, module and the whole error, of every node that failed for a missing module; without
    an error where only a part of it did not load."""
    for name in seen.subjects:
        report = seen.nodes.get(name)
        if report is None or report.loaded is not False:
            continue
        error = report.error or ""
        found = _MISSING.search(error)
        module = found[1] if found else _cause(report.causes)
        if module:
            yield name, module, error
    for row in seen.partial:
        for module in dict.fromkeys(m for part in row["parts"] for m in part["needs"]):
            yield row["node"], module, ""


def _cause(errors: list[str]) -> str | None:
    """The module whose absence led to another error."""
    found = [match[1] for line in errors if (match := _CAUSE.match(line.strip()))]
    return found[-1] if found else None


def _comes_from_a_package(
    workspace: Workspace, name: str, module: str, locked: Mapping[str, str]
) -> bool:
    """Neither ComfyUI's own, nor the node's, nor Python's, nor a part of what is installed."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or comfyui_own.is_own(workspace.comfyui_dir, top):
        return False
    if _lies_in(workspace.custom_nodes / name, top):
        return False
    if module != top and _lies_below(workspace.custom_nodes / name, top):
        return False
    return names.normalise(top) not in locked


def _lies_below(folder: Path, module: str) -> bool:
    """A node may put a folder of its own on sys.path (Impact-Pack: modules/impact)."""
    return any(_lies_in(inner, module) for inner in folder.glob("*/"))


def _why(
    workspace: Workspace, tx: Transaction, seen: Observation, name: str, module: str
) -> str | None:
    top = module.partition(".")[0]
    if _lies_in(workspace.comfyui_dir, top):
        version = comfyui.version(workspace.comfyui_dir) or "of this version"
        return f"which is ComfyUI's own and not in ComfyUI {version}"
    if module != top:
        return _of_package(names.normalise(top), seen)
    if _lies_in(workspace.custom_nodes / name, top):
        return None
    if top in sys.stdlib_module_names:
        return "which is Python's own, but this Python lacks it"
    return _of_declared(tx, name, names.normalise(top))


def _of_package(package: str, seen: Observation) -> str | None:
    """The package is there, in a version that has no such module."""
    version = frozen_versions(seen.post_freeze).get(package)
    return f"which {package} {version} does not have" if version else None


def _of_declared(tx: Transaction, name: str, package: str) -> str | None:
    node = name.removesuffix(".py")
    declared: Mapping[str, Any] = tx.nodes.get(node, {}).get("declared", {})
    for entry in declared.get("skipped", []):
        if package in names.normalise(entry["raw"]):
            place = f"{entry['origin']['file']}:{entry['origin']['line']}"
            return f"which {place} asks for, a line that was skipped ({entry['reason']})"
    if any(line["name"] == package for line in declared.get("lines", [])):
        return None
    # A module may come from a package of another name, whose line was skipped.
    more = " under that name" if declared.get("skipped") else ""
    return f"which {node} does not declare{more}"


def _lies_in(folder: Path, module: str) -> bool:
    return (folder / module).is_dir() or (folder / f"{module}.py").is_file()
