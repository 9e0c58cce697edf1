"""Whose fault a missing module is: a line that nobody wrote, one that was skipped, or a version."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from governance import comfyui
from governance.base import names
from governance.observation import Observation
from governance.truth.documents import Transaction
from governance.truth.lockfile import frozen_versions
from governance.truth.workspace import Workspace

_MISSING = re.compile(r"No module named '([^']+)'")


def explained(workspace: Workspace, tx: Transaction, seen: Observation) -> str:
    """The reason of an observation; after `No module named 'x'`, whose module that is.

    All that the node declares was installed before it started, so what is missing is not declared,
    unless its line was skipped.
    """
    report = seen.nodes.get(tx.node_id)
    error = report.error or "" if report and report.loaded is False else ""
    found = _MISSING.search(error)
    why = _why(workspace, tx, seen, found[1]) if found else None
    return seen.reason.replace(error, f"{error}, {why}", 1) if why else seen.reason


def _why(workspace: Workspace, tx: Transaction, seen: Observation, module: str) -> str | None:
    top = module.partition(".")[0]
    if _lies_in(workspace.comfyui_dir, top):
        version = comfyui.version(workspace.comfyui_dir) or "of this version"
        return f"which is ComfyUI's own and not in ComfyUI {version}"
    if module != top:
        return _of_package(names.normalise(top), seen)
    if _lies_in(workspace.custom_nodes / tx.node_id, top):
        return None
    if top in sys.stdlib_module_names:
        return "which is Python's own, but this Python lacks it"
    return _of_declared(tx, names.normalise(top))


def _of_package(package: str, seen: Observation) -> str | None:
    """The package is there, in a version that has no such module."""
    version = frozen_versions(seen.post_freeze).get(package)
    return f"which {package} {version} does not have" if version else None


def _of_declared(tx: Transaction, package: str) -> str | None:
    declared: Mapping[str, Any] = tx.plan.get("declared", {})
    for entry in declared.get("skipped", []):
        if package in names.normalise(entry["raw"]):
            place = f"{entry['origin']['file']}:{entry['origin']['line']}"
            return f"which {place} asks for, a line that was skipped ({entry['reason']})"
    if any(line["name"] == package for line in declared.get("lines", [])):
        return None
    # A module may come from a package of another name, whose line was skipped.
    name = " under that name" if declared.get("skipped") else ""
    return f"which {tx.node_id} does not declare{name}"


def _lies_in(folder: Path, module: str) -> bool:
    return (folder / module).is_dir() or (folder / f"{module}.py").is_file()
