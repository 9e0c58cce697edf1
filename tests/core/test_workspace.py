"""Which folder is governed, whose it is, and who may write."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from core.house import CHECKOUT, make_bare
from governance import installation
from governance.base.errors import Busy, GovError, UsageError
from governance.operations import recovery
from governance.truth import workspace


@pytest.fixture
def three(tmp_path, monkeypatch):
    """A named, an environment's and a current workspace."""
    spaces = [make_bare(tmp_path / name) for name in ("named", "environ", "here")]
    monkeypatch.delenv("GOV_ROOT", raising=False)
    return spaces


def test_the_note_of_who_writes_is_not_written_through_a_link(three, tmp_path):
    space = three[0]
    (tmp_path / "precious").write_text("precious")
    (space.state / ".lock-owner.json").symlink_to(tmp_path / "precious")
    with workspace.writing(space, "test"):
        assert (tmp_path / "precious").read_text() == "precious"


def test_the_order_is_named_then_variable_then_current_folder(three, monkeypatch):
    named, environ, here = three
    (here.root / "state/logs/deep").mkdir()
    monkeypatch.chdir(here.root / "state/logs/deep")
    assert workspace.find().root == here.root
    monkeypatch.setenv("GOV_ROOT", str(environ.root))
    assert workspace.find().root == environ.root
    assert workspace.find(named.root).root == named.root


def test_an_explicit_name_is_never_replaced_by_another_workspace(three, tmp_path, monkeypatch):
    monkeypatch.chdir(three[2].root)
    for wrong in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(UsageError) as caught:
            workspace.find(wrong)
        assert caught.value.code == "no_workspace"
        monkeypatch.setenv("GOV_ROOT", str(wrong))
        with pytest.raises(UsageError):
            workspace.find()
        monkeypatch.delenv("GOV_ROOT")


def test_the_checkouts_own_comes_last(three, tmp_path, monkeypatch):
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout/dodo.py").write_text("")
    (tmp_path / "checkout/config.toml").write_text('workspace = "governed"\n')
    own = make_bare(tmp_path / "checkout/governed")
    monkeypatch.setattr(workspace, "CHECKOUT", tmp_path / "checkout")
    monkeypatch.chdir(tmp_path)
    assert workspace.find().root == own.root
    monkeypatch.chdir(three[2].root)
    assert workspace.find().root == three[2].root


def test_nothing_anywhere_is_told_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(workspace, "CHECKOUT", tmp_path / "none")
    monkeypatch.delenv("GOV_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no workspace") as caught:
        workspace.find()
    assert "gov init" in caught.value.hint


def test_a_link_to_a_workspace_leads_to_its_real_folder(three, tmp_path):
    (tmp_path / "link").symlink_to("named")
    assert workspace.find(tmp_path / "link").root == three[0].root


@pytest.mark.parametrize("inside", [".", "sub"])
def test_somebody_elses_project_is_never_taken_over(unmade, inside):
    folder = unmade.space.root
    folder.mkdir()
    (folder / "pyproject.toml").write_text('[project]\nname = "theirs"\n')
    if inside == ".":
        with pytest.raises(UsageError) as caught:
            installation.prepare(folder, unmade.comfyui)
        assert caught.value.code == "foreign_project"
        assert str(folder) in caught.value.message
        assert sorted(p.name for p in folder.iterdir()) == ["pyproject.toml"]
    with pytest.raises(UsageError, match="not a workspace"):
        workspace.find(folder)


@pytest.mark.parametrize(
    "name", ["state", ".generations", "snapshots", ".venv-candidate", "state/work"]
)
def test_a_link_in_place_of_a_folder_is_refused(bare, tmp_path, name):
    folder = bare.root / name
    elsewhere = tmp_path / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    with (
        pytest.raises(GovError, match="is a link") as caught,
        recovery.exclusive(bare, "node add"),
    ):
        pass
    assert caught.value.code == "unexpected_link"


HOLDER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from governance.truth import workspace
space = workspace.Workspace(Path(sys.argv[2]))
with workspace.writing(space, "tx promote"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def other(bare):
    """Another process that holds the workspace until it is told to end."""
    argv = [sys.executable, "-c", textwrap.dedent(HOLDER), str(CHECKOUT), str(bare.root)]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "held\n"
    yield child
    child.kill()
    child.communicate()


def test_one_writer_at_a_time_and_the_other_is_named(bare, other):
    with pytest.raises(Busy) as caught, workspace.writing(bare, "node add"):
        pass
    assert caught.value.facts["pid"] == other.pid
    assert caught.value.facts["verb"] == "tx promote"
    assert caught.value.facts["since"] in caught.value.message


def test_a_holder_that_has_not_yet_said_its_name_is_heard_before_anybody_waits_for_it(
    bare, other, monkeypatch
):
    """Two commands started at once: the second must say busy, not wait until the first is done."""
    named = bare.state / ".lock-owner.json"
    unsaid = named.rename(bare.state / "unsaid.json")
    looks = []

    def look_again(seconds):
        looks.append(seconds)
        unsaid.rename(named)

    monkeypatch.setattr(workspace.time, "sleep", look_again)
    with pytest.raises(Busy) as caught, workspace.writing(bare, "tx promote"):
        pass
    assert caught.value.facts["pid"] == other.pid
    assert len(looks) == 1


def test_a_killed_holder_leaves_the_workspace_free(bare, other):
    other.kill()
    other.wait()
    assert workspace.holder(bare) is None
    with workspace.writing(bare, "node add") as taken:
        assert taken
        assert workspace.holder(bare)["pid"] == os.getpid()


def test_readers_do_not_wait(bare, other):
    from governance.operations import status

    assert status.status(bare)["held_by"]["pid"] == other.pid


def test_a_pid_that_now_is_somebody_else_holds_nothing(bare):
    owner = {"pid": os.getpid(), "start_time": 1, "verb": "x", "since": "y"}
    (bare.state / ".lock-owner.json").write_text(json.dumps(owner))
    assert workspace.holder(bare) is None


def test_the_lock_is_re_entrant_within_a_command(bare):
    with workspace.writing(bare, "a") as first, workspace.writing(bare, "b") as second:
        assert (first, second) == (True, False)
    with workspace.writing(bare, "c") as third:
        assert third


def test_what_is_written_is_not_for_everybody_whatever_the_shell_says(three):
    before = os.umask(0)
    try:
        with workspace.writing(three[0], "test"):
            (three[0].root / "made").mkdir()
        (three[0].root / "later").mkdir()
    finally:
        os.umask(before)
    assert (three[0].root / "made").stat().st_mode & 0o022 == 0
    assert (three[0].root / "later").stat().st_mode & 0o022 == 0o022  # the shell's own again
