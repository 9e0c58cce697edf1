"""doit's progress told as plain sentences on stderr."""

from __future__ import annotations

import sys
from typing import Any

from doit.exceptions import BaseFail, TaskFailed

from governance.base.errors import Refused
from tasks.context import current


class Sentences:
    """doit's reporter protocol; quiet about groups and about failures that are told elsewhere."""

    desc = "one plain line a task"

    def __init__(self, outstream: Any, options: Any = None) -> None:
        self.failed = False

    def initialize(self, tasks: Any, selected_tasks: Any) -> None: ...

    def get_status(self, task: Any) -> None: ...

    def execute_task(self, task: Any) -> None:
        if task.actions:
            _tell(f".  {task.title()}")

    def add_failure(self, task: Any, fail: BaseFail) -> None:
        self.failed = True
        if not isinstance(fail, TaskFailed):
            _tell(f"error: {task.title()}: {fail.get_msg().strip().splitlines()[-1]}")

    def add_success(self, task: Any) -> None: ...

    def skip_uptodate(self, task: Any) -> None:
        _tell(f"-- {task.title()}")

    def skip_ignore(self, task: Any) -> None:
        _tell(f"!! {task.title()} (ignored)")
        _refuse_decision(task)

    def cleanup_error(self, exception: BaseFail) -> None:
        _tell(f"error: {exception.get_msg()}")

    def runtime_error(self, msg: str) -> None:
        _tell(f"error: {msg}")

    def teardown_task(self, task: Any) -> None: ...

    def complete_run(self) -> None: ...


class Silent(Sentences):
    """For `gov`, which tells the same story in its own words."""

    def execute_task(self, task: Any) -> None: ...

    def add_failure(self, task: Any, fail: BaseFail) -> None: ...

    def skip_uptodate(self, task: Any) -> None: ...

    def skip_ignore(self, task: Any) -> None:
        _refuse_decision(task)


def _refuse_decision(task: Any) -> None:
    """doit skips what depends on an ignored task and calls that success.  A decision, which owns
    no target, must not pass for made."""
    if task.actions and not task.targets:
        current().error = current().error or Refused(
            f"{task.name} was not carried out: it, or a task before it, is ignored",
            hint="`bin/doit forget --all` ends that",
            code="ignored",
        )


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")
