"""A failed lock of a staged project, explained with the truth's own settings and versions."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from governance.base.errors import GovError, UsageError
from governance.boundaries import scratch, store
from governance.boundaries.uv import Uv
from governance.changes import gates, provenance
from governance.conflict import message
from governance.conflict.answer import Fix, Report
from governance.conflict.causes import absence
from governance.conflict.explain import explain
from governance.conflict.fixes import Ref
from governance.conflict.problem import NODE, PIN, Owned, Problem, Scoped
from governance.conflict.solver import CONFLICT, Question, Solved, UvSolver
from governance.environments import generations
from governance.requirements import Line, group_name
from governance.requirements.index_line import NamedIndex
from governance.truth.resolution import Project
from governance.truth.workspace import Workspace

_PIN_SECONDS = 60.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Code:
    """A node's checkout, the command that takes another commit of it ({ref} in it), and what
    brings the newest commits of its remote."""

    checkout: Path
    command: str
    fetch: Callable[[], None] | None = None

    def told(self, fix: Fix) -> Fix:
        return replace(fix, command=self.command.format(ref=fix.ref[:12])) if fix.ref else fix


def in_place(checkout: Path, node_id: str, fetch: Callable[[], None] | None = None) -> Code:
    """Of a node that gov knows."""
    return Code(checkout, f"gov node update {shlex.quote(node_id)} --to {{ref}}", fetch)


def of_project(
    workspace: Workspace,
    uv: Uv,
    project: Project,
    *,
    newcomers: tuple[str, ...],
    newcomer_lines: tuple[Owned, ...],
    log: str,
    say: Say,
    code: Code | None = None,
    indexes: tuple[NamedIndex, ...] = (),
    unbuildable: tuple[tuple[str, str], ...] = (),
    causes_only: bool = False,
    thorough: bool = False,
) -> Report:
    """`newcomers` are the owners ("node:<id>") whose lines are new; the others locked before.

    Other commits of its `code` are tried as fixes, the newer ones first; so are the `indexes` that
    its files name.  `thorough` looks for every cause, for longer, and for no fix.
    """
    limit = "resolution.explain_all_seconds" if thorough else "resolution.explain_seconds"
    lines = provenance.owned_lines(workspace, project)
    own = {group_name(owner.removeprefix(NODE)) for owner in newcomers}
    others = tuple(line for line in lines if line.group not in own)
    problem = Problem(
        (*others, *newcomer_lines),
        tuple(project.overrides),
        frozenset(newcomers),
        log,
        tuple(Scoped(*row) for row in project.scoped),
        indexes,
        unbuildable,
    )
    # Beside the workspace: questions explain too, and they neither lock nor write in it.
    with scratch.folder("explain") as temporary:
        found = explain(
            problem,
            solver(workspace, uv, project, temporary),
            versions_now=versions_now(workspace),
            core_packages=gates.core_names(workspace),
            deadline=workspace.config.number(limit),
            progress=say,
            lock_now=generations.lock_of_prod(workspace),
            causes_only=causes_only,
            thorough=thorough,
            refs=None if code is None else lambda: _elsewhere(workspace, code, newcomers[0]),
        )
    return found if code is None else replace(found, fixes=tuple(map(code.told, found.fixes)))


def _elsewhere(workspace: Workspace, code: Code, owner: str) -> Iterator[Ref]:
    # Neither a remote nor a history that git cannot read keeps the other fixes back.
    if code.fetch is not None:
        with contextlib.suppress(GovError):
            code.fetch()
    with contextlib.suppress(GovError):
        yield from provenance.lines_elsewhere(workspace, code.checkout, owner)


def require_known(
    workspace: Workspace, uv: Uv, project: Project, pins: Iterable[Line], say: Say
) -> None:
    """UsageError for a pin on a version that cannot be had here, whoever asks for it."""
    with scratch.folder("explain") as temporary:
        asking = solver(workspace, uv, project.with_overrides([]), temporary)
        for pin in pins:
            say(f"looking for {pin.text} on the index")
            solved = asking.solve(_alone(pin.text, pin.name), _PIN_SECONDS)
            # Where the index cannot be asked, the lock that follows tells why.
            if not solved.ok and solved.code == CONFLICT:
                raise _unknown(pin, solved, asking.solve(_alone(pin.name, pin.name), _PIN_SECONDS))


def _alone(text: str, name: str) -> Question:
    return Question(((0, Owned(text, PIN, "", 0, name)),), by_line=True, fresh=True)


def _unknown(pin: Line, failed: Solved, newest: Solved) -> UsageError:
    kind = message.read(failed.log).absent.get(pin.name, "no-version")
    version = newest.versions.get(pin.name) if newest.ok else None
    return UsageError(
        f"{pin.text} cannot be had: {absence(kind, pin.name, failed.log)}",
        hint=f"the newest that can is {pin.name}=={version}" if version else "check the spelling",
        code="unknown_pin",
        facts={"pin": pin.text, "kind": kind},
    )


def solver(workspace: Workspace, uv: Uv, project: Project, folder: Path) -> UvSolver:
    lock = store.read_bytes(workspace.lock) if workspace.lock.is_file() else None
    python = str(uv.find_python(project.python))
    return UvSolver(uv, base=project.text, python=python, folder=folder, lock=lock)


def versions_now(workspace: Workspace) -> dict[str, str]:
    prod = generations.prod(workspace)
    return prod.locked if prod else {}
