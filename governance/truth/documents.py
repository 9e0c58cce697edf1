"""Documents of the state folder as values.

Readers tolerate unknown fields and keep them when they write back (`extra`).  Field names are the
contract's; docs/05_data_contracts.md is generated from the classes below.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Self

from governance.base.errors import Refused
from governance.base.shape import TEXT_OR_NONE, Shape, mismatch
from governance.boundaries import store

SCHEMA = store.SCHEMA

RUNNING = "running"
COMPLETED = "completed"
FAILED = "failed"
NEEDS_RESOLUTION = "needs_resolution"
RESOLVED = "resolved"
PROMOTED = "promoted"
PROMOTE_FAILED = "promote_failed"
ABORTED = "aborted"

FINAL = frozenset({PROMOTED, ABORTED})

MOVES: dict[str, frozenset[str]] = {
    RUNNING: frozenset({COMPLETED, FAILED, NEEDS_RESOLUTION, ABORTED}),
    COMPLETED: frozenset({PROMOTED, NEEDS_RESOLUTION, PROMOTE_FAILED, ABORTED}),
    RESOLVED: frozenset({PROMOTED, NEEDS_RESOLUTION, PROMOTE_FAILED, RESOLVED, ABORTED}),
    FAILED: frozenset({PROMOTED, NEEDS_RESOLUTION, PROMOTE_FAILED, ABORTED}),
    PROMOTE_FAILED: frozenset({PROMOTED, NEEDS_RESOLUTION, PROMOTE_FAILED, RESOLVED, ABORTED}),
    NEEDS_RESOLUTION: frozenset({RESOLVED, NEEDS_RESOLUTION, ABORTED}),
    PROMOTED: frozenset(),
    ABORTED: frozenset(),
}

_SHAPES: dict[str, Shape] = {
    "str": str,
    "str | None": TEXT_OR_NONE,
    "int": int,
    "int | None": (int, type(None)),
    "float": (float, int),
    "bool": bool,
    "list[str]": [str],
    "list[str] | None": ([str], type(None)),
    "list[dict[str, Any]]": [dict],
    "list[dict[str, str]]": [{"*": str}],
    "list[dict[str, Any]] | None": ([dict], type(None)),
    "dict[str, Any]": dict,
    "dict[str, str]": {"*": str},
    "bool | None": (bool, type(None)),
    "dict[str, dict[str, Any]]": {"*": dict},
}

_ORIGIN: Shape = {"file": str, "line": int}
_REQUIREMENT: Shape = {"text": str, "owner?": str, "file?": str, "line?": int, "who?": str}
_CHANGE: Shape = {
    "name": str,
    "before?": TEXT_OR_NONE,
    "after?": TEXT_OR_NONE,
    "asked_by?": [str],
    "core?": bool,
}
_SHARED: Shape = {
    "packages": [str],
    "files": int,
    "owner?": TEXT_OR_NONE,
    "keep?": TEXT_OR_NONE,
    "overrides?": [str],
}
_OWNER_CHANGE: Shape = {"package": str, "before": str, "after": str, "nodes?": [str]}
_MISRECORDED: Shape = {
    "package": str,
    "version": str,
    "path": str,
    "recorded": str,
    "found": str,
}
_INCOMPATIBLE: Shape = {
    "package": str,
    "version": str,
    "requires": str,
    "name": str,
    "found": TEXT_OR_NONE,
    "for_extra?": str,
}
_NODE_REPORT: Shape = {"loaded?": (bool, type(None)), "error?": TEXT_OR_NONE, "classes?": [str]}
_ACTION: Shape = {"where?": TEXT_OR_NONE, "file?": TEXT_OR_NONE, "line?": (int, type(None))}
_INSTALL: Shape = {**_ACTION, "requested?": [str], "files?": [str], "command?": [str]}

_NODE_CHANGE: Shape = {
    "kind?": str,
    "before?": TEXT_OR_NONE,
    "commit?": TEXT_OR_NONE,
    "code?": TEXT_OR_NONE,
    "direct_additions?": [str],
    "override_additions?": [str],
    "declared?": {"lines?": [{"text": str, "origin": _ORIGIN}]},
    "subjects?": [str],
}
_STEP: Shape = {"kind": str, "node?": TEXT_OR_NONE}

_REPLACED: Shape = {"owner": str, "text": str, "to": str}
_SOURCE: Shape = {"package": str, "url": str, "flat": bool}
_SCOPED: Shape = {"package": str, "version": str, "dependency": str}

_ADOPTION: Shape = {
    "environment?": {"folder": str, "python": str, "found": str, "packages": int},
    "before?": ({"classes": {"*": str}, "loaded": [str], "said": [str]}, type(None)),
    "nodes?": [{"id": str, "name": str, "kind": str, "enabled": bool}],
    "moved?": [{"name": str, "before": str, "after": str, "direction": str, "because": str}],
    "added?": [{"node": str, "module": str, "line": str}],
    "left_out?": {"*": str},
    "left_behind?": [str],
    "starts?": [(float, int)],
    "proposals?": [{"source": str, "sentence": str, "command": str}],
    "notes?": [str],
}

_SUPPLY: dict[str, Shape] = {
    "kind": str,
    "subject": str,
    "version": str,
    "sentence": str,
    "policy": str,
    "known": bool,
}

_TRANSACTION: dict[str, Shape] = {
    "steps": [_STEP],
    "nodes": {"*": _NODE_CHANGE},
    "set_aside": [{"step": _STEP, "reason": str}],
    "base": {"*": str},
    "diff": {
        "added": [str],
        "removed": [str],
        "changed": [{"name": str, "from": TEXT_OR_NONE, "to": TEXT_OR_NONE}],
        "undeclared?": [str],
    },
    "core_impact": [_CHANGE],
    "logs": {"stdout?": TEXT_OR_NONE, "stderr?": TEXT_OR_NONE},
    "resolution": {
        "dropped": [str],
        "exempt": [str],
        "overrides?": [str],
        "without?": [str],
        "replaced?": [_REPLACED],
        "scoped?": [_SCOPED],
        "sources?": [_SOURCE],
        "added?": [str],
    },
    "preferences": {"*": str},
    "unbuildable": [{"package": str, "version": str, "said": str}],
    "adoption": _ADOPTION,
    "brought": {"file?": str, "exact?": [str], "wished?": [str], "lost?": [str]},
    "promotion_plan": {"direct_additions": [str], "override_additions": [str]},
    "skipped_requirements": [{"raw": str, "reason": str, "origin": _ORIGIN}],
    "supply": {"rows?": [_SUPPLY], "names?": [str], "timeless?": bool},
    "plan": {
        "generation?": TEXT_OR_NONE,
        "changes?": [_CHANGE],
        "shared_files?": [_SHARED],
        "owner_changes?": [_OWNER_CHANGE],
        "declared?": {"lines?": [{"text": str, "origin": _ORIGIN}]},
        "notes?": [{"sentence": str}],
        "incompatible?": [{**_INCOMPATIBLE, "sentence": str}],
    },
    "observation": {
        "verdict?": str,
        "reason?": str,
        "generation?": TEXT_OR_NONE,
        "isolation?": str,
        "nodes?": {"*": _NODE_REPORT},
        "collateral?": [str],
        "warnings?": [str],
        "limits?": [str],
        "installed_freeze?": [str],
        "installs?": [_INSTALL],
        "programs?": [_ACTION],
        "hosts?": [_ACTION],
        "writes?": [_ACTION],
    },
    "promotion": {
        "status?": TEXT_OR_NONE,
        "reason?": TEXT_OR_NONE,
        "pre_snapshot": TEXT_OR_NONE,
        "post_snapshot": TEXT_OR_NONE,
        "error?": TEXT_OR_NONE,
        "approved_core?": [_CHANGE],
        "accepted_incompatible?": [{"package": str, "requires": str, "sentence": str}],
    },
}

_PARTY: Shape = {"who?": str, "name?": str, "spec?": str, "through?": [str], "is_new?": bool}
_TRIED: Shape = {
    "verdict": str,
    "reason?": str,
    "at?": str,
    "nodes?": int,
    "not_loaded?": [str],
    "installs?": [str],
    "missing?": [str],
    "base?": dict,
}
_CONFLICT: dict[str, Shape] = {
    "causes": [
        {
            "kind?": str,
            "package?": str,
            "sentence?": str,
            "what?": str,
            "lines?": [_REQUIREMENT],
            "chains?": [[str]],
            "parties?": [_PARTY],
        },
    ],
    "resolution": {
        "pins?": [str],
        "dropped?": [str],
        "exempt?": [str],
        "overrides?": [str],
        "replaced?": [_REPLACED],
        "scoped?": [_SCOPED],
        "sources?": [_SOURCE],
        "added?": [str],
    },
    "suggestions": [
        {
            "number?": int,
            "kind?": str,
            "command?": str,
            "ref?": str,
            "pins?": [str],
            "typed?": [str],
            "exempt?": [str],
            "violates?": [str],
            "lost?": [str],
            "core?": [str],
            "dropped?": [_REQUIREMENT],
            "replaced?": [{"line": _REQUIREMENT, "to": str}],
            "scoped?": [_SCOPED],
            "sources?": [_SOURCE],
            "added?": [str],
            "changes?": [_CHANGE],
            "tried?": _TRIED,
        }
    ],
}


@dataclass(kw_only=True)
class Document:
    """A JSON object with known fields, checked for type, and unknown ones, kept."""

    required: ClassVar[tuple[str, ...]] = ()
    shapes: ClassVar[dict[str, Shape]] = {}
    extra: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: object, path: Path) -> Self:
        """Raises Damaged, naming `path` and the field."""
        if not isinstance(value, dict):
            raise store.damaged(path, f"holds a {type(value).__name__}, not an object")
        store.check_schema(value, path)
        for name in cls.required:
            if name not in value:
                raise store.damaged(path, f"the field {name!r} is missing")
        known = {entry.name: entry for entry in fields(cls) if entry.name != "extra"}
        given = {name: value[name] for name in known if name in value}
        for name, item in given.items():
            shape = cls.shapes.get(name, _SHAPES[str(known[name].type)])
            wrong = mismatch(item, shape, f"the field {name!r}")
            if wrong:
                raise store.damaged(path, wrong)
        rest = {name: item for name, item in value.items() if name not in known}
        return cls(**given, extra=rest)

    def to_json(self) -> dict[str, Any]:
        known = {e.name: getattr(self, e.name) for e in fields(self) if e.name != "extra"}
        return {**known, **self.extra}


@dataclass(kw_only=True)
class Plugin(Document):
    """One record of state/plugins.json: a governed node."""

    required: ClassVar[tuple[str, ...]] = ("id", "git_url", "group")

    id: str
    git_url: str
    ref: str | None = None
    kind: str = "clone"
    commit: str | None = None
    code: str | None = None
    registry: dict[str, str] = field(default_factory=dict)
    path: str = ""
    group: str
    enabled: bool = True
    managed_deps: list[str] = field(default_factory=list)
    override_deps: list[str] = field(default_factory=list)
    scoped_deps: list[dict[str, str]] = field(default_factory=list)
    index_sources: list[dict[str, Any]] = field(default_factory=list)
    given_up: list[dict[str, str]] = field(default_factory=list)
    added_deps: list[str] = field(default_factory=list)
    last_txid: str | None = None
    last_snapshot: str | None = None
    created_at: str = ""
    updated_at: str = ""


def _no_diff() -> dict[str, Any]:
    return {"added": [], "removed": [], "changed": []}


def _no_plan() -> dict[str, Any]:
    return {"direct_additions": [], "override_additions": []}


def _no_resolution() -> dict[str, Any]:
    return {
        "dropped": [],
        "exempt": [],
        "overrides": [],
        "without": [],
        "replaced": [],
        "scoped": [],
        "sources": [],
        "added": [],
    }


def _no_logs() -> dict[str, Any]:
    return {"stdout": None, "stderr": None, "run_exit_code": None}


def _no_promotion() -> dict[str, Any]:
    return {
        "status": None,
        "reason": None,
        "pre_snapshot": None,
        "post_snapshot": None,
        "error": None,
    }


@dataclass(kw_only=True)
class Transaction(Document):
    """state/transactions/<txid>.json: one change of the installation, from first run to its end.

    `node_id` is the first node of its steps, null where none is about a node.
    """

    required: ClassVar[tuple[str, ...]] = ("txid", "node_id", "status")
    shapes: ClassVar[dict[str, Shape]] = _TRANSACTION

    schema: int = SCHEMA
    txid: str
    kind: str = "add"
    node_id: str | None
    status: str
    started_at: str = ""
    ended_at: str | None = None
    commit: str | None = None
    steps: list[dict[str, Any]] = field(default_factory=list)
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    comfyui: dict[str, Any] = field(default_factory=dict)
    set_aside: list[dict[str, Any]] = field(default_factory=list)
    audit: dict[str, Any] = field(default_factory=dict)
    candidate_env: str | None = None
    base: dict[str, Any] = field(default_factory=dict)
    process: dict[str, Any] = field(default_factory=dict)
    pre_freeze: list[str] = field(default_factory=list)
    post_freeze: list[str] = field(default_factory=list)
    diff: dict[str, Any] = field(default_factory=_no_diff)
    core_impact: list[dict[str, Any]] = field(default_factory=list)
    logs: dict[str, Any] = field(default_factory=_no_logs)
    conflict_report: str | None = None
    resolution_pins: list[str] = field(default_factory=list)
    resolution: dict[str, Any] = field(default_factory=_no_resolution)
    preferences: dict[str, str] = field(default_factory=dict)
    unbuildable: list[dict[str, Any]] = field(default_factory=list)
    adoption: dict[str, Any] = field(default_factory=dict)
    brought: dict[str, Any] = field(default_factory=dict)
    promotion_plan: dict[str, Any] = field(default_factory=_no_plan)
    skipped_requirements: list[dict[str, Any]] = field(default_factory=list)
    plan: dict[str, Any] = field(default_factory=dict)
    supply: dict[str, Any] = field(default_factory=dict)
    observation: dict[str, Any] = field(default_factory=dict)
    promotion: dict[str, Any] = field(default_factory=_no_promotion)

    @property
    def lines(self) -> list[str]:
        """What the groups of its nodes will hold."""
        return [line for node in self.nodes for line in self.lines_of(node)]

    def lines_of(self, node: str) -> list[str]:
        """What a node's group will hold: declared and undeclared, less what was given up."""
        gone = {row["text"]: row["to"] for row in self.given_up(node)}
        given = [gone.get(line, line) for line in self._asked(node)]
        return [line for line in dict.fromkeys(given) if line]

    def given_up(self, node: str) -> list[dict[str, str]]:
        """Lines of a node (`text`) that a resolution put another text in the place of (`to`),
        or left out ("")."""
        places = dict.fromkeys(self.resolution.get("dropped", ()), "")
        for row in self.resolution.get("replaced", ()):
            if row["owner"] == f"node:{node}":
                places[row["text"]] = row["to"]
        return [{"text": t, "to": places[t]} for t in self._asked(node) if t in places]

    def _asked(self, node: str) -> list[str]:
        part = self.nodes.get(node, {})
        given = [*part.get("direct_additions", ()), *part.get("override_additions", ())]
        return list(dict.fromkeys(given))

    @property
    def what(self) -> str:
        """What it changes, for a sentence: its nodes, else the kind of its first step."""
        named = list(dict.fromkeys(str(step["node"]) for step in self.steps if step.get("node")))
        if named:
            more = f" and {len(named) - 3} more" if len(named) > 3 else ""
            return ", ".join(named[:3]) + more
        return self.node_id or {"comfyui": "ComfyUI", "init": "ComfyUI"}.get(self.kind, self.kind)

    def _way_back(self) -> str:
        before = self.promotion.get("pre_snapshot")
        return "nothing, it is over" + (f"; `gov rollback {before}` undoes it" if before else "")

    def move(self, status: str) -> None:
        """Change the status as the contract allows; Refused names the allowed moves."""
        allowed = MOVES.get(self.status, frozenset())
        if status not in allowed:
            raise Refused(
                f"transaction {self.txid} is {self.status} and cannot become {status}",
                hint="allowed from here: " + (", ".join(sorted(allowed)) or self._way_back()),
                code="bad_transition",
                facts={"status": self.status, "allowed": sorted(allowed)},
            )
        self.status = status


