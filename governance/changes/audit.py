"""Who changed what, how and why, and what was refused: a line each in state/history.jsonl."""

from __future__ import annotations

import getpass
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from governance.base import clock, masking, names
from governance.base.errors import GovError, Refused
from governance.boundaries import ownership
from governance.truth import log, redo
from governance.truth.lockfile import Change
from governance.truth.workspace import Workspace

_LONGEST_WORD = 500


def made(workspace: Workspace) -> dict[str, Any]:
    """Who gives the command, and its words."""
    began_as = os.environ.get(ownership.BEGAN_AS)
    return {
        **({"began_as": began_as} if began_as else {}),
        "user": _user(),
        "uid": os.getuid(),
        "host": platform.node(),
        "argv": [word[:_LONGEST_WORD] for word in masking.words(sys.argv[1:])],
    }


def _user() -> str:
    """Of the account that asked, also behind sudo; a uid without a name is shown as that."""
    behind = os.environ.get("SUDO_USER")
    if behind and os.getuid() == 0:
        return behind
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def entry(
    *,
    identity: str,
    verb: str,
    steps: Iterable[str],
    changes: Iterable[Change],
    code: Iterable[Mapping[str, Any]],
    who: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """One line of the history; `identity` is the snapshot after the change, `facts` hold txid,
    pre, reason and approvals."""
    return {
        "id": identity,
        "at": clock.stamp(),
        "verb": verb,
        "steps": list(steps),
        "packages": [_package(change) for change in changes],
        "code": list(code),
        "who": dict(who),
        **facts,
    }


def refused(workspace: Workspace, verb: str, error: Refused) -> None:
    """A gate said no.  The caller holds the workspace; where this cannot be written, the refusal
    stands all the same."""
    if redo.is_pending(workspace):
        return
    told = {"code": error.code, "message": error.message}
    row = entry(
        identity=names.new_txid(clock.now()),
        verb=verb,
        steps=[],
        changes=(),
        code=(),
        who=made(workspace),
        facts={"txid": error.facts.get("txid"), "outcome": log.REFUSED, "error": told},
    )
    with suppress(OSError, GovError):
        log.append(workspace, log.placed(workspace, row, {}))


def _package(change: Change) -> list[str | None]:
    return [change.name, change.before, change.after]
