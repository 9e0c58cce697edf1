"""Which versions a package wants of another: quoted by uv, else asked for with two lines."""

import pytest

from governance.conflict import ranges
from governance.conflict.problem import Problem
from governance.conflict.search import Search


@pytest.fixture
def asking(world):
    """Nothing was said yet: every range has to be asked for."""
    world.core = ["grad", "picky", "asker", "trans==4"]
    relaxed = world.lock(world.lines())
    assert relaxed.ok, relaxed.log

    def wanted(parent, package, *contested, seconds=60, search=None):
        search = search or Search(
            Problem(world.lines()), world.solver(), seconds, lambda doing: None
        )
        return ranges.wanted(search, parent, package, relaxed, contested), search

    return wanted


def test_two_lines_that_cannot_stand_together_tell_the_range(asking):
    assert asking("grad", "num", "num>=2")[0] == "<2"
    assert asking("picky", "num", "num==2.2")[0] == "!=1.5,<2.2"


def test_a_line_that_can_stand_with_it_tells_nothing_and_the_next_one_is_tried(asking):
    known, search = asking("grad", "num", "num==1.0", "num==2.2", "av==14")
    assert known == "<2"
    assert "av" not in {said.name for said in search.statements}


def test_one_that_takes_any_version_has_no_range(asking):
    assert asking("trans", "num", "num==1.0", "num==2.2")[0] == ""


def test_what_is_known_is_not_asked_again(asking):
    known, search = asking("grad", "num", "num>=2")
    runs = search.runs
    assert asking("grad", "num", "num==2.2", search=search)[0] == known
    assert search.runs == runs


def test_no_time_left_is_no_error(asking):
    known, search = asking("grad", "num", "num>=2", seconds=0)
    assert (known, search.is_cut) == ("", True)


@pytest.mark.parametrize(
    ("text", "range_"),
    [
        ("numpy", ""),
        ("numpy<2", "<2"),
        ("numpy >= 1.2, < 2", ">=1.2,<2"),
        ("trans[tim]==4 ; python_version > '3'", "==4"),
        ("numpy (>=1)", ">=1"),
        ("it @ https://host/it.whl", "@ https://host/it.whl"),
        ("no requirement at all", ""),
    ],
)
def test_the_range_of_a_line(text, range_):
    assert ranges.declared(text) == range_
