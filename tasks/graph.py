"""Run tasks in process, as `gov` does; the only place that starts doit."""

from __future__ import annotations

import sqlite3
from typing import Any

from doit.cmd_base import ModuleTaskLoader
from doit.cmd_run import Run
from doit.dependency import DatabaseException
from doit.exceptions import InvalidCommand, InvalidDodoFile, InvalidTask

import tasks
from governance.base.errors import GovError
from tasks.context import Context, use
from tasks.reporter import Silent
from tasks.settings import config


def run(context: Context, task: str) -> Any:
    """Run `task` and what it depends on; its result.  Raises the error of ours that stopped it.

    The caller holds the workspace.
    """
    use(context)
    creators = {name: getattr(tasks, name) for name in tasks.__all__}
    creators["DOIT_CONFIG"] = {**config(), "reporter": Silent}
    code = _run(context, creators, task)
    failure = context.bug or context.error
    if failure is not None:
        raise failure
    if code != 0:
        raise GovError(
            f"the task {task} failed",
            hint="run it as `bin/doit` in the workspace to see more",
            code="task_failed",
        )
    return context.results.get(task)


def _run(context: Context, creators: dict[str, Any], task: str) -> int:
    """doit's exit code.  Its database is a cache: what was done stays done where that cannot be
    written, and a later run of the graph looks once more."""
    try:
        return int(Run(task_loader=ModuleTaskLoader(creators)).parse_execute([task]) or 0)
    except (InvalidDodoFile, InvalidCommand, InvalidTask):
        return 3  # as doit itself; `context.error` tells what is wrong
    except (sqlite3.Error, DatabaseException) as error:
        database = context.workspace.root / ".doit.db"
        if task not in context.results and context.error is None:
            context.error = GovError(
                f"cannot use {database}: {error}",
                hint="delete it (it is a cache), or free some space, then run the command again",
                code="disk",
                facts={"path": str(database)},
            )
        return 0
