"""`gov audit`: what the gates of a supply chain would say of prod as it is, asked at any time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from governance.changes import supply_chain
from governance.changes.ruled import rules
from governance.changes.session import Session
from governance.supply import advisories, packages, project, sarif, withdrawn
from governance.supply import rules as policy
from governance.supply.rows import Row
from governance.truth import lockfile, registry, resolution, snapshots
from governance.truth.documents import Plugin

_UNANSWERED = (policy.VULNERABLE_UNKNOWN, policy.YANKED_UNKNOWN)


@dataclass(frozen=True)
class Audit:
    """`notes` are no fault (what was built from source, where policy lets it), `unanswered` what
    could not be looked up."""

    findings: tuple[Row, ...]
    notes: tuple[Row, ...]
    unanswered: tuple[Row, ...]
    packages: int
    nodes: int
    lock: str

    def to_json(self) -> dict[str, Any]:
        lists = {
            "findings": self.findings,
            "notes": self.notes,
            "unanswered": self.unanswered,
        }
        told = {name: [_plain(row) for row in rows] for name, rows in lists.items()}
        return {**told, "packages": self.packages, "nodes": self.nodes}

    def to_sarif(self) -> bytes:
        return sarif.document(self.findings, self.notes, self.unanswered, self.lock)


def _plain(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "known"}


def audit(session: Session) -> Audit:
    """Ask all of it, whatever policy says of transactions; nothing is written."""
    workspace = session.workspace
    given = rules(workspace)
    truth = snapshots.truth(workspace)
    lock = lockfile.parse(truth.lock, workspace.lock)
    made = resolution.Project.read(truth.pyproject, workspace.pyproject)
    plugins = [plugin for plugin in registry.promoted(workspace) if plugin.enabled]
    names = [str(package["name"]) for package in packages.of_lock(lock)]
    found = packages.look(given, lock, project.pinned(made, names))
    found += _of_nodes(given, plugins)
    session.say("looking for known vulnerabilities")
    found += advisories.look(given, session.uv, workspace.root)
    session.say("looking for yanked releases")
    found += withdrawn.look(given, session.uv, lock, made)
    return _sorted(found, len(names), len(plugins), truth.lock)


def _of_nodes(given: policy.Rules, plugins: list[Plugin]) -> list[Row]:
    return [row for plugin in plugins for row in supply_chain.of_node(given, plugin)]


def _sorted(found: list[Row], count: int, nodes: int, lock: bytes) -> Audit:
    notes = [r for r in found if r["kind"] == policy.SOURCE_BUILD and r["policy"] == policy.OFF]
    unanswered = [r for r in found if r["kind"] in _UNANSWERED]
    findings = [r for r in found if r not in notes and r not in unanswered]
    text = lock.decode(errors="replace")
    return Audit(tuple(findings), tuple(notes), tuple(unanswered), count, nodes, text)