@dataclass(kw_only=True)
class Conflict(Document):
    """state/conflicts/<txid>.json: why a lock failed and which fixes were tried."""

    required: ClassVar[tuple[str, ...]] = ("txid", "node_id")
    shapes: ClassVar[dict[str, Shape]] = _CONFLICT

    schema: int = SCHEMA
    txid: str
    node_id: str | None
    created_at: str = ""
    raw_log: str = ""
    summary: str = ""
    detected_packages: list[str] = field(default_factory=list)
    input_hint: str = ""
    causes: list[dict[str, Any]] = field(default_factory=list)
    suggestions: list[dict[str, Any]] = field(default_factory=list)
    # What had been chosen when the suggestions were tried; accepting one chooses both.
    resolution: dict[str, Any] = field(default_factory=dict)
    # The truth that they were found with: on another one they are stale.
    base: dict[str, Any] = field(default_factory=dict)
    resolver_runs: int = 0
    complete: bool = True


@dataclass(kw_only=True)
class Snapshot(Document):
    """snapshots/<id>/meta.json; the three files of the truth lie beside it."""

    required: ClassVar[tuple[str, ...]] = ("id", "created_at", "digests")
    shapes: ClassVar[dict[str, Shape]] = {"digests": {"*": str}}

    schema: int = SCHEMA
    id: str
    created_at: str
    reason: str = ""
    ref: str | None = None
    generation: str | None = None
    digests: dict[str, Any] = field(default_factory=dict)
    nodes: list[str] = field(default_factory=list)
    ran: bool | None = None
    name: str | None = None
    keep: bool = False
    log: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class Generation(Document):
    """.generations/<name>.d/manifest.json, written last: without it there is no generation."""

    required: ClassVar[tuple[str, ...]] = ("name", "key", "lock_sha256", "packages")
    shapes: ClassVar[dict[str, Shape]] = {
        "shared_files": [_SHARED],
        "incompatible": ([_INCOMPATIBLE], type(None)),
        "misrecorded": [_MISRECORDED],
    }

    schema: int = SCHEMA
    name: str
    key: str
    lock_sha256: str
    pyproject_sha256: str = ""
    created_at: str = ""
    parent: str | None = None
    python: str = ""
    uv: str = ""
    platform: str = ""
    link_mode: str = ""
    packages: list[str] = field(default_factory=list)
    locked: dict[str, str] = field(default_factory=dict)
    check_seconds: float = 0.0
    files: int = 0
    files_sha256: str = ""
    interpreter: dict[str, Any] = field(default_factory=dict)
    incompatible: list[dict[str, Any]] | None = None
    shared_files: list[dict[str, Any]] = field(default_factory=list)
    misrecorded: list[dict[str, Any]] = field(default_factory=list)
