"""One function a verb: it takes what was typed and returns an Outcome.  Imported as late as it
can be, since a question must not pay for what only a decision needs."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "init": "setup",
    "adopt": "adopting",
    "inbox": "taking_in",
    "demo": "setup",
    "completion": "setup",
    "status": "questions",
    "tx_inspect": "questions",
    "snapshot_list": "questions",
    "snapshot_inspect": "questions",
    "why": "questions",
    "complete": "questions",
    "history": "looking",
    "diff": "looking",
    "log_show": "logging",
    "log_verify": "logging",
    "outdated": "looking",
    "node_list": "looking",
    "node_show": "looking",
    "snapshot_name": "looking",
    "snapshot_keep": "looking",
    "node_search": "finding",
    "node_info": "finding",
    "node_update": "changing",
    "node_enable": "changing",
    "node_disable": "changing",
    "node_with": "changing",
    "node_without": "changing",
    "comfyui_update": "changing",
    "torch": "changing",
    "python": "changing",
    "upgrade": "changing",
    "pin": "changing",
    "unpin": "changing",
    "undo": "care",
    "node_add": "node",
    "node_remove": "node",
    "node_check": "node",
    "tx_run": "tx",
    "tx_abort": "tx",
    "tx_promote": "tx",
    "tx_shell": "tx",
    "resolve": "resolving",
    "rollback": "care",
    "verify": "care",
    "audit": "auditing",
    "repair": "care",
    "clean": "care",
    "export": "moving",
    "import_": "moving",
    "run": "running",
    "stop": "running",
    "ci": "making",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(name)
    return getattr(import_module(f"governance.cli.verbs.{_HOMES[name]}"), name)
