"""An installation that runs comes under gov by one command, and is proved to be the same."""

import json
import shutil
import signal
import time

import pytest
from support.installations import OLD, files_of, make_environment, tree, write
from support.refusal import assert_told

from governance.sample.wheels import Wheel, build_all
from governance.truth import snapshots
from governance.truth.workspace import Workspace

KINDS = {
    "sample-captioner": "clone",
    "sample-statistics": "clone",
    "packed-node": "registry",
    "lone": "file",
    "loose": "folder",
    "computing": "folder",
    "mover": "folder",
    "linked": "link",
}


def starts(ended) -> int:
    return sum("starting ComfyUI" in line for line in ended.err.splitlines())


@pytest.fixture(scope="module")
def adopted(old):
    """The one command; what it said, and how the old installation lay before and after."""
    before = (tree(old.venv), tree(old.nodes))
    words = ("--comfyui-dir", old.comfyui, "--adopt", "--index", old.world.wheels)
    ended = old.gov.json("init", old.root, *words).ok()
    return ended, before, (tree(old.venv), tree(old.nodes))


@pytest.fixture(scope="module")
def facts(adopted):
    return adopted[0].data["adoption"]


@pytest.fixture(scope="module")
def promoted(old, adopted):
    return old.gov("tx", "promote", adopted[0].data["txid"]).ok()


def rows(facts) -> dict[str, dict]:
    return {row["id"]: row for row in facts["nodes"]}


def test_it_ends_as_one_transaction_after_three_starts(old, adopted):
    data = adopted[0].data
    assert data["status"] == "completed"
    assert data["kind"] == "adopt"
    assert data["root"] == str(old.root)
    assert data["generation"] == data["plan"]["generation"]
    assert set(data["nodes"]) == set(KINDS)
    assert starts(adopted[0]) == 3


def test_nothing_of_the_old_installation_is_touched(adopted):
    _, before, after = adopted
    assert before == after


def test_every_node_is_taken_as_what_it_is_and_loads_as_before(facts):
    found = rows(facts)
    assert {node: found[node]["kind"] for node in KINDS} == KINDS
    for node in KINDS:
        assert (found[node]["before"], found[node]["now"]) == (True, True)
        assert (found[node]["classes_lost"], found[node]["classes_new"]) == ([], [])
    packed = found["packed-node"]
    assert (packed["origin"], packed["version"]) == ("packed-node", "1.2.0")


def test_what_does_not_load_today_is_left_out_with_the_reason(facts):
    row = rows(facts)["import-fails"]
    assert row["before"] is False
    assert "does not load in the old installation either" in row["set_aside"]
    assert facts["left_out"] == {"notes": "it has no __init__.py, so ComfyUI cannot load it"}


def test_only_what_must_move_moves_and_the_line_is_named(facts):
    (move,) = facts["moved"]
    assert (move["name"], move["before"], move["after"]) == ("numpy", "1.26.4", "2.4.1")
    assert move["because"] == "mover asks for numpy>=2 (requirements.txt:1)"


def test_a_line_that_the_installed_version_breaks_is_given_up(facts, adopted):
    assert any("sample-statistics asks for humanize<4" in note for note in facts["notes"])
    (row,) = adopted[0].data["resolution"]["replaced"]
    assert (row["text"], row["to"]) == ("humanize<4", "humanize")


def test_what_is_imported_and_not_declared_becomes_the_nodes_own(facts):
    added = {(row["node"], row["module"], row["line"]) for row in facts["added"]}
    assert added == {("loose", "lark", "lark"), ("computing", "colorama", "colorama")}


def test_the_record_shows_all_of_it(old, adopted, facts):
    shown = old.gov("tx", "inspect", adopted[0].data["txid"]).ok().out
    for text in ("mover asks for numpy>=2", "added to loose: lark", "left out: import-fails"):
        assert text in shown
    assert old.gov.json("tx", "inspect", adopted[0].data["txid"]).data["adoption"] == facts


def test_a_promote_starts_nothing_and_keeps_the_versions(old, adopted, promoted):
    assert starts(promoted) == 0
    frozen = (old.root / ".venv-prod/lib").glob("python*/site-packages/*.dist-info")
    names = {path.name.lower() for path in frozen}
    for kept in ("pillow-10.4.0", "cowsay-5.0", "lark-1.1.9", "humanize-4.9.0", "tqdm-4.66.0"):
        assert f"{kept}.dist-info" in names
    listed = {row["id"]: row for row in old.gov.json("node", "list").ok().data["nodes"]}
    assert {node for node, row in listed.items() if row["state"] == "promoted"} == set(KINDS)
    assert listed["loose"]["added"] == ["lark"]
    old.gov("verify").ok()


def test_a_disabled_node_is_governed_and_can_be_enabled(old, promoted):
    listed = {row["id"]: row for row in old.gov.json("node", "list").ok().data["nodes"]}
    assert [listed[node]["state"] for node in ("resting", "parked")] == ["disabled"] * 2
    assert listed["resting"]["asks_for"] == ["colorama"]
    old.gov("node", "enable", "parked").ok()
    assert (old.nodes / "parked/__init__.py").is_file()


