"""ComfyUI's own log is folded; where it failed, the lines that matter are shown."""

from __future__ import annotations

import re
from pathlib import Path

from governance import comfyui
from governance.boundaries import store
from governance.changes.session import Session
from governance.observation import Observation
from governance.observation.output import printable, without_colours

# Of a start that was stopped, where it hung (the traceback of our SIGINT) and what came before.
_LINES = 25
_TRACEBACKS, _TRACEBACK_LINES = 2, 6
_FRAME_OF_A_NODE = re.compile(r'\s+File ".*/custom_nodes/')
_BYTES = 64 << 20


def name_of(name: str) -> str:
    """The logs of a start, as one can paste it in the workspace."""
    return f"state/logs/{name}.*.log"


def show(session: Session, name: str, seen: Observation) -> None:
    """Nothing where all went well, or where the log was shown as it came."""
    if seen.completed or not session.is_folded:
        return
    logs = session.workspace.logs
    lines = _tracebacks(seen) or ([] if seen.ready else of(logs, name, _LINES))
    if lines:
        quoted = "\n".join(f"  | {printable(line)}" for line in lines)
        session.say(f"ComfyUI's log ({name_of(name)}) says:\n{quoted}")


def of(logs: Path, name: str, most: int) -> list[str]:
    """The end of what ComfyUI said; of its stdout where it said nothing on the other."""
    for stream in ("stderr", "stdout"):
        lines = _lines(logs / f"{name}.{stream}.log")
        if lines:
            return lines[-most:]
    return []


def _lines(path: Path) -> list[str]:
    try:
        data = store.plain_bytes(path, _BYTES)
    except OSError:
        return []
    lines = without_colours(data or b"").decode(errors="replace").splitlines()
    return [line for line in lines if comfyui.LEFT_OUT not in line]


def _tracebacks(seen: Observation) -> list[str]:
    """Of the nodes that failed, the first few; of each the end."""
    failed = [*seen.failed_subjects, *seen.collateral]
    found = [tail for name in failed if name in seen.nodes and (tail := _tail(seen, name))]
    return [line for tail in found[:_TRACEBACKS] for line in tail]


def _tail(seen: Observation, name: str) -> list[str]:
    """From where the node's own code comes in: how ComfyUI loads a node is the same each time."""
    lines = seen.nodes[name].traceback_tail
    own = (n for n, line in enumerate(lines) if _FRAME_OF_A_NODE.match(line))
    return lines[next(own, 0) :][-_TRACEBACK_LINES:]
