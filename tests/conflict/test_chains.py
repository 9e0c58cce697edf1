"""Who brings a package, read from locks that real uv made."""

import pytest

from governance.conflict.chains import chains, demands, owners, requested


@pytest.fixture
def lock(world):
    world.core = ["num>=1", "trans[tim]<5"]
    world.nodes = {"one": ["outer"], "two": ["av==12", "num ; python_version > '3'"]}
    solved = world.lock(world.lines())
    assert solved.ok, solved.log
    return solved.lock


def test_every_line_that_leads_to_the_package(lock):
    found = {(chain.group, chain.text, chain.packages) for chain in chains(lock, "num")}
    assert ("core", "num>=1", ("num",)) in found
    assert ("node-one", "outer", ("outer", "grad", "num")) in found
    assert ("core", "trans[tim]<5", ("trans", "num")) in found
    assert {chain.group for chain in chains(lock, "num")} == {"core", "node-one", "node-two"}


def test_direct_lines_come_first(lock):
    lengths = [len(chain.packages) for chain in chains(lock, "num")]
    assert lengths == sorted(lengths)
    assert lengths[0] == 1 < lengths[-1]


def test_through_an_extra(lock):
    assert [chain.packages for chain in chains(lock, "tim")] == [("trans", "tim")]


def test_the_name_is_normalised(lock):
    assert owners(lock, "AV") == ("node-two",)


def test_nobody_brings_what_is_not_there(lock):
    assert chains(lock, "ghost") == ()
    assert owners({}, "num") == ()


def test_all_lines_of_the_project(lock):
    texts = {text for _, _, text in requested(lock)}
    assert {"num>=1", "outer", "av==12", "trans[tim]<5"} <= texts


def test_how_others_ask_for_a_package(lock):
    assert demands(lock, "num") == ("num",)
    assert demands(lock, "outer") == ()
