"""Which ComfyUI a node is made for: what its pyproject.toml says, and whether this one is it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from governance import comfyui
from governance.changes import checkouts
from governance.changes.draft import COMFYUI
from governance.requirements import PYPROJECT
from governance.truth.workspace import Workspace

# https://docs.comfy.org/registry/specifications: [tool.comfy] requires-comfyui = ">=0.4.0"
_TABLE, _KEY = "comfy", "requires-comfyui"
_LARGEST_BYTES = 1 << 20


def required(pyproject: bytes | None) -> str:
    """The range of versions of ComfyUI that a node's pyproject.toml asks for; "" where it asks
    for none, or cannot be read."""
    import tomllib

    try:
        table = tomllib.loads((pyproject or b"").decode())["tool"][_TABLE]
        return str(table.get(_KEY) or "").strip()
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ""


def required_by(folder: Path) -> str:
    """The same of a node that lies in a folder."""
    from governance.boundaries import store

    try:
        return required(store.plain_bytes(folder / PYPROJECT, _LARGEST_BYTES))
    except OSError:
        return ""


def required_at(workspace: Workspace, node: str, code: object) -> str:
    """The same of a node at a commit that the workspace holds."""
    return required(checkouts.repository(workspace, node).read(str(code), PYPROJECT))


def version_with(workspace: Workspace, change: Mapping[str, Any]) -> str | None:
    """ComfyUI's version; `change` is a transaction's `comfyui`, empty where it does not move."""
    code = change.get("code")
    if not code:
        return comfyui.version(workspace.comfyui_dir)
    source = checkouts.repository(workspace, COMFYUI)
    return comfyui.version_in(lambda name: (source.read(str(code), name) or b"").decode("latin-1"))


def admits(asked: str, version: str | None) -> bool:
    """True as well where there is nothing that a machine could judge."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion

    if not asked or version is None:
        return True
    try:
        return SpecifierSet(asked).contains(version, prereleases=True)
    except (InvalidSpecifier, InvalidVersion):
        return True


def unfit(name: str, asked: str, version: str | None) -> str | None:
    """The sentence for a node whose range does not admit this ComfyUI."""
    if admits(asked, version):
        return None
    return f"{name} is made for ComfyUI {asked}, and this is {version}"
