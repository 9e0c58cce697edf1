"""The stage that watches ComfyUI load what a change makes, and what is recorded of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from governance import observation
from governance.base import clock
from governance.boundaries import store
from governance.changes import (
    absence,
    checkouts,
    comfyui_own,
    gates,
    observed,
    provenance,
    steps,
    trial_run,
)
from governance.changes.draft import COMFYUI, Draft
from governance.changes.trial_run import Asked, Load, Watched
from governance.changes.work import Work
from governance.truth import inventory, ledger, registry
from governance.truth.documents import Plugin, Transaction
from governance.truth.lockfile import Change, changes, frozen_versions
from governance.truth.workspace import Workspace


def seen_digest(work: Work) -> str:
    """Of the packages and code that the change makes, see `observed`."""
    return observed.digest(work.stages.generation().key, work.codes())


def load_of(work: Work) -> Load:
    """What ComfyUI is to load with this change made."""
    made = work.draft
    subjects = steps.subjects(work.steps)
    there = [p for p in made.loaded if _will_be_there(work, made, p)]
    names = {plugin.id: registry.loader_name(plugin) for plugin in there}
    gone = [p for p in _promoted_now(work) if p.id not in names]
    back = _returning(work, made, there)
    names_back = {one.place for one in back}
    staged = [one for one in work.staged() if one.place not in names_back] + back
    moved = {one.place for one in staged}
    new = {one.place for one in staged if one.is_new}
    absent = [p for p in made.loaded if p.id not in names]
    return Load(
        subjects=tuple(names[node] for node in subjects if node in names),
        governed=tuple(name for node, name in names.items() if node not in subjects),
        gone=tuple(map(registry.loader_name, gone)),
        code=tuple(checkouts.lay_plan(work.stages, staged)),
        laid=tuple(names[node] for node in new if node in names),
        absent=tuple(_absence(work, plugin) for plugin in absent),
        baseline=_before(work.tx),
        in_use=bool(work.tx.adoption),
        lying=tuple(
            checkouts.lying(
                work.workspace,
                [plugin for plugin in there if plugin.id not in moved],
                work.states,
                comfyui=COMFYUI not in moved,
            )
        ),
    )


def _before(tx: Transaction) -> observation.Baseline | None:
    """What the old installation loaded, but for the nodes that were set aside since."""
    seen = tx.adoption.get("before")
    if not seen:
        return None
    out = [row["name"] for row in tx.adoption.get("nodes", ()) if row["id"] not in tx.nodes]
    return trial_run.without(observation.Baseline.from_json(seen), out)


def _absence(work: Work, plugin: Plugin) -> str:
    found = inventory.locate(work.workspace, plugin)
    if found.state == inventory.DISABLED:
        return f"{plugin.id} was not loaded: it is disabled, its code lies at {found.path}"
    return f"{plugin.id} was not loaded: {found.path} is not there"


def _promoted_now(work: Work) -> list[Plugin]:
    """Prod's nodes; none where the registry is damaged, which a rollback is the way out of."""
    return [p for p in registry.parse_or_none(work.workspace) if registry.is_promoted(p)]


def _will_be_there(work: Work, made: Draft, plugin: Plugin) -> bool:
    """A node whose folder somebody took away keeps nobody else from being observed."""
    if plugin.id in made.code or plugin.id in steps.nodes(work.steps):
        return True
    if any(step.kind == steps.RESTORE for step in work.steps):
        return checkouts.whereabouts(work.workspace, plugin) is not None
    return inventory.locate(work.workspace, plugin).state == inventory.PRESENT


def _returning(work: Work, made: Draft, plugins: Sequence[Plugin]) -> list[checkouts.Staged]:
    """The code of nodes whose folder lies elsewhere, and that come back with this change."""
    if not any(step.kind in (steps.ENABLE, steps.RESTORE) for step in work.steps):
        return []
    return [
        one
        for plugin in plugins
        if inventory.locate(work.workspace, plugin).state != inventory.PRESENT
        for one in checkouts.whole(work.stages, made, plugin, work.states)
    ]


def watch(work: Work, *, timeout: float | None = None) -> Watched:
    limit = timeout or work.workspace.config.number("tx.timeout_seconds")
    return trial_run.watch(work.session, work.stages, load_of(work), timeout=limit)


def remember(work: Work, verdict: str, reason: str) -> None:
    """The receipt of the stage, and the set that is known from now on."""
    seen = seen_digest(work)
    work.stages.write_verdict(seen, verdict, reason)
    row = {"verdict": verdict, "reason": reason, "txid": work.tx.txid}
    observed.remember(work.workspace, work.stages.generation().name, seen, row)


