"""What one observation found, as values: the field `observation` of a transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from governance import comfyui
from governance.observation import alike

COMPLETED = "completed"
FAILED = "failed"


# How notes begin that say the same of every run of a workspace: told where one asks about a run.
SEEN = "seen is what passes through Python"
LACKING = "it did not get these environment variables"
STANDING = (SEEN, LACKING)


@dataclass(frozen=True)
class Baseline:
    """What prod was last seen with: class -> python_module, nodes loaded, lines of warning, what
    nodes did (see alike.key), and the plain lines of the log; None in a file that is older than
    these two.

    One of a start that was not `completed` never replaces one that was.
    """

    classes: Mapping[str, str] = field(default_factory=dict)
    loaded: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    completed: bool = True
    did: tuple[str, ...] | None = None
    lines: tuple[str, ...] | None = None

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Baseline:
        did, lines = document.get("did"), document.get("lines")
        return cls(
            dict(document.get("classes", {})),
            tuple(document.get("loaded", ())),
            tuple(document.get("said", ())),
            bool(document.get("completed", True)),
            None if did is None else tuple(did),
            None if lines is None else tuple(lines),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "classes": dict(self.classes),
            "loaded": list(self.loaded),
            "said": list(self.said),
            "completed": self.completed,
            "did": None if self.did is None else list(self.did),
            "lines": None if self.lines is None else list(self.lines),
        }


@dataclass
class NodeReport:
    """`loaded` is None where nothing tells; `seconds` is the time of its import; `causes` are the
    errors that the last one followed from."""

    loaded: bool | None = None
    seconds: float | None = None
    error: str | None = None
    traceback_tail: list[str] = field(default_factory=list)
    causes: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)


@dataclass
class Observation:
    """`times` are seconds: install_script, ready, total; the caller adds environment.

    `installs`, `programs`, `hosts` and `writes` are lists of objects, see events.py, `findings`
    what no node should do, see findings.py; `known` in them: prod does it already.  `node` in
    them is the folder whose code was on the stack, or null for ComfyUI and libraries.  `classes`
    is what the API told (class -> python_module), `lines` are those of the log; both are left out
    of the JSON: see `baseline`.  `new_lines` prod's start does not have.
    `subjects` are the nodes under observation, `failed_subjects` those that failed, each with its
    reason; `taken_over` are classes of which another node's is served: {class, by, from}.
    `partial` are subjects that loaded in part, and others that lost classes, see partial.py.
    `came_up`: ComfyUI came up, whatever became of the nodes; `ready`: its API answered, which a
    quick start never waits for.  `missing_modules` are {node, module, distribution, declared},
    `comfyui_lacks` {node, place, wanted, version, since, until, requires, fits}.
    `network` is what was in force: open, record, index or none.
    `canaries` are writes to prod that were tried from inside the fence, and what stopped them.
    """

    verdict: str = FAILED
    reason: str = ""
    subjects: list[str] = field(default_factory=list)
    failed_subjects: dict[str, str] = field(default_factory=dict)
    taken_over: list[dict[str, str]] = field(default_factory=list)
    partial: list[dict[str, Any]] = field(default_factory=list)
    missing_modules: list[dict[str, Any]] = field(default_factory=list)
    comfyui_lacks: list[dict[str, Any]] = field(default_factory=list)
    run_exit_code: int | None = None
    came_up: bool = False
    ready: bool = False
    starts: int = 0
    times: dict[str, float] = field(default_factory=dict)
    nodes: dict[str, NodeReport] = field(default_factory=dict)
    classes_added: list[str] = field(default_factory=list)
    classes_lost: list[str] = field(default_factory=list)
    collateral: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)
    installs: list[dict[str, Any]] = field(default_factory=list)
    programs: list[dict[str, Any]] = field(default_factory=list)
    hosts: list[dict[str, Any]] = field(default_factory=list)
    writes: list[dict[str, Any]] = field(default_factory=list)
    findings: list[dict[str, Any]] = field(default_factory=list)
    installed_freeze: list[str] = field(default_factory=list)
    post_freeze: list[str] = field(default_factory=list)
    comfyui_version: str | None = None
    generation: str | None = None
    isolation: str = "none"
    network: str = "open"
    canaries: list[dict[str, Any]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    new_lines: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    classes: dict[str, str] = field(default_factory=dict)

    @property
    def completed(self) -> bool:
        return self.verdict == COMPLETED

    def to_json(self) -> dict[str, Any]:
        document = asdict(self)
        del document["classes"], document["lines"]
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Observation:
        """Unknown fields of a newer version are passed over."""
        known = _known(cls, document)
        reports = document.get("nodes", {})
        known["nodes"] = {
            name: NodeReport(**_known(NodeReport, report)) for name, report in reports.items()
        }
        return cls(**known)

    def baseline(self) -> Baseline:
        """What the next observation compares with, if this one becomes prod."""
        loaded = tuple(name for name, report in self.nodes.items() if report.loaded)
        said, lines = tuple(self.said), tuple(self.lines)
        return Baseline(dict(self.classes), loaded, said, self.completed, self._done(), lines)

    def _done(self) -> tuple[str, ...]:
        rows = (alike.key(kind, row) for kind in alike.KINDS for row in getattr(self, kind))
        return tuple(dict.fromkeys(rows))


def report_nodes(
    folders: tuple[str, ...], log: comfyui.Log, classes: Mapping[str, str]
) -> dict[str, NodeReport]:
    return {folder: _report(folder, log, classes) for folder in folders}


def _report(folder: str, log: comfyui.Log, classes: Mapping[str, str]) -> NodeReport:
    line = log.imports.get(folder)
    own = comfyui.classes_of(folder, classes)
    error = log.errors.get(folder)
    if line is not None:
        loaded: bool | None = not line.failed
    elif error or log.listed:
        loaded = False
        error = error or "ComfyUI did not load it: it is not in its list of imports"
    else:
        loaded = True if own else None
    if loaded is False:
        error = error or "its import failed"
    tail, causes = log.tracebacks.get(folder, []), log.causes.get(folder, [])
    seconds = line.seconds if line else None
    return NodeReport(loaded, seconds, error, list(tail), list(causes), own)


def _known(cls: type, document: Mapping[str, Any]) -> dict[str, Any]:
    names = {entry.name for entry in fields(cls)}
    return {name: value for name, value in document.items() if name in names}
