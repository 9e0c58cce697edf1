"""A transaction told to a person: what it saw, what it would change, what to type next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from governance.changes import gates
from governance.cli import conflicts, seen, supply, tables
from governance.cli.outcome import Part, Table
from governance.conflict.problem import owner_words
from governance.conflict.shared import OwnerChange
from governance.requirements.grammar import leading_name
from governance.truth import ledger
from governance.truth.documents import (
    COMPLETED,
    FAILED,
    NEEDS_RESOLUTION,
    PROMOTE_FAILED,
    RESOLVED,
    Transaction,
)
from governance.truth.lockfile import Change
from governance.truth.workspace import Workspace


def parts(space: Workspace, data: Mapping[str, Any], *, is_news: bool = False) -> list[Part]:
    """`data` is the transaction as JSON, as `tx inspect` gives it; right after its run (`is_news`)
    what is the same each time is left out."""
    told: list[Part] = [f"{data['txid']}  {_what(data)}  {_state(data)}"]
    if data.get("adoption"):
        from governance.cli import adoption_report

        told += adoption_report.parts(data)
    told += _news(data)
    told += brought(data.get("brought", {}))
    told += _set_aside(data)
    told += seen.parts(data["observation"], is_news=is_news)
    told += _diff(data)
    told += _skipped(data)
    told += _attempts(data)
    told += _resolved(data)
    if data.get("plan", {}).get("changes"):
        told += tables.changes(data["plan"]["changes"], title="prod would change")
    if not (is_news and data["status"] == FAILED):
        told += shared_files(data.get("plan", {}), " ".join(nodes_of(data)) or str(data["node_id"]))
    told += owner_changes(data.get("plan", {}))
    told += supply.parts(data.get("supply", {}).get("rows", ()))
    told += incompatible(data.get("plan", {}))
    told += [f"  warning: {note['sentence']}" for note in data.get("plan", {}).get("notes", [])]
    told += [] if is_news else _places(data)
    if data["conflict_report"]:
        from governance.changes import choice

        report = choice.shown(space, ledger.conflict(space, str(data["txid"])))
        told += conflicts.screen(report, str(data["txid"]))
    return told


def brought(told: Mapping[str, Any]) -> list[Part]:
    """What is taken exactly, what as a wish, what is lost."""
    if not told:
        return []
    rows: list[Part] = [f"from {told.get('file')}"]
    for name, head in _HEADS:
        rows += _listed(head, told.get(name, ()))
    return rows


_HEADS = (("exact", "taken exactly"), ("wished", "taken as a wish"), ("lost", "lost"))


def _listed(head: str, sentences: Sequence[str]) -> list[Part]:
    if not sentences:
        return [f"  {head}: nothing"]
    return [f"  {head}:", *(f"    {sentence}" for sentence in sentences)]


def nodes_of(data: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(str(r["node"]) for r in data.get("steps", []) if r.get("node")))


def _what(data: Mapping[str, Any]) -> str:
    """Its nodes, else the kind of change."""
    nodes = nodes_of(data)
    more = f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""
    return (", ".join(nodes[:3]) + more) or str(data["node_id"] or data["kind"])


def _news(data: Mapping[str, Any]) -> list[Part]:
    """Code that would come: the commits of each place, with their first lines."""
    comfyui = data.get("comfyui", {})
    rows = [("ComfyUI", comfyui)] if comfyui.get("from") else []
    rows += [(node, part) for node, part in data.get("nodes", {}).items() if part.get("from")]
    return [line for name, part in rows for line in commits(name, part)]


def commits(name: str, part: Mapping[str, Any]) -> list[str]:
    """What would come for one clone."""
    if part.get("versions"):
        before, after = map(str, part["versions"])
        return [f"  {name}: {before} -> {after}", *(f"      {t}" for t in part["subjects"][:1])]
    count = int(part.get("count", 0))
    word = "commit" if count == 1 else "commits"
    told = [f"  {name}: {str(part['from'])[:12]} -> {str(part['commit'])[:12]}, {count} new {word}"]
    shown = [str(text) for text in part.get("subjects", [])][:5]
    told += [f"      {text}" for text in shown]
    more = count - len(shown)
    return [*told, *([f"      and {more} more"] if more > 0 and shown else [])]


def _set_aside(data: Mapping[str, Any]) -> list[Part]:
    """Nodes that failed by themselves, and how to try each again."""
    rows = data.get("set_aside", [])
    if not rows or data.get("adoption"):  # whose own table tells of them
        return []
    kept = len({row["node"] for row in data["steps"] if row.get("node")})
    told: list[Part] = [f"  {kept} of {kept + len(rows)} nodes; set aside:"]
    for row in rows:
        step = row["step"]
        verb = "gov node update" if step["kind"] == "update" else "gov tx run"
        told.append(f"    {step['node']}: {row['reason']}")
        told.append(f"      try it again with: {verb} {step['node']}")
    return told


def next_steps(data: Mapping[str, Any]) -> list[Part]:
    """What to type next."""
    txid = data["txid"]
    if data["status"] in (COMPLETED, RESOLVED):
        core = ' --approve-core --reason "..."' if _touches_core(data) else ""
        skipped = " --accept-skipped" if data["skipped_requirements"] else ""
        skipped += " --accept-findings" if _has_findings(data) else ""
        skipped += " --accept-incompatible" if _is_incompatible(data) else ""
        return [f"next: gov tx promote {txid}{core}{skipped}", *_with_missing(data)]
    if data["status"] == NEEDS_RESOLUTION:
        return []
    told = _with_missing(data)
    for row in data["observation"].get("comfyui_lacks", []):
        told += _other_versions(row)
    return [*told, f"next: gov tx inspect {txid}, or gov tx abort {txid}"]


def _with_missing(data: Mapping[str, Any]) -> list[Part]:
    """How to try a node with the packages that it, or a part of it, failed for: all at once."""
    wanted: dict[str, list[str]] = {}
    for row in data["observation"].get("missing_modules", []):
        if row.get("distribution") and not row.get("declared"):
            wanted.setdefault(row["node"], []).append(row["distribution"])
    told: list[Part] = []
    for node, names in wanted.items():
        given = " ".join(f"--with '{name}'" for name in dict.fromkeys(names))
        told.append(f"next: gov tx run {node} {given}")
    return told


def _has_findings(data: Mapping[str, Any]) -> bool:
    owners = data["plan"].get("owner_changes", [])
    observed = data["observation"]
    is_told = observed.get("rewritten") or gates.new_findings(observed)
    is_told = is_told or supply.asks(data)
    return bool(is_told or any(row.get("nodes") for row in owners))


def _other_versions(row: Mapping[str, Any]) -> list[Part]:
    """What brings a node and ComfyUI together: an older commit of the one, a newer of the other."""
    told: list[Part] = []
    if row["fits"]:
        why = f"an earlier commit of it that fits ComfyUI {row['version']}"
        told.append(f"next: gov node update {row['node']} --to {row['fits'][:12]} ({why})")
    if row["since"] or (">" in row["requires"] and not row["until"]):
        has = f"it has {row['wanted']} since {row['since']}" if row["since"] else "a newer ComfyUI"
        told.append(f"next: gov comfyui update ({has})")
    if row["until"]:
        told.append(f"next: gov node update {row['node']} (a newer commit may do without it)")
    return told


def _is_incompatible(data: Mapping[str, Any]) -> bool:
    """Seen in what was built; before that, known of a range that a package is not asked for."""
    return bool(data["plan"].get("incompatible") or data["resolution"].get("scoped"))


def resolution(space: Workspace, tx: Transaction) -> list[Part]:
    """After `resolve`."""
    data = tx.to_json()
    if tx.status == RESOLVED:
        told = tables.changes(tx.plan.get("changes", []), title="prod would change")
        told += [f"warning: {note['sentence']}" for note in tx.plan.get("notes", [])]
        return [*_resolved(data), *told, *next_steps(data)]
    told = conflicts.screen(ledger.conflict(space, tx.txid), tx.txid)
    return [f"not {part}" for part in _resolved(data)] + told


def _resolved(data: Mapping[str, Any]) -> list[Part]:
    """All that was decided on before the lock."""
    told = _chosen(data["resolution_pins"], data["resolution"])
    return [f"resolved with {told}"] if told else []


def _chosen(pins: Sequence[str], chosen: Mapping[str, Any]) -> str:
    words = [", ".join(pins)]
    words += [f"leaving out {text}" for text in chosen["dropped"]]
    words += [_edited(row) for row in chosen.get("replaced", [])]
    words += [
        f"{row['package']} {row['version']} not asked for its range of {row['dependency']}"
        for row in chosen.get("scoped", [])
    ]
    words += [f"{name} of any date" for name in chosen["exempt"]]
    words += [f"{row['package']} from {row['url']}" for row in chosen.get("sources", [])]
    words += [f"{text} added" for text in chosen.get("added", [])]
    words += [f"no {name} installed" for name in chosen.get("without", [])]
    return "; ".join(filter(None, words))


def _edited(row: Mapping[str, str]) -> str:
    """A line of which only the name is left, or another name, or nothing."""
    line = f"{owner_words(row['owner'])}'s {row['text']}"
    if not row["to"]:
        return f"leaving out {line}"
    same = leading_name(row["to"]) == leading_name(row["text"])
    return f"giving up {line}" if same else f"taking {row['to']} for {line}"


def shared_files(plan: Mapping[str, Any], nodes: str) -> list[Part]:
    """Packages that install the same files, and whose lie there; not again those of prod."""
    rows = plan.get("shared_files", [])
    if "changes" in plan:
        moved = {row["name"] for row in plan["changes"]}
        rows = [row for row in rows if moved & set(row["packages"])]
    return [line for row in rows for line in _shared(row, nodes)]


def _shared(row: Mapping[str, Any], nodes: str) -> list[str]:
    files = f"{row['files']} of the same files" if row["files"] else "the same files"
    told = f"{' and '.join(row['packages'])} install {files}"
    if row.get("owner"):
        told += f"; those of {row['owner']} lie there"
    if not row.get("overrides"):
        return [told]
    others = [name for name in row["packages"] if name != row["keep"]]
    wanted = " ".join(f"--without {name}" for name in others)
    return [told, f"    {row['keep']} alone will do: gov tx run {nodes} {wanted}"]


def owner_changes(plan: Mapping[str, Any]) -> list[Part]:
    """Packages of prod that would get files of another package, and who asks for them."""
    return [line for row in plan.get("owner_changes", []) for line in _owner_change(row)]


def _owner_change(row: Mapping[str, Any]) -> list[str]:
    told = OwnerChange(row["package"], row["before"], row["after"]).sentence
    nodes = ", ".join(row.get("nodes", []))
    return [f"  prod would change: {told}", *([f"    used by {nodes}"] if nodes else [])]


def incompatible(plan: Mapping[str, Any]) -> list[Part]:
    """Packages that would not get what they require, though prod has it."""
    return [f"  incompatible: {row['sentence']}" for row in plan.get("incompatible", [])]


def moved(versions: Sequence[Change]) -> list[str]:
    """On a moved base: what the run did not see."""
    if not versions:
        return ["the truth moved since this run, but not what the node was observed with"]
    told = "; ".join(gates.describe(change) for change in versions[:6])
    return [
        f"the truth moved since this run, and the node was not observed with {told}; "
        "a promote is refused, --rebase observes it again"
    ]


def _attempts(data: Mapping[str, Any]) -> list[Part]:
    """What was chosen before and failed."""
    told: list[Part] = []
    for row in data["promotion"].get("attempts", []):
        chosen = _chosen(row["resolution"]["pins"], row["resolution"])
        with_it = f" with {chosen}" if chosen else ""
        told.append(f"  failed before{with_it}: {row.get('reason', '')}")
    return told


def _state(data: Mapping[str, Any]) -> str:
    state = "interrupted" if data.get("interrupted") else str(data["status"])
    if data["status"] == PROMOTE_FAILED:
        return f"{state}: {data['promotion'].get('error')}"
    return state


def _diff(data: Mapping[str, Any]) -> list[Part]:
    """What the candidate has beyond the plan: what came, went or moved while the node ran."""
    diff = data["diff"]
    planned = {
        (row["name"], row.get("before") or "-", row.get("after") or "-")
        for row in data.get("plan", {}).get("changes", [])
    }
    undeclared = set(diff.get("undeclared", []))
    core = {row["name"] for row in data["core_impact"]}
    rows = [(*row, _flags(row[1], undeclared, core)) for row in _diff_rows(diff)]
    rows = [row for row in rows if row[1:4] not in planned]
    if not rows:
        return []
    marks = {n: "core" if row[1] in core else "bad" for n, row in enumerate(rows) if row[4]}
    return [
        Table(
            "beyond the plan, the candidate",
            ("", "package", "before", "after", ""),
            rows[:60],
            marks,
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
        f"  skipped {_place(row['origin'])} {row['raw'].strip()} ({row['reason']})"
        for row in data["skipped_requirements"]
    ]


def _place(origin: Mapping[str, Any]) -> str:
    return f"{origin['file']}:{origin['line']}" if origin["file"] else "(installed at start)"


def _places(data: Mapping[str, Any]) -> list[Part]:
    told: list[Part] = []
    if data.get("candidate_env"):
        state = f" ({data['candidate_state']})" if data.get("candidate_state") else ""
        told.append(f"  candidate {data['candidate_env']}{state}")
    promotion = data["promotion"]
    if promotion.get("post_snapshot"):
        told.append(f"  snapshots {promotion['pre_snapshot']} -> {promotion['post_snapshot']}")
    return told


def _touches_core(data: Mapping[str, Any]) -> bool:
    """The first prod changes nothing."""
    if any(step["kind"] == "init" for step in data.get("steps", [])):
        return False
    changed = data.get("plan", {}).get("changes", [])
    return bool(data["core_impact"]) or any(row.get("core") for row in changed)
