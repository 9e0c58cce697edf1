"""The workspace's folder: its sub-folders, config.toml and launchers; nothing of the truth."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from governance.base.errors import GovError, UsageError
from governance.boundaries import config, ownership, store
from governance.truth import workspace
from governance.truth.workspace import Workspace


def prepare(folder: Path, comfyui_dir: Path | None) -> Workspace:
    """Make the folders, config.toml and launchers; nothing of the truth yet.

    Raises UsageError for a folder that belongs to somebody else or a missing ComfyUI, before
    anything is made.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 (links in it are resolved below)
    ownership.require_own_place(folder)
    _refuse_foreign(folder)
    space = Workspace(folder.resolve())
    named = _comfyui_of(space, comfyui_dir)
    _refuse_governed(space, named)
    store.make_folder(space.root)
    for path in space.folders():
        store.make_folder(path, mode=0o700 if path in space.private else 0o755)
    _write_config(space, named)
    _write_launchers(space)
    return Workspace(space.root)


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file", hint="name a folder", code="foreign_project")
    if (folder / "pyproject.toml").is_file() and not workspace.carries_marker(
        folder / "pyproject.toml"
    ):
        raise UsageError(
            f"{folder} holds somebody else's pyproject.toml",
            hint="name another folder: `gov init DIR` makes it",
            code="foreign_project",
            facts={"path": str(folder / "pyproject.toml")},
        )


def _comfyui_of(space: Workspace, given: Path | None) -> Path:
    """The ComfyUI that is named, configured, or lies where one would look."""
    configured = space.config.text("comfyui_dir")
    if given is not None:
        found = store.typed_path(given).resolve()
        workspace.require_comfyui(found)
        _refuse_other(space, configured, found)
        return found
    if configured:
        return space.comfyui_dir
    for guess in (space.root.parent, space.root.parent / "ComfyUI", Path.cwd()):
        if (guess / "main.py").is_file() and (guess / "requirements.txt").is_file():
            return guess.resolve()
    raise UsageError(
        "no ComfyUI is named, and none lies around the workspace",
        hint="name it: `gov init --comfyui-dir PATH`",
        code="no_comfyui",
    )


def _refuse_other(space: Workspace, configured: str, found: Path) -> None:
    if configured and (space.root / configured).resolve() != found:
        raise UsageError(
            f"{space.root} governs {configured}, not {found}",
            hint="make another workspace for it, or change comfyui_dir in config.toml if it moved",
            code="other_comfyui",
        )


def _refuse_governed(space: Workspace, comfyui: Path) -> None:
    """Two workspaces would move the same code under each other's prod."""
    other = governed_by(comfyui)
    if other is None or other == space.root or not workspace.is_workspace(other):
        return
    if _comfyui_configured(other) == comfyui:
        raise UsageError(
            f"{comfyui} is governed by the workspace {other} already",
            hint=f"use that one: `gov --root {shlex.quote(str(other))} status`",
            code="governed_already",
            facts={"root": str(other), "comfyui_dir": str(comfyui)},
        )


def _comfyui_configured(root: Path) -> Path | None:
    named = Workspace(root).config.text("comfyui_dir")
    return (root / store.typed_path(named)).resolve() if named else None


def governed_by(comfyui: Path) -> Path | None:
    """The workspace that was made for this ComfyUI last."""
    try:
        text = store.read_bytes(_mark(comfyui)).decode(errors="surrogateescape")
    except (OSError, GovError):
        return None
    return Path(text.strip()) if text.strip() else None


def mark_governed(space: Workspace) -> None:
    """Remember in ComfyUI's own folder whose it is, where no `git status` shows it."""
    mark = _mark(space.comfyui_dir)
    if governed_by(space.comfyui_dir) != space.root:
        store.make_folder(mark.parent)
        store.write(mark, f"{space.root}\n".encode(errors="surrogateescape"))


def _mark(comfyui: Path) -> Path:
    git = comfyui / ".git"
    return git / "gov-workspace" if git.is_dir() else comfyui / ".gov/workspace"


def _write_config(space: Workspace, comfyui_dir: Path) -> None:
    """All settings where there is no file; the ComfyUI into one that names none."""
    if not space.config_path.is_file():
        store.write(space.config_path, config.template(comfyui_dir=str(comfyui_dir)).encode())
    elif not space.config.text("comfyui_dir"):
        import tomlkit

        document = tomlkit.parse(space.config_path.read_text())
        document["comfyui_dir"] = str(comfyui_dir)
        store.write(space.config_path, tomlkit.dumps(document).encode())


def _write_launchers(space: Workspace) -> None:
    store.make_folder(space.root / "bin")
    for name, module in (("gov", "governance"), ("doit", "tasks")):
        main = workspace.CHECKOUT / module / "__main__.py"
        text = _LAUNCHER.format(python=shlex.quote(sys.executable), main=shlex.quote(str(main)))
        _write_new(space.root / "bin" / name, text, 0o755)
    _write_new(space.root / "dodo.py", "from tasks import *  # noqa: F403\n", 0o644)


def _write_new(path: Path, text: str, mode: int) -> None:
    if not path.is_file() or path.read_text() != text:
        store.write(path, text.encode(), mode=mode)
        path.chmod(mode)


_LAUNCHER = """#!/bin/sh
# Made by `gov init`: bound to the workspace that it lies in.
self=$(readlink -f -- "$0") || exit 2
GOV_ROOT=${{self%/bin/*}}
GOV_CALLED_AS=$0
export GOV_ROOT GOV_CALLED_AS
if [ ! -x {python} ]; then
    echo "error: the gov that made this workspace is gone: "{python} >&2
    echo "hint: run \\`gov init $GOV_ROOT\\` with a gov that is there" >&2
    exit 2
fi
exec {python} {main} "$@"
"""
