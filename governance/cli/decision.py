"""Run one decision: hold the workspace, recover, and let the graph do the work."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from governance.changes.gates import Approval
from governance.cli.report import Voice
from governance.operations import recovery
from governance.truth import workspace
from governance.truth.workspace import Workspace


class Decision:
    """A held workspace and the voice that tells how it goes."""

    def __init__(self, space: Workspace, voice: Voice) -> None:
        self.space = space
        self.voice = voice

    def run(self, task: str, **given: Any) -> Any:
        """The result of the task; raises the error that stopped it."""
        from tasks import graph
        from tasks.context import Context

        context = Context(
            self.voice.say, self.voice.live, self.voice.during, self.space, {task: given}
        )
        return graph.run(context, task)

    def session(self) -> Any:
        return self.voice.session(self.space)


@contextmanager
def deciding(arguments: Namespace, space: Workspace | None = None) -> Iterator[Decision]:
    """The frame of every verb that writes."""
    found = space or workspace.find(arguments.root)
    _ = found.config  # bad configuration is told before anything is held
    voice = Voice(quiet=arguments.quiet, verbose=arguments.verbose)
    with recovery.exclusive(found, arguments.words) as recovered:
        for sentence in recovered:
            voice.say(sentence)
        yield Decision(found, voice)


def approval(arguments: Namespace) -> Approval:
    """What was typed; raises UsageError for --approve-core without --reason."""
    made = Approval(
        arguments.approve_core,
        arguments.reason,
        getattr(arguments, "allow_failed_run", False),
        getattr(arguments, "accept_skipped", False),
        getattr(arguments, "accept_findings", False),
        getattr(arguments, "accept_incompatible", False),
    )
    made.check()
    return made
