"""`gov why`: who asks for a package, who brought this version, and what if it were another."""

from __future__ import annotations

from typing import Any

from governance.base.errors import EXIT_NEEDS_RESOLUTION, EXIT_OK, GovError, NeedsResolution
from governance.boundaries import store
from governance.changes import gates, provenance
from governance.changes.session import open_session
from governance.cli import conflicts, tables
from governance.cli.outcome import Outcome, Part
from governance.cli.report import Voice
from governance.conflict.chains import Chain, chains
from governance.operations import node_check
from governance.requirements import requirement_name
from governance.truth import ledger, lockfile, registry
from governance.truth.resolution import Project
from governance.truth.workspace import Workspace

_LONG = 20


def why(space: Workspace, package: str, wish: str | None, *, voice: Voice) -> Outcome:
    """Exit 4 where the version wished for conflicts."""
    wanted = node_check.require_package(space, package)
    lock = lockfile.parse(store.read_bytes(space.lock), space.lock)
    project = Project.read(store.read_bytes(space.pyproject), space.pyproject)
    places = {(line.group, line.text): line for line in provenance.owned_lines(space, project)}
    found = [_row(chain, places) for chain in chains(lock, wanted)]
    version = lockfile.versions(lock)[wanted]
    brought = _brought(space, wanted, version)
    data: dict[str, Any] = {
        "package": wanted,
        "version": version,
        "core": wanted in gates.core_names(space),
        "asked_by": found,
        "brought_by": brought,
        "overrides": [o for o in project.overrides if requirement_name(o) == wanted],
        "not_heard": [
            {"package": who, "version": version, "dependency": line}
            for who, version, line in project.scoped
            if requirement_name(line) == wanted
        ],
        "given_up": _given_up(space, wanted),
        "sources": [url for name, url, _ in project.sources if name == wanted],
    }
    parts = _told(data)
    if wish is None:
        return Outcome(data, parts)
    return _what_if(space, wanted, wish, data, parts, voice)


def _given_up(space: Workspace, package: str) -> list[dict[str, str]]:
    """Lines about the package that nodes declare, and that a resolution took out of force."""
    return [
        {"node_id": plugin.id, **row}
        for plugin in registry.load(space)
        for row in plugin.given_up
        if requirement_name(row["text"]) == package or requirement_name(row["to"]) == package
    ]


def _row(chain: Chain, places: dict[tuple[str, str], Any]) -> dict[str, Any]:
    """A chain with the file and line it begins at; the lock spells lines in its own way."""
    line = places.get((chain.group, chain.text)) or next(
        (
            owned
            for (group, _), owned in places.items()
            if group == chain.group and owned.name == chain.packages[0]
        ),
        None,
    )
    return {
        "group": chain.group,
        "owner": line.who if line else chain.group,
        "line": line.text if line else chain.text,
        "place": line.place if line else "",
        "chain": list(chain.packages),
    }


def _brought(space: Workspace, package: str, version: str) -> dict[str, Any] | None:
    """The last promoted transaction whose plan moved the package to this version."""
    for path in sorted(space.transactions.glob("*.json"), reverse=True):
        try:
            tx = ledger.load(space, path.stem)
        except GovError:
            continue  # a damaged record is told by `gov status`
        moved = (row for row in tx.plan.get("changes", []) if row["name"] == package)
        if tx.status == "promoted" and any(row.get("after") == version for row in moved):
            return {"txid": tx.txid, "node_id": tx.node_id, "ended_at": tx.ended_at}
    return None


def _told(data: dict[str, Any]) -> list[Part]:
    parts: list[Part] = [f"{data['package']} {data['version']}{'  (core)' if data['core'] else ''}"]
    shown = data["asked_by"][:_LONG]
    places = [f"{row['owner']} {row['place']}".rstrip() for row in shown]
    width = max(map(len, places), default=0)
    for row, place in zip(shown, places, strict=True):
        parts.append(f"  {place:{width}}  {' -> '.join((row['line'], *row['chain'][1:]))}")
    if len(data["asked_by"]) > _LONG:
        parts.append(f"  ... and {len(data['asked_by']) - _LONG} more (--json has all)")
    if data["overrides"]:
        parts.append(f"  held by an override: {', '.join(data['overrides'])}")
    parts += [f"  it comes from {url}, which a node names" for url in data["sources"]]
    for row in data["not_heard"]:
        parts.append(f"  {row['package']} {row['version']} is not asked for its range of it")
    for row in data["given_up"]:
        instead = f", {row['to']} stands in its place" if row["to"] else ""
        parts.append(
            f"  {row['node_id']} gave up {row['text']}{instead}; "
            f"`gov node update {row['node_id']}` tries it again"
        )
    brought = data["brought_by"]
    if brought:
        parts.append(f"  this version came with {brought['node_id']} ({brought['txid']})")
    else:
        parts.append("  this version came with `gov init`, or with a hand-made change")
    return parts


def _what_if(
    space: Workspace,
    package: str,
    wish: str,
    data: dict[str, Any],
    parts: list[Part],
    voice: Voice,
) -> Outcome:
    found, report = node_check.hold(open_session(space, voice.say), package, wish)
    if report is not None:
        data["if"] = {"wish": wish, "fits": False, "conflict": report.to_json()}
        told = conflicts.screen(report.to_json(), None, whole=True)
        error = NeedsResolution(
            f"{package} cannot be held at {wish}", hint="nothing was changed; the lines are above"
        )
        parts.append(f"held at {wish}, it does not lock with the rest:")
        return Outcome(data, [*parts, *told], (), EXIT_NEEDS_RESOLUTION, error)
    rows = [step.to_json() for step in found]
    data["if"] = {"wish": wish, "fits": True, "changes": rows}
    told_changes = tables.changes(rows, title=f"held at {wish}, prod would change")
    return Outcome(data, [*parts, *told_changes], (), EXIT_OK)
