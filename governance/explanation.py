"""A failed lock of a staged project, explained with the truth's own settings and versions."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from governance import environment, gates, lockfile, provenance
from governance.conflict.answer import Report
from governance.conflict.explain import explain
from governance.conflict.problem import NODE, Owned, Problem
from governance.conflict.solver import UvSolver
from governance.requirements import group_name
from governance.resolution import Project
from governance.uv import Uv
from governance.workspace import Workspace

Say = Callable[[str], None]


def of_project(
    workspace: Workspace,
    uv: Uv,
    project: Project,
    *,
    newcomer: str,
    newcomer_lines: tuple[Owned, ...],
    log: str,
    say: Say,
) -> Report:
    """`newcomer` is the owner ("node:<id>") whose lines are new; the others locked before."""
    lines = provenance.owned_lines(workspace, project)
    own_group = group_name(newcomer.removeprefix(NODE))
    others = tuple(line for line in lines if line.group != own_group)
    problem = Problem(
        (*others, *newcomer_lines), tuple(project.overrides), frozenset({newcomer}), log
    )
    # Beside the workspace: questions explain too, and they neither lock nor write in it.
    with tempfile.TemporaryDirectory(prefix="gov-explain-") as temporary:
        return explain(
            problem,
            solver(workspace, uv, project, Path(temporary)),
            versions_now=versions_now(workspace),
            core_packages=gates.core_names(workspace),
            deadline=workspace.config.number("resolution.explain_seconds"),
            progress=say,
            lock_now=lock_of_prod(workspace),
        )


def solver(workspace: Workspace, uv: Uv, project: Project, folder: Path) -> UvSolver:
    lock = workspace.lock.read_bytes() if workspace.lock.is_file() else None
    python = str(uv.find_python(project.python))
    return UvSolver(uv, base=project.text, python=python, folder=folder, lock=lock)


def versions_now(workspace: Workspace) -> dict[str, str]:
    prod = environment.prod(workspace)
    return prod.locked if prod else {}


def lock_of_prod(workspace: Workspace) -> dict[str, Any]:
    """The lock that prod was built from; empty where there is no prod."""
    name = environment.current(workspace)
    if name is None:
        return {}
    path = environment.papers(workspace, name) / "uv.lock"
    return lockfile.parse(path.read_bytes(), path)
