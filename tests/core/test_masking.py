"""Secrets are written into no log and no record."""

import os
import sys
import threading

import pytest

from governance.base import masking
from governance.boundaries import process
from governance.git import call
from governance.observation.output import BoundedLog, Tap

TOKEN = "hf_Abcdefgh12345"


@pytest.fixture(autouse=True)
def _secret(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("SHORT_TOKEN", "abc")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:passw0rd9@proxy:3128")
    monkeypatch.setenv("MY_KEY_FILE", "/etc/passwd")


@pytest.mark.parametrize(
    ("said", "written"),
    [
        (f"token={TOKEN}!", "token=***!"),
        ("abc stays", "abc stays"),
        ("the word passw0rd9 alone", "the word *** alone"),
        ("/etc/passwd is a place", "/etc/passwd is a place"),
        ("https://me:secret@host/x", "https://***@host/x"),
        ("https://ghp_1@github.com/a/b.git", "https://***@github.com/a/b.git"),
        ("ssh://git@host/x and git@host:x", "ssh://git@host/x and git@host:x"),
        ("https://h/f.whl?token=abc&x=1#e", "https://h/f.whl?token=***&x=1#e"),
        ("https://h/f?X-Amz-Signature=abc", "https://h/f?X-Amz-Signature=***"),
        ("numpy==1.26.4; python_version >= '3'", "numpy==1.26.4; python_version >= '3'"),
    ],
)
def test_text(said, written):
    assert masking.text(said) == written


def test_a_command_line_hides_what_follows_the_name_of_a_secret():
    argv = ["run", "--hf-token", "x1", "--api-key=y2", "TOKEN=z3", "--index-url", "https://u:p@i/s"]
    shown = ["run", "--hf-token", "***", "--api-key=***", "TOKEN=***", "--index-url"]
    assert masking.words(argv) == [*shown, "https://***@i/s"]


def test_a_tree_keeps_its_shape():
    value = {"a": [TOKEN, 1, None, {"b": f"x{TOKEN}"}]}
    assert masking.tree(value) == {"a": ["***", 1, None, {"b": "x***"}]}


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_a_stream_finds_a_secret_wherever_a_read_ends(size):
    said = f"one {TOKEN}\ntwo\r\xff{TOKEN}".encode("latin-1")
    stream = masking.Stream()
    parts = [stream.take(said[at : at + size]) for at in range(0, len(said), size)]
    assert b"".join([*parts, stream.end()]) == b"one ***\ntwo\r\xff***"


def test_a_stream_does_not_keep_a_line_without_end():
    stream = masking.Stream()
    said = b"x" * 30_000 + TOKEN.encode() + b"y" * 30_000
    parts = [stream.take(said[at : at + 500]) for at in range(0, len(said), 500)]
    assert len(b"".join(parts)) > 30_000
    assert b"".join([*parts, stream.end()]) == said.replace(TOKEN.encode(), b"***")


def test_the_log_of_a_program_and_its_reader_see_none(tmp_path):
    read, write = os.pipe()
    lines, done = [], threading.Event()
    log = BoundedLog(tmp_path / "log", 1000)
    tap = Tap("stdout", os.fdopen(read, "rb"), log, lambda _, line: lines.append(line), print)
    os.write(write, f"before {TOKEN}\nand {TOKEN[:5]}".encode())
    done.wait(0.05)
    os.write(write, f"{TOKEN[5:]}\n".encode())
    os.close(write)
    tap.close()
    log.close()
    assert (tmp_path / "log").read_text() == "before ***\nand ***\n"
    assert lines == ["before ***", "and ***"]


def test_stderr_of_every_program_is_masked():
    seen = []
    code = f"import sys; sys.stderr.write('no {TOKEN}\\n'); print('{TOKEN}')"
    done = process.run([sys.executable, "-c", code], on_line=seen.append)
    assert (done.stderr, seen) == ("no ***\n", ["no ***"])
    assert done.stdout == f"{TOKEN}\n"  # it is read by us, not shown


def test_stderr_of_git_is_masked():
    done = call.run(["ls-remote", f"https://me:{TOKEN}@127.0.0.1:1/x"], call.environment(["https"]))
    assert done.stderr
    assert TOKEN not in done.stderr
    assert "me:" not in done.stderr


def test_nothing_secret_in_the_environment_costs_nothing(monkeypatch):
    for name in list(os.environ):
        monkeypatch.delenv(name)
    assert masking.masker() is masking.without_credentials
