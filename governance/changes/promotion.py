"""The last stage: every gate, the snapshots, and the redo record that makes a change true."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from governance.base import clock, names
from governance.base.errors import GovError, Refused
from governance.boundaries import store
from governance.changes import (
    audit,
    checkouts,
    gates,
    owned,
    staging,
    steps,
    supply_chain,
    trial_run,
    unmet,
    verdicts,
)
from governance.changes.checkouts import Staged
from governance.changes.draft import COMFYUI, Draft, Target, head_of
from governance.changes.gates import Approval, Facts
from governance.changes.work import Work, changed_places
from governance.environments import generations
from governance.truth import inventory, ledger, redo, registry, snapshots
from governance.truth.documents import (
    FAILED,
    PROMOTE_FAILED,
    PROMOTED,
    Plugin,
    Snapshot,
    Transaction,
)
from governance.truth.lockfile import Change

# How the two snapshots of a change are named, by the kind of its transaction.
REASONS = {
    "add": ("promote_pre", "promote_post"),
    "remove": ("remove_pre", "remove_post"),
    "rollback": ("rollback_pre", "rollback_post"),
    "init": ("init_pre", "init"),
    "import": ("import_pre", "import_post"),
    "edit": ("sync_pre", "sync"),
}
VERBS = {"add": "tx promote", "remove": "node remove", "edit": "sync"}


@dataclass(frozen=True)
class Promotion:
    """What a change did; `changes` are those that prod saw, `code` what moved on the disk, `kept`
    where files of the user's lie that left custom_nodes."""

    transaction: Transaction
    generation: str
    pre_snapshot: str
    post_snapshot: str
    changes: tuple[Change, ...]
    code: tuple[dict[str, Any], ...] = ()
    kept: tuple[str, ...] = ()
    check_seconds: float = 0.0


# --- gates ------------------------------------------------------------------------------------


def require_run(work: Work, approval: Approval) -> None:
    """The gates that need nothing but the record."""
    tx = work.tx
    failed = tx.status == FAILED or tx.observation.get("verdict") == "failed"
    reason = str(tx.observation.get("reason") or "see its logs")
    gates.require_all(
        work.workspace,
        Facts(
            what=tx.txid,
            failed=f"the run of {tx.txid} failed: {reason}" if failed else None,
            skipped=tx,
            rewritten=dict(tx.observation.get("rewritten", {})),
            findings=gates.new_findings(tx.observation),
            partial=tx.observation.get("partial", ()),
        ),
        approval,
    )


def refuse_moved_code(work: Work) -> None:
    """What was observed is what is promoted: the code of its nodes lies there as it did."""
    expected = {node: part.get("before") for node, part in work.tx.nodes.items()}
    if work.tx.comfyui.get("before"):
        expected[COMFYUI] = work.tx.comfyui["before"]
    for place in changed_places(work, {p: c for p, c in expected.items() if c is not None}):
        raise _moved(work, place, str(expected[place]))


def core_changes(work: Work) -> list[Change]:
    """Core packages that would change, or whose files would be another package's; the first prod
    changes nothing."""
    if generations.current(work.workspace) is None:
        return []
    found = gates.core_changes(work.workspace, work.stages.changes())
    if work.stages.is_built():
        found += gates.core_overwritten(work.workspace, work.stages.owner_changes())
    return found


def require_owners(work: Work, approval: Approval) -> list[Change]:
    """The gates of core packages and of files that would be another package's; the core changes."""
    core = core_changes(work)
    facts = Facts(what=work.tx.txid, core=core, owners=owned.rows(work))
    gates.require_all(work.workspace, facts, approval)
    return core


def _moved(work: Work, place: str, before: str) -> Refused:
    now = work.states.get(place)
    name = place.lstrip("@")
    source = checkouts.repository(work.workspace, place)
    files = source.differing(before, now.code) if now is not None else []
    if now is None:
        found = "is gone"
    elif now.head and now.head != before and not now.modified:
        found = f"is at {now.head[:12]}"
    else:
        found = f"was edited ({', '.join(files[:5])})"
    return Refused(
        f"{name} {found} since it was observed at {before[:12]}",
        hint=f"`gov tx run {name}` observes it as it is now; or put back what was observed",
        code="moved_node",
        facts={"txid": work.tx.txid, "observed": before, "files": files[:50]},
    )


def _require_stages(work: Work, made: Draft) -> None:
    """The staged files are this change on today's truth, locked, built and observed."""
    receipt = work.stages.receipt(work.stages.plan_receipt)
    base = receipt.get("base", {})
    if not work.stages.is_planned(made) or staging.base_moved(work.workspace, base):
        raise _stale(work.tx, "the truth or the plan has changed since it was staged")
    if not work.stages.is_locked() or not work.stages.is_built():
        raise _stale(work.tx, "it is not locked and built")


