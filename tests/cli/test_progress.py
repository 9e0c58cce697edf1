"""What is under way: one line that moves on a terminal, a plain line now and then elsewhere."""

import io
import os
import re
import sys
import time
from contextlib import redirect_stderr

import pytest
from support.gov import MAIN, environment
from support.terminal import Terminal

from governance.cli import progress
from governance.cli.report import Voice

MOVING = re.compile(r"\r\x1b\[K\x1b\[2m  ([^\r\x1b]*)\x1b\[0m")
HIDDEN = "\x1b[?25l"


def at_a_terminal(site, *words):
    own = environment(site.root, TERM="xterm", GOV_CALLED_AS="gov")
    return Terminal([sys.executable, MAIN, *words], env=own)


def lines_left(seen):
    """What stands on the terminal in the end: a carriage return goes back, `K` erases the rest."""
    left = []
    for line in seen.split("\n"):
        shown = ""
        for part in line.split("\r"):
            if part.startswith("\x1b[K"):
                shown = part.removeprefix("\x1b[K")
            elif part:
                shown = part + shown[len(part) :]
        left.append(re.sub(r"\x1b\[[0-9;]*m", "", shown))
    return left


def test_the_line_says_where_the_run_is_and_is_gone_in_the_end(settled):
    site = settled.site
    with at_a_terminal(site, "tx", "run", "import-sleeps") as terminal:
        began = time.monotonic()
        terminal.until("loading node 1 of 2 (import-sleeps)")
        seen = len(terminal.seen)
        time.sleep(2.5)
        terminal.until(f"loading node 1 of 2 (import-sleeps), {int(time.monotonic() - began)} s")
        assert len(MOVING.findall(terminal.seen[seen:])) >= 2, "less than a line a second"
        terminal.type("\x03")
        assert terminal.end() == 130
    assert HIDDEN not in terminal.seen
    assert len(MOVING.findall(terminal.seen)) > 3
    left = [line for line in lines_left(terminal.seen) if line]
    assert left[-2:] == [
        "error: interrupted; truth and prod are as they were", "hint: run the command again",
    ]  # fmt: skip
    assert all(line.startswith(("· ", "error: ", "hint: ")) for line in left), left


def test_a_killed_gov_leaves_the_cursor(settled):
    with at_a_terminal(settled.site, "tx", "run", "import-sleeps") as terminal:
        terminal.until("loading node 1 of 2")
        os.kill(terminal._pid, 9)
        assert terminal.end() == -9
    assert HIDDEN not in terminal.seen


def test_elsewhere_there_are_plain_lines_and_no_more_than_one_each_ten_seconds(
    settled, monkeypatch
):
    assert progress._PLAIN_SECONDS == 10.0
    monkeypatch.setattr(progress, "_PLAIN_SECONDS", 0.4)
    began = time.monotonic()
    told = settled.site.gov("tx", "run", "import-sleeps", "--timeout", "3")
    most = (time.monotonic() - began) / 0.4
    lines = [line for line in told.err.splitlines() if re.search(r", \d+ s$", line)]
    assert 2 < len(lines) <= most
    assert all(line.startswith("· ") for line in lines)
    assert any("starting ComfyUI" in line for line in lines)
    assert "\r" not in told.err and "\x1b" not in told.err


@pytest.mark.thorough
def test_quiet_shows_nothing_of_it(settled, monkeypatch):
    monkeypatch.setattr(progress, "_PLAIN_SECONDS", 0.1)
    told = settled.site.gov("-q", "tx", "run", "import-sleeps", "--timeout", "2")
    assert told.err.splitlines()[0].startswith(("error:", "warning:")), told.err


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def screen(monkeypatch):
    """A terminal of which only what is written is known."""
    monkeypatch.setattr(progress, "_TERMINAL_SECONDS", 0.01)
    monkeypatch.setenv("TERM", "xterm")
    return Screen()


def shown(screen, claim):
    deadline = time.monotonic() + 10
    while not claim(screen.getvalue()):
        assert time.monotonic() < deadline, screen.getvalue()
        time.sleep(0.005)


def test_what_is_said_stands_above_the_line(screen):
    voice = Voice()
    with redirect_stderr(screen), voice.during(lambda: "one thing"):
        shown(screen, lambda text: "one thing, 0 s" in text)
        voice.say("a sentence")
        with voice.during(lambda: "another within"):
            shown(screen, lambda text: "another within" in text)
        said = len(screen.getvalue())
        shown(screen, lambda text: "one thing" in text[said:])
    assert [line for line in lines_left(screen.getvalue()) if line] == ["· a sentence"]
    written = screen.getvalue()
    time.sleep(0.05)
    assert screen.getvalue() == written, "it went on after its end"


def test_a_line_never_folds_and_steers_no_terminal(screen):
    name = "名前" * 60 + "\x1b[2J\n"
    with redirect_stderr(screen), Voice().during(lambda: name):
        shown(screen, lambda text: "名前" in text)
    lines = MOVING.findall(screen.getvalue())
    assert lines
    for line in lines:
        assert sum(2 if ord(c) > 0x2E80 else 1 for c in f"  {line}") < 80
        assert line.endswith("…, 0 s")
    assert "\x1b[2J" not in screen.getvalue()


def test_words_that_fail_stop_nothing(screen):
    def gone():
        raise FileNotFoundError

    with redirect_stderr(screen), Voice().during(gone):
        time.sleep(0.05)
    assert MOVING.findall(screen.getvalue()) == []


def test_a_dumb_terminal_gets_plain_lines(screen, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(progress, "_PLAIN_SECONDS", 0.01)
    with redirect_stderr(screen), Voice().during(lambda: "one thing"):
        shown(screen, lambda text: "· one thing, 0 s\n" in text)
    assert "\r" not in screen.getvalue()


def test_what_an_interrupt_left_is_cleared_before_the_end_is_told(screen):
    line = progress.Line()
    begun = line.during(lambda: "left behind")
    with redirect_stderr(screen):
        begun.__enter__()
    shown(screen, lambda text: "left behind" in text)
    line.rest()
    written = screen.getvalue()
    time.sleep(0.05)
    assert screen.getvalue() == written
    assert lines_left(written) == [""]


def test_an_interrupt_in_the_start_of_the_line_is_no_bug(screen, monkeypatch):
    def interrupted(thread):
        raise KeyboardInterrupt

    monkeypatch.setattr(progress.threading.Thread, "start", interrupted)
    line = progress.Line()
    with pytest.raises(KeyboardInterrupt), line.during(lambda: "one thing"):
        pass
    line.rest()
