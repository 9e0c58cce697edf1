"""The way from a requirement line to a package, read from a lock: checked, not guessed.

uv.lock tells who depends on whom, for the locked versions, but not with which specifier.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from governance.base.names import normalise
from governance.conflict.edges import Edges, Lock, State, is_project, lines_of, read, text_of

__all__ = ["Chain", "Lock", "chains", "demands", "owners", "parents", "requested", "ways"]


@dataclass(frozen=True)
class Chain:
    """`group` asks for `packages[0]` as `text`, which brings the next one, up to the last.

    `asked` are the packages with the extra that leads on: `trans[tim]`.
    """

    group: str
    text: str
    packages: tuple[str, ...]
    asked: tuple[str, ...] = ()


def chains(lock: Lock | Edges, package: str) -> tuple[Chain, ...]:
    """The shortest chain from every group's line that brings `package` here, direct lines first."""
    edges = _edges(lock)
    towards = edges.distances(edges.named(normalise(package)))
    found = []
    for line in edges.lines:
        reaching = [state for state in line.starts if state in towards]
        if reaching:
            way = edges.way(towards, min(reaching, key=lambda state: towards[state]))
            found.append(Chain(line.group, line.text, _names(way), _asked(way)))
    return tuple(sorted(found, key=lambda chain: (len(chain.packages), chain.group)))


def ways(lock: Lock | Edges, group: str, package: str) -> list[tuple[str, ...]]:
    """From the group's lines to `package`: the shortest for each package that asks for it."""
    edges, wanted = _edges(lock), normalise(package)
    starts = [state for line in edges.lines if line.group == group for state in line.starts]
    asking = {p: None for goal in edges.named(wanted) for p in edges.parents.get(goal, ())}
    shortest: dict[str, tuple[str, ...]] = {}
    for parent in asking:
        towards = edges.distances([parent], shunned=wanted)
        for start in starts:
            if start in towards and wanted not in (start[0], parent[0]):
                way = (*_names(edges.way(towards, start)), wanted)
                known = shortest.setdefault(parent[0], way)
                shortest[parent[0]] = min(known, way, key=len)
    return sorted(shortest.values(), key=lambda way: (len(way), way))


def owners(lock: Lock | Edges, package: str) -> tuple[str, ...]:
    """The groups that bring `package`, directly or not, sorted."""
    return tuple(sorted({chain.group for chain in chains(lock, package)}))


def requested(lock: Lock) -> list[tuple[str, str, str]]:
    """(group, package, text) of every requirement line of the project."""
    return [(group, entry["name"], text_of(entry)) for group, entry in lines_of(lock)]


def demands(lock: Lock, package: str) -> tuple[str, ...]:
    """How other packages ask for `package`: `name[extra] ; marker`, without their specifiers."""
    found = [
        text_of({**entry, "specifier": ""})
        for parent in lock.get("package", [])
        if not is_project(parent)
        for entry in _entries(parent)
        if entry["name"] == package
    ]
    return tuple(dict.fromkeys(found))


def parents(lock: Lock, package: str) -> tuple[str, ...]:
    """The packages that ask for `package` here, in the lock's order."""
    edges = read(lock)
    goals = set(edges.named(package))
    found = [state[0] for state, children in edges.children.items() if goals & set(children)]
    return tuple(name for name in dict.fromkeys(found) if name != package)


def demand_of(lock: Lock, parent: str, package: str) -> str:
    """How `parent` asks for `package`: `name[extra] ; marker`, without its specifier."""
    found = [
        text_of({**entry, "specifier": ""})
        for one in _named(lock, parent)
        for entry in _entries(one)
        if entry["name"] == package
    ]
    return next(iter(found), package)


def children(lock: Lock, name: str) -> tuple[str, ...]:
    """The packages that `name` asks for itself."""
    found = [str(entry["name"]) for one in _named(lock, name) for entry in _entries(one)]
    return tuple(dict.fromkeys(found))


def with_extras(lock: Lock, name: str) -> str:
    """`name[extra,...]` with the extras that the lock has of it."""
    extras = sorted({e for one in _named(lock, name) for e in one.get("optional-dependencies", {})})
    return f"{name}[{','.join(extras)}]" if extras else name


def _named(lock: Lock, name: str) -> list[Mapping[str, Any]]:
    return [one for one in lock.get("package", []) if one["name"] == name]


def _entries(package: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    yield from package.get("dependencies", [])
    for entries in package.get("optional-dependencies", {}).values():
        yield from entries


def _edges(lock: Lock | Edges) -> Edges:
    return lock if isinstance(lock, Edges) else read(lock)


def _names(way: Sequence[State]) -> tuple[str, ...]:
    """An extra of a package may ask for another extra of it."""
    return tuple(name for name, _ in groupby(state[0] for state in way))


def _asked(way: Sequence[State]) -> tuple[str, ...]:
    told = []
    for name, states in groupby(way, key=lambda state: state[0]):
        extra = [state[2] for state in states][-1]
        told.append(f"{name}[{extra}]" if extra else name)
    return tuple(told)
