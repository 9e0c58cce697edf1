"""The Comfy Registry's public API, as far as gov asks it.

Source: the OpenAPI document at api.comfy.org.  All calls but `install` only read; that one counts
as an installation there, and is made for a real one alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from governance.base.errors import UsageError
from governance.boundaries.config import Config
from governance.catalogue import answers, connection, ids
from governance.catalogue.answers import Published, Release, Unreadable

_MOST_FOUND = 100
_MOST_AT_ONCE = 100

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Registry:
    """`seconds` is the longest that one question may take."""

    url: str
    seconds: float

    @classmethod
    def of(cls, config: Config) -> Registry:
        """Raises UsageError for a `[registry] url` that is no web address."""
        url = config.text("registry.url").rstrip("/")
        if not _is_address(url):
            raise UsageError(
                f"{config.path}: registry.url = {url!r} is no web address",
                hint='the registry of ComfyUI is "https://api.comfy.org"',
                code="bad_config",
                facts={"key": "registry.url"},
            )
        return cls(url, config.number("registry.timeout_seconds"))

    def node(self, node_id: str) -> Published | None:
        """None where the registry knows no such node.  Its own spelling of the id may differ."""
        return self._one(f"/nodes/{ids.require_id(node_id)}", answers.published)

    def version(self, node_id: str, version: str) -> Release | None:
        path = f"/nodes/{ids.require_id(node_id)}/versions/{ids.require_version(version)}"
        return self._one(path, lambda value: answers.release(value, node_id))

    def install(self, node_id: str, version: str) -> Release | None:
        """As `version`; the registry counts it as an installation."""
        path = f"/nodes/{ids.require_id(node_id)}/install"
        asked = {"version": ids.require_version(version)}
        return self._one(path, lambda value: answers.release(value, node_id), asked)

    def versions(self, node_id: str) -> list[Release]:
        """All of them, the flagged and banned ones too, as the registry orders them."""
        path = f"/nodes/{ids.require_id(node_id)}/versions"
        every = [f"NodeVersionStatus{w.title()}" for w in _STATUSES]
        asked = [("statuses", word) for word in every]
        read = _listed(lambda value: answers.release(value, node_id))
        return self._one(path, read, [*asked, ("include_status_reason", "true")]) or []

    def search(self, word: str, limit: int = _MOST_FOUND) -> list[Published]:
        asked = {"search": word, "limit": str(limit)}
        read = _listed(answers.published)
        return self._one("/nodes/search", lambda value: read(_field(value, "nodes")), asked) or []

    def statuses(self, wanted: Iterable[tuple[str, str]]) -> dict[str, Release]:
        """What is said today of versions that are installed, by `ids.key`; one call for a hundred.
        Those that the registry does not know are left out."""
        listed = [(ids.require_id(n), ids.require_version(v)) for n, v in wanted]
        found: dict[str, Release] = {}
        for start in range(0, len(listed), _MOST_AT_ONCE):
            found |= self._statuses(listed[start : start + _MOST_AT_ONCE])
        return found

    def _statuses(self, wanted: Sequence[tuple[str, str]]) -> dict[str, Release]:
        rows = [{"node_id": node_id, "version": version} for node_id, version in wanted]
        body = json.dumps({"node_versions": rows}).encode()
        told = self._one("/bulk/nodes/versions", _bulk, body=body) or []
        return {ids.key(one.node_id, one.version): one for one in told}

    def _one(
        self,
        path: str,
        read: Callable[[Any], _Value],
        asked: Any = (),
        body: bytes | None = None,
    ) -> _Value | None:
        url = f"{self.url}{path}{'?' + urlencode(asked) if asked else ''}"
        data = connection.ask(url, seconds=self.seconds, body=body)
        if data is None:
            return None
        try:
            return read(_json(data))
        except Unreadable as error:
            raise connection.unreadable(url, str(error)) from None


_STATUSES = (
    answers.ACTIVE,
    answers.PENDING,
    answers.FLAGGED,
    answers.BANNED,
    answers.DELETED,
)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    plain = "@" not in parts.netloc and not parts.query and not parts.fragment
    return parts.scheme in ("https", "http") and bool(parts.hostname) and plain


def _json(data: bytes) -> Any:
    if not data.strip():
        raise Unreadable("it is empty")
    if data.lstrip()[:1] == b"<":
        raise Unreadable("it is a web page, as a proxy shows that wants a login")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise Unreadable("it is not JSON") from None


def _listed(read: Callable[[Any], _Value]) -> Callable[[Any], list[_Value]]:
    """Items that cannot be read are left out: one odd entry should not hide all others."""

    def each(value: Any) -> list[_Value]:
        if not isinstance(value, list):
            raise Unreadable(f"it is a {type(value).__name__}, not a list")
        found = []
        for item in value:
            try:
                found.append(read(item))
            except Unreadable:
                continue
        return found

    return each


def _field(value: Any, name: str) -> Any:
    if not isinstance(value, dict) or name not in value:
        raise Unreadable(f"it has no field {name}")
    return value[name]


def _bulk(value: Any) -> list[Release]:
    return _listed(_of_bulk)(_field(value, "node_versions"))


def _of_bulk(row: Any) -> Release:
    node_id = _field(_field(row, "identifier"), "node_id")
    if not isinstance(node_id, str) or not ids.is_id(node_id):
        raise Unreadable("its field node_id is no id")
    return answers.release(_field(row, "node_version"), node_id)
