"""One failed lock explained: causes, then fixes that were tried, within a time limit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from governance.conflict import causes, fixes
from governance.conflict.answer import Fix, Report
from governance.conflict.causes import Finding
from governance.conflict.chains import Lock
from governance.conflict.fixes import Prod, Ref
from governance.conflict.problem import Problem
from governance.conflict.search import Search, TimeUp
from governance.conflict.solver import Solver


def explain(
    problem: Problem,
    solver: Solver,
    *,
    versions_now: Mapping[str, str],
    lock_now: Lock | None = None,
    core_packages: frozenset[str],
    deadline: float,
    progress: Callable[[str], None],
    refs: Callable[[], Iterable[Ref]] | None = None,
    causes_only: bool = False,
    thorough: bool = False,
) -> Report:
    """Why `problem` does not lock, and what would make it lock; `deadline` in seconds.

    `lock_now` is prod's uv.lock, parsed: overrides keep the extras that it asks for.  `refs`
    yields other refs of the newcomer with its lines there, the likeliest first.  `thorough` looks
    for every cause, and for nothing else.  A problem that locks after all gives a report without
    causes.
    """
    search = Search(problem, solver, deadline, progress, is_thorough=thorough)
    found = _Found(search)
    prod = Prod(versions_now, core_packages, lock_now or {})
    try:
        if found.fails():
            if not (causes_only or thorough):
                found.mend_first(prod)
            if found.look() and not (causes_only or thorough):
                found.mend(prod, refs)
    except TimeUp:
        search.is_cut = True
    return found.report()


class _Found:
    """What is known so far; it stands when the time is up."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._findings: list[Finding] = []
        self._fixes: list[Fix] = []
        self._first: Fix | None = None
        self._log: str | None = None
        self._known_at: dict[str, float] = {}

    def fails(self) -> bool:
        self._log = self._search.first_log()
        return self._log is not None

    def mend_first(self, prod: Prod) -> None:
        """What takes a lock or two is known before the causes are."""
        self._first = fixes.first(self._search, prod)
        self._keep(self._first or fixes.inside(self._search, prod))

    def _keep(self, fix: Fix | None) -> None:
        if fix is not None:
            self._fixes.append(fix)
            self._note("fix_seconds")

    def look(self) -> bool:
        """Find the causes; whether further fixes can be looked for."""
        for finding in causes.find(self._search, self._log or ""):
            self._findings.append(finding)
            self._note("cause_seconds")
        self._note("all_causes_seconds")
        return all(finding.cause.kind != "unreachable" for finding in self._findings)

    def mend(self, prod: Prod, refs: Callable[[], Iterable[Ref]] | None) -> None:
        for fix in fixes.offer(self._search, self._findings, prod, refs, self._first):
            self._keep(fix)

    def report(self) -> Report:
        return Report(
            causes=tuple(finding.cause for finding in self._findings),
            fixes=fixes.ordered(self._fixes),
            runs=self._search.runs,
            seconds=self._search.seconds,
            complete=not self._search.is_cut,
            **self._known_at,
        )

    def _note(self, what: str) -> None:
        self._known_at.setdefault(what, self._search.seconds)
