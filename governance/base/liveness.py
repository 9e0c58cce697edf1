"""Who is alive: a process is known by its pid and its start time together."""

from __future__ import annotations


def start_time(pid: int) -> int | None:
    """Clock ticks since boot at which `pid` started (proc(5), field 22); None when it is gone.

    A pid alone may have been given to another process since; pid and start time may not.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            stat = stream.read()
    except OSError:
        return None
    return int(stat.rpartition(b")")[2].split()[19])
