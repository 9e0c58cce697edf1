"""A transaction told to a person: what it saw, what it would change, what to type next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from governance import staging, store
from governance.cli import tables
from governance.cli.outcome import Part, Table
from governance.errors import GovError
from governance.model import (
    COMPLETED,
    FAILED,
    NEEDS_RESOLUTION,
    PROMOTE_FAILED,
    RESOLVED,
    Transaction,
)
from governance.workspace import Workspace


def parts(space: Workspace, data: Mapping[str, Any]) -> list[Part]:
    """`data` is the transaction as JSON, as `tx inspect` gives it."""
    told: list[Part] = [f"{data['txid']}  {data['node_id']}  {_state(data)}"]
    told += _observed(data["observation"])
    told += _diff(data)
    told += _skipped(data)
    if data.get("plan", {}).get("changes"):
        told += tables.changes(data["plan"]["changes"], title="prod would change")
    told += shared_files(data.get("plan", {}))
    told += _places(data)
    if data["conflict_report"]:
        report = space.root / str(data["conflict_report"])
        if report.is_file():
            told += conflict(store.read_object(report), str(data["txid"]))
    return told


def next_steps(data: Mapping[str, Any]) -> list[Part]:
    """What to type next."""
    txid = data["txid"]
    if data["status"] == COMPLETED:
        core = ' --approve-core --reason "..."' if _touches_core(data) else ""
        skipped = " --accept-skipped" if data["skipped_requirements"] else ""
        return [f"next: gov tx promote {txid}{core}{skipped}"]
    if data["status"] == NEEDS_RESOLUTION:
        return []
    return [f"next: gov tx inspect {txid}, or gov tx abort {txid}"]


def error_of(tx: Transaction) -> GovError | None:
    """The error that goes with a transaction that did not complete."""
    if tx.status == NEEDS_RESOLUTION:
        from governance.transaction import plan

        return plan.needs_resolution(tx)
    if tx.status == FAILED:
        return GovError(
            f"the run of {tx.node_id} failed: {tx.observation.get('reason', 'see the log')}",
            hint=f"the log is {tx.logs.get('stderr')}; `gov tx inspect {tx.txid}` tells more",
            code="run_failed",
            facts={"txid": tx.txid},
        )
    return None


def resolution(space: Workspace, tx: Transaction) -> list[Part]:
    """After `resolve`."""
    if tx.status == RESOLVED:
        told = tables.changes(tx.plan.get("changes", []), title="prod would change")
        pins = ", ".join(tx.resolution_pins)
        return [f"resolved with {pins}", *told, f"next: gov tx promote {tx.txid}"]
    report = space.conflicts / f"{tx.txid}.json"
    return conflict(store.read_object(report), tx.txid) if report.is_file() else []


def conflict(report: Mapping[str, Any], txid: str) -> list[Part]:
    """Causes first, then the fixes that were tried and locked, numbered."""
    if not report:
        return ["no conflict report for this transaction"]
    told: list[Part] = []
    for cause in report.get("causes", []):
        told.append(f"conflict: {cause.get('sentence', '')}")
        told += [f"    {_owner(line)}: {line.get('text')}" for line in cause.get("lines", [])]
    if not report.get("causes"):
        told.append(f"conflict: {report.get('summary', '')}")
    for number, fix in enumerate(report.get("suggestions", []), 1):
        told.append(f"  fix {number}: {fix.get('sentence', '')}")
        told += [f"         {text}" for text in fix.get("violates", [])]
        told.append(f"         gov resolve {txid} --accept {number}")
    if not report.get("suggestions"):
        told.append(f"no tried fix is known; try: gov resolve {txid} --pin package==version")
    return told


def shared_files(plan: Mapping[str, Any]) -> list[Part]:
    """Packages that install the same files: whoever is installed last wins."""
    return [
        f"{' and '.join(row['packages'])} install {row['files']} of the same files"
        for row in plan.get("shared_files", [])
    ]


def moved(space: Workspace, tx: Transaction) -> list[str]:
    if not tx.base or not staging.base_moved(space, tx.base):
        return []
    return ["the truth moved since this run: promote plans anew, --rebase observes anew"]


def _state(data: Mapping[str, Any]) -> str:
    state = "interrupted" if data.get("interrupted") else str(data["status"])
    if data["status"] == PROMOTE_FAILED:
        return f"{state}: {data['promotion'].get('error')}"
    return state


def _observed(seen: Mapping[str, Any]) -> list[Part]:
    told: list[Part] = []
    if seen.get("reason"):
        told.append(f"  {seen.get('verdict', '')}: {seen['reason']}".rstrip())
    if seen.get("isolation") == "none":
        told.append("  NOT ISOLATED: this kernel offers no fence; the node could write anywhere")
    told += [f"  collateral: {text}" for text in map(str, seen.get("collateral", []))]
    for name, node in seen.get("nodes", {}).items():
        told += _node(name, node)
    told += [f"  warning: {text}" for text in seen.get("warnings", [])]
    told += [f"  not possible: {text}" for text in seen.get("limits", [])]
    told += _actions(seen)
    return told


def _node(name: str, node: Mapping[str, Any]) -> list[Part]:
    if node.get("loaded"):
        return [f"  loaded {name}: {len(node.get('classes', []))} classes"]
    tail = str(node.get("error") or "").strip()
    return [f"  NOT LOADED {name}: {tail}"]


def _actions(seen: Mapping[str, Any]) -> list[Part]:
    """What the node did, one line an action, the first few of each kind."""
    told: list[Part] = []
    for install in seen.get("installs", [])[:10]:
        result = "" if install.get("ok", True) else " (failed)"
        asked = " ".join(install.get("requests", [])) or install.get("command", "")
        told.append(f"  installed by itself{result}: {asked}{_at(install)}")
    for kind, word in (("programs", "started"), ("hosts", "contacted"), ("writes", "wrote")):
        found = seen.get(kind, [])
        for row in found[:5]:
            told.append(f"  {word} {_subject(row)}{_at(row)}")
        if len(found) > 5:
            told.append(f"  {word} {len(found) - 5} more (--json has all)")
    return told


def _subject(row: Any) -> str:
    if not isinstance(row, Mapping):
        return str(row)
    for key in ("command", "host", "path", "argv", "program"):
        if row.get(key):
            value = row[key]
            return " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return str(dict(row))


def _at(row: Any) -> str:
    if not isinstance(row, Mapping):
        return ""
    place = row.get("where") or row.get("file")
    line = row.get("line")
    return f"  [{place}{f':{line}' if line else ''}]" if place else ""


def _diff(data: Mapping[str, Any]) -> list[Part]:
    diff = data["diff"]
    undeclared = set(diff.get("undeclared", []))
    core = {row["name"] for row in data["core_impact"]}
    rows = [(*row, _flags(row[1], undeclared, core)) for row in _diff_rows(diff)]
    if not rows:
        return []
    marks = {n: "core" if row[1] in core else "bad" for n, row in enumerate(rows) if row[4]}
    return [
        Table(
            "the candidate against prod", ("", "package", "before", "after", ""), rows[:60], marks
        )
    ]


def _diff_rows(diff: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    rows = []
    for row in diff["changed"]:
        word = tables.direction(row["from"], row["to"])
        rows.append((word, str(row["name"]), str(row["from"]), str(row["to"])))
    rows.sort(key=lambda row: row[0] != "down")
    rows += [("removed", *_split(line), "-") for line in diff["removed"]]
    rows += [("added", _split(line)[0], "-", _split(line)[1]) for line in diff["added"]]
    return rows


def _split(line: str) -> tuple[str, str]:
    name, _, version = line.replace(" @ ", "==@ ", 1).partition("==")
    return name, version


def _flags(name: str, undeclared: set[str], core: set[str]) -> str:
    words = ["core"] if name in core else []
    words += ["undeclared"] if name in undeclared else []
    return ", ".join(words)


def _skipped(data: Mapping[str, Any]) -> list[Part]:
    return [
        f"  skipped {row['origin']['file']}:{row['origin']['line']} {row['raw'].strip()} "
        f"({row['reason']})"
        for row in data["skipped_requirements"]
    ]


def _places(data: Mapping[str, Any]) -> list[Part]:
    told: list[Part] = []
    if data.get("candidate_env"):
        told.append(f"  candidate {data['candidate_env']} ({data.get('candidate_state', '')})")
    promotion = data["promotion"]
    if promotion.get("post_snapshot"):
        told.append(f"  snapshots {promotion['pre_snapshot']} -> {promotion['post_snapshot']}")
    return told


def _touches_core(data: Mapping[str, Any]) -> bool:
    changed = data.get("plan", {}).get("changes", [])
    return bool(data["core_impact"]) or any(row.get("core") for row in changed)


def _owner(line: Mapping[str, Any]) -> str:
    place = f"{line.get('file')}:{line.get('line')}" if line.get("file") else ""
    return " ".join(filter(None, (str(line.get("owner", "")), place)))
