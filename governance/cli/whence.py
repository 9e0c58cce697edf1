"""`gov why`: who asks for a package, who brought this version, and what if it were another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from governance.base.errors import EXIT_NEEDS_RESOLUTION, EXIT_OK, GovError, NeedsResolution
from governance.base.names import normalise
from governance.boundaries import store
from governance.changes import gates, provenance
from governance.cli import conflicts, tables
from governance.cli.outcome import Outcome, Part
from governance.cli.report import Voice
from governance.conflict.chains import Chain, chains
from governance.conflict.problem import Owned
from governance.operations import node_check
from governance.requirements import requirement_name
from governance.truth import history, ledger, lockfile, registry
from governance.truth.resolution import Project
from governance.truth.workspace import Workspace

_LONG = 20
_WORDS = 100


def why(space: Workspace, package: str, wish: str | None, *, voice: Voice) -> Outcome:
    """Exit 4 where the version wished for conflicts."""
    wanted = node_check.require_package(space, package)
    lock = lockfile.parse(store.read_bytes(space.lock), space.lock)
    project = Project.read(store.read_bytes(space.pyproject), space.pyproject)
    owned = provenance.owned_lines(space, project)
    found = [_row(chain, owned) for chain in chains(lock, wanted)]
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


def _row(chain: Chain, owned: Sequence[Owned]) -> dict[str, Any]:
    """A chain with the file and line it begins at."""
    line = _line_of(chain, owned)
    return {
        "group": chain.group,
        "owner": line.who if line else chain.group,
        "line": line.text if line else chain.text,
        "place": line.place if line else "",
        "chain": list(chain.packages),
        "asked": list(chain.asked),
    }


def _line_of(chain: Chain, owned: Sequence[Owned]) -> Owned | None:
    """The lock spells lines in its own way: the most alike of those about this package."""
    about = [o for o in owned if (o.group, o.name) == (chain.group, chain.packages[0])]
    alike = [line for line in about if _demand(line.text) == _demand(chain.text)]
    return next((line for line in (*alike, *about)), None)


def _demand(text: str) -> tuple[Any, ...]:
    """Extras and range of a line; its marker is what the lock simplifies."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        found = Requirement(text)
    except InvalidRequirement:
        return (text,)
    return frozenset(map(normalise, found.extras)), found.specifier


def _brought(space: Workspace, package: str, version: str) -> dict[str, Any] | None:
    """The change of the history that left the package at this version, whatever verb made it."""
    row = history.brought(space, package, version)
    if row is None:
        return None
    return {
        "txid": row.get("txid"),
        "node_id": _node_of(space, row.get("txid")),
        "ended_at": row.get("at"),
        "snapshot": row["id"],
        "verb": row.get("verb"),
        "steps": row.get("steps", []),
    }


def _node_of(space: Workspace, txid: Any) -> str | None:
    """The first node of a transaction that has a record still."""
    try:
        return ledger.load(space, str(txid)).node_id if txid else None
    except GovError:
        return None  # transient, cleaned, or damaged, which `gov status` reports


def _told(data: dict[str, Any]) -> list[Part]:
    parts: list[Part] = [f"{data['package']} {data['version']}{'  (core)' if data['core'] else ''}"]
    shown = data["asked_by"][:_LONG]
    places = [f"{row['owner']} {row['place']}".rstrip() for row in shown]
    width = max(map(len, places), default=0)
    for row, place in zip(shown, places, strict=True):
        parts.append(f"  {place:{width}}  {' -> '.join((row['line'], *row['asked'][1:]))}")
    if not shown:
        parts.append("  no line asks for it on this platform; the lock has it for another")
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
    parts.append(f"  {_came_with(data['brought_by'])}")
    return parts


def _came_with(brought: dict[str, Any] | None) -> str:
    if brought is None:
        return "the history has no change that brought this version: a hand-made one"
    told = _shortened(history.words(brought))
    return f"this version came with {told} ({brought['txid'] or brought['snapshot']})"


def _shortened(text: str) -> str:
    return text if len(text) <= _WORDS else f"{text[:_WORDS].rstrip()} ..."


def _what_if(
    space: Workspace,
    package: str,
    wish: str,
    data: dict[str, Any],
    parts: list[Part],
    voice: Voice,
) -> Outcome:
    found, report = node_check.hold(voice.session(space), package, wish)
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
