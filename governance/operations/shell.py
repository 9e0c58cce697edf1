"""`tx shell`: a shell, or one command, inside a transaction's candidate."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from governance.base.errors import GovError
from governance.boundaries import process
from governance.changes.session import Session
from governance.changes.staging import Stages
from governance.environments import candidate, surroundings
from governance.environments.candidate import Candidate
from governance.truth import ledger
from governance.truth.documents import Transaction
from governance.truth.workspace import Workspace


def enter(session: Session, txid: str, command: Sequence[str], *, stdout: int | None = None) -> int:
    """Run `command` (a shell where it is empty) in the layer, fence and environment of `tx run`.

    Its exit code is returned (128 + n for a death by signal n).  Raises GovError where there is
    no candidate.  `stdout`: a descriptor to use instead of our own.
    """
    workspace = session.workspace
    tx = ledger.load(workspace, txid)
    made = _opened(workspace, tx)
    if not command:
        session.say(f"inside the candidate of {txid}; `exit` leaves it")
    child = process.spawn(
        made.enter(list(command) or [_shell()], _folder(made, tx.node_id)),
        cwd=made.comfyui_dir,
        env=made.environ(),
        stdin=None,
        stdout=stdout,
        own_session=False,
    )
    try:
        return process.exit_code(child.wait())
    finally:
        process.stop(child)


def _opened(workspace: Workspace, tx: Transaction) -> Candidate:
    generation = tx.observation.get("generation")
    if tx.candidate_env is None or generation is None:
        raise _no_candidate(tx, f"{tx.txid} ({tx.status}) never had a candidate")
    stages = Stages(workspace, tx.txid)
    if not (workspace.candidates / tx.txid).is_dir() or not stages.folder.is_dir():
        raise _no_candidate(tx, f"the candidate of {tx.txid} ({tx.status}) was cleaned")
    for node in tx.nodes:
        surroundings.refuse_own(workspace, workspace.custom_nodes / node)
    may_write = workspace.config.flag("tx.node_folder_writable")
    sealed = () if may_write else tuple(workspace.custom_nodes / node for node in tx.nodes)
    return candidate.reopen(workspace, tx.txid, str(generation), stages.project(), sealed=sealed)


def _no_candidate(tx: Transaction, message: str) -> GovError:
    return GovError(
        message,
        hint=f"`gov tx run {tx.node_id}` makes a new one; promote and abort keep it with --keep",
        code="no_candidate",
        facts={"txid": tx.txid, "status": tx.status},
    )


def _folder(made: Candidate, node_id: str | None) -> Path:
    """The node's folder, be it in the layer only; ComfyUI's where that is gone."""
    if node_id is None:
        return made.comfyui_dir
    folder = made.comfyui_dir / "custom_nodes" / node_id
    seen = made.behind(folder)
    return folder if seen is not None and seen.is_dir() else made.comfyui_dir


def _shell() -> str:
    return shutil.which(os.environ.get("SHELL", "")) or "/bin/sh"
