"""SIGKILL at the entry of every call that changes something, then the next command."""

import random
import signal
import time

import pytest

from . import figures
from .scenarios import BY_NAME, SCENARIOS
from .trials import Trials

POINTS = figures.size(64, 700)
MOMENTS = figures.size(1, 6)
SEED = 4

pytestmark = pytest.mark.usefixtures("traced")


@pytest.mark.timeout(3600 if figures.LONG else 300)
@pytest.mark.parametrize("name", BY_NAME)
def test_killed_anywhere_it_is_all_old_or_all_new(trials, note, name):
    scenario = BY_NAME[name]
    outcomes = {call: trials.kill(scenario, call) for call in trials.sample(scenario, POINTS, SEED)}
    reached = {call: found for call, found in outcomes.items() if found is not None}
    bad = {str(call): found for call, found in reached.items() if found}
    note("kill at a call", points=len(reached), bad=len(bad))
    assert not bad, figures.told(bad)
    missed = len(outcomes) - len(reached)
    assert missed <= max(1, 0.2 * len(outcomes)), "points that are never reached prove nothing"


@pytest.mark.parametrize(
    "name", ["init", "tx run", "tx promote that builds", "rollback that builds"]
)
def test_killed_at_any_moment_uv_running(trials, note, name):
    """Moments between our calls: while uv or the observed program works."""
    scenario, chance = BY_NAME[name], random.Random(SEED)
    whole, bad = trials.whole(scenario), []
    for _ in range(MOMENTS):
        trials.begin(scenario)
        child = trials.stage.start(scenario.argv(trials.stage))
        time.sleep(chance.uniform(0.15, 1.5))
        child.send_signal(signal.SIGKILL)
        child.communicate()
        bad += trials.recovered(scenario, whole)
    note("kill at a moment", points=MOMENTS, bad=len(bad))
    assert not bad, figures.told(bad)


@pytest.mark.family(1)
@pytest.mark.parametrize("name", ["without_intent", "apply_first", "in_place"])
def test_a_broken_gov_is_found_out(stage, note, name):
    """The control: with the intent left out, or in the wrong order, the harness goes red."""
    broken = Trials(stage, breaks=name)
    scenario = BY_NAME["rollback"]
    link_and_truth = [
        call
        for call in broken.whole(scenario).calls
        if any(part in call.text for part in (".venv-prod", "/pyproject.toml", "/uv.lock", "tmp-u"))
        and "snapshots/" not in call.text
    ]
    found = []
    for call in link_and_truth:
        found += broken.kill(scenario, call) or []
        if found:
            break
    note("controls that went red", controls=1)
    assert found != []


def test_the_sample_reaches_every_verb():
    assert {scenario.argv.__name__ for scenario in SCENARIOS}
    names = " ".join(BY_NAME)
    for verb in ("init", "node add", "node remove", "tx run", "tx abort", "resolve", "tx promote",
                 "rollback", "retention", "clean", "recovery", "repair"):  # fmt: skip
        assert verb in names