def _require_verdict(work: Work, approval: Approval) -> dict[str, Any]:
    if verdicts.has_run_before(work):
        return {"verdict": "completed", "reason": "it was prod before"}
    found = verdicts.verdict_of(work)
    if not found:
        if approval.failed_run and not work.stages.verdict():
            return {"verdict": "failed", "reason": "it was not observed to its end"}
        raise _stale(work.tx, "the new environment has not been observed with this code")
    if found["verdict"] != "completed" and not approval.failed_run:
        raise Refused(
            f"the new environment did not pass: {found['reason']}",
            hint="--allow-failed-run promotes it all the same",
            code="failed_run",
        )
    if not verdicts.passed_smoke(work):
        raise _stale(work.tx, "it has not passed its smoke test")
    return found


def _stale(tx: Transaction, why: str) -> Refused:
    return Refused(
        f"{tx.txid} cannot be committed: {why}",
        hint=f"run `gov tx promote {tx.txid}`, which does the missing stages first",
        code="stages_missing",
        facts={"txid": tx.txid},
    )


# --- the commit -------------------------------------------------------------------------------


def commit(work: Work, approval: Approval) -> Promotion:
    """Every gate once more, the snapshots, and the switch.  This is what makes it true."""
    workspace, tx = work.workspace, work.tx
    made = work.draft
    require_run(work, approval)
    refuse_moved_code(work)
    _require_stages(work, made)
    found = work.stages.changes()
    core = require_owners(work, approval)
    supply = supply_chain.require(work, approval)
    unmet.require_accepted(work, unmet.note(work), approval)
    verdict = _require_verdict(work, approval)
    try:
        generation = work.stages.generation().name
        checked = generations.require_sound(workspace, generation)
        verdicts.note_time(tx, "file_check", checked)
        tx.promotion["accepted_supply_chain"] = supply
        return _commit(work, made, approval, found, core, verdict, checked)
    except GovError as error:
        note_failure(work, error)
        raise


def note_failure(work: Work, error: GovError) -> None:
    """What failed on the way to prod is kept with the transaction, unless it is beyond its commit
    point: then recovery brings it to its end."""
    tx = work.tx
    error.facts.setdefault("txid", tx.txid)
    if isinstance(error, Refused) or redo.is_pending(work.workspace) or work.is_transient:
        return
    fresh = ledger.load(work.workspace, tx.txid)
    if fresh.status not in (PROMOTED, "running"):
        fresh.move(PROMOTE_FAILED)
        fresh.promotion = {**fresh.promotion, "status": PROMOTE_FAILED, "error": error.message}
        ledger.save(work.workspace, fresh)


@dataclass
class _Writing:
    """What one commit puts together, on the way to its redo record."""

    staged: list[Staged]
    moves: list[redo.Move]
    kept: list[Path]
    doomed: list[Path]


def _commit(
    work: Work,
    made: Draft,
    approval: Approval,
    found: Sequence[Change],
    core: Sequence[Change],
    verdict: Mapping[str, Any],
    checked: float,
) -> Promotion:
    workspace, tx = work.workspace, work.tx
    generation = work.stages.generation().name
    known = trial_run.baseline(workspace)
    pre = _pre_snapshot(work)
    before = pre.id if pre else None
    writing = _code(work, made)
    code = _code_changes(work, made)
    after = names.new_snapshot_id(clock.now())
    plugins = _plugins_after(work, made, before or after)
    documents = work.stages.documents()
    new = snapshots.Truth(documents["pyproject.toml"], documents["uv.lock"], registry.dump(plugins))
    unmet_now = unmet.newly_accepted(work, made, approval)
    _note_promotion(tx, approval, before, core, unmet_now)
    post = snapshots.write(
        workspace,
        new,
        reason=_reasons(tx)[1],
        generation=generation,
        ref=_post_ref(work),
        ran=True,
        identity=after,
    )
    tx.promotion["post_snapshot"] = post.id
    entry = _entry(work, found, code, (before, post.id), verdict)
    _write(work, new, generation, post, writing, entry, unmet.receipt(work, unmet_now))
    with work.session.tidying():
        there = tuple(map(registry.loader_name, made.loaded))
        trial_run.adopt_baseline(workspace, work.stages, generation, verdict, known, there)
        for path in writing.doomed:
            store.remove_tree(path)
        snapshots.prune(workspace, keep=(*_restored(work), *filter(None, [before]), post.id))
    kept = tuple(str(path) for path in writing.kept)
    return Promotion(
        tx, generation, before or "", post.id, tuple(found), tuple(code), kept, checked
    )


