"""A draft with those rules of policy in its project that uv keeps by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from governance.base import clock
from governance.supply import project
from governance.supply import rules as policy
from governance.supply.project import Seen
from governance.supply.rules import Rules
from governance.truth.documents import Transaction
from governance.truth.workspace import Workspace

if TYPE_CHECKING:
    from governance.changes.draft import Draft


def rules(workspace: Workspace) -> Rules:
    return policy.of(workspace.config)


def ruled(workspace: Workspace, draft: Draft, tx: Transaction) -> Draft:
    """The lock of a snapshot or a bundle is taken as it is, and looked at like any other.

    Ages are counted from the transaction's beginning, so that its draft is always the same.
    """
    if draft.exact:
        return draft
    now = clock.parse(tx.started_at) if tx.started_at else clock.now()
    seen = Seen(tuple(tx.supply.get("names", ())), bool(tx.supply.get("timeless")))
    made = project.kept(rules(workspace), draft.project, draft.lock, seen, now)
    return replace(draft, project=made)
