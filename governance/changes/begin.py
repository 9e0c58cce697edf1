"""How a transaction begins: the code that its steps name is fetched, captured and read.

Objects are fetched into the workspace and into the clones, where they are harmless; nothing that
ComfyUI would load moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from governance import requirements
from governance.base.errors import UsageError
from governance.boundaries import scratch
from governance.changes import (
    audit,
    checkouts,
    comfyui_fit,
    gates,
    provenance,
    steps,
    supply_chain,
)
from governance.changes.session import Session
from governance.changes.steps import Step
from governance.changes.work import Work
from governance.code.capture import State
from governance.environments import generations, surroundings
from governance.truth import freshness, inventory, ledger, registry, snapshots
from governance.truth.documents import Plugin, Transaction
from governance.truth.workspace import Workspace


def begin(
    session: Session,
    wanted: Sequence[Step],
    *,
    kind: str,
    pins: Sequence[str] = (),
    resolution: Mapping[str, Any] | None = None,
    parts: Mapping[str, Mapping[str, Any]] | None = None,
    comfyui: Mapping[str, Any] | None = None,
    preferences: Mapping[str, str] | None = None,
    discard_local: bool = False,
    dry_run: bool = False,
) -> Work:
    """A running transaction of these steps, recorded.

    `pins` and `resolution` are decided on beforehand; `parts` are what a fetch found, by node;
    `comfyui` what ComfyUI's step is about (see `draft`); `preferences` are versions, by package,
    that the lock keeps where it can; `discard_local` lets edited files of nodes be overwritten,
    of which a copy stays.  A dry run keeps no record.
    """
    workspace = session.workspace
    if not any(step.kind == steps.RESTORE for step in wanted):
        freshness.refuse_tampered_lock(workspace)  # a snapshot is the way out of that
    supply_chain.require_coming(session, wanted)
    _mention_edit(session, wanted)
    plugins = _named(workspace, wanted)
    tx = ledger.begin(workspace, next(iter(steps.nodes(wanted)), None), kind=kind)
    tx.steps = [step.to_json() for step in wanted]
    tx.comfyui = dict(comfyui or {})
    tx.audit = audit.made(workspace)
    tx.resolution_pins = list(pins)
    tx.resolution |= resolution or {}
    tx.preferences = dict(preferences or {})
    note_prod(workspace, tx)
    tx.audit["discard_local"] = discard_local
    tx.audit["resolution"] = dict(resolution or {})
    work = Work(session, tx)
    session.opened[tx.txid] = work
    for plugin in plugins:
        _take(work, plugin, dict((parts or {}).get(plugin.id, {})))
    for step in wanted:
        if step.kind == steps.BRING:
            tx.nodes[str(step.node)] = _brought(step)
    _mention_unfit(work)
    _sum_up(workspace, tx)
    for stream in ("stdout", "stderr"):
        tx.logs[stream] = f"state/logs/{tx.txid}.{stream}.log"
    _refuse_by_policy(workspace, tx)
    if not dry_run:
        work.save()
    return work


def _mention_edit(session: Session, wanted: Sequence[Step]) -> None:
    """A pyproject.toml that somebody edited is part of whatever is locked from now on."""
    kinds = {step.kind for step in wanted}
    if kinds & {steps.RESTORE, steps.INIT, steps.EDIT}:
        return
    if not freshness.lock_is_current(session.workspace):
        session.say(
            "warning: pyproject.toml was edited by hand, and this change includes the edit "
            "(`bin/doit` takes the edit in by itself, `gov rollback last` takes it back)"
        )


def _mention_unfit(work: Work) -> None:
    """Before any start: a node that is made for another ComfyUI than it will run with."""
    workspace, tx = work.workspace, work.tx
    version = comfyui_fit.version_with(workspace, tx.comfyui)
    for node, part in tx.nodes.items():
        asked = comfyui_fit.required_at(workspace, node, part["code"]) if part.get("code") else ""
        if sentence := comfyui_fit.unfit(node, asked, version):
            part["unfit"] = sentence
            work.session.say(sentence)


def again(session: Session, old: Transaction) -> Work:
    """The same steps on today's truth, with what was fetched and decided before."""
    wanted = steps.of(old.steps)
    kept = ["commit", "code", "ref", "carried", "branch", "subjects", "count"]
    kept += ["versions", "registry"]
    moved = {step.node for step in wanted if step.kind == steps.UPDATE}
    parts = {
        node: {name: part[name] for name in kept if name in part}
        for node, part in old.nodes.items()
        if node in moved
    }
    work = begin(
        session,
        wanted,
        kind=old.kind,
        pins=old.resolution_pins,
        resolution=old.resolution,
        parts=parts,
        comfyui=old.comfyui,
        preferences=old.preferences,
        discard_local=bool(old.audit.get("discard_local")),
    )
    work.tx.adoption = old.adoption
    work.tx.brought = dict(old.brought)
    # `resolve --reset` forgets what was chosen for the old one as well.
    work.tx.audit["resolution"] = old.audit.get("resolution", {})
    work.tx.unbuildable = old.unbuildable
    return work


