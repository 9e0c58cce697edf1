"""What a run leaves behind that later starts would run: code, git's hooks, files of a home.

Under `gov run` a node may write what ComfyUI-Manager may, and what gov does not put back (a file of
its neighbour, a hook) outlives its removal.  A picture from before the run tells what was written
meanwhile; only a person can say whose it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from governance.base.errors import GovError
from governance.boundaries import store
from governance.environments import start_files
from governance.truth import registry
from governance.truth.workspace import Workspace

_FILE = "left_behind.json"
_BEFORE = "before_run.json"
_CODE = (".py", ".pyc", ".pth", ".so")
_DATA = ("models", "output", "input", "temp", "user", "custom_nodes")
_GIT = ("config", "config.worktree", "info/attributes")


def begin(workspace: Workspace) -> None:
    """Before ComfyUI starts."""
    settle(workspace)
    store.write_json(workspace.state / _BEFORE, _picture(workspace))


def settle(workspace: Workspace) -> None:
    """After it has ended, also where its gov was killed: keep what was written."""
    before = _read(workspace.state / _BEFORE)
    if not before:
        return
    fresh = {p: facts for p, facts in _picture(workspace).items() if before.get(p) != facts}
    seen = _Nodes(workspace)
    rows = {path: {"facts": facts, "txid": seen.txid(path)} for path, facts in fresh.items()}
    store.write_json(workspace.state / _FILE, _unsettled(workspace) | rows)
    (workspace.state / _BEFORE).unlink(missing_ok=True)


def sentences(workspace: Workspace) -> list[str]:
    """What lies there as a run left it, a file each; a node that nobody registered is one."""
    nodes = _Nodes(workspace)
    places = (path if nodes.knows(path) else nodes.place(path) for path in _unsettled(workspace))
    return [f"{place} {_SAYS}" for place in sorted(set(places))]


def sentence(workspace: Workspace) -> str | None:
    """All of it as one line."""
    paths = list(_unsettled(workspace))
    if not paths:
        return None
    named = ", ".join(paths[:2]) + (f" and {len(paths) - 2} more" if len(paths) > 2 else "")
    return f"{named}: written while ComfyUI ran, and run by what reads it (`gov verify` says more)"


_SAYS = "was written while ComfyUI ran, and what reads it runs it: `touch` it if it is yours"


def _unsettled(workspace: Workspace) -> dict[str, Any]:
    """Without what looks otherwise by now, and what a transaction has observed since."""
    rows = _read(workspace.state / _FILE)
    if not rows:
        return {}
    nodes = _Nodes(workspace)
    return {
        path: row
        for path, row in rows.items()
        if row["facts"] == _facts(path) and row["txid"] == nodes.txid(path)
    }


class _Nodes:
    """Which node a file is part of, and the last transaction of that."""

    def __init__(self, workspace: Workspace) -> None:
        self.folder = f"{workspace.custom_nodes}/"
        try:
            records = registry.records(workspace)
        except GovError:
            records = []  # damaged, which others report
        self.txids = {registry.loader_name_in(row): row.get("last_txid") for row in records}

    def place(self, path: str) -> str:
        """The node's folder; of all other files the file itself."""
        if not path.startswith(self.folder):
            return path
        return self.folder + path.removeprefix(self.folder).partition("/")[0]

    def txid(self, path: str) -> str | None:
        if "/.git/" in path:
            return None  # no transaction looks there
        return self.txids.get(self.place(path).removeprefix(self.folder))

    def knows(self, path: str) -> bool:
        return self.place(path).removeprefix(self.folder) in self.txids


def _read(path: Path) -> dict[str, Any]:
    try:
        return store.read_object(path)
    except FileNotFoundError:
        return {}


def _picture(workspace: Workspace) -> dict[str, Any]:
    found = ((path, _facts(path)) for path in _watched(workspace))
    return {path: facts for path, facts in found if facts is not None}


def _facts(path: str) -> list[int] | None:
    """The time of the last change of any kind is the kernel's: no program can forge it."""
    try:
        facts = os.lstat(path)
    except OSError:
        return None
    return [facts.st_ino, facts.st_size, facts.st_ctime_ns]


def _watched(workspace: Workspace) -> Iterator[str]:
    yield from map(str, start_files.all_files())
    comfyui = str(workspace.comfyui_dir)
    yield from _code(comfyui, {f"{comfyui}/{name}" for name in _DATA} | {str(workspace.root)})
    yield from (f"{comfyui}/extra_model_paths.{end}" for end in ("yaml", "yml"))
    yield from _git(comfyui)
    nodes = str(workspace.custom_nodes)
    for name in os.listdir(nodes) if os.path.isdir(nodes) else ():  # noqa: PTH112, PTH208
        if os.path.islink(f"{nodes}/{name}") or name.endswith(_CODE):  # noqa: PTH114
            yield f"{nodes}/{name}"
        yield from _code(f"{nodes}/{name}/", {str(workspace.root)})
        yield from _git(f"{nodes}/{name}")


def _code(top: str, but: set[str]) -> Iterator[str]:
    for folder, folders, names in os.walk(top):
        if "pyvenv.cfg" in names:
            folders.clear()  # somebody's own environment
        place = folder.rstrip("/")
        folders[:] = [n for n in folders if n != ".git" and f"{place}/{n}" not in but]
        yield from (f"{place}/{name}" for name in names if name.endswith(_CODE))


def _git(clone: str) -> Iterator[str]:
    """What git itself runs, or takes programs' names from."""
    yield from (f"{clone}/.git/{name}" for name in _GIT)
    for folder, _, names in os.walk(f"{clone}/.git/hooks"):
        yield from (f"{folder}/{name}" for name in names)
