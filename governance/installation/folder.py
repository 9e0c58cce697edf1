"""The workspace's folder: its sub-folders, config.toml and launchers; nothing of the truth."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from governance.base.errors import UsageError
from governance.boundaries import config, store
from governance.truth import workspace
from governance.truth.workspace import Workspace


def prepare(folder: Path, comfyui_dir: Path | None) -> Workspace:
    """Make the folders, config.toml and launchers; nothing of the truth yet.

    Raises UsageError for a folder that belongs to somebody else or a missing ComfyUI, before
    anything is made.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 (links in it are resolved below)
    _refuse_foreign(folder)
    space = Workspace(folder.resolve())
    named = _comfyui_of(space, comfyui_dir)
    store.make_folder(space.root)
    for path in space.folders():
        store.make_folder(path)
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
export GOV_ROOT
if [ ! -x {python} ]; then
    echo "error: the gov that made this workspace is gone: "{python} >&2
    echo "hint: run \\`gov init $GOV_ROOT\\` with a gov that is there" >&2
    exit 2
fi
exec {python} {main} "$@"
"""
