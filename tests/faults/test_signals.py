"""SIGINT and SIGTERM at random moments: a plain code, everything as it was, nobody left."""

import random
import signal
import time

import pytest

from . import figures
from .scenarios import BY_NAME

MOMENTS = figures.size(1, 12)
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


@pytest.mark.timeout(3600 if figures.LONG else 300)
@pytest.mark.parametrize("number", CODES, ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    "name", ["init", "node add", "node remove", "tx run", "tx promote that builds", "rollback"]
)
def test_interrupted_at_any_moment(trials, note, name, number):
    scenario, chance = BY_NAME[name], random.Random(f"{name} {number}")
    whole, bad = trials.whole(scenario), []
    for _ in range(MOMENTS):
        trials.begin(scenario)
        child = trials.stage.start(scenario.argv(trials.stage))
        time.sleep(chance.uniform(0.1, 1.2))
        child.send_signal(number)
        _, err = child.communicate(timeout=60)
        bad += judged(trials, scenario, whole, child.returncode, err, CODES[number])
    note("signals", moments=MOMENTS, bad=len(bad))
    assert not bad, figures.told(bad)


@pytest.mark.parametrize("number", CODES, ids=["SIGINT", "SIGTERM"])
def test_interrupted_while_the_observed_program_runs(trials, note, number):
    scenario = BY_NAME["tx run"]
    whole = trials.whole(scenario)
    trials.begin(scenario)
    trials.stage.make_slow()
    child = trials.stage.start(scenario.argv(trials.stage))
    wait_for(lambda: any("main.py" in line for line in trials.stage.processes()), child)
    child.send_signal(number)
    _, err = child.communicate(timeout=60)
    assert child.returncode == CODES[number], err
    trials.stage.make_quick()
    bad = judged(trials, scenario, whole, child.returncode, err, CODES[number])
    note("signals", moments=1, bad=len(bad))
    assert not bad, figures.told(bad)


def judged(trials, scenario, whole, code, err, expected):
    # What the observed program said to its SIGINT is relayed, and no traceback of ours.
    own = [line for line in err.splitlines() if not line.startswith("  | ")]
    problems = [f"a traceback: {err[-1500:]}"] if "Traceback" in "".join(own) else []
    left = lingering(trials.stage)
    if left:
        problems.append(f"left running: {left}")
    # A signal before gov set its handler, or after it was done, is Python's own business.
    if code not in (expected, 0, -(expected - 128)):
        problems.append(f"exit {code}: {err[-300:]}")
    return problems + trials.recovered(scenario, whole, code=code)


def lingering(stage):
    """What still runs a while after the command has ended: a loaded machine buries slowly."""
    for _ in range(200):
        left = stage.processes()
        if not left:
            return []
        time.sleep(0.1)
    return left


def wait_for(claim, child):
    until = time.monotonic() + 60
    while not claim():
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < until, "what is waited for never came"
        time.sleep(0.05)
