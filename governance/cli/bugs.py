"""Where the traceback of a bug goes: state/logs/ of the workspace, never to the user's screen."""

from __future__ import annotations

import tempfile
import traceback
from pathlib import Path

from governance.base import clock, masking
from governance.base.errors import GovError
from governance.truth import workspace


def write(error: BaseException, root: Path | None) -> Path | None:
    """The log's path, None where not even that could be written."""
    text = masking.text("".join(traceback.format_exception(error)))
    name = f"bug-{clock.now().strftime('%Y%m%dT%H%M%SZ')}.log"
    try:
        path = _folder(root) / name
        path.touch(mode=0o600)
        path.write_text(text)
    except OSError:
        return None
    return path


def _folder(root: Path | None) -> Path:
    try:
        logs = workspace.find(root).logs
        if logs.is_dir():
            return logs
    except GovError:
        pass  # outside any workspace: the temp folder keeps it
    return Path(tempfile.gettempdir())
