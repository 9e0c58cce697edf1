"""The verdict as a pure reading of facts."""

import pytest

from governance.observation import verdict
from governance.observation.record import Baseline, NodeReport
from governance.observation.verdict import Run

LOADED, BROKEN, UNKNOWN = NodeReport(True), NodeReport(False, error="boom"), NodeReport(None)


def judge(run, report=LOADED, collateral=()):
    return verdict.judge(run, ("n",), {"n": report}, collateral)


def up(**changes):
    return Run(**{"ready": True, "exit_code": 0} | changes)


def ended(code, **changes):
    return Run(**{"own_end": True, "exit_code": code} | changes)


def with_log(run, *, listed):
    run.log.listed = listed
    return run


@pytest.mark.parametrize("code", [0, -2, -9, 1])
def test_a_server_that_came_up_is_completed_however_we_ended_it(code):
    assert judge(up(exit_code=code)) == (True, "ComfyUI came up with n loaded")


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (up(own_end=True, exit_code=-11), "ComfyUI came up, then was ended by SIGSEGV by itself"),
        (Run(timeout=30), "ComfyUI did not come up within 30 s"),
        (
            Run(timeout=30, last_loaded="n"),
            "ComfyUI did not come up within 30 s; it was still loading n",
        ),
        (
            with_log(Run(timeout=30, last_loaded="n"), listed=True),
            "ComfyUI did not answer within 30 s, although its nodes were loaded",
        ),
        (ended(3, last_loaded="n"), "ComfyUI ended with exit code 3 while it was loading n"),
        (ended(-99), "ComfyUI was ended by signal 99"),
        (ended(0), "ComfyUI ended by itself with exit code 0 before it came up"),
        (ended(0, quick=True), "ComfyUI ended by itself with exit code 0 before it came up"),
        (ended(7, is_server=False), "main.py ended with exit code 7"),
    ],
)
def test_a_start_that_failed_is_told_in_a_sentence(run, reason):
    assert judge(run) == (False, reason)


def test_a_taken_port_is_told():
    run = ended(1)
    run.log.port_taken = True
    assert judge(run) == (False, "ComfyUI ended with exit code 1: another program took its port")


def test_after_the_list_nobody_is_being_loaded():
    run = with_log(ended(1, last_loaded="n"), listed=True)
    assert judge(run) == (False, "ComfyUI ended with exit code 1")


def test_a_quick_start_needs_the_list():
    assert judge(with_log(ended(0, quick=True), listed=True))[0]
    assert verdict.judge(ended(0, quick=True), (), {}, ())[0]


def test_the_node_itself_decides():
    assert judge(up(), BROKEN) == (False, "n failed to import: boom")
    assert judge(up(), UNKNOWN)[1].startswith("ComfyUI said nothing about n")
    assert judge(ended(0, is_server=False), UNKNOWN) == (
        True,
        "main.py ended by itself with exit code 0",
    )


def test_what_is_wrong_with_the_node_comes_before_a_start_that_failed():
    """ComfyUI said that it cannot import the node, then was too slow."""
    assert judge(Run(timeout=30), BROKEN) == (
        False,
        "n failed to import: boom; ComfyUI did not come up within 30 s",
    )
    assert judge(ended(3), UNKNOWN) == (False, "ComfyUI ended with exit code 3")


def test_a_list_of_classes_that_fails_is_a_failure():
    """The editor can then offer no class of anybody."""
    run = up(unlisted=True)
    assert judge(run) == (False, "ComfyUI came up, but the list of all node classes fails with it")
    run.log.last_traceback = ["Traceback", "TypeError: no JSON"]
    assert judge(run)[1].endswith("fails with it: TypeError: no JSON")


def test_what_it_died_of_is_told_once():
    run = ended(1)
    run.log.last_traceback = ["Traceback", "x.Boom: base"]
    run.log.said += ["n/__init__.py:2: x.Boom: base", "ffmpeg is not available"]
    assert verdict.warnings(run, ("n",), {"n": UNKNOWN}, [], None) == [
        "the log says: ffmpeg is not available"
    ]


def test_many_quotes_are_cut():
    run = up(classes={"A": "custom_nodes.n"})
    run.log.said += [f"part {number} is not available" for number in range(9)]
    own = {"n": NodeReport(True, classes=["A"])}
    told = verdict.warnings(run, ("n",), own, [], None)
    assert told[5:] == ["the log says: part 5 is not available", "the log says 3 more such lines"]


def test_a_class_that_cannot_be_described_is_registered():
    run = up(classes={})
    assert verdict.warnings(run, ("n",), {"n": LOADED}, [], None) == [
        "n loaded, but registered no node class"
    ]
    run.log.unreadable_classes["A"] = "ValueError: 1"
    assert verdict.warnings(run, ("n",), {"n": LOADED}, [], None) == [
        "ComfyUI cannot describe A (ValueError: 1)"
    ]


def test_collateral_is_named():
    assert judge(up(), collateral=["b", "a"]) == (False, "a, b used to load and now do not")
    told = verdict.judge(up(), ("n",), {"n": LOADED, "old": BROKEN}, ["old"])
    assert told == (False, "old used to load and now does not: boom")


def test_who_is_collateral():
    reports = {"n": BROKEN, "old": BROKEN, "new": BROKEN, "fine": LOADED, "silent": UNKNOWN}
    baseline = Baseline(loaded=("n", "old", "fine", "silent"))
    assert verdict.collateral(("n",), reports, baseline) == ["old"]
    assert verdict.collateral(("n",), reports, None) == []
    assert verdict.collateral((), reports, None) == ["n", "old", "new"]


def test_classes_are_compared():
    now = {"A": "custom_nodes.n", "B": "nodes"}
    assert verdict.compare_classes(("n",), now, Baseline({"B": "nodes", "C": "nodes"})) == (
        ["A"],
        ["C"],
    )
    assert verdict.compare_classes(("n",), now, None) == (["A"], [])
    assert verdict.compare_classes(("n",), None, Baseline({"C": "nodes"})) == ([], [])


def test_many_names_are_cut():
    run = up()
    run.log.unreadable_classes |= {f"class {number:02}": "" for number in range(30)}
    (text,) = verdict.warnings(run, ("n",), {"n": LOADED}, [], None)
    assert text.endswith("class 19 and 10 more")


def test_each_node_that_fails_is_named_with_its_reason():
    reports = {"a": BROKEN, "b": LOADED, "c": BROKEN}
    assert verdict.judge(up(), ("a", "b", "c"), reports, ()) == (
        False,
        "a failed to import: boom; c failed to import: boom",
    )
    assert list(verdict.failed_subjects(up(), ("a", "b", "c"), reports)) == ["a", "c"]


def test_a_class_that_another_took_fails_the_run():
    lost = "b also registers Same and takes it over from a"
    assert verdict.judge(up(), ("n",), {"n": LOADED}, (), lost) == (False, lost)
