"""Breaks gov in a child process: the suite must go red with each of these, or it is worth nothing.

A child started with GOV_BREAK=<name> and this file's folder `child` on PYTHONPATH is broken before
its first command.
"""

from pathlib import Path

CHILD = Path(__file__).parent / "child"
CHECKOUT = Path(__file__).resolve().parents[2]


def environ(name: str) -> dict[str, str]:
    return {"GOV_BREAK": name, "PYTHONPATH": f"{CHILD}:{CHECKOUT}"}
