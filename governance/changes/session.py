"""What a decision works with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from governance.base.errors import GovError
from governance.base.progress import Live, Say, quiet, silent
from governance.boundaries.uv import Uv
from governance.environments.builds import Builds
from governance.truth.workspace import Workspace


@dataclass(frozen=True)
class Session:
    """What a decision works with: the workspace, uv, and where to tell how it goes.

    `opened` holds the transactions that this command has under way, by id (see work.py).
    """

    workspace: Workspace
    uv: Uv
    say: Say = quiet
    live: Live = silent
    opened: dict[str, object] = field(default_factory=dict)

    def building_nothing(self) -> Session:
        """The same, and what has to be built to be read stays unknown."""
        knowing = Builds(self.workspace, self.say, learns=False)
        return replace(self, uv=replace(self.uv, builds=knowing))

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


def open_session(workspace: Workspace, say: Say = quiet, live: Live = silent) -> Session:
    """What has to be built is built inside the fence."""
    memory = workspace.state / "interpreter.json"
    uv = Uv(workspace.uv_cache, memory=memory, builds=Builds(workspace, say))
    return Session(workspace, uv, say, live)
