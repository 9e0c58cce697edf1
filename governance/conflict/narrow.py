"""Where a range inside a package has to go: an override for what this one package asks for.

A global override switches off every other range on the package, for later nodes too; this one
holds for one version of one package, and everybody else is still heard.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from governance.conflict import message, ranges
from governance.conflict.chains import demand_of
from governance.conflict.problem import Scoped
from governance.conflict.remedy import Remedy
from governance.conflict.search import Search
from governance.conflict.solver import Solved
from governance.truth.resolution import PROJECTS

_MOST_ROUNDS = 5

# A package, and what it is not asked any more how it wants it.
_Edge = tuple[str, str]


def narrow(
    search: Search, start: Remedy, in_prod: Mapping[str, str]
) -> tuple[Remedy, Solved] | None:
    """`start` with the ranges inside of packages that have to go besides; None where that does not
    help.  Packages that prod does not have lose first."""
    edges = _blamed(_first_log(search, start), [], in_prod)
    for _ in range(_MOST_ROUNDS):
        if not edges:
            return None
        solved = search.ask(_without(start, edges).question(search), _doing(edges))
        if solved.ok:
            return _settled(search, start, edges, solved)
        more = _blamed(solved.log, edges, in_prod)
        edges = [*edges, *more] if more else []
    return None


def _first_log(search: Search, start: Remedy) -> str:
    """What uv says without any of these; of the whole problem that is known."""
    if start == Remedy() and search.problem.log:
        return search.problem.log
    return search.ask(start.question(search), "locking").log


def _without(start: Remedy, edges: Collection[_Edge]) -> Remedy:
    return replace(start, scoped=(*start.scoped, *(Scoped(who, "", name) for who, name in edges)))


def _doing(edges: Collection[_Edge]) -> str:
    return "trying without " + " and ".join(f"{who}'s range of {name}" for who, name in edges)


def _blamed(log: str, known: Collection[_Edge], in_prod: Mapping[str, str]) -> list[_Edge]:
    """The packages that uv names as asking for the one at stake; a guess that a run confirms."""
    said = message.read(log)
    for package in said.at_stake():
        parents = dict.fromkeys(one.who for one in said.statements if one.name == package)
        # The project asks for the lines, which are dealt with elsewhere.
        packages = [who for who in parents if who not in ("", *PROJECTS)]
        edges = [(who, package) for who in packages if (who, package) not in known]
        new = [edge for edge in edges if edge[0] not in in_prod]
        if edges:
            return new or edges
    return []


def _settled(
    search: Search, start: Remedy, edges: Collection[_Edge], solved: Solved
) -> tuple[Remedy, Solved] | None:
    """Only the ranges that the versions break, for these very versions of the packages."""
    versions = solved.versions
    scoped = [
        Scoped(who, versions[who], demand_of(solved.lock, who, name))
        for who, name in edges
        if ranges.broken(search, who, name, solved) is not None
    ]
    made = replace(start, scoped=(*start.scoped, *dict.fromkeys(scoped)))
    if len(scoped) == len(edges):
        return made, solved  # it is a lock of these versions
    found = search.ask(made.question(search), _doing([(one.package, one[2]) for one in scoped]))
    return (made, found) if found.ok else None
