"""What a start says that prod's did not: the lines that are shown of a folded log."""

import pytest

from governance.observation import verdict
from governance.observation.record import Baseline
from governance.observation.verdict import Run

BEFORE = [
    "Total VRAM 8000 MB, total RAM 16000 MB",
    "[rgthree-comfy] Loaded 48 fine nodes.",
    "WARNING: no ffmpeg",
    "### Loading: KJNodes",
    "[Old Node] is ready",
]


@pytest.fixture
def new():
    def new(*lines, subjects=("new-node",), before=BEFORE):
        run = Run()
        for line in lines:
            run.feed("stdout", line)
        return verdict.new_lines(run, subjects, Baseline(lines=list(before)))

    return new


def test_numbers_are_no_news(new):
    assert new("Total VRAM 7321.5 MB, total RAM 16000 MB") == []
    assert new("Total VRAM 8000 MB") == ["Total VRAM 8000 MB"]


def test_what_another_marks_as_its_own_is_no_news(new):
    assert new("[rgthree-comfy] Loaded 48 magnificent nodes.", "🎉 [rgthree-comfy] hello") == []
    assert new("[other] Loaded 48 fine nodes.") == ["[other] Loaded 48 fine nodes."]


def test_a_level_marks_nobody(new):
    assert new("WARNING: its payload ran") == ["WARNING: its payload ran"]


@pytest.mark.parametrize("subject", ["old-node", "ComfyUI-Old_Node"])
def test_the_marks_of_the_node_itself_count(new, subject):
    assert new("[Old Node] was updated", subjects=[subject]) == ["[Old Node] was updated"]
    assert new("[Old Node] was updated") == []


def test_tracebacks_and_the_list_of_imports_are_told_elsewhere(new):
    assert new("   File x", "0.1 seconds: /c/custom_nodes/x", "plain") == ["plain"]


def test_without_prods_lines_nothing_is_compared(new):
    run = Run()
    run.feed("stdout", "plain")
    assert verdict.new_lines(run, (), None) == []
