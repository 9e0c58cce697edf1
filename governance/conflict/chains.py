"""The way from a requirement line to a package, read from a lock: checked, not guessed.

uv.lock tells who depends on whom, for the locked versions, but not with which specifier.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from governance.base.names import normalise

Lock = Mapping[str, Any]


@dataclass(frozen=True)
class Chain:
    """`group` asks for `packages[0]` as `text`, which brings the next one, up to the last."""

    group: str
    text: str
    packages: tuple[str, ...]


def chains(lock: Lock, package: str) -> tuple[Chain, ...]:
    """The shortest chain from every group's line that brings `package`, direct lines first."""
    wanted = normalise(package)
    edges = _edges(lock)
    towards = _distances(edges, wanted)
    found = [
        Chain(group, text, _way(edges, towards, name))
        for group, name, text in requested(lock)
        if name in towards
    ]
    return tuple(sorted(found, key=lambda chain: (len(chain.packages), chain.group)))


def owners(lock: Lock, package: str) -> tuple[str, ...]:
    """The groups that bring `package`, directly or not, sorted."""
    return tuple(sorted({chain.group for chain in chains(lock, package)}))


def requested(lock: Lock) -> list[tuple[str, str, str]]:
    """(group, package, text) of every requirement line of the project."""
    rows: list[tuple[str, str, str]] = []
    for package in lock.get("package", []):
        if not _is_project(package):
            continue
        groups = package.get("metadata", {}).get("requires-dev", {})
        for group, entries in groups.items():
            rows += [(group, entry["name"], _text(entry)) for entry in entries]
    return rows


def demands(lock: Lock, package: str) -> tuple[str, ...]:
    """How other packages ask for `package`: `name[extra] ; marker`, without their specifiers."""
    found = [
        _text({**entry, "specifier": ""})
        for parent in lock.get("package", [])
        if not _is_project(parent)
        for entry in _entries(parent)
        if entry["name"] == package
    ]
    return tuple(dict.fromkeys(found))


def parents(lock: Lock, package: str) -> tuple[str, ...]:
    """The packages that ask for `package`, in the lock's order."""
    return tuple(name for name, children in _edges(lock).items() if package in children)


def demand_of(lock: Lock, parent: str, package: str) -> str:
    """How `parent` asks for `package`: `name[extra] ; marker`, without its specifier."""
    found = [
        _text({**entry, "specifier": ""})
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


def _is_project(package: Mapping[str, Any]) -> bool:
    return "virtual" in package.get("source", {})


def _edges(lock: Lock) -> dict[str, list[str]]:
    edges: dict[str, list[str]] = {}
    for package in lock.get("package", []):
        if not _is_project(package):
            children = edges.setdefault(package["name"], [])
            children += [entry["name"] for entry in _entries(package)]
    return edges


def _entries(package: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    yield from package.get("dependencies", [])
    for entries in package.get("optional-dependencies", {}).values():
        yield from entries


def _distances(edges: Mapping[str, list[str]], wanted: str) -> dict[str, int]:
    """Steps from every package that reaches `wanted`."""
    parents: dict[str, list[str]] = {}
    for parent, children in edges.items():
        for child in children:
            parents.setdefault(child, []).append(parent)
    steps = {wanted: 0}
    queue = deque([wanted])
    while queue:
        name = queue.popleft()
        for parent in parents.get(name, []):
            if parent not in steps:
                steps[parent] = steps[name] + 1
                queue.append(parent)
    return steps


def _way(edges: Mapping[str, list[str]], towards: Mapping[str, int], start: str) -> tuple[str, ...]:
    way = [start]
    while towards[way[-1]] > 0:
        near = towards[way[-1]] - 1
        way.append(next(name for name in edges[way[-1]] if towards.get(name) == near))
    return tuple(way)


def _text(entry: Mapping[str, Any]) -> str:
    extras = entry.get("extras") or entry.get("extra") or ()
    wanted = f"[{','.join(extras)}]" if extras else ""
    marker = f" ; {entry['marker']}" if entry.get("marker") else ""
    return f"{entry['name']}{wanted}{entry.get('specifier', '')}{marker}"
