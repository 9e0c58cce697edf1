"""What stands between a plan and prod.  Gates are asked by the commit itself, whatever road led
to it (`gov`, `doit`, `doit -s`, `doit ignore`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from governance.base.errors import Refused, UsageError
from governance.base.names import normalise
from governance.truth.lockfile import Change
from governance.truth.workspace import Workspace


@dataclass(frozen=True)
class Approval:
    """What the operator has allowed, as typed."""

    core: bool = False
    reason: str | None = None
    failed_run: bool = False
    accept_skipped: bool = False

    def check(self) -> None:
        """--approve-core without a reason approves nothing: the reason is what is audited."""
        if self.core and not (self.reason or "").strip():
            raise UsageError(
                "--approve-core needs --reason",
                hint='say why: --approve-core --reason "..."',
                code="reason_missing",
            )


def core_names(workspace: Workspace) -> frozenset[str]:
    return frozenset(normalise(name) for name in workspace.config.texts("policy.core_packages"))


def core_changes(workspace: Workspace, changes: Iterable[Change]) -> list[Change]:
    """Changes of core packages, whatever road they came by, by normalised name."""
    names = core_names(workspace)
    return [change for change in changes if normalise(change.name) in names]


def core_overwritten(workspace: Workspace, shared: Iterable[Mapping[str, Any]]) -> list[Change]:
    """Core packages whose version stays while the files on the disk are another package's.

    `shared` are rows of a manifest's shared_files.
    """
    core = core_names(workspace)
    return [
        Change(name, "its own files", f"files of {row.get('owner') or 'several packages'}")
        for row in shared
        for name in row["packages"]
        if normalise(name) in core and name != row.get("owner")
    ]


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
