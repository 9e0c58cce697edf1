"""Is everything as gov left it?  `verify` looks; `repair` builds anew what the lock determines."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance.base import clock, names
from governance.base.errors import GovError
from governance.boundaries import store
from governance.boundaries.uv import Uv
from governance.changes import audit, gates, observed, staging, trial_run, unmet
from governance.changes.session import Session
from governance.changes.staging import Stages
from governance.environments import anchors, generations, interpreter, records, refetched
from governance.environments.records import Finding
from governance.operations import byte_code_plants, left_behind, runtime
from governance.truth import freshness, inventory, lockfile, redo, registry, resolution, snapshots
from governance.truth.documents import Generation
from governance.truth.workspace import Workspace

_LIMIT = 200


# What is mended by the environment of the lock that prod was built from: a switch back where that
# is as it was, else a build.
_SWITCHED = frozenset({"no_prod", "other_generation"})
_NO_PYTHON = "python_gone"
INCOMPATIBLE = "incompatible"
_REBUILT = _SWITCHED | {
    _NO_PYTHON,
    "missing",
    "changed",
    "extra",
    "size",
    "hash",
    "anchor",
    refetched.KIND,
}
# What is taken out: gov makes it anew from what is trusted.
_TAKEN_OUT = frozenset({"cache", byte_code_plants.KIND})


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
        kinds = {finding.kind for finding in self.findings}
        if _NO_PYTHON in kinds:
            return f"{interpreter.HINT}; `gov repair` suffices where the same version is found"
        if refetched.KIND in kinds:
            return "`gov repair --fetch` takes these packages from the index anew"
        if kinds & _REBUILT:
            return "`gov repair` builds anew what the lock determines"
        if kinds & _TAKEN_OUT:
            return "`gov repair` takes out what was put there"
        if kinds == {INCOMPATIBLE}:
            name = self.findings[0].path
            return (
                f"`gov why {name}` shows what holds it; the next promote accepts it with "
                "--accept-incompatible"
            )
        if kinds == {"missing_truth"}:
            return "`gov init` brings a missing file back as it was"
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


def verify(workspace: Workspace, *, full: bool = False, uv: Uv | None = None) -> Report:
    """Prod against its files and lock, truth against prod's frozen copy, registry against groups
    and clones.  `full` compares every file's hash with its RECORD, each RECORD with what came from
    the index, and looks into uv's cache and the byte code of every generation.  With `uv`, all
    that the lock names is fetched once more and compared (refetched.py)."""
    name = generations.current(workspace)
    findings = _truth_findings(workspace)
    if name is None:
        findings.append(Finding("no_prod", str(workspace.prod), "prod leads to no environment"))
    else:
        findings += generations.check_files(workspace, name)
        findings += _interpreter(workspace, name)
        findings += _inside(workspace, name, full)
        findings += _against_lock(workspace, name)
    if full:
        findings += [*anchors.in_cache(workspace), *byte_code_plants.findings(workspace)]
    if uv is not None and name is not None:
        findings += refetched.findings(workspace, uv, name)
    findings += _registry_findings(workspace)
    unasked, accepted = _incompatible(workspace, name) if name is not None else ([], [])
    findings += unasked
    notes = [*inventory.mismatches(workspace), *accepted, *_undecided(workspace, name)]
    if runtime.running(workspace) is None:
        left_behind.settle(workspace)
    notes += left_behind.sentences(workspace)
    return Report(tuple(findings), tuple(notes), full, name)


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
        verdict = trial_run.smoke(session, stages, trial_run.loaded_now(workspace))
    finally:
        stages.clear()
    report = {
        "schema": 1,
        "verdict": "ok" if verdict.ok else "failed",
        "reason": verdict.reason,
        "generation": generations.current(workspace),
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


@dataclass(frozen=True)
class Repaired:
    """`done` are sentences; `left` what no build mends."""

    done: tuple[str, ...]
    left: tuple[Finding, ...]


def repair(session: Session, *, fetch: bool = False) -> Repaired:
    """Give prod the environment of the lock that it was built from, where verify finds it broken,
    with `fetch` also where its packages are not what the index has.

    What is not determined by that (a truth that was edited, node code) is left and told.
    """
    workspace = session.workspace
    store.refuse_other_than_link(workspace.prod)
    report = verify(workspace, full=True, uv=session.uv if fetch else None)
    broken = [f for f in report.findings if f.kind in _REBUILT]
    left = tuple(f for f in report.findings if f.kind not in _REBUILT | _TAKEN_OUT)
    taken_out = _take_out(session, report.findings)
    if not broken:
        return Repaired(taken_out, left)
    stages = _stage(workspace, "repair", _built_from(workspace))
    damaged = any(finding.kind not in _SWITCHED for finding in broken)
    made = generations.build(workspace, session.uv, stages.folder, fresh=damaged)
    entry = audit.entry(
        identity=names.new_txid(clock.now()),
        verb="repair",
        steps=["repair"],
        changes=(),
        code=(),
        who=audit.made(workspace),
        facts={"generation": made.name},
    )
    documents = _receipt(workspace, made.name)
    redo.commit(workspace, redo.Record("repair", documents, made.name, entry=entry))
    with session.tidying():
        _keep_baseline(workspace, report.generation, made.name)
        stages.clear()
    told = f"{len(broken)} findings in {report.generation or 'prod'}; prod is {made.name} now"
    return Repaired((*taken_out, told), left)


def _take_out(session: Session, findings: Iterable[Finding]) -> tuple[str, ...]:
    """Planted byte code, and packages of uv's cache that are fetched anew when they are needed."""
    found = list(findings)
    planted = [finding.path for finding in found if finding.kind == byte_code_plants.KIND]
    for path in planted:
        store.remove_tree(Path(path))
    kinds = ("cache", refetched.KIND)
    packages = sorted({f.detail for f in found if f.kind in kinds and f.detail})
    session.uv.clean_packages(packages)
    done = [f"{len(planted)} files of byte code deleted"] if planted else []
    done += [f"{', '.join(packages)} taken out of uv's cache"] if packages else []
    return tuple(done)


