"""Versions that an adoption moved, each with whose line asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from governance.adoption.environment import Environment, Installed
from governance.conflict.package_changes import direction
from governance.conflict.problem import Owned, owner_words
from governance.truth.lockfile import Change

_MOST_NAMED = 3

Packages = Mapping[str, Installed]


@dataclass(frozen=True)
class Move:
    """`direction` is up, down or other; `because` a sentence; `is_explained` where a line or a
    source asks for it."""

    name: str
    before: str
    after: str
    direction: str
    because: str
    is_explained: bool = True

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def explain(
    old: Environment, new: Environment, lines: Sequence[Owned], held: Sequence[str] = ()
) -> list[Move]:
    """Downgrades first.  `lines` are those of the new project's groups, `held` its constraints
    and overrides."""
    asking = _Asking(old.packages, new.packages, lines, held, new.version)
    moves = [
        asking.move(name, one, new.packages[name])
        for name, one in sorted(old.packages.items())
        if name in new.packages and new.packages[name].shown != one.shown
    ]
    return sorted(moves, key=lambda move: (move.direction != "down", move.name))


def left_behind(old: Environment, new: Environment) -> list[str]:
    """Packages of the old environment that nothing in the new one asks for."""
    tools = ("pip", "setuptools", "wheel", "uv")
    return sorted(name for name in old.packages if name not in new.packages and name not in tools)


def broken_pins(old: Environment) -> list[str]:
    """Installed versions that another installed package does not ask for, as pins."""
    asking = _Asking(old.packages, old.packages, (), (), old.version)
    return sorted(
        f"{name}=={one.version}"
        for name, one in old.packages.items()
        if not one.url and any(asking.of_packages(name, one.version))
    )


@dataclass(frozen=True)
class _Asking:
    old: Packages
    new: Packages
    lines: Sequence[Owned]
    held: Sequence[str]
    python: str

    def move(self, name: str, before: Installed, after: Installed) -> Move:
        way = direction(Change(name, before.shown, after.shown))
        reasons = list(dict.fromkeys(self._reasons(name, before)))[:_MOST_NAMED]
        because = "; ".join(reasons) or self._source(before)
        known = bool(reasons or before.url or "+" in before.version)
        return Move(name, before.shown, after.shown, way, because, known)

    def _reasons(self, name: str, before: Installed) -> Iterator[str]:
        yield from self._of_lines(name, before)
        yield from self.of_packages(name, before.version)
        for text in before.requires:
            for other in self.new.values():
                if self._forbids(text, other.name, other.version):
                    found = f"{other.name} is {other.version} now"
                    yield f"{name} {before.version} asks for {_plain(text)}, and {found}"

    def of_packages(self, name: str, version: str) -> Iterator[str]:
        for other in self.new.values():
            for text in other.requires:
                if self._forbids(text, name, version):
                    yield f"{other.name} {other.version} asks for {_plain(text)}"

    def _of_lines(self, name: str, before: Installed) -> Iterator[str]:
        for line in self.lines:
            if self._forbids(line.text, name, before.version):
                place = f" ({line.place})" if line.file else ""
                yield f"{owner_words(line.owner)} asks for {line.text}{place}"
        for text in self.held:
            if self._forbids(text, name, before.version):
                yield f"it is held by {text}"

    def _forbids(self, text: str, name: str, version: str) -> bool:
        """Whether a requirement is about the package, holds here, and not for this version."""
        from packaging.requirements import InvalidRequirement, Requirement

        if not text[:1].isalnum() or _leading(text) != name:
            return False
        try:
            wanted = Requirement(text)
            marker = wanted.marker
            holds = marker is None or marker.evaluate(self._here())
            return holds and not wanted.specifier.contains(version, prereleases=True)
        except (InvalidRequirement, ValueError, KeyError):
            return False

    def _here(self) -> dict[str, str]:
        minor = ".".join(self.python.split(".")[:2])
        return {"python_full_version": self.python, "python_version": minor, "extra": ""}

    def _source(self, before: Installed) -> str:
        """Where no line forbids the old version, its source is not one of the lock's."""
        if before.editable:
            return f"it was installed in place from {before.url[2:]}, which is no package to lock"
        if before.url:
            return f"it came from {before.url[2:]}; the index's version is taken"
        if "+" in before.version:
            return f"{before.version} is a build of another index than those of this workspace"
        return "the index offers no such version for this Python and date"


def _leading(text: str) -> str:
    from governance.requirements import requirement_name

    return requirement_name(text)


def _plain(text: str) -> str:
    """Without its marker, which holds here."""
    return text.partition(";")[0].strip()
