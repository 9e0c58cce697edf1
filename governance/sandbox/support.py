"""Find out what this machine supports, by doing it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from governance.base.errors import GovError
from governance.boundaries import process, scratch
from governance.sandbox.view import Support
from governance.sandbox.wrapping import ENTER

_SECONDS = 30.0


def probe(folder: Path) -> Support:
    """Try everything on `folder`'s filesystem, in a child; nothing is left there.

    Raises GovError where `folder` itself cannot be written.
    """
    try:
        with scratch.folder("", within=folder, prefix=scratch.PROBE) as place:
            return _ask(str(place))
    except OSError as error:
        raise GovError(
            f"cannot try the sandbox in {folder}: {error.strerror}",
            hint="create the folder and make it writable for you",
            code="probe_failed",
        ) from error


def _ask(place: str) -> Support:
    try:
        done = process.run(
            [sys.executable, "-I", "-S", str(ENTER), "--probe", place], timeout=_SECONDS
        )
    except GovError as error:
        return _nothing(error.message)
    if not done.ok:
        return _nothing(f"the trial failed: {done.stderr.strip()[-500:] or done.returncode}")
    return Support(**json.loads(done.stdout))


def _nothing(reason: str) -> Support:
    return Support(
        layer=False,
        layer_reason=reason,
        read_only_mounts=False,
        read_only_reason=reason,
        landlock=0,
        pid_namespace=False,
        pid_reason=reason,
        user_namespace=False,
        private_reason=reason,
        calls_reason=reason,
        network_reason=reason,
    )
