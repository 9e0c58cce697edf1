"""What came of a try, and what else was seen: read from the transaction that it was."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from governance.changes import gates, log_end
from governance.ci.workflows import Workflow
from governance.observation import partial
from governance.requirements import requirement_name
from governance.truth import ledger
from governance.truth.documents import COMPLETED, NEEDS_RESOLUTION, Transaction
from governance.truth.workspace import Workspace

PASSED, FAILED, BROKEN = "passed", "failed", "error"
_TAIL_LINES = 30


@dataclass(frozen=True)
class Try:
    """One combination.  `version` is the name of the ComfyUI, `commit` what its clone is at,
    `beside` the ids of the other nodes."""

    version: str
    commit: str | None
    python: str
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """`status`: passed, failed (by the node or what stands beside it) or error (the try could not
    be made).  `locks` and `starts` are None where it did not come that far.  `conflict` is the
    report of state/conflicts with its first fix alone, `lines` what requirements.txt lacks.
    `seconds` are those of the try, `setup_seconds` those of its workspace, which tries with one
    ComfyUI and one Python share."""

    tried: Try
    status: str
    reason: str
    locks: bool | None = None
    starts: bool | None = None
    verdict: str | None = None
    classes: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    missing_modules: tuple[Mapping[str, Any], ...] = ()
    conflict: Mapping[str, Any] | None = None
    log_tail: tuple[str, ...] = ()
    seconds: float = 0.0
    setup_seconds: float = 0.0
    txid: str | None = None
    root: str | None = None
    hint: str | None = None

    @property
    def passed(self) -> bool:
        return self.status == PASSED

    def without(self, folder: str) -> Result:
        """The same result with paths that begin where the try took place: a folder that is gone
        when this is read, and that is another one at each run."""
        return replace(
            self,
            reason=self.reason.replace(folder, ""),
            findings=tuple(text.replace(folder, "") for text in self.findings),
            log_tail=tuple(text.replace(folder, "") for text in self.log_tail),
        )

    def judged(self, workflows: Sequence[Workflow], known: Collection[str]) -> Result:
        """With workflows that all have to find their classes; without a word of the API on which
        there are, that is a finding."""
        if not self.passed or not workflows:
            return self
        if not known:
            told = "this ComfyUI did not tell its classes: no workflow was looked at"
            return replace(self, findings=(*self.findings, told))
        missing = {one.name: one.missing(known) for one in workflows}
        told = "; ".join(
            f"{name} uses {', '.join(classes)}, which nothing here registers"
            for name, classes in missing.items()
            if classes
        )
        return replace(self, status=FAILED, reason=told) if told else self

    def to_json(self) -> dict[str, Any]:
        document = asdict(self)
        tried = document.pop("tried")
        return {
            "comfyui": tried["version"],
            "comfyui_commit": tried["commit"],
            "python": tried["python"],
            "with": list(tried["beside"]),
            **document,
        }


def of_transaction(space: Workspace, tried: Try, node: str, tx: Transaction) -> Result:
    seen = tx.observation
    missing = [row for row in seen.get("missing_modules", []) if row.get("node") == node]
    passed = tx.status == COMPLETED
    return Result(
        tried,
        PASSED if passed else FAILED,
        _reason(space, tx),
        locks=tx.status != NEEDS_RESOLUTION,
        starts=bool(seen.get("came_up")) if seen else None,
        verdict=seen.get("verdict"),
        classes=tuple(seen.get("nodes", {}).get(node, {}).get("classes", ())),
        findings=tuple(_findings(node, tx)),
        lines=tuple(dict.fromkeys(_lacking(space, node, tx, missing))),
        missing_modules=tuple(missing),
        conflict=_conflict(space, tx),
        log_tail=() if passed else tuple(log_end.of(space.logs, tx.txid, _TAIL_LINES)),
        txid=tx.txid,
    )


def _reason(space: Workspace, tx: Transaction) -> str:
    if tx.status != NEEDS_RESOLUTION:
        return str(tx.observation.get("reason") or f"it ended as {tx.status}")
    summary = str(ledger.conflict(space, tx.txid).get("summary") or "see the report")
    return f"its requirements conflict: {' '.join(summary.split())}"


def _conflict(space: Workspace, tx: Transaction) -> dict[str, Any] | None:
    if tx.status != NEEDS_RESOLUTION:
        return None
    report = ledger.conflict(space, tx.txid)
    kept = {name: report.get(name) for name in ("summary", "causes", "complete")}
    return {**kept, "suggestions": list(report.get("suggestions", []))[:1]}


def _lacking(
    space: Workspace, node: str, tx: Transaction, missing: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Lines that the node's requirements.txt should have: of modules that were missing, and of
    packages that it installs by itself, unless those are ComfyUI's to choose."""
    core = gates.core_names(space)
    for row in missing:
        if row.get("distribution") and not row.get("declared"):
            yield str(row["distribution"])
    installed = map(str, tx.nodes.get(node, {}).get("override_additions", ()))
    yield from (line for line in installed if requirement_name(line) not in core)


# --- findings ---------------------------------------------------------------------------------


def _findings(node: str, tx: Transaction) -> Iterator[str]:
    """What does not fail a try, and what its users would ask about."""
    seen = tx.observation
    yield from _installs(node, seen)
    yield from _writes(node, tx)
    for row in _own(node, seen.get("hosts", [])):
        yield f"contacts {row.get('host')}" + (f":{row['port']}" if row.get("port") else "")
    for row in seen.get("partial", ()):
        if row["node"] == node:
            yield f"loads in part: {partial.sentence(row)}"
    rewritten = seen.get("rewritten", {}).get(node, [])
    if rewritten:
        yield f"rewrites its own files: {', '.join(rewritten[:5])}"
    for row in tx.skipped_requirements:
        if row.get("node", node) == node:
            yield f"this line is not taken: {row['raw'].strip()} ({row['reason']})"
    for row in tx.core_impact:
        if row.get("before"):
            yield f"moves {row['name']} {row['before']} -> {row.get('after') or 'gone'}"
    yield from (str(row["sentence"]) for row in tx.plan.get("incompatible", []))
    yield from (str(row["sentence"]) for row in tx.plan.get("notes", []))
    yield from map(str, seen.get("warnings", []))


def _own(node: str, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [row for row in rows if row.get("node") == node]


def _installs(node: str, seen: Mapping[str, Any]) -> Iterator[str]:
    told = {}
    for row in _own(node, seen.get("installs", [])):
        asked = " ".join((*row.get("requested", []), *(f"-r {f}" for f in row.get("files", []))))
        sentence = f"runs {row.get('tool', '')} {row.get('action', '')} {asked}".rstrip()
        told[sentence] = row.get("outcome") == "failed"
    for sentence, failed in told.items():
        yield sentence + (", which fails" if failed else "")


_INSIDE = ("its own folder", "ComfyUI")


def _writes(node: str, tx: Transaction) -> Iterator[str]:
    """Outside of its own folder and of those that ComfyUI is there to write in.  The home and the
    temporary folder of a try are its own, and nobody sees what is written there."""
    for row in _own(node, tx.observation.get("writes", [])):
        if row.get("where") not in _INSIDE:
            before, packages, after = str(row.get("path")).partition("/site-packages/")
            yield f"writes {packages.strip('/')}/{after}" if packages else f"writes {before}"
