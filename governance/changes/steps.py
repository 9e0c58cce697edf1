"""A change as a value: a list of steps, each of one kind, as a transaction keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ADD = "add"  # a node that was added is taken into prod, at the code that lies on the disk
UPDATE = "update"  # a node at another commit
REMOVE = "remove"  # facts: purge
ENABLE = "enable"
DISABLE = "disable"
WITH = "with"  # facts: lines that the operator adds to what a node declares
WITHOUT = "without"  # facts: packages of such lines that go again
INIT = "init"  # facts: settings; the first truth of a workspace
COMFYUI = "comfyui"  # ComfyUI's commit and requirements, as the transaction's `comfyui` has them
SETTINGS = "settings"  # facts: settings (resolution.Settings)
UPGRADE = "upgrade"  # facts: packages, none for all of them
PIN = "pin"  # facts: lines
UNPIN = "unpin"  # facts: packages
EDIT = "edit"  # pyproject.toml as somebody edited it
RESTORE = "restore"  # facts: snapshot, packages_only, snapshot_id of the truth that is brought back
BRING = "bring"  # a node that comes with a snapshot of another machine: its record is there already

# Steps after which ComfyUI loads a node that it did not load before, or another code of it.
LOADING = frozenset({ADD, UPDATE, ENABLE, WITH, BRING})


@dataclass(frozen=True)
class Step:
    """`facts` hold JSON values only; which ones, see the kinds above."""

    kind: str
    node: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "node": self.node, **self.facts}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Step:
        facts = {name: value for name, value in row.items() if name not in ("kind", "node")}
        return cls(str(row["kind"]), row.get("node"), facts)

    def words(self) -> str:
        """As a line of the history: `update Impact-Pack`, `pin numpy==1.26.4`."""
        about = [self.node] if self.node else []
        about += [str(item) for name in _SHOWN for item in _listed(self.facts.get(name))]
        return " ".join([self.kind, *about])


_SHOWN = ("lines", "packages", "commit", "told", "snapshot")


def _listed(value: Any) -> Sequence[Any]:
    if isinstance(value, str):
        return [value[:12] if len(value) == 40 else value]
    return value if isinstance(value, list) else []


def of(rows: Iterable[Mapping[str, Any]]) -> tuple[Step, ...]:
    return tuple(map(Step.from_json, rows))


def nodes(steps: Iterable[Step]) -> tuple[str, ...]:
    """The nodes that the steps name, each once, in order."""
    return tuple(dict.fromkeys(step.node for step in steps if step.node is not None))


def subjects(steps: Iterable[Step]) -> tuple[str, ...]:
    """The nodes that are to be observed: they load anew, or with other packages."""
    return nodes(step for step in steps if step.kind in LOADING)
