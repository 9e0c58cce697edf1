"""The task graph of a workspace: what depends on what, and nothing else.

`dodo.py` says `from tasks import *`; `gov` runs the same creators in process.  How a thing is done
is in `governance`; the gates are there too, so that no option of doit walks past them.
"""

from tasks.attestations import task_smoke, task_verify
from tasks.decisions import (
    task_comfyui_update,
    task_node_add,
    task_node_disable,
    task_node_enable,
    task_node_remove,
    task_node_update,
    task_node_with,
    task_node_without,
    task_pin,
    task_promote,
    task_promote_build,
    task_promote_lock,
    task_promote_observe,
    task_promote_plan,
    task_prune,
    task_python,
    task_repair,
    task_resolve,
    task_rollback,
    task_torch,
    task_tx_abort,
    task_tx_rerun,
    task_tx_run,
    task_undo,
    task_unpin,
    task_upgrade,
)
from tasks.products import task_freeze, task_init, task_lock, task_snapshot, task_sync
from tasks.settings import DOIT_CONFIG

__all__ = [
    "DOIT_CONFIG",
    "task_comfyui_update",
    "task_freeze",
    "task_init",
    "task_lock",
    "task_node_add",
    "task_node_disable",
    "task_node_enable",
    "task_node_remove",
    "task_node_update",
    "task_node_with",
    "task_node_without",
    "task_pin",
    "task_promote",
    "task_promote_build",
    "task_promote_lock",
    "task_promote_observe",
    "task_promote_plan",
    "task_prune",
    "task_python",
    "task_repair",
    "task_resolve",
    "task_rollback",
    "task_smoke",
    "task_snapshot",
    "task_sync",
    "task_torch",
    "task_tx_abort",
    "task_tx_rerun",
    "task_tx_run",
    "task_undo",
    "task_unpin",
    "task_upgrade",
    "task_verify",
]
