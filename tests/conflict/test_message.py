"""uv's words, as uv 0.13 was seen to write them."""

import pytest

from governance.conflict import message

TRANSITIVE = """\
error: No solution found when resolving dependencies for split (markers: sys_platform == 'linux')
  cause: Because all versions of grad depend on num<2 and all versions of outer depend on grad, we \
can conclude that all versions of outer depend on num<2.
         And because comfy-env:line-7 depends on one of:
             num>2
             num<2
         we can conclude that comfy-env:line-7 and all versions of outer are incompatible.
         And because comfy-env:node-a depends on outer and your project requires comfy-env:node-a, \
we can conclude that your project's requirements are unsatisfiable.
"""


def test_lines_and_groups_are_told_apart():
    said = message.read(TRANSITIVE)
    assert said.lines == {7}
    assert "node-a" in said.groups


def test_conclusions_are_no_facts():
    facts = {(s.who, s.name, s.spec) for s in message.read(TRANSITIVE).statements}
    assert ("grad", "num", "<2") in facts
    assert ("outer", "grad", "") in facts
    assert ("outer", "num", "<2") not in facts


def test_the_contested_package_comes_first():
    assert message.read(TRANSITIVE).at_stake()[0] == "num"


def listed(*ranges):
    text = (
        f"Because app depends on one of: {' '.join(f'num{r}' for r in ranges)} and b depends on x"
    )
    (said,) = (s for s in message.read(text).statements if s.name == "num")
    return said.spec, said.any_of


def test_ranges_around_single_versions_are_one_specifier():
    """So uv writes `!=2` and `>=1,!=1.5,!=1.6,<2`, in either order."""
    spec = {s.line: s.spec for s in message.read(TRANSITIVE).statements if s.line is not None}
    assert spec == {7: "!=2"}
    several = (">=1,<1.5", ">1.5,<1.6", ">1.6,<2")
    assert listed(*several) == (">=1,!=1.5,!=1.6,<2", several)
    assert listed("<2", ">2,<3", ">3")[0] == "!=2,!=3"


def test_ranges_with_more_between_them_have_no_specifier():
    assert listed("<1", ">=2") == ("", ("<1", ">=2"))
    assert listed("<=1", ">1.5") == ("", ("<=1", ">1.5"))
    assert listed("==1", "==3") == ("", ("==1", "==3"))


def test_two_demands_of_one_party():
    text = "Because all versions of torn depend on mid and num>=1.5,<2, we can conclude that no"
    facts = {(s.who, s.name, s.spec) for s in message.read(text).statements}
    assert facts == {("torn", "mid", ""), ("torn", "num", ">=1.5,<2")}


def test_the_next_party_is_not_taken_for_a_second_demand():
    text = "Because a==2 depends on num<2 and b>=2.0.1,<=2.0.3 depends on num>=2, we can conclude x"
    facts = {(s.who, s.who_range, s.name, s.spec) for s in message.read(text).statements}
    assert facts == {("a", "==2", "num", "<2"), ("b", ">=2.0.1,<=2.0.3", "num", ">=2")}


def test_two_demands_on_one_package_make_it_contested():
    text = "Because comfy-env:line-0 depends on num<1 and num>2, which are incompatible and so on"
    assert message.read(text).parties == {"num": 2}


def test_a_package_whose_name_ends_in_only_is_no_sentence():
    text = "Because only winonly==1.0 is available and comfy-env:line-1 depends on winonly and x"
    assert set(message.read(text).absent) == {"winonly"}


def test_python_is_not_a_package():
    text = "and modern==1.0 depends on Python>=3.99, we can conclude that modern cannot be used."
    said = message.read(text)
    assert said.statements == ()
    assert said.absent == {"modern": "python"}


def test_the_python_that_is_needed_as_uv_0_13_says_it():
    text = (
        "Using CPython 3.11.7 interpreter at: /usr/bin/python3 Because modern-only==1.0 requires "
        "Python >=3.99, and all versions of b require Python >=3.98 and x, we can conclude y"
    )
    said = message.read(text)
    assert said.absent == {"modern-only": "python", "b": "python"}
    assert said.pythons == {"modern-only": ">=3.99", "b": ">=3.98"}
    assert said.python == "3.11"


def test_the_python_that_is_needed_and_the_one_there_is():
    """Also of all versions; of several the least, which is the nearest."""
    text = (
        "Because the requested Python version (==3.11.*) does not satisfy Python>=3.99 and all "
        "versions of modern depend on Python>=3.99, we can conclude x. Because b==2 depends on "
        "Python>=3.100 and b==1 depends on Python>=3.99, we can conclude y"
    )
    said = message.read(text)
    assert said.absent == {"modern": "python", "b": "python"}
    assert said.pythons == {"modern": ">=3.99", "b": ">=3.99"}
    assert said.python == "3.11"


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (
            "old\n    ModuleNotFoundError: No module named 'torch'\n",
            "ModuleNotFoundError: No module",
        ),
        (
            "warning: x\n    error: command 'gcc' failed\n    see the log",
            "error: command 'gcc' failed",
        ),
        ("it is deprecated\n    see https://host/why", "it is deprecated"),
    ],
)
def test_why_a_build_failed(written, why):
    log = f"error: Failed to build `a==1`\n\n    [stderr]\n    {written}\n\nhint: an error: no"
    assert message.build_problem(log).startswith(why)


def test_a_build_that_wrote_nothing():
    assert message.build_problem("error: Failed to build `a==1`\nhint: x") == ""


def test_nothing_is_read_from_nothing():
    said = message.read("")
    assert (said.lines, said.statements, said.absent, said.at_stake()) == (frozenset(), (), {}, [])


def test_a_long_range_does_not_take_for_ever():
    """Ranges of a thousand characters in a message of a megabyte took ten seconds a reading; this
    one would take hours."""
    text = f"Because num{'>=1,<2|' * 20_000} has no wheels, and app depends on num<2, hint: none"
    said = message.read(text)
    assert said.absent == {"num": "no-wheel"}
    assert said.parties == {"num": 1}
