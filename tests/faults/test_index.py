"""A package index that truncates, resets, hangs, lies or answers rubbish: loud, prod untouched."""

import shutil
import subprocess

import pytest

from governance.sample import index

from . import figures
from .stage import Stage
from .trials import Trials, told

PAGE, FILE = "/simple/lark/", "/files/lark"
CASES = [(kind, PAGE) for kind in ("reset", "wrong-hash", "rubbish", "status", "hang")]
CASES += [(kind, FILE) for kind in ("truncated", "reset", "rubbish", "status", "hang")]
# A log-in page instead of the list of versions is a list without versions to uv: a conflict.
CODES = {("rubbish", PAGE): 4}


@pytest.fixture(scope="module")
def served(grounds):
    """A stage whose truth names an index over HTTP, which fails on demand."""
    made = Stage(grounds / "served")
    with index.serve(made.wheels) as server:
        made.rewind("empty")
        made.gov("init", made.root, "--index", server.url, "--resolution-date", "none").ok()
        made.gov("node", "add", made.repos / "idle").ok()
        made.keep("served")
        made.server = server
        yield made


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("kind", "place"), CASES)
def test_a_bad_index_is_loud_and_harms_nothing(served, note, kind, place):
    served.rewind("served")
    before = (served.root / ".venv-prod").readlink()
    # On a loaded machine the other answers may take longer than a second too.
    soon = {"UV_HTTP_TIMEOUT": "1", "UV_REQUEST_TIMEOUT": "1"} if kind == "hang" else {}
    env = served.environ(UV_HTTP_RETRIES="0", **soon)
    served.server.fail(place, kind)
    forget(served)
    try:
        done = subprocess.run(
            served.command(("tx", "run", "idle")),
            env=env, cwd=served.folder, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    finally:
        served.server.heal()
    assert done.returncode == CODES.get((kind, place), 1), done.stderr
    assert told(min(done.returncode, 1), done.stderr) == []
    assert (served.root / ".venv-prod").readlink() == before
    trials = Trials(served)
    assert served.gov("clean").code == 0
    assert trials.faults() == []
    forget(served)
    assert served.gov("tx", "run", "idle").code == 0
    note("bad indexes", runs=1, bad=0)


def forget(stage):
    """What uv remembers, so that it asks the index again."""
    shutil.rmtree(stage.cache)


def test_the_long_form_is_told_apart():
    assert figures.size(1, 2) == (2 if figures.LONG else 1)
