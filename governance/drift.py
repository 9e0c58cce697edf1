"""Is everything as gov left it?  `verify` looks; `repair` builds anew what the lock determines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from governance import (
    clock,
    commit,
    environment,
    history,
    inventory,
    registry,
    resolution,
    staging,
    store,
    trial,
)
from governance.environment import Finding
from governance.errors import GovError
from governance.staging import Stages
from governance.transaction.session import Session
from governance.workspace import Workspace

_LIMIT = 200


# What a build from the lock mends.
_REBUILT = frozenset({"missing", "changed", "extra", "size", "hash", "no_prod", "other_lock"})


@dataclass(frozen=True)
class Report:
    """`findings` are empty where all is well; `notes` are no drift, but worth knowing."""

    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    full: bool
    generation: str | None

    @property
    def ok(self) -> bool:
        return not self.findings

    @property
    def cure(self) -> str:
        """The way out: a build mends prod; what a person wrote, only a person can judge."""
        if any(finding.kind in _REBUILT for finding in self.findings):
            return "`gov repair` builds anew what the lock determines"
        return "bring back a snapshot with `gov rollback`, or take an edit in with `bin/doit`"

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": 1,
            "verdict": "ok" if self.ok else "drift",
            "checked_at": clock.stamp(),
            "full": self.full,
            "generation": self.generation,
            "findings": [finding.to_json() for finding in self.findings[:_LIMIT]],
            "findings_total": len(self.findings),
            "notes": list(self.notes),
        }


def verify(workspace: Workspace, *, full: bool = False) -> Report:
    """Prod against its files and lock, truth against prod's frozen copy, registry against groups
    and clones.  `full` compares every file's hash with its RECORD."""
    name = environment.current(workspace)
    findings = _truth_findings(workspace)
    if name is None:
        findings.append(Finding("no_prod", str(workspace.prod), "prod leads to no environment"))
    else:
        findings += environment.check_files(workspace, name)
        if full:
            findings += environment.check_records(environment.path(workspace, name))
        findings += _against_prod(workspace, name)
    findings += _registry_findings(workspace)
    return Report(tuple(findings), tuple(inventory.mismatches(workspace)), full, name)


def attest(workspace: Workspace, *, full: bool = False) -> Report:
    """Verify, write the report, then pass; raises GovError (code `drift`) where it does not."""
    report = verify(workspace, full=full)
    store.write_json(workspace.verify_report, report.to_json())
    if not report.ok:
        first = report.findings[0]
        raise GovError(
            f"{len(report.findings)} findings, the first: {first.kind} {first.path}",
            hint=f"`gov verify` lists them; {report.cure}",
            code="drift",
            facts=report.to_json(),
        )
    return report


def attest_smoke(session: Session) -> dict[str, Any]:
    """Smoke-test prod's environment in a layer and write the report; raises where it fails."""
    workspace = session.workspace
    stages = _stages_of_prod(workspace, "smoke")
    try:
        verdict = trial.smoke(workspace, stages, session.uv, node=None, live=session.live)
    finally:
        stages.clear()
    report = {
        "schema": 1,
        "verdict": "ok" if verdict.ok else "failed",
        "reason": verdict.reason,
        "generation": environment.current(workspace),
        "checked_at": clock.stamp(),
    }
    store.write_json(workspace.smoke_report, report)
    if not verdict.ok:
        raise GovError(
            f"the smoke test failed: {verdict.reason}",
            hint="state/logs/smoke-smoke.*.log hold what ComfyUI said",
            code="smoke_failed",
            facts=report,
        )
    return report


