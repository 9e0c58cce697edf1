"""One command for an installation that runs: surveyed, registered, locked, proved."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from governance import git
from governance.adoption import additions, before, environment, manager, moves, survey
from governance.adoption.additions import Addition
from governance.adoption.environment import Environment
from governance.adoption.manager import Proposal
from governance.adoption.survey import Nodes
from governance.base.errors import GovError, UsageError
from governance.boundaries import store
from governance.changes import batch, begin, log_end, nodes, pipeline, plan, provenance, steps
from governance.changes.session import Session
from governance.changes.settings import Options
from governance.changes.steps import Step
from governance.changes.work import Work, open_work
from governance.conflict.causes import rules_out
from governance.conflict.problem import NODE, Owned
from governance.conflict.remedy import bare
from governance.environments import generations
from governance.installation import folder, truth
from governance.observation import Baseline, Observation
from governance.truth import ledger, lockfile, registry
from governance.truth.documents import COMPLETED, Plugin, Transaction
from governance.truth.workspace import Workspace

KIND = "adopt"
_MOST_TRIED = 8

# The local part of a version that PyTorch's own index gives: `2.8.0+cu128`.
_TORCH_TAG = re.compile(r"\+(cpu|xpu|cu[0-9]{2,3}|rocm[0-9]+(?:\.[0-9]+)*)$")


@dataclass(frozen=True)
class Wish:
    """As typed: what `gov init` takes, and the environment that ComfyUI runs in today."""

    options: Options = field(default_factory=Options)
    from_env: Path | None = None
    timeout: float | None = None


@dataclass(frozen=True)
class Survey:
    """What was found, before anything is decided."""

    environment: Environment
    nodes: Nodes
    proposals: tuple[Proposal, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "environment": self.environment.to_json(),
            "nodes": [_node(plugin) for plugin in self.nodes.plugins],
            "left_out": dict(self.nodes.left_out),
            "proposals": [one.to_json() for one in self.proposals],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Adopted:
    """`transaction` is None where there was nothing to adopt."""

    survey: Survey
    transaction: Transaction | None = None


def check(wish: Wish) -> None:
    """Raises UsageError for a named environment that is none, before anything is made."""
    if wish.from_env is not None:
        environment.ask(environment.python_in(store.typed_path(wish.from_env)), "it was named")


def look(workspace: Workspace, wish: Wish) -> Survey:
    """Find the environment and the nodes; of the nodes' code a copy goes into the store."""
    found = environment.find(workspace, wish.from_env)
    nodes = survey.nodes(workspace)
    notes = [*nodes.notes, *survey.elsewhere(found.node_folders, workspace)]
    proposed = manager.proposals(workspace, found.versions)
    return Survey(found, nodes, tuple(proposed), tuple(notes))


def adopt(session: Session, wish: Wish) -> Adopted:
    """The transaction that takes the installation in, observed.  The caller holds the workspace.

    Raises GovError for what keeps it from being made at all; nothing is registered then.
    """
    space = session.workspace
    truth.restore_missing(space)
    session.say("looking at the environment and the nodes")
    seen = look(space, wish)
    if space.pyproject.is_file() and not seen.nodes.plugins:
        return Adopted(seen)
    session.say(
        f"{seen.environment.folder}: Python {seen.environment.version}, "
        f"{len(seen.environment.packages)} packages; nodes: {len(seen.nodes.plugins)}"
    )
    wanted, comfyui = _of_comfyui(session, wish, seen.environment)
    folder.mark_governed(space)
    nodes.register_all(session, seen.nodes.plugins, KIND)
    work = begin.begin(
        session,
        [*wanted, *_steps(seen.nodes.plugins)],
        kind=KIND,
        comfyui=comfyui,
        preferences=_preferred(space, seen.environment),
    )
    work.tx.adoption = seen.to_json()
    work.save()
    with pipeline.recorded(work):
        return Adopted(seen, _prove(session, work, seen, wish))


# --- the steps --------------------------------------------------------------------------------


