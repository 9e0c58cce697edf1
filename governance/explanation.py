"""A failed lock of a staged project, explained with the truth's own settings and versions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from governance import environment, gates, provenance
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
    return explain(
        problem,
        solver(workspace, uv, project),
        versions_now=versions_now(workspace),
        core_packages=gates.core_names(workspace),
        deadline=workspace.config.number("resolution.explain_seconds"),
        progress=say,
    )


def solver(workspace: Workspace, uv: Uv, project: Project) -> UvSolver:
    lock = workspace.lock.read_bytes() if workspace.lock.is_file() else None
    folder = workspace.work / "explain"
    python = str(uv.find_python(project.python))
    return UvSolver(uv, base=project.text, python=python, folder=_made(folder), lock=lock)


def versions_now(workspace: Workspace) -> dict[str, str]:
    prod = environment.prod(workspace)
    return prod.locked if prod else {}


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
