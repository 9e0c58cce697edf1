"""Attestations: they write their report, then pass or fail."""

from __future__ import annotations

from typing import Any

from tasks.context import act, here

Task = dict[str, Any]


def task_verify() -> Task:
    """prod against its lock and its files, truth against prod, registry against clones"""
    return {
        "actions": [(_verify,)],
        "params": [
            {
                "name": "full",
                "long": "full",
                "type": bool,
                "default": False,
                "help": "compare every file's hash with its RECORD",
            }
        ],
        "targets": [here().verify_report],
        "uptodate": [False],
    }


def task_smoke() -> Task:
    """the core packages import and ComfyUI starts, in prod's environment"""
    return {
        "actions": [(act, ["smoke", _smoke])],
        "targets": [here().smoke_report],
        "uptodate": [False],
    }


def _verify(full: bool = False) -> Any:
    from governance.operations import verify

    def checked(session: Any, full: bool = full) -> Any:
        return verify.attest(session.workspace, full=full)

    return act("verify", checked, full=full)


def _smoke(session: Any) -> Any:
    from governance.operations import verify

    return verify.attest_smoke(session)