def repair(session: Session) -> list[str]:
    """Rebuild prod from the lock and switch to it, where verify finds prod broken.

    What is not determined by the lock (a truth that was edited, node code) is told, not guessed.
    """
    workspace = session.workspace
    report = verify(workspace)
    broken = [f for f in report.findings if f.kind in _REBUILT]
    if not broken:
        return [
            f"{f.kind}: {f.path} {f.detail} is not repaired by a build" for f in report.findings
        ]
    old = environment.current(workspace)
    stages = _stages_of_truth(workspace)
    made = environment.build(workspace, session.uv, stages.folder, fresh=True)
    truth = history.truth(workspace)
    documents = {"state/receipt.json": staging.receipt_bytes(workspace, truth, made.name, "repair")}
    commit.commit(workspace, commit.Change("repair", documents, made.name))
    with session.tidying():
        _keep_baseline(workspace, old, made.name)
        stages.clear()
    return [f"{len(broken)} findings in {old or 'prod'}; prod is the new {made.name} now"]


def _keep_baseline(workspace: Workspace, old: str | None, new: str) -> None:
    if old is None:
        return
    path = environment.papers(workspace, old) / trial.BASELINE
    if path.is_file():
        store.write(environment.papers(workspace, new) / trial.BASELINE, path.read_bytes())


def _truth_findings(workspace: Workspace) -> list[Finding]:
    findings = []
    for path in workspace.truth:
        if not path.is_file():
            findings.append(Finding("missing_truth", str(path), "the file is gone"))
    try:
        receipt = store.read_object(workspace.receipt)
    except FileNotFoundError:
        receipt = {}
    for path, key in zip(workspace.truth, _RECEIPT_KEYS, strict=True):
        found = store.file_digest(path)
        if found is not None and receipt.get(key) not in (None, found):
            findings.append(Finding("edited", str(path), "changed outside gov"))
    return findings


_RECEIPT_KEYS = ("pyproject_sha256", "lock_sha256", "plugins_sha256")


def _against_prod(workspace: Workspace, name: str) -> list[Finding]:
    """The lock is the one that prod was built from, and prod holds what was frozen then."""
    manifest = environment.manifest(workspace, name)
    if manifest is None:
        return [Finding("no_prod", str(workspace.prod), f"{name} was never finished")]
    findings = []
    if manifest.lock_sha256 != store.file_digest(workspace.lock):
        detail = "prod was built from another lock"
        findings.append(Finding("other_lock", str(workspace.lock), detail))
    frozen = set(environment.freeze(environment.path(workspace, name)))
    for line in sorted(frozen ^ set(manifest.packages)):
        what = "not in the build" if line in frozen else "missing"
        findings.append(Finding("changed", f"{workspace.prod}: {line}", what))
    return findings


def _registry_findings(workspace: Workspace) -> list[Finding]:
    """Every promoted node has its group; every node group has its node."""
    if not workspace.pyproject.is_file() or not workspace.plugins.is_file():
        return []
    data = workspace.pyproject.read_bytes()
    groups = resolution.Project.read(data, workspace.pyproject).groups
    plugins = registry.load(workspace)
    promoted = {plugin.group for plugin in plugins if plugin.last_snapshot is not None}
    known = {plugin.group for plugin in plugins}
    node_groups = {group for group in groups if group.startswith(resolution.NODE_PREFIX)}
    findings = [Finding("no_group", group, "a promoted node") for group in promoted - groups.keys()]
    findings += [Finding("no_node", group, "in pyproject.toml") for group in node_groups - known]
    return findings


def _stages_of_truth(workspace: Workspace) -> Stages:
    return _stage(workspace, "repair", history.truth(workspace))


def _stages_of_prod(workspace: Workspace, name: str) -> Stages:
    """Prod's generation as if it were staged, so that it can be tried."""
    generation = environment.current(workspace)
    if generation is None:
        raise GovError("there is no prod to test", hint="`gov init` builds it", code="no_prod")
    papers = environment.papers(workspace, generation)
    frozen = history.Truth(
        (papers / "pyproject.toml").read_bytes(), (papers / "uv.lock").read_bytes(), b"[]"
    )
    stages = _stage(workspace, name, frozen)
    stages.write_build_receipt(generation)
    return stages


def _stage(workspace: Workspace, name: str, truth: history.Truth) -> Stages:
    stages = Stages(workspace, name)
    project = resolution.Project.read(truth.pyproject, workspace.pyproject)
    resolution.stage(stages.folder, project, truth.lock)
    stages.write_lock_receipt()
    return stages
