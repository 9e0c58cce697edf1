"""Streams: everything arrives, bounded, and nothing that a terminal would obey."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.observation.output import BoundedLog, Tap, printable


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left(text):
    shown = printable(text)
    assert not set(shown) & {chr(code) for code in (*range(9), *range(10, 32), *range(127, 160))}
    assert not set(shown) & set("\u202e\u2066\u2028\u200f")


def test_ordinary_text_stays_as_it_is():
    assert printable("naïve\t日本語 🙂 100%") == "naïve\t日本語 🙂 100%"
    assert printable("\x1b[31m\u202e") == "\\x1b[31m\\u202e"


def test_colours_are_left_to_the_log(tmp_path):
    shown = []
    text = r"\x1b[1m\x1b[38;5;3m[WARNING]\x1b[0m IMPORT FAILED: x.py \x1b[2J"
    lines = tapped(tmp_path, f"print('{text}')", lambda stream, line: shown.append(line))
    assert lines == ["[WARNING] IMPORT FAILED: x.py \x1b[2J"]
    assert shown == ["[WARNING] IMPORT FAILED: x.py \\x1b[2J"]
    assert b"\x1b[1m" in (tmp_path / "log").read_bytes()


def test_a_log_is_cut_once_and_says_so(tmp_path):
    path = tmp_path / "log"
    log = BoundedLog(path, 10)
    for _ in range(5):
        log.write(b"12345678")
    log.close()
    assert path.read_bytes() == b"1234567812\n[gov: 30 more bytes were cut here]\n"


def test_a_second_run_goes_on_where_the_first_ended(tmp_path):
    path = tmp_path / "log"
    for text in (b"one\n", b"two\n"):
        log = BoundedLog(path, 6)
        log.write(text)
        log.close()
    assert path.read_bytes() == b"one\ntw\n[gov: 2 more bytes were cut here]\n"


def test_a_log_is_never_written_through_a_link(tmp_path):
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        BoundedLog(tmp_path / "log", 10)


def tapped(tmp_path, code, live=lambda stream, line: None):
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    log = BoundedLog(tmp_path / "log", 1 << 20)
    lines = []
    tap = Tap("stdout", child.stdout, log, lambda stream, line: lines.append(line), live)
    child.wait()
    tap.close()
    log.close()
    return lines


def test_lines_are_told_whatever_ends_them(tmp_path):
    code = r"import sys; sys.stdout.buffer.write(b'a\nb\r\n\r10%\r20%\n\xff\xc3\xa9\n\nlast\r')"
    lines = tapped(tmp_path, code)
    assert lines == ["a", "b", "", "10%", "20%", "\ufffdé", "", "last"]
    assert (tmp_path / "log").read_bytes().endswith(b"\r20%\n\xff\xc3\xa9\n\nlast\r")


def test_a_line_without_end_is_told_in_pieces(tmp_path):
    lines = tapped(tmp_path, "print('x' * 1_000_000, end='')")
    assert 0 < max(map(len, lines)) <= 8192


def test_a_stream_held_open_by_a_daemon_does_not_hold_us(tmp_path):
    code = "import subprocess; p = subprocess.Popen(['sleep', '60']); print(p.pid)"
    pid = int(tapped(tmp_path, code)[0])
    with open(f"/proc/{pid}/stat") as stream:
        assert stream.read().rpartition(")")[2].split()[0] != "Z", "we waited for its end"
    os.kill(pid, 9)
