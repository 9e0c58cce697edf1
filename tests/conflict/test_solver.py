"""One probe: its groups, its trust in the cache, its time limit, and nothing left behind."""

import sys
import tomllib
from dataclasses import replace

import pytest

from governance.boundaries.uv import Uv
from governance.conflict.solver import Question, UvSolver, _toml
from tests.conflict.conftest import owned

BASE = f"""\
[project]
name = "comfy-env"
version = "0"
requires-python = "=={sys.version_info[0]}.{sys.version_info[1]}.*"
dependencies = []
[tool.uv]
package = false
"""


@pytest.fixture
def question(world):
    world.core = ["num", "trans[tim]"]
    world.nodes = {"one": ["num<2"]}
    return Question(tuple(enumerate(world.lines())))


def test_what_is_written_for_uv_is_toml():
    document = {
        "key": ["a ; os == 'x'", 'quoted "\\ \x7f \t ü😀', True, 2, 1.5, []],
        "with.dot": {"url": "file:///x y", "empty": {}, "list": [{"package": {"name": "a"}}]},
    }
    assert tomllib.loads(f"all = {_toml(document)}") == {"all": document}


def test_pages_and_files_are_asked_for_once(world, index, question, tmp_path):
    world.cache = tmp_path / "own-cache"
    first = world.solver().solve(question, 60)
    asked = index.count()
    again = world.solver().solve(question, 60)
    assert first.ok and again.ok
    assert index.count() == asked
    assert asked > 0


def test_without_trust_uv_asks_again(world, index, question, tmp_path):
    world.cache = tmp_path / "own-cache"
    world.solver(trust_seconds=0).solve(question, 60)
    asked = index.count()
    world.solver(trust_seconds=0).solve(question, 60)
    assert index.count() > asked


def test_offline_asks_nobody_and_says_so(world, index, question, tmp_path):
    world.cache = tmp_path / "own-cache"
    asked = index.count()
    blind = world.solver().solve(replace(question, offline=True), 60)
    assert (blind.ok, blind.code) == (False, "index_unreachable")
    assert index.count() == asked
    world.solver(trust_seconds=0).solve(question, 60)
    asked = index.count()
    assert world.solver().solve(replace(question, offline=True), 60).ok
    assert index.count() == asked


def test_the_default_index_is_trusted_once_a_lock_has_told_it(index, question, tmp_path):
    """A truth that names no index has uv's own default, which the environment stands in for."""
    default = {"UV_DEFAULT_INDEX": index.url}

    class Door(Uv):
        def environment(self, **more):
            return super().environment(**more, **default)

    door = Door(tmp_path / "cache")
    solver = UvSolver(door, base=BASE, python=sys.executable, folder=tmp_path / "probes")
    assert solver.solve(question, 60).ok
    default.clear()
    assert solver.solve(question, 60).ok
    asked = index.count()
    assert solver.solve(question, 60).ok
    assert index.count() == asked


def test_versions_of_today_are_preferred_unless_fresh(world):
    old = world.lock(owned("core", "num==2.0"))
    lines = tuple(enumerate(owned("core", "num")))
    solver = world.solver(old.text.encode())
    assert solver.solve(Question(lines), 60).versions["num"] == "2.0"
    assert solver.solve(Question(lines, fresh=True), 60).versions["num"] == "2.2"


def test_a_line_of_its_own_group_is_named_by_its_index(world):
    lines = ((3, owned("core", "num<2")[0]), (8, owned("core", "num>=2")[0]))
    log = world.solver().solve(Question(lines, by_line=True), 60).log
    assert "line-3" in log and "line-8" in log


def test_a_probe_that_takes_too_long_is_ended(world, index, tmp_path):
    world.cache = tmp_path / "own-cache"
    fault = index.fail("/simple/av/", "slow", seconds=3)
    try:
        solved = world.solver().solve(Question(tuple(enumerate(owned("core", "av")))), 0.3)
    finally:
        index.faults.remove(fault)
    assert solved.code == "timed_out"


def test_nothing_is_left_in_the_folder(world, question):
    world.solver().solve(question, 60)
    assert list(world.folder.iterdir()) == []


def test_a_broken_index_is_not_taken_for_a_conflict(world, index, tmp_path):
    world.cache, world.environ = tmp_path / "own-cache", {"UV_HTTP_RETRIES": "0"}
    fault = index.fail("/simple/av/", "status", status=500)
    try:
        solved = world.lock(owned("core", "av"))
    finally:
        index.faults.remove(fault)
    assert not solved.ok
    assert solved.code == "index_failed"
