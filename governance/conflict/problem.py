"""The question: requirement lines, each with its owner, that do not lock together."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from governance.requirements import group_name

CORE = "core"
MANAGER = "manager"
PIN = "pin"
NODE = "node:"


@dataclass(frozen=True)
class Owned:
    """A requirement line and whose it is.

    `owner` is "core", "manager", "node:<id>" or "pin"; `line` is 1-based, 0 where there is no file.
    """

    text: str
    owner: str
    file: str
    line: int
    name: str

    @property
    def group(self) -> str:
        if self.owner.startswith(NODE):
            return group_name(self.owner.removeprefix(NODE))
        return self.owner

    @property
    def who(self) -> str:
        return owner_words(self.owner)

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "who": self.who}


def owner_words(owner: str) -> str:
    """The owner as a person knows it."""
    if owner.startswith(NODE):
        return owner.removeprefix(NODE)
    return {CORE: "ComfyUI", MANAGER: "ComfyUI-Manager", PIN: "a pin"}.get(owner, owner)


class Scoped(NamedTuple):
    """What one version of a package asks for, in place of what its own metadata says: uv's
    override with a scope (0.11.25).  `dependency` is a name with extras and marker."""

    package: str
    version: str
    dependency: str


class Source(NamedTuple):
    """A package that is taken from one index of its own; `flat` for a page of links."""

    package: str
    url: str
    flat: bool = False


@dataclass(frozen=True)
class Problem:
    """`lines` as they would be declared, `overrides` and `scoped` as they stand today.

    `newcomers` are the owners whose lines are new: the lines of all others are known to lock
    together.  Empty: nothing is known to lock.  `log` is what uv said of the whole set, where it
    was asked already; that saves a run.  `indexes` are named by the newcomers' files and not
    followed: pairs of address and whether it is flat.  `unbuildable` are packages of which wheels
    alone count, since their build failed, with what that said.
    """

    lines: tuple[Owned, ...]
    overrides: tuple[str, ...] = ()
    newcomers: frozenset[str] = frozenset()
    log: str = ""
    scoped: tuple[Scoped, ...] = ()
    indexes: tuple[tuple[str, bool], ...] = ()
    unbuildable: tuple[tuple[str, str], ...] = ()
