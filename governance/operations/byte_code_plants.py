"""Byte code of the kept environments that says something else than its source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from governance import sandbox
from governance.boundaries import process
from governance.environments import compiled, generations
from governance.environments.records import Finding
from governance.truth.workspace import Workspace

KIND = "byte_code"
_CHECK = Path(__file__).with_name("byte_code_check.py")


def findings(workspace: Workspace) -> list[Finding]:
    """Of every generation, since a rollback takes its byte code with it.  What is looked at was
    perhaps made to harm who reads it, so it is read inside the fence."""
    support = sandbox.probe(workspace.generations)
    view = sandbox.View(writable=())
    found = []
    for name in generations.names(workspace):
        python = generations.python_of(generations.path(workspace, name))
        folders = list(_folders(workspace, name))
        if not folders or not python.exists():
            continue
        argv = [str(python), "-I", "-S", "-W", "ignore", str(_CHECK), *map(str, folders)]
        done = process.run(sandbox.wrap(view, support, argv, folder=Path("/")), env={})
        paths = done.stdout.splitlines()
        if not done.ok:  # it made the reader fail
            paths.append(str(folders[0]))
        found += [Finding(KIND, path, "not what its source says") for path in paths]
    return found


def _folders(workspace: Workspace, name: str) -> Iterator[Path]:
    """Where a start of this generation would take byte code from."""
    known = (
        compiled.folder(workspace, name),
        workspace.generations / f"{name}.pycache",
        generations.path(workspace, name),
    )
    return (folder for folder in known if folder.is_dir())
