"""What a decision works with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from governance.base import progress
from governance.base.errors import GovError
from governance.base.progress import During, Live, Say, Words, quiet, silent, unseen
from governance.boundaries.config import Config
from governance.boundaries.patience import Patience
from governance.boundaries.uv import Uv
from governance.truth.workspace import Workspace


@dataclass(frozen=True)
class Session:
    """What a decision works with: the workspace, uv, and where to tell how it goes.

    `during` shows what is under way for as long as it takes.  `opened` holds the transactions that
    this command has under way, by id (see work.py).
    """

    workspace: Workspace
    uv: Uv
    say: Say = quiet
    live: Live = silent
    during: During = unseen
    opened: dict[str, object] = field(default_factory=dict)

    @property
    def is_folded(self) -> bool:
        """ComfyUI's own log is not shown as it comes: where it failed, the end of it is."""
        return self.live is silent

    @contextmanager
    def step(self, text: str, words: Words | None = None) -> Iterator[None]:
        """Say what begins, and show it, or `words`, while it lasts."""
        self.say(text)
        with self.during(words or (lambda: text)):
            yield

    def following(self, text: str) -> AbstractContextManager[Say]:
        """As `step`, with the newest of what is said to what this gives."""
        return progress.following(self.say, self.during, text)

    @contextmanager
    def tidying(self) -> Iterator[None]:
        """Around what follows a commit: it was made, so a failure or a Ctrl-C now is told and
        changes nothing; `gov clean` deletes later what is left."""
        try:
            yield
        except (OSError, GovError) as error:
            self.say(f"not all was cleaned up: {error}; `gov clean` does it")
        except KeyboardInterrupt:
            self.say("cleaning up was interrupted; `gov clean` does it")


def open_session(
    workspace: Workspace, say: Say = quiet, live: Live = silent, during: During = unseen
) -> Session:
    memory = workspace.state / "interpreter.json"
    waits = patience(workspace.config)
    uv = Uv(workspace.uv_cache, memory=memory, during=during, patience=waits)
    return Session(workspace, uv, say, live, during)


def patience(config: Config) -> Patience:
    lock, stall = (
        config.number(f"resolution.{key}") for key in ("lock_timeout_seconds", "stall_seconds")
    )
    return Patience(lock, stall)
