"""What one run of the graph works on, and the adapter between our errors and doit's failures."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from doit.exceptions import InvalidDodoFile, TaskFailed

from governance.base.errors import GovError
from governance.base.progress import During, silent, unseen
from governance.boundaries import store
from governance.truth import workspace
from governance.truth.workspace import Workspace

if TYPE_CHECKING:
    from governance.changes.gates import Approval

Action = Callable[..., Any]


@dataclass
class Context:
    """`given` are the arguments of the one decision that `gov` asked for, by task name; `results`
    what the actions returned.  `error` is the first of ours that made a task fail."""

    say: Callable[[str], None]
    live: Callable[[str, str], None] | None = None
    during: During = unseen
    root: Workspace | None = None
    given: dict[str, dict[str, Any]] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    error: GovError | None = None
    bug: Exception | None = None

    @cached_property
    def workspace(self) -> Workspace:
        """The named workspace, else the one that is found from here."""
        return self.root or workspace.find()

    @cached_property
    def session(self) -> Any:
        from governance.changes.session import open_session

        return open_session(self.workspace, self.say, self.live or silent, self.during)


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 (doit's own run has no other voice)


_current: list[Context] = [Context(_to_stderr)]


def current() -> Context:
    return _current[-1]


def use(context: Context) -> None:
    """Let the creators, which doit calls without arguments, find this context."""
    _current[-1] = context


def here() -> Workspace:
    """The workspace for a creator; doit shows one clean line where there is none."""
    try:
        space = current().workspace
        _ = space.config  # read now: an error in it is told here, not as a traceback of doit's
        return space
    except GovError as error:
        current().error = error
        raise InvalidDodoFile(f"{error.message}\nhint: {error.hint}") from None


def act(task: str, function: Action, **options: Any) -> Any:
    """Run `function` alone in the recovered workspace; an error of ours is a failed task.

    `options` come from doit's command line; what `gov` was given goes before them.
    """
    from governance.operations import recovery

    context = current()
    arguments = {**options, **context.given.get(task, {})}
    try:
        with recovery.exclusive(context.workspace, task) as recovered:
            for sentence in recovered:
                context.say(sentence)
            context.results[task] = function(context.session, **arguments)
    except GovError as error:
        return _failed(context, error)
    except Exception as error:
        ours = store.machine_error(error) if isinstance(error, OSError) else None
        if ours is None:
            context.bug = error  # doit would make a failed task of it
            raise
        return _failed(context, ours)
    return None


def _failed(context: Context, error: GovError) -> TaskFailed:
    context.error = context.error or error
    return TaskFailed(error.message, report=False)


def approval_of(
    approve_core: bool = False,
    reason: str = "",
    allow_failed_run: bool = False,
    accept_skipped: bool = False,
    accept_findings: bool = False,
    accept_incompatible: bool = False,
) -> Approval:
    """What doit parsed, as the gates take it."""
    from governance.changes.gates import Approval

    return Approval(
        approve_core,
        reason or None,
        allow_failed_run,
        accept_skipped,
        accept_findings,
        accept_incompatible,
    )
