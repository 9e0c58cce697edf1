"""The Python that an environment is a view of: it lies outside, and can go or be changed there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from governance.base.errors import GovError
from governance.boundaries import store
from governance.truth import freshness
from governance.truth.workspace import Workspace

_VERSION = "import sys; print('.'.join(map(str, sys.version_info[:2])))"


def facts(environment: Path) -> dict[str, Any]:
    """Where the environment's interpreter really is, and by what a change of it shows."""
    real = Path(os.path.realpath(environment / "bin/python"))
    found = real.stat()
    return {"path": str(real), "size": found.st_size, "mtime_ns": found.st_mtime_ns}


def configuration(environment: Path) -> dict[str, str]:
    """What pyvenv.cfg says, by name."""
    text = (environment / "pyvenv.cfg").read_text()
    pairs = (line.partition("=") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def problem(workspace: Workspace, name: str) -> str | None:
    """A sentence where the generation cannot be started any more, else None.

    Starts a program only where the interpreter is another file than at the build.
    """
    environment = workspace.generations / name
    python = environment / "bin/python"
    if not os.access(python, os.X_OK):
        return f"its Python is gone: {os.path.realpath(python)}"
    recorded = _recorded(workspace, name)
    if recorded is None or recorded == facts(environment):
        return None
    built = [
        path.parent.name.removeprefix("python")
        for path in environment.glob("lib/python3.*/site-packages")
    ]
    from governance.boundaries import process

    done = process.run([str(python), "-I", "-c", _VERSION], env={})
    if not done.ok:
        return f"its Python does not run: {os.path.realpath(python)}"
    if built and done.stdout.strip() not in built:
        return f"its Python is {done.stdout.strip()} now; the packages were built for {built[0]}"
    return None


def require(workspace: Workspace, name: str) -> None:
    """Raises GovError (code `python_gone`) where the generation cannot be started any more."""
    found = problem(workspace, name)
    if found is not None:
        raise GovError(f"prod cannot start: {found}", hint=HINT, code="python_gone")


HINT = "put that Python back, or build prod with another one: `gov python VERSION`, then promote it"


def _recorded(workspace: Workspace, name: str) -> dict[str, Any] | None:
    """None for a generation of an earlier version of gov, and for damaged papers."""
    try:
        found = store.read_object(freshness.manifest_path(workspace, name)).get("interpreter")
    except (OSError, GovError):
        return None
    return found if isinstance(found, dict) and found else None