def test_what_was_left_out_is_not_taken_by_trying_again(old, promoted):
    ended = old.gov("adopt", "--quiet")
    assert_told(ended, 1, "nothing can come in: import-fails does not load")
    registry = json.loads((old.root / "state/plugins.json").read_text())
    assert {row["id"] for row in registry if row["last_snapshot"] is None} == {"import-fails"}


# --- into a workspace that is there -----------------------------------------------------------


@pytest.fixture(scope="module")
def plain(tmp_path_factory, world):
    """Two nodes and an environment beside the workspace of an initialised ComfyUI; of two packages
    the source is a folder of this machine, and one of them is on no index."""
    from support.worlds import make_site

    site = make_site(tmp_path_factory.mktemp("plain"), world)
    strange = Wheel("strange", "1.0")
    build_all((strange,), site.root.parent / "own")
    local = [next(world.wheels.glob("cowsay-5.0*")), *(site.root.parent / "own").glob("*.whl")]
    packages = (*(line for line in OLD if "cowsay" not in line), *map(str, local))
    site.venv = make_environment(site.root.parent / "somewhere", world, packages)
    write(site.nodes / "one", files_of("one", "import cowsay"))
    write(site.nodes / "two", files_of("two", "import strange"))
    return site


def test_a_dry_run_tells_and_keeps_nothing(plain):
    plugins = (plain.root / "state/plugins.json").read_bytes()
    ended = plain.gov("adopt", "--from-env", plain.venv, "--dry-run").ok()
    assert "one" in ended.out
    assert (plain.root / "state/plugins.json").read_bytes() == plugins
    assert not list((plain.root / "state/transactions").glob("*.json"))


def test_ctrl_c_while_the_old_one_is_watched_leaves_no_trace(plain):
    child = plain.gov.start("adopt", "--from-env", plain.venv)
    lines = iter(child.stderr.readline, "")
    assert any("as it runs today" in line for line in lines)
    time.sleep(0.3)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)
    assert child.returncode == 130
    assert plain.gov.json("status").data["transactions_pending"] == 0
    plain.gov(
        "clean"
    ).ok()  # as every verb that changes something, it sweeps up a probe that was met
    assert not list((plain.root / ".venv-candidate").iterdir())


def test_it_comes_into_a_workspace_that_is_there_behind_the_core_gate(plain):
    data = plain.gov.json("adopt", "--from-env", plain.venv).ok().data
    txid = data["txid"]
    moved = {row["name"]: row["after"] for row in data["plan"]["changes"]}
    assert moved["pillow"] == "10.4.0"
    told = "\n".join(data["adoption"]["notes"])
    assert "one uses cowsay, which was installed from file:" in told
    assert "is on no index: strange" in told
    (aside,) = data["set_aside"]
    assert aside["step"]["node"] == "two"
    assert "No module named 'strange'" in aside["reason"]
    assert_told(plain.gov("tx", "promote", txid), 3, "core packages would change")
    plain.gov("tx", "promote", txid, "--approve-core", "--reason", "as it ran").ok()
    assert plain.installed()["cowsay"] == "5.0"
    ended = plain.gov("adopt", "--from-env", plain.venv, "--quiet")
    assert_told(ended, 1, "two failed to import: No module named 'strange'")


# --- bad input --------------------------------------------------------------------------------


def test_an_environment_that_does_not_start_leaves_no_workspace(tmp_path, world):
    comfyui = shutil.copytree(world.comfyui, tmp_path / "ComfyUI", symlinks=True)
    broken = write(tmp_path / "venv", {"bin/python": "#!/bin/sh\nexit 9\n"})
    (broken / "bin/python").chmod(0o755)
    from support.gov import Gov

    words = ("--comfyui-dir", comfyui, "--adopt", "--from-env", broken)
    assert_told(Gov(None)("init", tmp_path / "ws", *words), 2, "does not start")
    assert not (tmp_path / "ws").exists()


def test_one_of_a_python_that_uv_cannot_find_registers_nothing(plain, tmp_path):
    write(plain.nodes / "late", files_of("late"))
    told = '{"version": "3.99.1", "distributions": [], "model_paths": {}}'
    other = write(tmp_path / "venv", {"bin/python": f"#!/bin/sh\necho '{told}'\n"})
    (other / "bin/python").chmod(0o755)
    ended = assert_told(plain.gov("adopt", "--from-env", other), 2, "finds no Python 3.99")
    assert "uv python install 3.99" in ended.problems("hint")[0]
    registry = json.loads((plain.root / "state/plugins.json").read_text())
    assert "late" not in {row["id"] for row in registry}
    shutil.rmtree(plain.nodes / "late")


def test_a_first_truth_that_another_command_made_is_not_overwritten(tmp_path, world):
    from support.installations import Installation

    made = Installation(tmp_path, world)
    words = ("--comfyui-dir", made.comfyui, "--index", world.wheels)
    txid = made.gov.json("init", made.root, *words, "--adopt").ok().data["txid"]
    made.gov("init", made.root, *words, "--resolution-date", "none").ok()
    before = snapshots.truth(Workspace(made.root)).digests()
    assert_told(made.gov("tx", "promote", txid), 3, "has a truth by now")
    assert snapshots.truth(Workspace(made.root)).digests() == before
