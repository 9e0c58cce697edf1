"""What stands between a plan and prod.  The commit itself checks every gate, whatever road led to
it (`gov`, `doit`, `doit -s`, `doit ignore`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from governance.base.errors import Refused, UsageError
from governance.base.names import normalise
from governance.conflict.shared import OwnerChange
from governance.observation import partial
from governance.supply.rules import refusal
from governance.truth.documents import Transaction
from governance.truth.lockfile import Change
from governance.truth.workspace import Workspace


@dataclass(frozen=True)
class Approval:
    """What the operator has allowed, as typed."""

    core: bool = False
    reason: str | None = None
    failed_run: bool = False
    accept_skipped: bool = False
    findings: bool = False
    incompatible: bool = False
    supply: bool | None = None

    @property
    def accepts_supply(self) -> bool:
        """What the gates of a supply chain ask about; as the findings, unless said otherwise."""
        return self.findings if self.supply is None else self.supply

    def check(self) -> None:
        """--approve-core without a reason approves nothing: the reason is what is audited."""
        if self.core and not (self.reason or "").strip():
            raise UsageError(
                "--approve-core needs --reason",
                hint='say why: --approve-core --reason "..."',
                code="reason_missing",
            )


@dataclass(frozen=True)
class Facts:
    """What the gates ask about.  `failed` is why a run failed, `skipped` the transaction whose
    skipped lines count, `rewritten` the tracked files that a node rewrote by itself, by node,
    `owners` rows of plan.owner_changes, see owned.rows, `findings` what nodes did that no node
    should do when ComfyUI starts, `partial` the rows of nodes that loaded in part, `supply` what
    policy asks about packages and authors (see supply_chain)."""

    what: str
    core: Sequence[Change] = ()
    failed: str | None = None
    skipped: Transaction | None = None
    rewritten: Mapping[str, Sequence[str]] = field(default_factory=dict)
    owners: Sequence[Mapping[str, Any]] = ()
    findings: Sequence[Mapping[str, Any]] = ()
    partial: Sequence[Mapping[str, Any]] = ()
    supply: Sequence[Mapping[str, Any]] = ()


def require_all(workspace: Workspace, facts: Facts, approval: Approval) -> None:
    """Every gate, in one order for every verb.  Raises Refused."""
    approval.check()
    require_supply(facts.supply, approval, facts.what)
    if facts.failed and not approval.failed_run:
        raise Refused(
            facts.failed,
            hint=f"`gov tx inspect {facts.what}` shows more; "
            "--allow-failed-run promotes it all the same",
            code="failed_run",
            facts={"txid": facts.what},
        )
    tx = facts.skipped
    asks = skipped_policy(workspace) == "ask"
    if tx is not None and tx.skipped_requirements and asks and not approval.accept_skipped:
        raise skipped_refusal(tx, "they would not be installed")
    require_core(facts.core, approval)
    _require_proper_start(workspace, facts, approval)
    _require_whole(workspace, facts, approval)
    _require_no_finding(facts, approval)


def require_supply(found: Sequence[Mapping[str, Any]], approval: Approval, what: str) -> None:
    """Nothing comes in that policy refuses, or that it asks about and nobody accepted."""
    for mode in ("refuse", *(() if approval.accepts_supply else ("ask",))):
        stopped = [one for one in found if one["policy"] == mode]
        if stopped:
            raise refusal(stopped, what, mode)


def _require_proper_start(workspace: Workspace, facts: Facts, approval: Approval) -> None:
    found = facts.findings
    if found and _stops(workspace, "start_actions", approval):
        raise Refused(
            _all_of(found, found[0]["sentence"]),
            hint=f"`gov tx inspect {facts.what}` lists what it did; "
            f"{_way_out(workspace, 'start_actions')}",
            code="start_actions",
            facts={"findings": list(found)},
        )


def _require_whole(workspace: Workspace, facts: Facts, approval: Approval) -> None:
    """No node loads in part, where policy asks."""
    found = partial.new(facts.partial)
    if found and _stops(workspace, "partial", approval):
        first = f"{found[0]['node']} loaded in part: {partial.sentence(found[0])}"
        raise Refused(
            _all_of(found, first),
            hint=f"`gov tx inspect {facts.what}` lists what is missing; "
            f"{_way_out(workspace, 'partial')}",
            code="partial",
            facts={"partial": list(found)},
        )


def _stops(workspace: Workspace, key: str, approval: Approval) -> bool:
    """A gate about what was observed, by its setting in [policy]."""
    policy = workspace.config.text(f"policy.{key}")
    return policy == "refuse" or (policy == "ask" and not approval.findings)


def _all_of(found: Sequence[Mapping[str, Any]], first: str) -> str:
    return f"{first} (and {len(found) - 1} more)" if found[1:] else first


def _way_out(workspace: Workspace, key: str) -> str:
    if workspace.config.text(f"policy.{key}") == "ask":
        return "--accept-findings promotes it all the same"
    return f'config.toml refuses it: `{key} = "ask"` in [policy] lets --accept-findings promote it'


def new_findings(seen: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Those of the nodes under observation; what prod does already was accepted before."""
    subjects = seen.get("subjects", ())
    found = seen.get("findings", ())
    return [row for row in found if row["node"] in subjects and not row.get("known")]


