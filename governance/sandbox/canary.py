"""Send a canary into a view before anything else goes there, and see whether the fence holds."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from governance.base.errors import GovError
from governance.boundaries import process
from governance.sandbox import mounts
from governance.sandbox.view import Support, View
from governance.sandbox.wrapping import isolation, wrap

_TRESPASS = Path(__file__).with_name("trespass.py")
_SECONDS = 60.0


_ALL = ["create", "append", "chmod", "utime"]
# See landlock: the other two it does not know.
_PROMISED = {"landlock": ["create", "append"]}
READ = "read"


@dataclass(frozen=True)
class Canary:
    """One change that was tried from inside; `error` is what stopped it, "" where nothing did."""

    path: str
    action: str
    stopped: bool
    error: str


@dataclass(frozen=True)
class Tried:
    """`layered` are the folders that a scratch layer of the view lies over here and now; on some
    disks the kernel lays none."""

    canaries: tuple[Canary, ...]
    layered: tuple[Path, ...]


def self_test(view: View, support: Support, protected: Sequence[Path]) -> Tried:
    """Try to change each existing file or folder of `protected` from inside the view, by what its
    fence promises to stop, and to read what it hides.

    Nothing is changed where the fence does not hold.  Raises GovError where the view cannot be
    entered at all, or a path does not exist.
    """
    asked = {
        "change": list(map(str, protected)),
        "actions": _PROMISED.get(isolation(view, support), _ALL),
        "read": list(map(str, view.hidden)),
    }
    inside = [sys.executable, "-I", "-S", str(_TRESPASS), json.dumps(asked)]
    # From "/": a caller's working directory may be closed to whoever runs inside.
    done = process.run(wrap(view, support, inside), cwd=Path("/"), timeout=_SECONDS)
    if not done.ok:
        last_line = done.stderr.strip().rpartition("\n")[2]
        raise GovError(
            f"the fence could not be tried: {last_line or f'exit {done.returncode}'}",
            hint="see which of the protected and writable places are missing",
            code="canary_failed",
        )
    told = json.loads(done.stdout)
    canaries = tuple(
        Canary(path, action, stopped=error is not None, error=error or "")
        for path, action, error in told["tried"]
    )
    table = told["mounted"].encode(errors="surrogateescape")
    mounted = {path for _, path, _, kind in mounts.parsed(table) if kind == "overlay"}
    lowers = (Path(os.path.realpath(layer.lower)) for layer in view.scratch)
    return Tried(canaries, tuple(lower for lower in lowers if str(lower) in mounted))
