"""state/conflicts/<txid>.json: why a lock failed."""

from __future__ import annotations

import re

from governance import clock, store
from governance.model import Conflict, Transaction
from governance.staging import Stages
from governance.transaction.session import Session

_PACKAGE = re.compile(r"depends on ([a-z0-9][a-z0-9-]*)")


def write(session: Session, tx: Transaction, stages: Stages, log: str) -> str:
    """Write the report of a failed lock and return its path relative to the workspace."""
    session.say("the requirements conflict")
    report = Conflict(
        txid=tx.txid,
        node_id=tx.node_id,
        created_at=clock.stamp(),
        raw_log=log,
        summary=_summary(log),
        detected_packages=sorted(set(_PACKAGE.findall(log))),
        input_hint="package==version",
    )
    path = f"state/conflicts/{tx.txid}.json"
    store.write_json(session.workspace.root / path, report.to_json())
    return path


def _summary(log: str) -> str:
    text = " ".join(line.strip() for line in log.splitlines())
    _, _, rest = text.partition("cause:")
    return (rest or text).strip()[:2000]
