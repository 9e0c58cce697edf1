"""A snapshot of ComfyUI-Manager: `cm-cli save-snapshot --output F`, or its own snapshots folder.

The keys of `pips` are freeze lines, their values empty; older files have a list there or nothing.
A disabled node of the registry is left out by the Manager itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from governance.bundle.contents import printable
from governance.bundle.foreign.wanted import Wanted, is_commit, listed, mapping

KEYS = frozenset({"git_custom_nodes", "cnr_custom_nodes", "file_custom_nodes", "pips"})
WRAPPER = "custom_nodes"
# It lies in custom_nodes and is ComfyUI's own, which the Manager does not know.
_OF_COMFYUI = ("websocket_image_save.py",)


def is_one(value: Any) -> bool:
    inner = value.get(WRAPPER, value) if isinstance(value, dict) else None
    return isinstance(inner, dict) and bool(KEYS & inner.keys())


def read(value: Mapping[str, Any], name: str) -> Wanted:
    """Raises GovError for what the Manager would not have written."""
    document = mapping(value.get(WRAPPER, value), WRAPPER, name)
    made = Wanted("a snapshot of ComfyUI-Manager")
    commit = document.get("comfyui")
    if is_commit(commit):
        made.comfyui = commit
    else:
        made.lost.append("the commit of ComfyUI: it is not in the file")
    for url, facts in mapping(document.get("git_custom_nodes") or {}, "git", name).items():
        _git(made, url, mapping(facts, printable(url), name))
    for node_id, version in mapping(document.get("cnr_custom_nodes") or {}, "cnr", name).items():
        made.add_registry(node_id, version if isinstance(version, str) else None)
    for row in listed(document.get("file_custom_nodes") or [], "file_custom_nodes", name):
        _file(made, row)
    pips = document.get("pips") or {}
    made.add_frozen(str(line) for line in (pips if isinstance(pips, dict | list) else ()))
    return made


def _git(made: Wanted, url: str, facts: Mapping[str, Any]) -> None:
    if facts.get("disabled") is True:
        made.lost.append(f"{printable(url)}: it was disabled there")
    else:
        made.add_repository(url, facts.get("hash"))


def _file(made: Wanted, row: Any) -> None:
    named = row.get("filename") if isinstance(row, dict) else row
    if named in _OF_COMFYUI:
        return
    made.lost.append(f"{printable(named)}: the file holds the name of a single-file node only")
