"""Ctrl-C and SIGTERM: 130 and 143, no process left, everything as before."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.fingerprint import truth_and_prod
from support.gov import SECONDS, Gov

from governance.truth.workspace import CHECKOUT

SIGNALS = pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
TOLD = "error: {}; truth and prod are as they were\nhint: run the command again\n"


def processes_naming(path):
    """Command lines and folders of all processes that have to do with `path`."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            told = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            where = os.readlink(place / "cwd")
        except OSError:
            continue
        if int(place.name) != os.getpid() and (str(path) in told or str(path) in where):
            found.append(f"{place.name} {told}")
    return found


def until(claim):
    deadline = time.monotonic() + SECONDS
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ended(child, number):
    child.send_signal(number)
    _, err = child.communicate(timeout=SECONDS)
    return child.returncode, err


@pytest.mark.family(2)
@SIGNALS
@pytest.mark.parametrize("moment", ["locking", "building", "sleeping"])
def test_during_tx_run(settled, number, code, word, moment):
    site = settled.site
    before = truth_and_prod(site.root)
    total = site.gov.json("status").data["transactions_total"]
    child = site.gov.start("tx", "run", "import-sleeps", "-v")
    seen = ""
    says = {"locking": "locking the", "building": "building", "sleeping": "sample: sleeping"}
    while says[moment] not in seen:
        line = child.stderr.readline()
        assert line, seen
        seen += line
    status, err = ended(child, number)
    assert status == code, err
    assert err.endswith(TOLD.format(word))
    until(lambda: processes_naming(site.root) == [])
    assert truth_and_prod(site.root) == before
    rows = site.gov.json("status").data["recent_transactions"]
    assert len(rows) == total + 1
    assert (rows[-1]["node_id"], rows[-1]["status"]) == ("import-sleeps", "aborted")
    assert not (site.root / ".venv-candidate" / rows[-1]["txid"]).exists()
    site.gov("tx", "abort", settled.completed).ok()


@pytest.mark.family(1)
@SIGNALS
@pytest.mark.parametrize("moment", ["locking", "building", "starting"])
def test_during_init(tmp_path, world, number, code, word, moment):
    """Again, it makes what is missing."""
    shutil.copytree(world.comfyui, tmp_path / "ComfyUI", symlinks=True)
    options = ("--index", world.wheels, "--resolution-date", "none")
    child = Gov(None).start("init", tmp_path / "w", *options)
    while moment not in child.stderr.readline():
        assert child.poll() is None
    status, err = ended(child, number)
    assert status == code
    assert err.endswith(TOLD.format(word))
    until(lambda: processes_naming(tmp_path) == [])
    assert not (tmp_path / "w/uv.lock").exists()
    assert not os.path.lexists(tmp_path / "w/.venv-prod")
    Gov(None)("init", tmp_path / "w", *options).ok()


@SIGNALS
def test_during_promote_before_the_commit(settled, number, code, word):
    site = settled.site
    site.set(tx__smoke_test_cmd="sleep 300")
    before = truth_and_prod(site.root)
    child = site.gov.start("tx", "promote", settled.completed)
    until(lambda: any("sleep 300" in line for line in _children(child.pid)))
    assert ended(child, number)[0] == code
    until(lambda: processes_naming(site.root) == [])
    assert truth_and_prod(site.root) == before
    site.set()
    site.gov("tx", "promote", settled.completed).ok()


def test_the_document_of_an_interrupted_command(settled):
    child = settled.site.gov.start("-q", "tx", "run", "import-sleeps", "--json")
    until(lambda: any("main.py" in line for line in _children(child.pid)))
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=SECONDS)
    from support.gov import Ended

    told = Ended((), child.returncode, out, err)
    assert (told.code, told.error["code"]) == (130, "interrupted")


_AT_THE_FORK = """
import os, signal
from governance.boundaries import process

def ended(number, frame):
    raise KeyboardInterrupt

signal.signal(signal.SIGTERM, ended)
os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.SIGTERM))
try:
    process.run(["true"])
    print("lost")
except KeyboardInterrupt:
    print("heard")
"""


def test_a_signal_that_strikes_while_a_program_is_started_is_not_lost():
    """Python swallows what a handler raises in the hooks of a fork, and logging has such a hook."""
    command = [sys.executable, "-c", _AT_THE_FORK]
    done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT, timeout=SECONDS)
    assert (done.stdout, done.stderr) == ("heard\n", "")


def test_a_reader_that_goes_away_is_no_error(settled):
    """gov status --json | head -1"""
    command = f"'{settled.site.root}/bin/gov' status --json | head -c 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=SECONDS)
    assert (done.stdout, done.stderr) == ("{", "")


def _children(pid):
    found, wanted = [], {pid}
    for place in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            if parent in wanted:
                wanted.add(int(place.name))
                found.append((place / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (OSError, UnicodeDecodeError):
            continue
    return found