def _named(workspace: Workspace, wanted: Iterable[Step]) -> list[Plugin]:
    """The nodes whose requirements are read anew."""
    named = steps.nodes(step for step in wanted if step.kind in (steps.ADD, steps.UPDATE))
    if not named:
        return []
    plugins = registry.load(workspace)
    return [registry.find(plugins, node) for node in named]


def note_prod(workspace: Workspace, tx: Transaction) -> None:
    """What the change is compared with."""
    prod = generations.usable_prod(workspace)
    tx.base = snapshots.truth_as_it_is(workspace).digests()
    tx.pre_freeze = list(prod.packages) if prod else []


def _take(work: Work, plugin: Plugin, part: dict[str, Any]) -> None:
    """What one node is at the commit that the transaction is about, and what it asks for there."""
    now = present(work.workspace, plugin)
    part.setdefault("kind", now.kind)
    part.setdefault("before", now.code)
    part.setdefault("commit", now.head or now.code)
    part.setdefault("code", now.code)
    part["head"] = now.head
    declared = _declared(work.workspace, plugin, part)
    part["declared"] = declared.to_json()
    part["direct_additions"] = [line.text for line in declared.lines]
    part.setdefault("override_additions", known_additions(work.workspace, plugin))
    work.tx.nodes[plugin.id] = part
    locked = _locked(work.workspace)
    entries = [{**e.to_json(), "node": plugin.id} for e in _weighty(declared.skipped, locked)]
    work.tx.skipped_requirements += entries


def _brought(step: Step) -> dict[str, Any]:
    """Its lines are those of its record; what a run sees it install beside them comes in here."""
    commit = step.facts.get("commit")
    more: dict[str, Any] = {"direct_additions": [], "override_additions": []}
    return {"commit": commit, "code": step.facts.get("code"), **more}


def present(workspace: Workspace, plugin: Plugin) -> State:
    """Raises UsageError (code `node_code_missing`, `node_disabled`)."""
    found = inventory.locate(workspace, plugin)
    if found.state == inventory.DISABLED:
        raise UsageError(
            f"{plugin.id} is disabled: its code lies at {found.path}",
            hint=f"`gov node enable {plugin.id}` puts it back first",
            code="node_disabled",
            facts={"node_id": plugin.id, "path": str(found.path)},
        )
    if found.state == inventory.MISSING:
        raise code_missing(plugin, found, "forgets it, then add it again")
    surroundings.refuse_own(workspace, found.path)
    state = checkouts.state(workspace, plugin)
    assert state is not None
    return state


