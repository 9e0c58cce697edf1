"""`tx run`'s eye: start ComfyUI with a node in a candidate environment, watch, judge, record.

ComfyUI exits 0 even when a node fails to import, and as a server it never exits.  So it is
started on a port of its own and watched until its API answers; then the API tells which classes
each node registered and the log what went wrong.  A main.py that takes no `--port` is no server
and is judged by its exit code.  Inside the candidate a recorder writes down what Python code
does: it sees every package asked of pip or uv, every program started, every host, and every file
written outside the candidate, and whose code did it.  It sees attempts, not successes, and
nothing that a program other than Python does, or Python code that means to hide from it.
"""

from __future__ import annotations

from governance.observation.packages import RECORDER_FILES, freeze
from governance.observation.record import (
    COMPLETED,
    FAILED,
    LACKING,
    Baseline,
    NodeReport,
    Observation,
)
from governance.observation.request import Request, own_environ

__all__ = [
    "COMPLETED",
    "FAILED",
    "LACKING",
    "RECORDER_FILES",
    "Baseline",
    "NodeReport",
    "Observation",
    "Request",
    "freeze",
    "observe",
    "own_environ",
]


def observe(request: Request) -> Observation:
    """Blocks until everything that was started is gone; see watch.observe for what it raises."""
    from governance.observation import watch  # http.client costs 20 ms: only who observes pays

    return watch.observe(request)
