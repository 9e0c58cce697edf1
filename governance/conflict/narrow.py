"""Where a range inside a package has to go: an override for what this one package asks for.

A global override switches off every other range on the package, for later nodes too; this one
holds for one version of one package, and everybody else is still heard.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from governance.conflict import message
from governance.conflict.chains import demand_of
from governance.conflict.price import demand
from governance.conflict.problem import Scoped
from governance.conflict.remedy import Remedy
from governance.conflict.search import Search
from governance.conflict.solver import Solved

_MOST_ROUNDS = 5

# A package, and what it is not asked any more how it wants it.
_Edge = tuple[str, str]


def narrow(
    search: Search, start: Remedy, in_prod: Mapping[str, str]
) -> tuple[Remedy, Solved] | None:
    """`start` with the ranges inside of packages that have to go besides; None where that does not
    help.  Packages that prod does not have lose first."""
    edges: list[_Edge] = []
    for _ in range(_MOST_ROUNDS):
        tried = _without(start, edges)
        solved = search.ask(replace(tried.question(search), by_line=True), _doing(edges))
        if solved.ok:
            return _settled(search, start, edges, solved) if edges else None
        more = _blamed(solved.log, edges, in_prod)
        if not more:
            return None
        edges += more
    return None


def _without(start: Remedy, edges: Collection[_Edge]) -> Remedy:
    return replace(start, scoped=(*start.scoped, *(Scoped(who, "", name) for who, name in edges)))


def _doing(edges: Collection[_Edge]) -> str:
    if not edges:
        return "locking"
    return "trying without " + " and ".join(f"{who}'s range of {name}" for who, name in edges)


def _blamed(log: str, known: Collection[_Edge], in_prod: Mapping[str, str]) -> list[_Edge]:
    """The packages that uv names as asking for the one at stake; a guess that a run confirms."""
    said = message.read(log)
    for package in said.at_stake():
        parents = dict.fromkeys(one.who for one in said.statements if one.name == package)
        edges = [(who, package) for who in parents if who and (who, package) not in known]
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
        if demand(search, solved, who, name) is not None
    ]
    made = replace(start, scoped=(*start.scoped, *dict.fromkeys(scoped)))
    found = search.ask(made.question(search), _doing([(one.package, one[2]) for one in scoped]))
    return (made, found) if found.ok else None
