"""Run tasks in process, as `gov` does; the only place that starts doit."""

from __future__ import annotations

from typing import Any

from doit.cmd_base import ModuleTaskLoader
from doit.doit_cmd import DoitMain

import tasks
from governance.errors import GovError
from tasks.context import Context, config, use
from tasks.reporter import Silent


def run(context: Context, task: str) -> Any:
    """Run `task` and what it depends on; its result.  Raises the error of ours that stopped it.

    The caller holds the workspace.
    """
    use(context)
    creators = {name: getattr(tasks, name) for name in tasks.__all__}
    creators["DOIT_CONFIG"] = {**config(), "reporter": Silent}
    code = DoitMain(ModuleTaskLoader(creators), config_filenames=()).run(["run", task])
    if context.error is not None:
        raise context.error
    if code != 0:
        raise GovError(
            f"the task {task} failed",
            hint="run it as `bin/doit` in the workspace to see more",
            code="task_failed",
        )
    return context.results.get(task)
