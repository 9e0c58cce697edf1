"""Who brings a package, read from locks that real uv made."""

import os
import sys
import tomllib

import pytest

from governance.boundaries.uv import Uv
from governance.conflict.chains import chains, demands, owners, requested, ways


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


def test_an_extra_that_one_line_asks_for_is_no_way_for_the_others(world):
    """The lock has the extra's packages beside those of everybody."""
    world.core = ["trans<5"]
    world.nodes = {"one": ["asker"], "two": ["trans"], "three": ["trans[tim]>=4"]}
    lock = world.lock(world.lines()).lock
    assert [(c.group, c.asked) for c in chains(lock, "tim")] == [
        ("node-three", ("trans[tim]", "tim")),
        ("node-one", ("asker", "trans[tim]", "tim")),
    ]
    assert owners(lock, "num") == ("core", "node-one", "node-three", "node-two")


def test_an_extra_of_an_extra_and_a_cycle(world):
    world.nodes = {"one": ["all-of[all]"], "two": ["all-of"]}
    lock = world.lock(world.lines()).lock
    (chain,) = chains(lock, "ring-back")
    assert (chain.group, chain.packages) == ("node-one", ("all-of", "ring", "ring-back"))
    assert owners(lock, "ring") == ("node-one",)


def test_the_ways_through_each_parent_never_lead_through_the_package(world):
    world.nodes = {"one": ["ring", "hub"]}
    lock = world.lock(world.lines()).lock
    assert ways(lock, "node-one", "ring") == []
    assert ways(lock, "node-one", "num") == [("hub", "aloof", "num"), ("hub", "grad", "num")]
    assert [c.packages for c in chains(lock, "num")] == [("hub", "aloof", "num")]


@pytest.fixture
def universal(index, cache, tmp_path):
    """A lock for all platforms, as somebody's own `environments` make it."""
    lines = {
        "core": ["ring", "acc<0.4 ; sys_platform == 'win32'", "acc>=0.4 ; sys_platform != 'win32'"],
        "node-one": ["left", "tim ; sys_platform == 'win32'"],
    }
    groups = "\n".join(f"{group} = {texts!r}" for group, texts in lines.items())
    minor = ".".join(map(str, sys.version_info[:2]))
    (tmp_path / "pyproject.toml").write_text(
        f'[project]\nname = "x"\nversion = "0"\nrequires-python = "=={minor}.*"\n'
        f"[dependency-groups]\n{groups}\n[tool.uv]\npackage = false\n"
        f'[[tool.uv.index]]\nurl = "{index.url}"\ndefault = true\n'
    )
    return tmp_path, Uv(cache, dict(os.environ))


def test_a_marker_of_another_platform_is_no_way(universal):
    folder, uv = universal
    locked = uv.lock(folder, python=sys.executable)
    assert locked.ok, locked.log
    lock = tomllib.loads((folder / "uv.lock").read_text())
    names = [one["name"] for one in lock["package"]]
    assert names.count("acc") == 2, "one for each platform"
    assert "tim" in names
    assert chains(lock, "tim") == ()
    assert [(c.group, c.text) for c in chains(lock, "acc")] == [
        ("core", "acc>=0.4 ; sys_platform != 'win32'")
    ]
