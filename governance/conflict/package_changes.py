"""What a lock would change in prod, as the plan shows it: downgrades first."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from governance.conflict.chains import Lock, owners
from governance.conflict.edges import read
from governance.truth import lockfile
from governance.truth.lockfile import Change

_ORDER = ("down", "up", "other", "removed", "added")


@dataclass(frozen=True)
class Step:
    """One row of the plan.  `direction`: down, up, other (a source changed), removed, added.

    `asked_by` are the groups that bring the package after the change (before it where removed).
    """

    name: str
    before: str | None
    after: str | None
    direction: str
    core: bool
    asked_by: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def steps(before: Lock, after: Lock, core_packages: Collection[str]) -> tuple[Step, ...]:
    """The whole plan from two locks, downgrades first, core packages before others."""
    old, new = read(before), read(after)
    changed = changes(lockfile.versions(before), lockfile.versions(after))
    rows = [
        Step(
            change.name,
            change.before,
            change.after,
            direction(change),
            change.name in core_packages,
            owners(old if change.after is None else new, change.name),
        )
        for change in changed
    ]
    return tuple(sorted(rows, key=lambda row: (_ORDER.index(row.direction), not row.core)))


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Change, ...]:
    """What differs: downgrades, upgrades, other sources, removed, added; each by name."""
    found = lockfile.changes(before, after)
    return tuple(sorted(found, key=lambda change: (_ORDER.index(direction(change)), change.name)))


def direction(change: Change) -> str:
    if change.before is None:
        return "added"
    if change.after is None:
        return "removed"
    from packaging.version import InvalidVersion, Version

    try:
        return "up" if Version(change.after) > Version(change.before) else "down"
    except InvalidVersion:
        return "other"


def in_core(changed: Collection[Change], core_packages: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted(change.name for change in changed if change.name in core_packages))