def _require_no_finding(facts: Facts, approval: Approval) -> None:
    if approval.findings:
        return
    for node, names in facts.rewritten.items():
        raise Refused(
            f"{node} rewrote its own files while it was observed: {', '.join(names[:5])}",
            hint="look at them with `gov tx shell`; --accept-findings promotes it all the same",
            code="rewrote_itself",
            facts={"node": node, "files": list(names)},
        )
    for row in facts.owners:
        if row["nodes"]:
            raise Refused(
                f"{OwnerChange(row['package'], row['before'], row['after']).sentence}, and "
                f"{', '.join(row['nodes'])} asks for {row['package']}",
                hint=f"`gov tx inspect {facts.what}` shows who installs the same files; "
                "--accept-findings promotes it all the same",
                code="other_owner",
                facts={"owner_changes": list(facts.owners)},
            )


def require_compatible(
    workspace: Workspace, found: Sequence[Mapping[str, Any]], approval: Approval
) -> None:
    """No package loses what it asks for, see unmet.rows.  Raises Refused; its facts hold each."""
    policy = _incompatible_policy(workspace)
    if not found or policy == "allow" or (policy == "ask" and approval.incompatible):
        return
    first = found[0]
    count = f"{len(found)} requirements would not be met, the first" if found[1:] else _ONE
    raise Refused(
        f"{count}: {first['sentence']}",
        hint=f"`gov why {first['at_stake']}` shows who asks for what; {_ACCEPTING[policy]}",
        code="incompatible",
        facts={"incompatible": list(found)},
    )


_ONE = "a requirement would not be met"
_ACCEPTING = {
    "ask": "--accept-incompatible goes on all the same",
    "refuse": 'config.toml refuses it: `incompatible = "ask"` in [policy] lets '
    "--accept-incompatible go on",
}


def _incompatible_policy(workspace: Workspace) -> str:
    return workspace.config.text("policy.incompatible")


def allows_incompatible(workspace: Workspace) -> bool:
    return _incompatible_policy(workspace) == "allow"


def skipped_policy(workspace: Workspace) -> str:
    return workspace.config.text("policy.skipped_requirements")


def skipped_refusal(tx: Transaction, why: str) -> Refused:
    first = tx.skipped_requirements[0]
    origin = first["origin"]
    place = f"{origin['file']}:{origin['line']}" if origin["file"] else "installed at start,"
    more = len(tx.skipped_requirements) - 1
    tail = f" and {more} more" if more else ""
    return Refused(
        f"{first.get('node') or tx.what}: requirement lines were skipped, {why}: "
        f"{place} {first['raw']!r} ({first['reason']}){tail}",
        hint="--accept-skipped goes on without them; config.toml's [policy] can take more kinds",
        code="skipped_requirements",
        facts={"skipped": tx.skipped_requirements},
    )


def core_names(workspace: Workspace) -> frozenset[str]:
    return frozenset(normalise(name) for name in workspace.config.texts("policy.core_packages"))


def core_changes(workspace: Workspace, changes: Iterable[Change]) -> list[Change]:
    """Changes of core packages, whatever road they came by, by normalised name."""
    names = core_names(workspace)
    return [change for change in changes if normalise(change.name) in names]


def core_overwritten(workspace: Workspace, changes: Iterable[OwnerChange]) -> list[Change]:
    """Core packages that stay while the files on the disk become another package's, or its own."""
    core = core_names(workspace)
    return [
        Change(one.package, _files_of(one.package, one.before), _files_of(one.package, one.after))
        for one in changes
        if normalise(one.package) in core
    ]


def _files_of(package: str, owner: str) -> str:
    return "its own files" if owner == package else f"files of {owner or 'several packages'}"


def require_core(changes: Sequence[Change], approval: Approval) -> None:
    """Raises Refused (code `core_approval`) naming each core change."""
    approval.check()
    if changes and not approval.core:
        told = "; ".join(describe(change) for change in changes)
        raise Refused(
            f"core packages would change: {told}",
            hint='if that is wanted: --approve-core --reason "why"',
            code="core_approval",
            facts={"core_changes": [change.to_json() for change in changes]},
        )


def describe(change: Change) -> str:
    if change.kind == "changed":
        return f"{change.name} {change.before} -> {change.after}"
    return f"{change.name} {change.before or change.after} {change.kind}"
