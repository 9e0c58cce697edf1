"""What a decision works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from governance import trial
from governance.uv import Uv
from governance.workspace import Workspace

Say = Callable[[str], None]


def quiet(_: str) -> None:
    """A `Say` that says nothing."""


@dataclass(frozen=True)
class Session:
    """What a decision works with: the workspace, uv, and where to tell how it goes."""

    workspace: Workspace
    uv: Uv
    say: Say = quiet
    live: trial.Live = trial.silent


def open_session(
    workspace: Workspace, say: Say = quiet, live: trial.Live = trial.silent
) -> Session:
    return Session(
        workspace, Uv(workspace.uv_cache, memory=workspace.state / "interpreter.json"), say, live
    )
