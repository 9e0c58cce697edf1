"""The edges of a lock that are in force here: their markers hold, their extras are asked for.

uv.lock has a package's extras beside its dependencies, whoever asked for them; a line that names
no extra does not bring what an extra brings.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

Lock = Mapping[str, Any]
# Package, version and extra; the extra is "" for what the package asks for without one.
State = tuple[str, str, str]

_FULL_VERSION = re.compile(r"python_full_version >= '([\d.]+)'")
_MINOR = re.compile(r"==(\d+\.\d+)\.\*")


@dataclass(frozen=True)
class Line:
    """A requirement line of the project that is in force here; `starts` is what it brings."""

    group: str
    text: str
    starts: tuple[State, ...]


@dataclass(frozen=True)
class Edges:
    lines: tuple[Line, ...]
    children: Mapping[State, tuple[State, ...]]

    @cached_property
    def parents(self) -> dict[State, list[State]]:
        found: dict[State, list[State]] = {}
        for parent, children in self.children.items():
            for child in children:
                found.setdefault(child, []).append(parent)
        return found

    def named(self, package: str) -> list[State]:
        """The package itself and its extras."""
        return [state for state in self.children if state[0] == package]

    def distances(self, goals: Iterable[State], shunned: str = "") -> dict[State, int]:
        """Steps to the nearest of `goals` from every state that reaches one, never by way of the
        package `shunned`."""
        steps = dict.fromkeys(goals, 0)
        queue = deque(steps)
        while queue:
            state = queue.popleft()
            for parent in self.parents.get(state, ()):
                if parent not in steps and parent[0] != shunned:
                    steps[parent] = steps[state] + 1
                    queue.append(parent)
        return steps

    def way(self, towards: Mapping[State, int], start: State) -> list[State]:
        """The first of the shortest ways from `start` to a goal; `towards` are `distances`."""
        way = [start]
        while towards[way[-1]] > 0:
            near = towards[way[-1]] - 1
            way.append(next(s for s in self.children[way[-1]] if towards.get(s) == near))
        return way


def is_project(package: Mapping[str, Any]) -> bool:
    return "virtual" in package.get("source", {})


def lines_of(lock: Lock) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Group and entry of every requirement line of the project, in force here or not."""
    for package in filter(is_project, lock.get("package", [])):
        for group, entries in package.get("metadata", {}).get("requires-dev", {}).items():
            for entry in entries:
                yield group, entry


def text_of(entry: Mapping[str, Any]) -> str:
    extras = entry.get("extras") or entry.get("extra") or ()
    wanted = f"[{','.join(extras)}]" if extras else ""
    marker = f" ; {entry['marker']}" if entry.get("marker") else ""
    return f"{entry['name']}{wanted}{entry.get('specifier', '')}{marker}"


def read(lock: Lock) -> Edges:
    """Of the lock's own Python, on the machine that this runs on."""
    here = _Here(lock)
    packages = [one for one in lock.get("package", []) if not is_project(one) and here.has(one)]
    children: dict[State, tuple[State, ...]] = {}
    for one in packages:
        name, version = one["name"], one.get("version", "")
        children[name, version, ""] = here.targets(one.get("dependencies", ()))
        for extra, entries in one.get("optional-dependencies", {}).items():
            children[name, version, extra] = here.targets(entries)
    return Edges(tuple(_lines(lock, here)), children)


def _lines(lock: Lock, here: _Here) -> Iterator[Line]:
    brought = _brought(lock, here)
    # One for a single package has no name of its own: what that package asks for has it already.
    listed = lock.get("manifest", {}).get("overrides", ())
    overridden = {entry["name"] for entry in listed if "name" in entry}
    for group, entry in lines_of(lock):
        starts = brought.get((group, entry["name"]), [])
        if entry["name"] not in overridden:  # an override has its own marker and extras
            if not here.holds(entry):
                continue
            wanted = ("", *(entry.get("extras") or ()))
            starts = [state for state in starts if state[2] in wanted]
        if starts:
            yield Line(group, text_of(entry), tuple(starts))


def _brought(lock: Lock, here: _Here) -> dict[tuple[str, str], list[State]]:
    """What the groups bring, by group and package, as uv resolved it."""
    found: dict[tuple[str, str], list[State]] = {}
    for package in filter(is_project, lock.get("package", [])):
        for group, entries in package.get("dev-dependencies", {}).items():
            for state in here.targets(entries):
                found.setdefault((group, state[0]), []).append(state)
    return found


class _Here:
    """What markers are evaluated with, and the versions that the lock has for it."""

    def __init__(self, lock: Lock) -> None:
        self._python = _python(lock)
        self._versions: dict[str, list[str]] = {}
        for one in lock.get("package", []):
            if not is_project(one) and self.has(one):
                self._versions.setdefault(one["name"], []).append(one.get("version", ""))

    def has(self, package: Mapping[str, Any]) -> bool:
        """Of a package that is locked several times, only one is of this platform."""
        markers: Collection[str] = package.get("resolution-markers", ())
        return not markers or any(_holds(text, self._python) for text in markers)

    def holds(self, entry: Mapping[str, Any]) -> bool:
        return "marker" not in entry or _holds(entry["marker"], self._python)

    def targets(self, entries: Iterable[Mapping[str, Any]]) -> tuple[State, ...]:
        """What entries in force lead to: the package, and each of its extras asked for."""
        found = [
            (entry["name"], version, extra)
            for entry in filter(self.holds, entries)
            for version in self._versions.get(entry["name"], ())
            if entry.get("version", version) == version
            for extra in ("", *entry.get("extra", ()))
        ]
        return tuple(dict.fromkeys(found))


def _python(lock: Lock) -> str:
    """The full version of the interpreter that the lock was made for, as its environments tell
    it; "" leaves that of the running one."""
    for text in lock.get("supported-markers", ()):
        if found := _FULL_VERSION.search(text):
            return found[1]
    found = _MINOR.fullmatch(lock.get("requires-python", ""))
    return f"{found[1]}.0" if found else ""


@lru_cache(maxsize=4096)
def _holds(text: str, python: str) -> bool:
    from packaging.markers import InvalidMarker, Marker

    there = {"extra": ""}
    if python:
        minor = ".".join(python.split(".")[:2])
        there |= {"python_full_version": python, "python_version": minor}
    try:
        return Marker(text).evaluate(there)
    except InvalidMarker:
        return True  # one way too many is shown rather than one too few