def _of_comfyui(
    session: Session, wish: Wish, old: Environment
) -> tuple[list[Step], dict[str, Any]]:
    """ComfyUI and the settings, by what the old environment is, where nothing else was typed."""
    chosen = options(session.workspace, wish.options, old)
    try:
        return truth.of_comfyui(session, chosen)
    except UsageError as error:
        if error.code != "bad_python" or wish.options.python is not None:
            raise
        raise UsageError(
            f"ComfyUI runs with Python {old.version} today, and uv finds no Python {old.minor} "
            "here",
            hint=f"`uv python install {old.minor}` brings one, or `gov adopt --python VERSION` "
            "takes another",
            code="bad_python",
            facts={"python": old.version},
        ) from None


def options(space: Workspace, typed: Options, old: Environment) -> Options:
    """What was typed, and by what is installed what was not."""
    return replace(
        typed,
        python=typed.python or old.minor,
        date=typed.date or _date(space, old),
        torch_backend=typed.torch_backend or _torch_tag(typed, old),
    )


def _date(space: Workspace, old: Environment) -> str:
    """ComfyUI's own date would take back what was installed after it; then none binds the lock."""
    folder = space.comfyui_dir
    committed = git.commit_date(folder) if git.is_repository(folder) else None
    if committed is None or old.newest is None:
        return "auto"
    return "auto" if old.newest <= committed + timedelta(days=1) else "none"


def _torch_tag(typed: Options, old: Environment) -> str | None:
    """The backend whose build of torch is installed, by the local part of its version."""
    torch = old.packages.get("torch")
    found = _TORCH_TAG.search(torch.version) if torch and not typed.index else None
    return found[1] if found else None


def _steps(plugins: Iterable[Plugin]) -> list[Step]:
    listed = list(plugins)
    on = [Step(steps.ADD, plugin.id) for plugin in listed if plugin.enabled]
    return [*on, *(Step(steps.DISABLE, plugin.id) for plugin in listed if not plugin.enabled)]


def _preferred(space: Workspace, old: Environment) -> dict[str, str]:
    """Where nodes are in prod already, its versions are those that work; else the old ones are."""
    if not registry.promoted(space):
        return old.versions
    locked = lockfile.versions_in(store.read_bytes(space.lock).decode(errors="replace"))
    return {name: version for name, version in old.versions.items() if name not in locked}


# --- the proof --------------------------------------------------------------------------------


def _prove(session: Session, work: Work, seen: Survey, wish: Wish) -> Transaction:
    txid, old = work.tx.txid, seen.environment
    notes = list(seen.notes)
    tag = _torch_tag(wish.options, old)
    if tag is not None and wish.options.torch_backend is None:
        notes.append(f"torch {old.packages['torch'].version} is taken from PyTorch's index {tag}")
    _watch_before(session, work, old, wish.timeout, notes)
    _lock_as_installed(open_work(session, txid), old, notes)
    batch.drop_unfit(session, open_work(session, txid))
    added = _add_imported(open_work(session, txid), old, notes)

    def mend(work: Work) -> bool:
        _note_start(work, work.tx.observation)
        more = additions.failed_for(work, old, _lost(work.tx))
        taken = _add(work, [one for one in more if one not in added], notes)
        added.extend(taken)
        return bool(taken or work.tx.promotion_plan["override_additions"])

    tx = batch.run(session, open_work(session, txid), timeout=wish.timeout, mend=mend)
    work = open_work(session, txid)
    _note_start(work, tx.observation)
    work.tx.adoption["added"] = [one.to_json() for one in added if one.node in work.tx.nodes]
    if tx.status == COMPLETED:
        _compare(work, old, notes)
    work.tx.adoption["notes"] = list(dict.fromkeys(notes))
    ledger.save(session.workspace, work.tx)
    return work.tx


def _note_start(work: Work, seen: Mapping[str, Any]) -> None:
    """Seconds of each observation, the old installation's first; each once."""
    seconds = seen.get("times", {}).get("total")
    known = work.tx.adoption.setdefault("starts", [])
    if seconds is not None and seconds not in known:
        known.append(seconds)


