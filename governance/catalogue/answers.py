"""What the Comfy Registry says of a node, as values.

Field names and enumerations are those of its OpenAPI document (schemas Node and NodeVersion); what
comes from there is hostile input: texts lose control characters and are cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from governance.catalogue import ids

ACTIVE, PENDING, FLAGGED = "active", "pending", "flagged"
BANNED, DELETED = "banned", "deleted"

_LONGEST_TEXT = 2000
_MOST_ITEMS = 500
_PREFIXES = ("nodeversionstatus", "nodestatus")


@dataclass(frozen=True)
class Release:
    """One version of a node.  `status` is one of the words above, another word of the registry's,
    or "" where it says none; `url` is where the archive lies, "" where it does not say."""

    node_id: str
    version: str
    status: str = ""
    reason: str = ""
    deprecated: bool = False
    url: str = ""
    created_at: str = ""
    changelog: str = ""
    dependencies: tuple[str, ...] = ()
    comfyui: str = ""
    systems: tuple[str, ...] = ()
    accelerators: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return _plain(asdict(self))


@dataclass(frozen=True)
class Published:
    """A node; `latest` is None where only its repository is known."""

    id: str
    name: str = ""
    description: str = ""
    publisher: str = ""
    repository: str = ""
    status: str = ""
    downloads: int = 0
    latest: Release | None = None
    publisher_id: str = ""

    def to_json(self) -> dict[str, Any]:
        return _plain(asdict(self))


class Unreadable(Exception):
    """The answer is not of this shape; the text says what is wrong."""


def published(value: Any) -> Published:
    """Raises Unreadable."""
    row = _object(value)
    node_id = _id(row)
    latest = row.get("latest_version")
    publisher = row.get("publisher")
    downloads = row.get("downloads")
    return Published(
        node_id,
        text(row.get("name")) or node_id,
        text(row.get("description")),
        text(publisher.get("name") or publisher.get("id")) if isinstance(publisher, dict) else "",
        text(row.get("repository")),
        status(row.get("status")),
        downloads if type(downloads) is int else 0,
        release(latest, node_id) if isinstance(latest, dict) and latest.get("version") else None,
        text(publisher.get("id")) if isinstance(publisher, dict) else "",
    )


def release(value: Any, node_id: str) -> Release:
    """Raises Unreadable."""
    row = _object(value)
    version = row.get("version")
    if not isinstance(version, str) or not ids.is_part(version):
        raise Unreadable("its field version is no version")
    return Release(
        node_id,
        ids.normalised(version),
        status(row.get("status")),
        text(row.get("status_reason")),
        row.get("deprecated") is True,
        text(row.get("downloadUrl")),
        text(row.get("createdAt")),
        text(row.get("changelog")),
        tuple(_texts(row.get("dependencies"))),
        text(row.get("supported_comfyui_version")),
        tuple(_texts(row.get("supported_os"))),
        tuple(_texts(row.get("supported_accelerators"))),
    )


def status(value: Any) -> str:
    """`NodeVersionStatusFlagged` is flagged."""
    word = text(value).lower()
    for prefix in _PREFIXES:
        word = word.removeprefix(prefix)
    return word


def text(value: Any) -> str:
    """Lines become blanks; nothing is left that a terminal obeys."""
    if not isinstance(value, str):
        return ""
    joined = " ".join(value[:_LONGEST_TEXT].split())
    return "".join(letter for letter in joined if letter.isprintable())


def _texts(value: Any) -> Iterator[str]:
    for item in value[:_MOST_ITEMS] if isinstance(value, list) else ():
        if found := text(item):
            yield found


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable(f"it is a {type(value).__name__}, not an object")
    return value


def _id(row: Mapping[str, Any]) -> str:
    node_id = row.get("id")
    if not isinstance(node_id, str) or not ids.is_id(node_id):
        raise Unreadable("its field id is no id")
    return node_id


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """Tuples as lists, as JSON has them."""
    return {
        name: list(item)
        if isinstance(item, tuple)
        else _plain(item)
        if isinstance(item, dict)
        else item
        for name, item in value.items()
    }
