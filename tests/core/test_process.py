"""The one door to programs: what they print is bounded."""

import signal
import sys
import threading
import time

import pytest

from governance.boundaries import process

_ENDLESS = "import sys\nfor _ in range({times}): sys.stdout.write('x' * 1000 + {end!r})"


def printed(times, end):
    done = process.run([sys.executable, "-c", _ENDLESS.format(times=times, end=end)])
    assert done.ok
    return done.stdout


def test_what_is_beyond_the_limit_is_read_and_forgotten(monkeypatch):
    """A node may put a program that prints without end in the place of its candidate's Python."""
    monkeypatch.setattr(process, "_MAX_OUTPUT_BYTES", 50_000)
    assert printed(30, "\n") == ("x" * 1000 + "\n") * 30
    assert len(printed(500, "\n")) <= 50_000


def test_a_line_without_end_is_bounded_too(monkeypatch):
    monkeypatch.setattr(process, "_MAX_OUTPUT_BYTES", 50_000)
    monkeypatch.setattr(process, "_LONGEST_LINE", 10_000)
    assert len(printed(500, "")) <= 50_000


def test_ctrl_c_waits_for_a_thread_that_just_begins():
    """Else it goes on by itself, and leaves what it makes after all was cleaned."""

    def work(number):
        if number == 2:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        time.sleep(0.002)

    before = threading.active_count()
    for _ in range(20):
        with pytest.raises(KeyboardInterrupt):
            process.side_by_side(work, [1, 2])
        assert threading.active_count() == before
