"""What uv warns of when a lock succeeds."""

from governance.conflict.notes import noted


def test_a_missing_extra_is_named_with_its_owner(world):
    world.core = ["num", "trans"]
    world.nodes = {"one": ["trans[gone]"]}
    solved = world.lock(world.lines())
    (note,) = noted(solved.log, world.lines())
    assert note.kind == "missing-extra"
    assert [line.who for line in note.lines] == ["one"]
    assert note.sentence == "one asks for trans[gone], but trans 5 has no such extra"


def test_a_yanked_version_is_named_with_its_reason(world):
    world.core = ["num"]
    world.nodes = {"one": ["withdrawn==1.1"]}
    solved = world.lock(world.lines())
    (note,) = noted(solved.log, world.lines())
    assert (note.kind, note.package) == ("yanked", "withdrawn")
    assert "it breaks everything" in note.sentence
    assert [line.text for line in note.lines] == ["withdrawn==1.1"]


def test_a_quiet_lock_has_no_notes(world):
    world.core = ["num"]
    assert noted(world.lock(world.lines()).log, world.lines()) == ()
