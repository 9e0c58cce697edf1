"""Comfy-Desktop's snapshot envelope (`comfyui-desktop-2-snapshot`), the newest snapshot first.

The rules are those of its own validator: a known type, safe folder names, package names that no
program would take for an option.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from governance.bundle.contents import printable
from governance.bundle.foreign.wanted import Wanted, is_commit, listed, mapping, unreadable

TYPE = "comfyui-desktop-2-snapshot"
_VERSION = 2
_FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_PACKAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


def is_one(value: Any) -> bool:
    return isinstance(value, dict) and str(value.get("type", "")).startswith("comfyui-desktop")


def read(value: Mapping[str, Any], name: str) -> Wanted:
    if value.get("type") != TYPE:
        raise unreadable(name, f"its type is {printable(value.get('type'))}, not {TYPE}")
    _refuse_newer(value, name)
    snapshots = listed(value.get("snapshots"), "snapshots", name)
    if not snapshots:
        raise unreadable(name, "it holds no snapshot")
    newest = mapping(snapshots[0], "its newest snapshot", name)
    _refuse_newer(newest, name)
    made = Wanted("a snapshot of Comfy-Desktop")
    _comfyui(made, mapping(newest.get("comfyui") or {}, "comfyui", name))
    for row in listed(newest.get("customNodes") or [], "customNodes", name):
        _node(made, mapping(row, "a node", name), name)
    _packages(made, mapping(newest.get("pipPackages") or {}, "pipPackages", name), name)
    _rest(made, newest, len(snapshots))
    return made


def _refuse_newer(value: Mapping[str, Any], name: str) -> None:
    version = value.get("version")
    if type(version) is not int:
        raise unreadable(name, "it has no version")
    if version > _VERSION:
        raise unreadable(name, f"it was made by a newer program (version {version})")


def _comfyui(made: Wanted, row: Mapping[str, Any]) -> None:
    named = row.get("commit") or row.get("ref")
    if is_commit(row.get("commit")) or isinstance(named, str):
        made.comfyui = str(named)
    else:
        made.lost.append("the commit of ComfyUI: it is not in the file")


def _node(made: Wanted, row: Mapping[str, Any], name: str) -> None:
    folder, kind = row.get("dirName"), row.get("type")
    if not isinstance(folder, str) or not _FOLDER.fullmatch(folder):
        raise unreadable(name, f"{printable(folder)} is no name of a folder")
    if row.get("enabled") is False:
        made.lost.append(f"{folder}: it was disabled there")
    elif kind == "git" and isinstance(row.get("url"), str):
        made.add_repository(row["url"], row.get("commit"), name=folder)
    elif kind == "cnr":
        version = row.get("version")
        made.add_registry(str(row.get("id")), version if isinstance(version, str) else None)
    else:
        made.lost.append(f"{folder}: the file holds the name of this {printable(kind)} node only")


def _packages(made: Wanted, rows: Mapping[str, Any], name: str) -> None:
    for package, version in rows.items():
        if not _PACKAGE.fullmatch(package):
            raise unreadable(name, f"{printable(package)} is no name of a package")
        text = str(version)
        is_place = text.startswith("-e ") or "://" in text
        made.add_frozen([f"{package} @ {text}" if is_place else f"{package}=={text}"])


def _rest(made: Wanted, newest: Mapping[str, Any], count: int) -> None:
    if count > 1:
        made.lost.append(f"{count - 1} older snapshots of the file: the newest one counts")
    stack = newest.get("torchStack")
    source = (stack.get("ref") or {}).get("source") if isinstance(stack, dict) else None
    tag = source.get("indexTag") if isinstance(source, dict) else None
    if isinstance(tag, str):
        made.lost.append(f"torch came from the index {printable(tag)}: `gov torch {tag}` takes it")
    if isinstance(newest.get("pythonVersion"), str):
        python = printable(newest["pythonVersion"])
        made.lost.append(f"Python {python}: `gov python {python}` takes it")
