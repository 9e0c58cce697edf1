"""Ids and versions of the Comfy Registry, checked before any of them becomes part of a URL."""

from __future__ import annotations

import re
from typing import NamedTuple

from governance.base import names
from governance.base.errors import UsageError

NIGHTLY = "nightly"  # the repository itself, at its newest commit
_LATEST = "latest"
# In a node's folder: one relative path a line, the files of the version that was unpacked there.
TRACKING = ".tracking"

_PART = re.compile(r"[A-Za-z0-9._-]+")
_NUMBERS = re.compile(r"[0-9]+(\.[0-9]+){0,2}")


class Wanted(NamedTuple):
    """What somebody typed: `version` None is the newest, NIGHTLY the repository."""

    id: str
    version: str | None = None

    def __str__(self) -> str:
        return f"{self.id}@{self.version}" if self.version else self.id


def parse(text: str) -> Wanted | None:
    """`ID` or `ID@VERSION`; None for what cannot be one, as a URL or a path with a slash."""
    node_id, at, version = text.partition("@")
    if not is_id(node_id) or (at and not is_part(version)):
        return None
    typed = version if at and version.lower() != _LATEST else None
    return Wanted(node_id, None if typed is None else normalised(typed))


def is_id(text: str) -> bool:
    return is_part(text) and len(text) <= names.MAX_NODE_ID


def is_part(text: str) -> bool:
    """Whether it may stand in a URL's path: `..` would be another path."""
    return _PART.fullmatch(text) is not None and text.strip(".") != "" and len(text) <= 200


def require_id(text: str) -> str:
    return _required(text, "a node's id at the registry", is_id(text))


def require_version(text: str) -> str:
    """`text` as the registry writes versions."""
    return normalised(_required(text, "a version", is_part(text)))


def _required(text: str, what: str, holds: bool) -> str:
    if not holds:
        raise UsageError(
            f"{text[:100]!a} cannot be {what}",
            hint="letters, digits, `.`, `_` and `-` are taken: gov node add comfyui-kjnodes@1.1.2",
            code="bad_registry_id",
            facts={"id": ascii(text[:100])},
        )
    return text


def normalised(version: str) -> str:
    """`2.5` is `2.5.0`, as ComfyUI-Manager has it."""
    if version.lower() == NIGHTLY:
        return NIGHTLY
    if not _NUMBERS.fullmatch(version):
        return version
    numbers = [str(int(part)) for part in version.split(".")]
    return ".".join([*numbers, "0", "0"][:3])


def same(one: str, other: str) -> bool:
    return one.lower() == other.lower()


def key(node_id: str, version: str) -> str:
    """One spelling for a version of a node."""
    return f"{node_id.lower()}@{normalised(version)}"


def is_newer(one: str, other: str) -> bool:
    """Whether `one` is the higher version; what is no version is never higher."""
    from packaging.version import InvalidVersion, Version

    try:
        return Version(one) > Version(other)
    except InvalidVersion:
        return False