def _watch_before(
    session: Session, work: Work, old: Environment, timeout: float | None, notes: list[str]
) -> None:
    """The baseline; nodes that do not load today are set aside."""
    space, txid = session.workspace, work.tx.txid
    names = {registry.loader_name(work.draft.plugin(node)): node for node in work.tx.nodes}
    log = log_end.name_of(before.name_of(txid))
    session.say(f"starting ComfyUI as it runs today, in the fence; its log: {log}")
    limit = timeout or space.config.number("tx.timeout_seconds")
    try:
        found = before.watch(session, txid, old.folder, list(names), timeout=limit)
    except GovError as error:
        notes.append(f"the old installation was not started: {error.message}")
        return
    _note_start(work, {"times": found.times})
    if not found.ready:
        notes.append(
            f"the old installation does not start here, so that nothing can be compared with it: "
            f"{_why_not(found)}"
        )
        return
    work.tx.adoption["before"] = {**found.baseline().to_json(), "warnings": found.warnings}
    work.save()
    broken = {name: r.error for name, r in found.nodes.items() if r.loaded is False}
    if names and len(broken) == len(names) and space.pyproject.is_file():
        raise GovError(
            f"nothing can come in: {', '.join(sorted(broken))} "
            f"{'does' if len(broken) == 1 else 'do'} not load in the old installation either",
            hint=f"`gov tx run {names[min(broken)]}` tries it on its own",
            code="nothing_to_adopt",
            facts={"nodes": {names[name]: why for name, why in broken.items()}},
        )
    for name, why in broken.items():
        reason = f"it does not load in the old installation either: {why}"
        batch.set_aside(session, txid, names[name], reason)


def _lock_as_installed(work: Work, old: Environment, notes: list[str]) -> None:
    """pip lets stand together what does not fit: where the requirements do not lock, lines that
    the installed versions break today, under which their nodes load, are given up."""
    if not work.tx.adoption.get("before") or batch.locks(work):
        return
    broken = [
        line
        for node in work.tx.nodes
        for line in plan.owned_lines(work.tx, node)
        if line.name in old.packages and rules_out(line, old.packages[line.name].version)
    ]
    held = moves.broken_pins(old)
    kept = _fewest(work, broken)
    if not kept and held:
        work.tx.resolution_pins = held
        kept = [] if batch.locks(work) else _fewest(work, broken)
        if not kept and not batch.locks(work):
            work.tx.resolution_pins = []
    notes += [
        f"{line.who} asks for {line.text} ({line.place}), and loads with the installed "
        f"{old.packages[line.name].version}: the line is given up"
        for line in kept
    ]
    notes += [
        f"{pin} is held as it is installed, though a package asks for another version"
        for pin in work.tx.resolution_pins
    ]
    work.save()


def _fewest(work: Work, broken: list[Owned]) -> list[Owned]:
    """The lines that have to go so that the rest locks; none where that does not help."""
    if not broken or not _locks_without(work, broken):
        _give_up(work, ())
        return []
    for line in broken if len(broken) <= _MOST_TRIED else ():
        rest = [one for one in broken if one != line]
        if rest and _locks_without(work, rest):
            broken = rest
    _give_up(work, broken)
    return broken


def _locks_without(work: Work, lines: Sequence[Owned]) -> bool:
    _give_up(work, lines)
    return batch.locks(work)


def _give_up(work: Work, lines: Sequence[Owned]) -> None:
    work.tx.resolution["replaced"] = [
        {"owner": one.owner, "text": one.text, "to": bare(one.text)} for one in lines
    ]


def _why_not(found: Observation) -> str:
    return found.reason or f"exit code {found.run_exit_code}"


def _add_imported(work: Work, old: Environment, notes: list[str]) -> list[Addition]:
    """Before the first start, so that one more is seldom needed."""
    if not batch.locks(work):
        return []
    found = [*additions.sources(work, old), *additions.imported(work, old)]
    return _add(work, found, notes)


