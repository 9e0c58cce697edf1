"""A decision's stages: each receipt carries the digest of what made it, and is believed only so."""

from dataclasses import replace

import pytest

from core.house import make_generation
from governance.boundaries import store
from governance.changes import staging
from governance.changes.draft import Draft
from governance.changes.staging import Stages
from governance.truth import snapshots
from governance.truth.resolution import Project


def edit(space, *lines):
    """Today's truth with one node's group."""
    truth = snapshots.truth(space)
    project = Project.read(truth.pyproject, space.pyproject)
    return Draft(project.with_group("node-x", lines or ("cowsay",)), (), truth.lock)


class CountingUv:
    """Stands in for uv where only the number of calls matters."""

    def __init__(self):
        self.locks = 0

    def lock(self, project, *, python, extra=()):
        self.locks += 1
        (project / "uv.lock").write_text(f"version = 1\n# lock {self.locks}\n")
        return staging.Locked(True, False, "")


@pytest.fixture
def stages(bare):
    return Stages(bare, "20260101T000000Z-0000000a")


def test_the_plan_is_todays_truth_with_the_edit(bare, stages):
    project = stages.plan(edit(stages.workspace))
    assert project.groups == {"core": [], "node-x": ["cowsay"]}
    assert (stages.folder / "uv.lock").read_bytes() == bare.lock.read_bytes()
    assert stages.is_planned(edit(stages.workspace))
    assert not stages.is_planned(edit(bare, "other"))


def test_a_second_lock_of_the_same_plan_is_none(stages):
    uv = CountingUv()
    for _ in range(2):
        stages.plan(edit(stages.workspace))
        assert stages.lock(uv).ok
    assert uv.locks == 1


@pytest.mark.parametrize("moved", ["pyproject.toml", "uv.lock"])
def test_a_moved_truth_is_planned_and_locked_anew(bare, stages, moved):
    uv = CountingUv()
    stages.plan(edit(stages.workspace))
    stages.lock(uv)
    path = bare.root / moved
    path.write_text(path.read_text() + "\n# moved\n")
    assert not stages.is_planned(edit(stages.workspace))
    stages.plan(edit(stages.workspace))
    assert not stages.is_locked()
    stages.lock(uv)
    assert uv.locks == 2


@pytest.mark.parametrize("file", ["pyproject.toml", "uv.lock"])
def test_a_staged_file_that_was_changed_is_staged_anew(stages, file):
    uv = CountingUv()
    stages.plan(edit(stages.workspace))
    stages.lock(uv)
    path = stages.folder / file
    path.write_text(path.read_text() + "\n# tampered\n")
    assert not stages.is_locked()
    stages.plan(edit(stages.workspace))
    assert "tampered" not in path.read_text()
    stages.lock(uv)
    assert uv.locks == 2


@pytest.mark.parametrize("content", ["", "{", "[]", '{"x": 1}'])
@pytest.mark.parametrize("name", ["plan.json", "lock.json", "build.json", "verdict.json"])
def test_a_damaged_receipt_means_the_stage_is_done_again(stages, name, content):
    built(stages)
    stages.write_verdict("seen", "completed", "")
    (stages.folder / name).write_text(content)
    done = {
        "plan.json": stages.is_planned(edit(stages.workspace)),
        "lock.json": stages.is_locked(),
        "build.json": stages.is_built(),
        "verdict.json": bool(stages.verdict()),
    }
    assert done[name] is False


def built(stages):
    stages.plan(edit(stages.workspace))
    stages.lock(CountingUv())
    digest = store.file_digest(stages.folder / "uv.lock")
    make_generation(stages.workspace, "staged", lock_sha256=digest)
    stages.write_build_receipt("staged")
    assert stages.is_built()


def test_a_build_counts_only_with_its_manifest(stages):
    built(stages)
    (stages.workspace.generations / "staged.d/manifest.json").unlink()
    assert not stages.is_built()


def test_a_verdict_is_of_one_generation(stages):
    built(stages)
    stages.write_verdict("seen", "completed", "")
    assert stages.verdict()["seen"] == "seen"
    make_generation(stages.workspace, "other")
    stages.write_build_receipt("other")
    assert stages.verdict() == {}


def test_a_snapshots_own_lock_is_taken_as_it_is(stages):
    uv = CountingUv()
    stages.plan(replace(edit(stages.workspace), lock=b"version = 1\n# theirs\n", exact=True))
    assert stages.is_locked()
    stages.lock(uv)
    assert uv.locks == 0
    assert b"theirs" in (stages.folder / "uv.lock").read_bytes()


def test_what_another_folder_has_locked_is_not_locked_again(bare, stages):
    uv, other = CountingUv(), Stages(bare, "lock")
    other.plan(edit(bare))
    other.lock(uv)
    stages.adopt(other)
    stages.plan(edit(bare))
    assert stages.lock(uv).ok
    assert uv.locks == 1


def test_the_base_is_pyproject_and_lock_alone(bare):
    base = snapshots.truth(bare).digests()
    bare.plugins.write_text('["other"]')
    assert not staging.base_moved(bare, base)
    bare.lock.write_text("version = 2\n")
    assert staging.base_moved(bare, base)