def _built_from(workspace: Workspace) -> snapshots.Truth:
    """What prod was built from: the frozen copy in its papers, else a snapshot that names it, else
    the truth if that is as gov left it.  An edited truth never counts: a gate comes before it."""
    name = _recorded(workspace)
    known = name and (_frozen_copy(workspace, name) or _snapshot_of(workspace, name))
    if known:
        return known
    if not freshness.lock_is_current(workspace):
        raise GovError(
            "nothing tells any more what prod was built from",
            hint="bring back a snapshot with `gov rollback <snapshot_id>` (`gov snapshot list`)",
            code="not_determined",
        )
    return snapshots.truth(workspace)


def _recorded(workspace: Workspace) -> str | None:
    """The generation that gov switched to last; prod's own where no receipt tells."""
    name = freshness.receipt(workspace).get("generation")
    return name if isinstance(name, str) else generations.current(workspace)


def _frozen_copy(workspace: Workspace, name: str) -> snapshots.Truth | None:
    """The truth in a generation's papers, if it is what its manifest names."""
    made = generations.usable(workspace, name)
    if made is None:
        return None
    papers = generations.papers(workspace, name)
    try:
        found = snapshots.Truth(
            store.read_bytes(papers / "pyproject.toml"), store.read_bytes(papers / "uv.lock"), b"[]"
        )
    except FileNotFoundError:
        return None
    wanted = (made.pyproject_sha256, made.lock_sha256)
    return found if wanted == (store.digest(found.pyproject), store.digest(found.lock)) else None


def _snapshot_of(workspace: Workspace, name: str) -> snapshots.Truth | None:
    """The content of the newest whole snapshot that names this generation."""
    for row in reversed(snapshots.index(workspace)):
        with suppress(GovError):
            snapshot = snapshots.load(workspace, row["id"])
            if snapshot.generation == name:
                return snapshots.content(workspace, snapshot)
    return None


def _receipt(workspace: Workspace, generation: str) -> dict[str, bytes]:
    """What gov wrote last stays what it was: an edit of the truth is found after a repair too."""
    before = freshness.receipt(workspace)
    kept = {key: before[key] for key in _RECEIPT_KEYS if key in before}
    truth = snapshots.truth_as_it_is(workspace)
    data = staging.receipt_bytes(workspace, truth, generation, "repair", **kept)
    return {"state/receipt.json": data}


def _keep_baseline(workspace: Workspace, old: str | None, new: str) -> None:
    if old is None:
        return
    for name in (trial_run.BASELINE, observed.FILE):
        path = generations.papers(workspace, old) / name
        if path.is_file():
            store.write(generations.papers(workspace, new) / name, store.read_bytes(path))


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


def _interpreter(workspace: Workspace, name: str) -> list[Finding]:
    found = interpreter.problem(workspace, name)
    python = generations.python_of(generations.path(workspace, name))
    return [Finding(_NO_PYTHON, str(python), found)] if found else []


def _inside(workspace: Workspace, name: str, full: bool) -> list[Finding]:
    """Prod holds the packages that were frozen when it was built; all of them whole, if `full`."""
    folder = generations.path(workspace, name)
    try:
        findings = _against_records(workspace, name) if full else []
        frozen = set(generations.freeze(folder))
    except GovError as error:
        return [Finding("missing", str(folder), error.message)]
    try:
        made = generations.manifest(workspace, name)
    except GovError as error:
        return [*findings, Finding("no_prod", str(workspace.prod), error.message)]
    if made is None:
        detail = f"{name} has no manifest: it was never finished, or has lost it"
        return [*findings, Finding("no_prod", str(workspace.prod), detail)]
    for line in sorted(frozen ^ set(made.packages)):
        what = "not in the build" if line in frozen else "missing"
        findings.append(Finding("changed", f"{workspace.prod}: {line}", what))
    return findings


