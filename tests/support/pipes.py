"""Named pipes where a file should be."""

import contextlib
import os
import threading
from pathlib import Path


def talking_pipe(path: Path, text: str) -> None:
    """A pipe that gives `text` to whoever reads it, so that no reader waits for ever in a test."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    threading.Thread(target=_talk, args=(path, text), daemon=True).start()


def _talk(path: Path, text: str) -> None:
    with contextlib.suppress(BrokenPipeError), path.open("w") as stream:
        stream.write(text)