def code_missing(plugin: Plugin, found: inventory.Place, what: str) -> UsageError:
    """`what` `gov node remove` does about it."""
    return UsageError(
        f"the code of {plugin.id} is not at {found.path}",
        hint=f"`gov node remove {plugin.id}` {what}",
        code="node_code_missing",
        facts={"node_id": plugin.id, "path": str(found.path)},
    )


def _declared(
    workspace: Workspace, plugin: Plugin, part: Mapping[str, Any]
) -> requirements.Declared:
    """As its files lie on the disk, or as they are in the commit that it is to become."""
    place = registry.place(workspace, plugin)
    if part["code"] == part["before"]:
        if place.is_file():
            return requirements.Declared()
        return provenance.read_declared(workspace, place.resolve())
    source = checkouts.repository(workspace, plugin.id)
    with scratch.folder("declared") as name:
        source.export(str(part["code"]), name)
        return provenance.read_declared(workspace, name)


def known_additions(workspace: Workspace, plugin: Plugin) -> list[str]:
    """What an earlier run saw it install stays with it: where that is there already, the next run
    sees nothing."""
    if plugin.last_snapshot is None or plugin.last_txid is None:
        return []
    try:
        before = ledger.load(workspace, plugin.last_txid)
    except UsageError:
        return []  # the record is gone; what it asked for is in its group, and asked for anew
    return list(before.nodes.get(plugin.id, {}).get("override_additions", ()))


def _sum_up(workspace: Workspace, tx: Transaction) -> None:
    """The fields of the contract that speak of the transaction as a whole."""
    parts = tx.nodes.values()
    tx.promotion_plan["direct_additions"] = _union(part["direct_additions"] for part in parts)
    tx.promotion_plan["override_additions"] = _union(part["override_additions"] for part in parts)
    first = tx.nodes.get(tx.node_id or "", {})
    tx.commit = first.get("commit")
    tx.plan = {"declared": first["declared"]} if "declared" in first else {}


def _union(lists: Iterable[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(text for listed in lists for text in listed))


def _locked(workspace: Workspace) -> dict[str, str]:
    prod = generations.usable_prod(workspace)
    return prod.locked if prod else {}


def _weighty(
    skipped: Sequence[requirements.Skipped], locked: dict[str, str]
) -> list[requirements.Skipped]:
    """Skipped lines that somebody has to decide on: a torch line that ComfyUI's own torch
    satisfies asks for nothing."""
    return [e for e in skipped if not (e.kind == "torch" and _is_satisfied(e.raw, locked))]


def _is_satisfied(line: str, locked: dict[str, str]) -> bool:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        wanted = Requirement(line.split("#")[0].strip())
    except InvalidRequirement:
        return False
    version = locked.get(wanted.name.lower())
    plain = wanted.url is None and version is not None and not version.startswith("@")
    return plain and wanted.specifier.contains(str(version).partition("+")[0], prereleases=True)


def _refuse_by_policy(workspace: Workspace, tx: Transaction) -> None:
    if tx.skipped_requirements and gates.skipped_policy(workspace) == "refuse":
        raise gates.skipped_refusal(tx, "policy.skipped_requirements is refuse")


def without_node(work: Work, node: str) -> None:
    """Set one node aside: its steps go, the rest of the transaction goes on."""
    tx = work.tx
    tx.nodes.pop(node, None)
    tx.skipped_requirements = [e for e in tx.skipped_requirements if e.get("node") != node]
    restepped(work, [row for row in tx.steps if row.get("node") != node])


def restepped(work: Work, rows: Sequence[Mapping[str, Any]]) -> Work:
    """The same transaction with other steps; what the old ones made is looked at anew."""
    tx = work.tx
    tx.steps = list(map(dict, rows))
    tx.node_id = next(iter(steps.nodes(steps.of(tx.steps))), None)
    _sum_up(work.workspace, tx)
    fresh = replace(work)
    fresh.save()
    work.session.opened[tx.txid] = fresh
    return fresh
