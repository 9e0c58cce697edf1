"""ComfyUI-Manager's own list of nodes, which ships with it: what is known without the registry.

Formats: `custom-node-list.json` ({"custom_nodes": [{author, title, id, reference, files,
install_type, description, ...}]}, the id on a third of them, and not always the registry's) and
`extension-node-map.json` beside it ({URL: [[classes], {...}]}).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from governance.base.errors import UsageError
from governance.boundaries import store
from governance.boundaries.config import Config
from governance.catalogue import ids
from governance.catalogue.answers import text

LIST, CLASSES = "custom-node-list.json", "extension-node-map.json"
_CLONE = "git-clone"
_MOST_FOUND = 100


@dataclass(frozen=True)
class Listed:
    """`url` is where its code lies; `how` is git-clone, copy or unzip."""

    id: str
    title: str
    author: str
    description: str
    url: str
    how: str

    @property
    def is_repository(self) -> bool:
        return self.how == _CLONE

    @property
    def name(self) -> str:
        """The last part of its address: what many people take for its id."""
        return self.url.rstrip("/").rpartition("/")[2].removesuffix(".git")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Catalogue:
    path: Path

    @classmethod
    def of(cls, config: Config) -> Catalogue | None:
        """None where `[registry] catalogue` is empty.  Raises UsageError where nothing is there."""
        given = config.text("registry.catalogue")
        if not given:
            return None
        path = config.path.parent / store.typed_path(given)
        found = path / LIST if path.is_dir() else path
        if not found.is_file():
            raise _unusable(found, "there is no such file")
        return cls(found)

    def find(self, node_id: str) -> list[Listed]:
        """Those of this id; where there is none, those whose repository has this name."""
        by_id = [one for one in self.nodes if one.id and ids.same(one.id, node_id)]
        return by_id or [one for one in self.nodes if ids.same(one.name, node_id)]

    def search(self, word: str) -> list[Listed]:
        """Nodes that hold the word in id, title, address or description, or name a class so."""
        wanted = word.lower()
        classes = self._urls_of_class(wanted)
        named = [one for one in self.nodes if wanted in f"{one.id} {one.title} {one.name}".lower()]
        others = [
            one for one in self.nodes if one.url in classes or wanted in one.description.lower()
        ]
        return list(dict.fromkeys([*named, *others]))[:_MOST_FOUND]

    @cached_property
    def nodes(self) -> tuple[Listed, ...]:
        value = _read(self.path)
        rows = value.get("custom_nodes") if isinstance(value, dict) else None
        if not isinstance(rows, list):
            raise _unusable(self.path, "it holds no list custom_nodes")
        return tuple(one for row in rows if (one := _listed(row)) is not None)

    def _urls_of_class(self, wanted: str) -> set[str]:
        path = self.path.with_name(CLASSES)
        value = _read(path) if path.is_file() else {}
        rows = value.items() if isinstance(value, dict) else ()
        return {url for url, row in rows if any(wanted in name.lower() for name in _classes(row))}


def _classes(row: Any) -> Iterator[str]:
    listed = row[0] if isinstance(row, list) and row else None
    return (name for name in (listed if isinstance(listed, list) else ()) if isinstance(name, str))


def _listed(row: Any) -> Listed | None:
    if not isinstance(row, Mapping):
        return None
    files = row.get("files")
    first = files[0] if isinstance(files, Sequence) and files else ""
    url = text(first) or text(row.get("reference"))
    node_id = text(row.get("id"))
    return Listed(
        node_id if ids.is_id(node_id) else "",
        text(row.get("title")),
        text(row.get("author")),
        text(row.get("description")),
        url,
        text(row.get("install_type")) or _CLONE,
    )


def _read(path: Path) -> Any:
    try:
        return json.loads(store.plain_bytes(path, store.MAX_DOCUMENT_BYTES) or b"")
    except OSError as error:
        raise _unusable(path, str(error.strerror)) from None
    except (ValueError, RecursionError):
        raise _unusable(path, "it is not JSON") from None


def _unusable(path: Path, why: str) -> UsageError:
    return UsageError(
        f"{path} is no catalogue of ComfyUI-Manager: {why}",
        hint=f"[registry] catalogue in config.toml names the folder that holds {LIST}, or the file",
        code="bad_catalogue",
        facts={"path": str(path)},
    )