def record(work: Work, seen: Watched, *, environment_seconds: float) -> None:
    """Put an observation into the record: freezes, diff, core impact, plan."""
    workspace, tx, found = work.workspace, work.tx, seen.observation
    found.times["environment"] = round(environment_seconds, 3)
    own = comfyui_own.lacking(workspace, tx, found)
    found.reason = absence.explained(workspace, tx, found, own)
    found.comfyui_lacks = [one.to_json() for one in own]
    unfit = [str(part["unfit"]) for part in tx.nodes.values() if part.get("unfit")]
    found.warnings = [*unfit, *found.warnings]
    missing = absence.missing(workspace, tx.nodes, found)
    found.missing_modules = [one.to_json() for one in missing]
    tx.observation = found.to_json()
    tx.post_freeze = list(found.post_freeze)
    tx.logs["run_exit_code"] = found.run_exit_code
    tx.candidate_env = str(seen.candidate.folder.relative_to(workspace.root))
    undeclared = {change.name for change in seen.undeclared}
    found_changes = changes(frozen_versions(tx.pre_freeze), frozen_versions(tx.post_freeze))
    tx.diff = _diff(found_changes, undeclared)
    tx.core_impact = [c.to_json() for c in gates.core_changes(workspace, found_changes)]
    take_additions(work, seen.additions)
    _note_rewritten(work, seen)
    _keep_made(work, seen)


def take_additions(work: Work, asked: Sequence[Asked]) -> list[str]:
    """What was installed without a declaration is judged as a declared line would be; the lines
    that are new."""
    tx, new = work.tx, []
    judged = provenance.judged(work.workspace, asked)
    by_name = {registry.loader_name(p): p.id for p in work.draft.plugins} if asked else {}
    owners = {one.text: by_name.get(one.node) for one in asked}
    owners = {text: node for text, node in owners.items() if node in tx.nodes}
    for line in judged.lines:
        node = owners.get(line.raw) or owners.get(line.text) or tx.node_id
        additions = tx.nodes.get(str(node), {}).setdefault("override_additions", [])
        if node is not None and line.text not in additions:
            additions.append(line.text)
            new.append(line.text)
    listed = [*tx.promotion_plan["override_additions"], *new]
    tx.promotion_plan["override_additions"] = list(dict.fromkeys(listed))
    skipped = [entry.to_json() for entry in judged.skipped]
    tx.skipped_requirements += [entry for entry in skipped if entry not in tx.skipped_requirements]
    return new


def _note_rewritten(work: Work, seen: Watched) -> None:
    """Tracked files that the nodes rewrote themselves while they were observed: what was started
    is promoted, and prod would be rewritten in the same way at its first start."""
    found: dict[str, list[str]] = {}
    draft, codes, staged = work.draft, work.codes(), work.staged()
    for node in work.tx.nodes:
        place = registry.place(work.workspace, draft.plugin(node))
        written = seen.candidate.written(place)
        tracked = checkouts.repository(work.workspace, node).files(str(codes[node]))
        laid = {m.path: m.after for s in staged if s.place == node for m in s.files}
        names = sorted(
            name
            for name, path in written.items()
            if name in tracked and store.file_digest(path) != laid.get(name)
        )
        if names:
            found[node] = names
    work.tx.observation["rewritten"] = found


def _diff(found: Sequence[Change], undeclared: set[str]) -> dict[str, Any]:
    changed = [
        {"name": c.name, "from": c.before, "to": c.after} for c in found if c.kind == "changed"
    ]
    return {
        "added": [_freeze_line(c.name, c.after) for c in found if c.kind == "added"],
        "removed": [_freeze_line(c.name, c.before) for c in found if c.kind == "removed"],
        "changed": changed,
        "undeclared": sorted(undeclared),
    }


def _freeze_line(name: str, version: str | None) -> str:
    text = version or ""
    return f"{name} {text}" if text.startswith("@") else f"{name}=={text}"


def end(workspace: Workspace, tx: Transaction, status: str, reason: str | None) -> None:
    """The record as it stays: its state, the time, and why where nothing says so yet."""
    if status != tx.status:
        tx.move(status)
    if reason is not None:
        tx.observation.setdefault("reason", reason)
    tx.ended_at = clock.stamp()
    tx.process = {}
    ledger.save(workspace, tx)


def logs(workspace: Workspace, tx: Transaction) -> Path:
    return workspace.root / str(tx.logs.get("stderr"))


def _keep_made(work: Work, seen: Watched) -> None:
    """What install.py made in a node's own folder is kept beside the staged code, and comes along
    with the promotion.  Without an install.py, what a node writes at its start it writes again."""
    from governance import comfyui

    draft, codes = work.draft, work.codes()
    for node, part in work.tx.nodes.items():
        code = codes.get(node)
        source = checkouts.repository(work.workspace, node)
        tracked = set(source.files(code)) if code else set()
        if comfyui.INSTALL_SCRIPT not in tracked:
            continue
        place = registry.place(work.workspace, draft.plugin(node))
        written = seen.candidate.written(place)
        found = {n: p for n, p in written.items() if n not in tracked and not (place / n).exists()}
        checkouts.keep_made(work.stages, node, found)
        part["made"] = sorted(found)
