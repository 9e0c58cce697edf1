"""What a foreign file asks for, whatever its form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from governance import git
from governance.base.errors import GovError
from governance.base.names import normalise
from governance.bundle.contents import printable

_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_PINNED = re.compile(
    r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?:\[[^\]]*\])?\s*===?\s*([A-Za-z0-9.!+_-]+)"
)
_MANAGER = "comfyui-manager"
_LONGEST = 80


@dataclass(frozen=True)
class Repository:
    """A node that is cloned: `commit` may be the beginning of one, None for the newest; `name` is
    its folder, where the file says so."""

    url: str
    commit: str | None = None
    name: str | None = None


@dataclass
class Wanted:
    """`registry` are ids and versions of the Comfy Registry, `versions` packages by their name;
    `lost` are sentences on what cannot be taken."""

    form: str
    comfyui: str | None = None
    repositories: list[Repository] = field(default_factory=list)
    registry: dict[str, str | None] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)

    def add_repository(self, url: str, commit: Any, *, name: str | None = None) -> None:
        """One node; what names no commit, the Manager itself and what is named twice is told."""
        url = git.stripped(url)
        if _MANAGER in url.lower():
            self.lost.append(_ITSELF)
            return
        if any(git.same_origin(url, known.url) for known in self.repositories):
            self.lost.append(f"{printable(url)} is named twice: the first one counts")
            return
        if commit is not None and not is_commit(commit):
            self.lost.append(f"{printable(url)}: {printable(commit)!r} is no commit")
            return
        self.repositories.append(Repository(url, commit, name))

    def add_registry(self, node_id: str, version: str | None) -> None:
        if _MANAGER in node_id.lower():
            self.lost.append(_ITSELF)
        else:
            self.registry[node_id] = version

    def add_frozen(self, lines: Iterable[str]) -> None:
        """Lines of a freeze: `name==version` is a wish, all else names a place of that machine."""
        for line in lines:
            text = line.partition(" #")[0].strip()
            found = _PINNED.fullmatch(text.partition(";")[0].strip())
            if found is not None:
                self.versions[normalise(found[1])] = found[2]
            elif text and not text.startswith("#"):
                shown = printable(git.stripped(text))[:_LONGEST]
                self.lost.append(f"the package line {shown!r} names no version of an index")


_ITSELF = "ComfyUI-Manager itself: gov does its work"


def is_commit(value: Any) -> bool:
    return isinstance(value, str) and _COMMIT.fullmatch(value) is not None


def unreadable(name: str, why: str) -> GovError:
    return GovError(
        f"{name} cannot be imported: {why}",
        hint="nothing was changed; write the file anew with the program that made it",
        code="bad_foreign_file",
        facts={"file": name, "why": why},
    )


def mapping(value: Any, place: str, name: str) -> Mapping[str, Any]:
    """Raises GovError where it is no object with text for keys."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise unreadable(name, f"{place} is no object")
    return value


def listed(value: Any, place: str, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise unreadable(name, f"{place} is no list")
    return value