def _restored(work: Work) -> list[str]:
    """The snapshots that this change brings back: they are kept at the limit too."""
    return [str(step.facts["snapshot"]) for step in work.steps if step.kind == steps.RESTORE]


def _reasons(tx: Transaction) -> tuple[str, str]:
    return REASONS.get(tx.kind, (f"{tx.kind}_pre", f"{tx.kind}_post"))


def _pre_snapshot(work: Work) -> Snapshot | None:
    """The truth as it is, damaged or not: a rollback is the way out of that.  None where there is
    no truth yet."""
    workspace = work.workspace
    if not workspace.lock.is_file() and not workspace.pyproject.is_file():
        return None
    content = snapshots.truth_as_it_is(workspace)
    current = generations.current(workspace)
    return snapshots.take(
        workspace,
        reason=_reasons(work.tx)[0],
        generation=current,
        ref=_pre_ref(work.tx),
        content=content,
        ran=snapshots.is_of_prod(workspace, content),
    )


def _pre_ref(tx: Transaction) -> str | None:
    """What the first version wrote: the node of a removal, the target of a rollback."""
    if tx.kind == "remove":
        return tx.node_id
    restored = next((row for row in tx.steps if row["kind"] == steps.RESTORE), None)
    return str(restored["snapshot"]) if restored else tx.txid


def _post_ref(work: Work) -> str | None:
    """As before it, but never a transaction that has no record."""
    ref = _pre_ref(work.tx)
    return None if work.is_transient and ref == work.tx.txid else ref


def _note_promotion(
    tx: Transaction,
    approval: Approval,
    pre: str | None,
    core: Sequence[Change],
    unmet_now: Sequence[Mapping[str, Any]],
) -> None:
    tx.move(PROMOTED)
    tx.ended_at = clock.stamp()
    tx.process = {}
    tx.promotion = {
        **tx.promotion,
        "status": PROMOTED,
        "reason": approval.reason,
        "pre_snapshot": pre,
        "post_snapshot": None,
        "error": None,
        "approved_core": [change.to_json() for change in core],
        "allowed_failed_run": approval.failed_run and tx.observation.get("verdict") == "failed",
        "accepted_skipped": approval.accept_skipped and bool(tx.skipped_requirements),
        "accepted_findings": approval.findings,
        "accepted_incompatible": list(unmet_now),
    }


def _plugins_after(work: Work, made: Draft, snapshot: str) -> list[Plugin]:
    """The registry as the change leaves it: what it took in names it, and the snapshot before it
    (the first prod: its own)."""
    now = clock.stamp()
    taken = set() if work.is_at_once else {str(s.node) for s in work.steps if s.node}
    return [
        replace(p, last_txid=work.tx.txid, last_snapshot=snapshot, updated_at=now)
        if p.id in taken and (p.group in made.project.groups or not p.enabled)
        else p
        for p in made.plugins
    ]


_APPROVALS = (
    "approved_core",
    "allowed_failed_run",
    "accepted_skipped",
    "accepted_findings",
    "accepted_incompatible",
    "accepted_supply_chain",
)


def _entry(
    work: Work,
    found: Sequence[Change],
    code: Sequence[Mapping[str, Any]],
    pair: tuple[str | None, str],
    verdict: Mapping[str, Any],
) -> dict[str, Any]:
    tx = work.tx
    approvals = {name: tx.promotion[name] for name in _APPROVALS if tx.promotion.get(name)}
    return audit.entry(
        identity=pair[1],
        verb=VERBS.get(tx.kind, tx.kind),
        steps=[step.words() for step in work.steps],
        changes=found,
        code=code,
        who=audit.made(work.workspace),
        facts={
            "txid": tx.txid,
            "pre": pair[0],
            "reason": tx.promotion.get("reason"),
            "approvals": approvals,
            "verdict": verdict.get("verdict"),
        },
    )


