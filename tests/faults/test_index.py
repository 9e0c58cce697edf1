"""A package index that truncates, resets, hangs, lies or answers rubbish: loud, prod untouched."""

import shutil
import subprocess

import pytest

from . import figures
from .trials import Trials, told

PAGE, FILE, WHEEL = "/simple/lark/", "/files/lark", "/files/lark-1.2.2-py3-none-any.whl$"

# (what goes wrong, where, what the error line says of it)
CASES = [
    ("status 401", PAGE, "refuses lark (401 Unauthorized)"),
    ("status 403", PAGE, "refuses lark (403 Forbidden)"),
    ("status 404", "/simple/", "answers with 404 whatever it is asked"),
    ("status 500", PAGE, "(500 Internal Server Error)"),
    ("status 503", PAGE, "(503 Service Unavailable)"),
    ("status 511", PAGE, "a network's log-in page (511"),
    ("rubbish", PAGE, "answers with a log-in page when lark is asked for"),
    ("redirect", PAGE, "answers with a log-in page when lark is asked for"),
    ("empty", PAGE, "answers with an empty page when lark is asked for"),
    ("garbage", PAGE, "answers with what is no page at all when lark"),
    ("reset", PAGE, "broke off the connection when lark was"),
    ("hang", PAGE, "did not answer in time when lark was"),
    ("drip", PAGE, "sends next to nothing: no progress for 3 s"),
    ("wrong-hash", PAGE, "sent other bytes for lark 1.2.2 than the hash"),
    ("status 401", FILE, "refuses lark 1.2.2 (401 Unauthorized)"),
    ("status 404", FILE, "lists lark 1.2.2 and does not have it"),
    ("status 503", FILE, "fails when lark 1.2.2 is asked for (503"),
    ("rubbish", FILE, "sent other bytes for lark 1.2.2"),
    ("redirect", FILE, "sent other bytes for lark 1.2.2"),
    ("truncated", FILE, "broke off in the midst of lark 1.2.2"),
    ("drip", FILE, "sends next to nothing: no progress for 3 s"),
    ("reset", WHEEL, "broke off the connection when lark 1.2.2 was"),
    ("truncated", WHEEL, "broke off in the midst of lark 1.2.2"),
    ("other-bytes", WHEEL, "for lark 1.2.2"),
    ("rubbish", WHEEL, "sent something for lark 1.2.2 that is no package file"),
    ("status 404", WHEEL, "lists lark 1.2.2 and does not have it (404"),
    ("drip", WHEEL, "for lark 1.2.2"),
]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("lie", "place", "says"), CASES)
def test_a_bad_index_is_loud_and_harms_nothing(served, note, lie, place, says):
    served.rewind("served")
    before = (served.root / ".venv-prod").readlink()
    forget(served)
    done = run(served, lie, place)
    error = next(line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert done.returncode == 1, done.stderr
    assert told(done.returncode, done.stderr) == []
    assert says in error
    assert served.server.url.split("/")[2] in error
    assert (served.root / ".venv-prod").readlink() == before
    trials = Trials(served)
    assert served.gov("clean").code == 0
    assert trials.faults() == []
    # What it said is not believed any longer than it says so.
    assert served.gov("tx", "run", "idle").code == 0
    note("bad indexes", runs=1, bad=0)


def run(served, lie, place):
    kind, _, status = lie.partition(" ")
    # On a loaded machine the other answers may take longer than a second too.
    soon = {"UV_HTTP_TIMEOUT": "1"} if kind == "hang" else {}
    served.server.fail(place, kind, status=int(status or 503), seconds=0.5)
    try:
        return subprocess.run(
            served.command(("tx", "run", "idle")),
            env=served.environ(UV_HTTP_RETRIES="0", **soon),
            cwd=served.folder, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    finally:
        served.server.heal()


def forget(stage):
    """What uv remembers, so that it asks the index again."""
    shutil.rmtree(stage.cache)


def test_the_long_form_is_told_apart():
    assert figures.size(1, 2) == (2 if figures.LONG else 1)
