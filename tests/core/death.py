"""A kill between any two acts on the disk, simulated within the process.

From the chosen act on nothing more happens: `finally` clauses run, as they must in Python, but
what they try to do to the disk is not done either.
"""

import os
from contextlib import contextmanager
from pathlib import Path

from governance.boundaries import store

ACTS = (
    (os, "open"),
    (os, "fsync"),
    (Path, "replace"),
    (Path, "rename"),
    (Path, "symlink_to"),
    (Path, "unlink"),
    (Path, "mkdir"),
    (store, "empty_folder"),
)


class Killed(BaseException):
    pass


class Clock:
    """`acts` counts what was done; dead from act number `at` on (None: never)."""

    def __init__(self, at=None):
        self.at, self.acts = at, 0

    def tick(self):
        if self.at is not None and self.acts >= self.at:
            raise Killed
        self.acts += 1


@contextmanager
def dying(monkeypatch, at=None):
    """Die before act `at`; yields the clock.  Killed does not leave this frame."""
    clock = Clock(at)
    with monkeypatch.context() as patch:
        for owner, name in ACTS:
            patch.setattr(owner, name, _counted(clock, getattr(owner, name), name))
        try:
            yield clock
        except Killed:
            pass


def _counted(clock, real, name):
    def act(*arguments, **options):
        clock.tick()
        # Nothing here asks what a power loss leaves, so the disk need not be waited for.
        return None if name == "fsync" else real(*arguments, **options)

    return act
