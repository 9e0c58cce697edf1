"""Who may read the terminal: the program gets it as a shell's job does, and we take it back.

A group of its own is needed in any case: seen from a process namespace, the caller's group has
no number, and a shell inside could not return to it.
"""

from __future__ import annotations

import os
import signal

from governance.sandbox import processes


def in_our_hands() -> int | None:
    """A descriptor of the controlling terminal, if this process's group is in its foreground."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return None  # there is none
    if is_ours(terminal):
        return terminal
    os.close(terminal)
    return None


def is_ours(terminal: int) -> bool:
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False  # hung up


def give(terminal: int | None, group: int) -> None:
    """Also from the background, where the kernel would stop us for it."""
    if terminal is None:
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        os.tcsetpgrp(terminal, group)
    except OSError:
        return  # hung up: it is nobody's any more
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class Job:
    """The keeper's program, as a job that the caller's shell may stop and continue."""

    def __init__(self, terminal: int, keeper: int) -> None:
        self._terminal = terminal
        self._keeper = keeper
        self._is_in_front = True

    def stop(self) -> None:
        """Stop with our own group, as Ctrl-Z would; goes on when the caller's shell says so."""
        if self._is_in_front:
            give(self._terminal, os.getpgrp())
        os.kill(0, signal.SIGTSTP)
        # At once where there is no shell that could: the kernel does not stop such a group.
        self.go_on()

    def go_on(self) -> None:
        self._is_in_front = is_ours(self._terminal)
        os.kill(self._keeper, processes.TO_FRONT if self._is_in_front else signal.SIGCONT)

    def end(self) -> None:
        if self._is_in_front:
            give(self._terminal, os.getpgrp())
