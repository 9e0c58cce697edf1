"""The plan: downgrades first, core marked, and who asks."""

from governance.conflict.package_changes import changes, direction, steps
from governance.truth.lockfile import Change


def test_the_plan_of_two_real_locks(world):
    world.core = ["num", "acc", "young<2"]
    before = world.lock(world.lines()).lock
    world.core = ["num", "acc"]
    world.nodes = {"one": ["grad", "young>=2"]}
    after = world.lock(world.lines()).lock
    rows = steps(before, after, {"num"})
    assert [(row.name, row.direction, row.core) for row in rows] == [
        ("num", "down", True),
        ("young", "up", False),
        ("grad", "added", False),
    ]
    assert (rows[0].before, rows[0].after) == ("2.2", "1.5")
    assert rows[0].asked_by == ("core", "node-one")
    assert rows[2].asked_by == ("node-one",)


def test_who_asked_for_what_goes(world):
    world.core = ["num"]
    world.nodes = {"one": ["av"]}
    before = world.lock(world.lines()).lock
    rows = steps(before, world.lock(world.lines(without=("one",))).lock, set())
    assert [(row.name, row.direction, row.asked_by) for row in rows] == [
        ("av", "removed", ("node-one",))
    ]


def test_versions_are_compared_as_versions():
    assert direction(Change("a", "1.9", "1.10")) == "up"
    assert direction(Change("a", "1.10", "1.9")) == "down"
    assert direction(Change("a", "1.0", "1.0rc1")) == "down"
    assert direction(Change("a", "1.0", "@ git+https://example.org/a")) == "other"


def test_downgrades_first_then_by_name():
    before = {"z": "2", "y": "2", "c": "1", "b": "1"}
    found = changes(before, {"z": "1", "y": "1", "c": "2", "a": "1"})
    assert [change.name for change in found] == ["y", "z", "c", "b", "a"]