def _add(work: Work, found: Sequence[Addition], notes: list[str]) -> list[Addition]:
    """Those that could be added; what they lose, and what could not be, is told."""
    if not found:
        return []
    wanted = sorted({one.line for one in found if one.module})
    if wanted:
        work.session.say(f"adding what nodes import: {', '.join(wanted)}")
    taken = additions.add(work, found)
    notes += [one.sentence for one in taken if one.loss]
    left = sorted({one.line for one in found} - {one.line for one in taken})
    if left:
        notes.append(
            f"what nodes use does not lock with the rest, or is on no index: {', '.join(left)}"
        )
    return [one for one in taken if one.module or not one.loss]


# --- the comparison ---------------------------------------------------------------------------


def _compare(work: Work, old: Environment, notes: list[str]) -> None:
    """The facts that the record keeps: nodes before and now, versions that moved."""
    generation = work.stages.generation()
    path = generations.path(work.workspace, generation.name)
    new = environment.ask(generations.python_of(path), "gov made it")
    project = work.draft.project
    held = [*project.constraints, *project.overrides]
    moved = moves.explain(old, new, _lines(work), held)
    facts = work.tx.adoption
    facts["nodes"] = _nodes(work)
    facts["moved"] = [move.to_json() for move in moved]
    facts["left_behind"] = moves.left_behind(old, new)
    for node in facts["nodes"]:
        if node["classes_lost"]:
            lost = ", ".join(node["classes_lost"][:5])
            notes.append(f"{node['id']} registers {len(node['classes_lost'])} fewer: {lost}")


def _lines(work: Work) -> list[Owned]:
    """Every line of the new project, those of the transaction's nodes with their place."""
    own = {f"{NODE}{node}" for node in work.tx.nodes}
    listed = provenance.owned_lines(work.workspace, work.draft.project)
    return [
        *(line for line in listed if line.owner not in own),
        *(line for node in work.tx.nodes for line in plan.owned_lines(work.tx, node)),
    ]


def _nodes(work: Work) -> list[dict[str, Any]]:
    """One row a node: {id, name, kind, origin, enabled, before, now, classes_lost, ...}."""
    known = work.tx.adoption.get("before")
    baseline = Baseline.from_json(known) if known else None
    reports = work.tx.observation.get("nodes", {})
    aside = {row["step"]["node"]: row["reason"] for row in work.tx.set_aside}
    rows = []
    for row in work.tx.adoption["nodes"]:
        report = reports.get(row["name"], {})
        old = _classes(row["name"], baseline)
        now = report.get("classes", [])
        is_in = row["enabled"] and row["id"] not in aside
        rows.append(
            {
                **row,
                "before": None if baseline is None else row["name"] in baseline.loaded,
                "now": report.get("loaded") if is_in else None,
                "classes": len(now),
                "classes_lost": sorted(set(old) - set(now)) if is_in else [],
                "classes_new": sorted(set(now) - set(old)) if is_in and baseline else [],
                "set_aside": aside.get(row["id"], ""),
            }
        )
    return rows


def _classes(name: str, baseline: Baseline | None) -> list[str]:
    return before.classes_by_node([name], baseline)[name] if baseline else []


def _lost(tx: Transaction) -> list[str]:
    """Nodes that loaded with fewer classes than before."""
    known = tx.adoption.get("before")
    if not known:
        return []
    baseline = Baseline.from_json(known)
    found = []
    for row in tx.adoption["nodes"]:
        report: Mapping[str, Any] = tx.observation.get("nodes", {}).get(row["name"], {})
        if report.get("loaded") and set(_classes(row["name"], baseline)) - set(report["classes"]):
            found.append(row["id"])
    return found


def _node(plugin: Plugin) -> dict[str, Any]:
    return {
        "id": plugin.id,
        "name": registry.loader_name(plugin),
        "kind": plugin.kind,
        "origin": plugin.git_url or plugin.registry.get("id", ""),
        "version": plugin.registry.get("version"),
        "commit": plugin.commit,
        "enabled": plugin.enabled,
    }