def _write(
    work: Work,
    new: snapshots.Truth,
    generation: str,
    post: Snapshot,
    writing: _Writing,
    entry: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> None:
    workspace, tx = work.workspace, work.tx
    verb = VERBS.get(tx.kind, tx.kind)
    more = dict(facts)
    if _takes_core(work):
        more["core_sha256"] = store.file_digest(workspace.comfyui_dir / "requirements.txt")
    own = {} if work.is_transient else {ledger.path(workspace, tx.txid): ledger.dump(tx)}
    documents = {
        **new.documents(),
        **own,
        "state/snapshots_index.json": snapshots.indexed(workspace, post),
        "state/receipt.json": staging.receipt_bytes(workspace, new, generation, verb, **more),
    }
    record = redo.Record(
        verb,
        documents,
        generation,
        tuple(writing.moves),
        tuple(checkouts.records(workspace, writing.staged)),
        entry,
    )
    if work.is_transient:
        redo.commit(workspace, record)
        return
    with ledger.indexed(workspace, tx.txid):
        redo.commit(workspace, record)


def _takes_core(work: Work) -> bool:
    return bool(work.tx.comfyui) or work.tx.kind in ("init", "rollback", "import")


# --- code -------------------------------------------------------------------------------------


def _code(work: Work, made: Draft) -> _Writing:
    """Which files and folders move with this change; nothing has moved yet."""
    workspace = work.workspace
    staged = work.staged()
    nursery = redo.nursery(workspace)
    moves = checkouts.restored(workspace, staged, made.plugins, nursery)
    writing = _Writing(staged, moves, [], [])
    for node in made.purged:
        _purge(work, node, nursery, writing)
    if any(step.kind in _RENAMING for step in work.steps):
        for plugin in made.plugins:
            writing.moves += _renamed(work, plugin)
    _take_along(work, made, writing)
    return writing


def _purge(work: Work, node: str, nursery: Path, writing: _Writing) -> None:
    """The folder leaves custom_nodes by one rename.  It is deleted afterwards where all of it is
    in the repository, and kept where it holds files that are the user's own."""
    workspace = work.workspace
    plugin = registry.find(registry.load(workspace), node)
    found = inventory.locate(workspace, plugin)
    if found.state == inventory.MISSING:
        return
    now = checkouts.state(workspace, plugin)
    own = now is not None and bool(
        now.modified or checkouts.untracked(workspace, node, found.path, now)
    )
    stamp = clock.stamp().replace(":", "").replace("-", "")
    word = f"kept-{node}-{stamp}" if own else f"purge-{secrets.token_hex(4)}"
    target = nursery / word
    writing.moves.append(redo.Move(found.path, target))
    (writing.kept if own else writing.doomed).append(target)


_RENAMING = (steps.ENABLE, steps.DISABLE, steps.RESTORE)


def _renamed(work: Work, plugin: Plugin) -> list[redo.Move]:
    """A disabled node's folder ends in `.disabled`, which ComfyUI's loader passes over; one that
    is loaded lies in its place, also where it was purged and kept."""
    place = registry.place(work.workspace, plugin)
    found = checkouts.whereabouts(work.workspace, plugin)
    if found is None or plugin.last_snapshot is None:
        return []
    if plugin.enabled and found != place:
        return [redo.Move(found, place)]
    if not plugin.enabled and found == place:
        return [redo.Move(place, place.with_name(f"{place.name}.disabled"))]
    return []


def _take_along(work: Work, made: Draft, writing: _Writing) -> None:
    """What a node's install.py made in the node's own folder while it was observed belongs to the
    node as ComfyUI-Manager would have left it: it comes along, never over a file that is there."""
    for node, part in work.tx.nodes.items():
        if part.get("made"):
            place = registry.place(work.workspace, made.plugin(node))
            writing.staged.append(checkouts.made(work.stages, node, place, part["made"]))


def _code_changes(work: Work, made: Draft) -> list[dict[str, Any]]:
    """What moves on the disk, as rows: place, the commit before and after."""
    rows = []
    for one in work.staged():
        now = work.states.get(one.place)
        rows.append(
            {
                "place": one.place.lstrip("@"),
                "before": (now.head or now.code) if now else None,
                "after": one.head or one.after,
            }
        )
    if any(step.facts.get("packages_only") for step in work.steps):
        return rows
    now_known = {p.id: p for p in registry.parse_or_none(work.workspace)}
    later = {p.id: p for p in made.plugins}
    for node in dict.fromkeys([*now_known, *later]):
        rows += _row_of(node, now_known.get(node), later.get(node), rows)
    return rows


def _row_of(
    node: str, before: Plugin | None, after: Plugin | None, rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """A node that comes, goes, or is switched on or off without a file that moves."""
    if any(row["place"] == node for row in rows):
        return []
    old = before.commit if before and registry.is_promoted(before) else None
    new = after.commit if after and after.enabled and node else None
    if old == new or (
        before is not None
        and after is not None
        and before.enabled == after.enabled
        and before.commit == after.commit
    ):
        return []
    return [{"place": node, "before": old, "after": new}]


def targets_of(plugins: Sequence[Plugin], comfyui: Mapping[str, str]) -> dict[str, Target]:
    """The code that a truth names, by place."""
    found = {
        plugin.id: Target(head_of(plugin), code)
        for plugin in plugins
        if (code := plugin.code or plugin.commit)
    }
    if comfyui.get("code"):
        found[COMFYUI] = Target(comfyui.get("commit"), comfyui["code"])
    return found
