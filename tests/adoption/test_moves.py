"""Each version that moved comes with whose line asks for it."""

from pathlib import Path

from governance.adoption import moves
from governance.adoption.environment import Environment, Installed
from governance.conflict.problem import Owned


def env(*packages: Installed) -> Environment:
    found = {one.name: one for one in packages}
    return Environment(Path("/old"), Path("/old/bin/python"), "3.11.7", "", found)


def one(old, new, lines=(), held=()):
    (move,) = moves.explain(old, new, lines, held)
    return move


def test_a_line_that_forbids_the_old_version_is_named_with_its_place():
    line = Owned("numpy>=2", "node:Mover", "requirements.txt", 3, "numpy")
    other = Owned("numpy>=1", "core", "", 0, "numpy")
    found = one(env(Installed("numpy", "1.26.4")), env(Installed("numpy", "2.4.1")), [other, line])
    assert found.because == "Mover asks for numpy>=2 (requirements.txt:3)"
    assert (found.direction, found.is_explained) == ("up", True)


def test_a_package_that_asks_for_it_is_named_too():
    new = env(
        Installed("numpy", "2.4.1"), Installed("cv", "4", requires=("numpy>=2; extra != 'x'",))
    )
    found = one(env(Installed("numpy", "1.26.4")), new)
    assert found.because == "cv 4 asks for numpy>=2"


def test_a_marker_that_does_not_hold_here_explains_nothing():
    new = env(
        Installed("numpy", "2.4.1"),
        Installed("cv", "4", requires=("numpy>=2; python_version<'3'",)),
    )
    found = one(env(Installed("numpy", "1.26.4")), new)
    assert not found.is_explained


def test_what_moved_since_another_moved_says_so():
    old = env(Installed("old-lib", "1", requires=("numpy<2",)))
    new = env(Installed("old-lib", "2"), Installed("numpy", "2.4.1"))
    assert one(old, new).because == "old-lib 1 asks for numpy<2, and numpy is 2.4.1 now"


def test_a_local_build_and_a_folder_of_this_machine_are_sources_that_are_gone():
    local = one(env(Installed("torch", "2.8.0+cu128")), env(Installed("torch", "2.8.0")))
    assert "2.8.0+cu128 is a build of another index" in local.because
    place = Installed("lib", "1", url="@ file:///home/me/lib", editable=True)
    edited = one(env(place), env(Installed("lib", "1")))
    assert "installed in place from file:///home/me/lib" in edited.because


def test_downgrades_come_first_and_what_is_as_it_was_is_left_out():
    old = env(Installed("a", "1"), Installed("b", "2"), Installed("c", "3"))
    new = env(Installed("a", "2"), Installed("b", "1"), Installed("c", "3"))
    assert [move.name for move in moves.explain(old, new, ())] == ["b", "a"]


def test_what_nobody_asks_for_is_left_behind_but_for_the_tools():
    old = env(Installed("a", "1"), Installed("stray", "1"), Installed("pip", "25"))
    assert moves.left_behind(old, env(Installed("a", "1"))) == ["stray"]


def test_versions_that_break_what_another_asks_for_are_pins():
    lib = Installed("lib", "1", requires=("numpy<2", "tqdm"))
    old = env(Installed("numpy", "2.4.1"), lib, Installed("tqdm", "4"))
    assert moves.broken_pins(old) == ["numpy==2.4.1"]
