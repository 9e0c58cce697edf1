"""Workflows of a node: whether everything that they use is there.  They are not executed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance.base.errors import Damaged, UsageError
from governance.boundaries import store

# ComfyUI's page draws these itself; no Python class stands behind them.
_OF_THE_PAGE = frozenset({"Note", "MarkdownNote", "Reroute", "PrimitiveNode"})
# LiteGraph's modes `never` and `bypass`: such a node does not run.
_NOT_RUN = (2, 4)


@dataclass(frozen=True)
class Workflow:
    """`classes` are the node classes that it uses, each once."""

    name: str
    classes: tuple[str, ...]

    def missing(self, known: Collection[str]) -> tuple[str, ...]:
        return tuple(name for name in self.classes if name not in known)


def read(named: Path, cwd: Path) -> Workflow:
    """A workflow as ComfyUI's page saves it, or in the form of its API.  Raises UsageError."""
    path = cwd / store.typed_path(named)
    try:
        document = store.read_json(path)
    except FileNotFoundError:
        raise _unusable(named, "does not exist") from None
    except Damaged as error:
        raise _unusable(named, f"cannot be read: {error.facts['why']}") from None
    found = tuple(dict.fromkeys(_classes(document)))
    if not found:
        raise _unusable(named, "holds no workflow: it names no node")
    return Workflow(path.name, found)


def _classes(document: Any) -> Iterator[str]:
    if not isinstance(document, dict):
        return
    if isinstance(document.get("nodes"), list):
        yield from _of_page(document)
    else:
        rows = [row for row in document.values() if isinstance(row, dict)]
        yield from (str(row["class_type"]) for row in rows if row.get("class_type"))


def _of_page(document: Mapping[str, Any]) -> Iterator[str]:
    """The nodes of the graph and of its subgraphs, which are used by their ids."""
    definitions = document.get("definitions")
    listed = definitions.get("subgraphs") if isinstance(definitions, dict) else None
    subgraphs = [graph for graph in listed or () if isinstance(graph, dict)]
    ids = {graph.get("id") for graph in subgraphs}
    for graph in (document, *subgraphs):
        for row in graph.get("nodes") or ():
            if not isinstance(row, dict) or row.get("mode") in _NOT_RUN:
                continue
            kind = row.get("type")
            if isinstance(kind, str) and kind not in _OF_THE_PAGE and kind not in ids:
                yield kind


def _unusable(named: Path, why: str) -> UsageError:
    return UsageError(
        f"the workflow {named} {why}",
        hint="name a JSON file that ComfyUI saved (Save, or Export API)",
        code="bad_workflow",
        facts={"path": str(named)},
    )