def _against_records(workspace: Workspace, name: str) -> list[Finding]:
    """Against the files as they came, and of shared files those of the package that wins."""
    made = generations.usable(workspace, name)
    rows = [records.Misrecorded(**row) for row in made.misrecorded] if made else []
    undecided = [package for row in _by_chance(made) for package in row["packages"]]
    folder = generations.path(workspace, name)
    papers = generations.papers(workspace, name)
    anchored = made.anchors_sha256 if made else ""
    findings = anchors.check(papers, folder, anchored) if anchored else []
    return [*findings, *records.check_records(folder, misrecorded=rows, undecided=undecided)]


def _by_chance(made: Generation | None) -> list[dict[str, Any]]:
    """Shared files in what an earlier gov built: whoever was installed last won."""
    return [row for row in made.shared_files if row.get("owner") != row.get("keep")] if made else []


def _undecided(workspace: Workspace, name: str | None) -> list[str]:
    made = generations.usable(workspace, name) if name is not None else None
    return [
        f"{' and '.join(row['packages'])} install the same files, and those of "
        f"{row.get('owner') or 'several of them'} lie in prod by chance; the next environment gets "
        f"those of {row['keep']}"
        for row in _by_chance(made)
    ]


def _incompatible(workspace: Workspace, name: str) -> tuple[list[Finding], list[str]]:
    """What prod's packages require and do not get, asked of the packages themselves: findings,
    and as notes what somebody has accepted."""
    papers = generations.papers(workspace, name)
    file = papers / "pyproject.toml"
    try:
        found = generations.find_incompatible(generations.path(workspace, name), papers)
        project = resolution.Project.read(store.read_bytes(file), file)
    except (GovError, OSError):
        return [], []  # it is not whole, which other findings tell
    plugins = registry.parse_or_none(workspace)
    accepts_all, known = gates.allows_incompatible(workspace), unmet.accepted(workspace)
    findings, notes = [], []
    for one in found:
        sentence = unmet.row(one, project, plugins)["sentence"]
        if accepts_all or one.key in known:
            notes.append(sentence)
        else:
            findings.append(Finding(INCOMPATIBLE, one.at_stake, sentence))
    return findings, notes


def _against_lock(workspace: Workspace, name: str) -> list[Finding]:
    """Prod is what gov switched to last, and was built from today's lock."""
    recorded = _recorded(workspace)
    if recorded != name:
        detail = f"it leads to {name}, gov switched to {recorded}"
        return [Finding("other_generation", str(workspace.prod), detail)]
    made = generations.usable(workspace, name)
    if made is None or not workspace.lock.is_file() or _is_lock_of(workspace, made):
        return []
    return [Finding("other_lock", str(workspace.lock), "prod was built from another lock")]


def _is_lock_of(workspace: Workspace, made: Generation) -> bool:
    """By its bytes, or by its content: two locks of one set of requirements may differ in times."""
    lock = store.read_bytes(workspace.lock)
    if store.digest(lock) == made.lock_sha256:
        return True
    frozen = _frozen_copy(workspace, made.name)
    if frozen is None:
        return False
    locks = (lock, frozen.lock)
    return len({lockfile.content_digest(lockfile.parse(b, workspace.lock)) for b in locks}) == 1


def _registry_findings(workspace: Workspace) -> list[Finding]:
    """Every promoted node has its group; every node group has its node."""
    if not workspace.pyproject.is_file() or not workspace.plugins.is_file():
        return []
    data = store.read_bytes(workspace.pyproject)
    groups = resolution.Project.read(data, workspace.pyproject).groups
    plugins = registry.load(workspace)
    promoted = {plugin.group for plugin in plugins if registry.is_promoted(plugin)}
    known = {plugin.group for plugin in plugins}
    node_groups = {group for group in groups if group.startswith(resolution.NODE_PREFIX)}
    findings = [Finding("no_group", group, "a promoted node") for group in promoted - groups.keys()]
    findings += [Finding("no_node", group, "in pyproject.toml") for group in node_groups - known]
    return findings


def _stages_of_prod(workspace: Workspace, name: str) -> Stages:
    """Prod's generation as if it were staged, so that it can be tried."""
    generation = generations.current(workspace)
    if generation is None:
        raise GovError("there is no prod to test", hint="`gov init` builds it", code="no_prod")
    papers = generations.papers(workspace, generation)
    frozen = snapshots.Truth(
        store.read_bytes(papers / "pyproject.toml"), store.read_bytes(papers / "uv.lock"), b"[]"
    )
    stages = _stage(workspace, name, frozen)
    stages.write_build_receipt(generation)
    return stages


def _stage(workspace: Workspace, name: str, truth: snapshots.Truth) -> Stages:
    stages = Stages(workspace, name)
    project = resolution.Project.read(truth.pyproject, workspace.pyproject)
    resolution.stage(stages.folder, project, truth.lock)
    stages.write_lock_receipt()
    return stages
