"""The stages of a promote: which of them run, how often uv is called, and which gates hold."""

import json
import os
from types import SimpleNamespace

import pytest

from governance.base.errors import GovError
from governance.changes import pipeline
from governance.environments import generations
from governance.sample.wheels import Wheel, build
from governance.truth import documents


def ran(done):
    return [line[3:].partition(":")[0] for line in done.stderr.splitlines() if line[:3] == ".  "]


@pytest.fixture
def completed(make_governed):
    """A completed run whose base has not moved; uv is counted from here."""
    return make_governed(_complete)


def _complete(house):
    house.txid = house.ran("declares-two-packages")


@pytest.fixture
def core(make_governed):
    """A completed run that would change numpy."""
    return make_governed(_change_core)


def _change_core(house):
    house.txid = house.ran("changes-core", _loading("numpy==2.3.2\n"))


@pytest.fixture
def undeclaring(make_governed):
    """A completed run of a node that installs what it does not declare."""
    return make_governed(_install_undeclared)


def _install_undeclared(house):
    house.txid = house.ran("pip-installs")


@pytest.fixture
def failed(make_governed):
    return make_governed(_fail)


def _fail(house):
    house.added("import-fails", {"__init__.py": "raise RuntimeError('no')\n"})
    answer = house.gov("tx", "run", "import-fails")
    assert answer.code == 1
    house.txid = answer.data["txid"]


def _loading(requirements):
    from governance.sample.nodes import NODES

    return {**NODES["loads-two-classes"].files, "requirements.txt": requirements}


# --- how much is done -----------------------------------------------------------------------


def test_an_unmoved_base_is_promoted_without_lock_and_sync(completed):
    house = completed
    observed = house.transaction(house.txid)["observation"]["generation"]
    done = house.doit(f"promote:{house.txid}")
    assert done.returncode == 0, done.stderr
    assert house.uv_calls("lock", "sync") == []
    assert generations.current(house.space) == observed
    assert house.prod_versions()["cowsay"] == "6.1"
    assert house.transaction(house.txid)["status"] == "promoted"


def test_gov_does_no_more_than_doit(completed):
    completed.done("tx", "promote", completed.txid)
    assert completed.uv_calls("lock", "sync") == []


def test_a_moved_base_locks_once_and_syncs_once(completed):
    house = completed
    house.promoted("other", _loading("colorama\n"))
    house.forget_uv_calls()
    house.done("tx", "promote", house.txid)
    assert house.uv_calls("lock", "sync") == ["lock", "sync"]
    assert {"cowsay", "humanize", "colorama"} <= house.prod_versions().keys()


def test_a_node_without_packages_does_not_move_the_base(completed):
    house = completed
    house.added("bare-node", _loading(""))
    house.forget_uv_calls()
    house.done("tx", "promote", house.txid)
    assert house.uv_calls("lock", "sync") == []


def test_an_undeclared_package_locks_once_and_syncs_once(undeclaring):
    house, txid = undeclaring, undeclaring.txid
    assert house.transaction(txid)["promotion_plan"]["override_additions"] == ["lark"]
    house.forget_uv_calls()
    house.done("tx", "promote", txid)
    assert house.uv_calls("lock", "sync") == ["lock", "sync"]
    assert "lark" in house.prod_versions()


def test_a_refusal_at_the_last_gate_costs_nothing_the_next_time(core):
    house = core
    assert house.doit(f"promote:{house.txid}").returncode == 3
    house.forget_uv_calls()
    done = house.doit(f"promote:{house.txid}", "--approve-core", "--reason", "wanted")
    assert done.returncode == 0, done.stderr
    assert ran(done) == ["promote"]
    assert house.uv_calls() == []


def fail_at(monkeypatch, stage):
    """The stage fails once, after the stages before it were done."""
    from governance.changes import pipeline, promotion
    from governance.changes.staging import Stages

    def broken(*_, **__):
        raise GovError("the disk is gone", hint="try again", code="disk")

    owner, name = {
        "lock": (Stages, "lock"),
        "build": (Stages, "build"),
        "observe": (pipeline, "_observe"),
        "commit": (promotion, "_commit"),
    }[stage]
    monkeypatch.setattr(owner, name, broken)


@pytest.mark.parametrize(
    ("stage", "before", "after"),
    [
        ("lock", [], ["lock", "sync"]),
        ("build", ["lock"], ["sync"]),
        ("observe", ["lock", "sync"], []),
        ("commit", ["lock", "sync"], []),
    ],
)
def test_a_promote_that_failed_in_the_middle_redoes_only_what_is_missing(
    undeclaring, monkeypatch, stage, before, after
):
    house, txid = undeclaring, undeclaring.txid
    truth = house.truth()
    house.forget_uv_calls()
    with monkeypatch.context() as patch:
        fail_at(patch, stage)
        answer = house.gov("tx", "promote", txid)
    assert (answer.code, answer.error["code"]) == (1, "disk")
    assert house.truth() == truth
    assert house.transaction(txid)["status"] == "promote_failed"
    assert house.uv_calls("lock", "sync") == before
    house.forget_uv_calls()
    house.done("tx", "promote", txid)
    assert house.uv_calls("lock", "sync") == after
    assert "lark" in house.prod_versions()
    assert house.transaction(txid)["status"] == "promoted"


def test_a_promote_killed_between_stages_redoes_only_what_is_missing(undeclaring):
    """doit writes its records when the run ends, so the receipts alone must know."""
    house, txid = undeclaring, undeclaring.txid
    for stage in ("promote_plan", "promote_lock", "promote_build"):
        assert house.doit("-s", f"{stage}:{txid}").returncode == 0
    for path in house.space.root.glob(".doit.db*"):
        path.unlink()
    house.forget_uv_calls()
    done = house.doit(f"promote:{txid}")
    assert done.returncode == 0, done.stderr
    assert house.uv_calls("lock", "sync") == []
    assert "lark" in house.prod_versions()


@pytest.mark.family(1)
@pytest.mark.parametrize(
    ("file", "edit"), [("uv.lock", "\n# edited\n"), ("pyproject.toml", "[tool.x]\ny = 1\n")]
)
def test_a_staged_file_that_was_tampered_with_is_not_promoted(completed, file, edit):
    house = completed
    staged = house.space.work / house.txid / file
    staged.write_text(staged.read_text() + edit)
    truth = house.truth()
    done = house.doit("-s", f"promote:{house.txid}")
    assert done.returncode == 3, done.stderr
    assert house.truth() == truth
    assert house.doit(f"promote:{house.txid}").returncode == 0
    assert house.prod_versions()["cowsay"] == "6.1"


def test_a_generation_damaged_since_it_was_observed_is_not_promoted(completed):
    house = completed
    name = house.transaction(house.txid)["observation"]["generation"]
    planted = house.site(generations.path(house.space, name)) / "evil.pth"
    planted.write_text("import os\n")
    truth = house.truth()
    answer = house.gov("tx", "promote", house.txid)
    assert (answer.code, answer.error["code"]) == (1, "generation_damaged")
    assert house.truth() == truth


def test_a_staged_lock_of_other_versions_does_not_steer_the_next_lock(completed):
    """uv prefers the versions of whatever lock lies there."""
    house = completed
    staged = house.space.work / house.txid / "uv.lock"
    text = staged.read_text().replace('version = "6.1"', 'version = "5.0"')
    staged.write_text(text.replace("cowsay-6.1", "cowsay-5.0"))
    house.done("tx", "promote", house.txid)
    assert house.prod_versions()["cowsay"] == "6.1"


# --- gates ----------------------------------------------------------------------------------

ROADS = {
    "plain": lambda txid: [[f"promote:{txid}"]],
    "single": lambda txid: [["-s", f"promote:{txid}"]],
    "ignored": lambda txid: [["ignore", f"promote_observe:{txid}"], [f"promote:{txid}"]],
    "all ignored": lambda txid: [
        ["ignore", *(f"promote_{s}:{txid}" for s in ("plan", "lock", "build", "observe"))],
        [f"promote:{txid}"],
    ],
    "always": lambda txid: [["-a", f"promote:{txid}"]],
    "forget": lambda txid: [["forget", "--all"], ["-s", f"promote:{txid}"]],
    "group": lambda txid: [["promote"]],
}


def go(house, road, *options):
    for words in ROADS[road](house.txid)[:-1]:
        assert house.doit(*words).returncode == 0
    return house.doit(*ROADS[road](house.txid)[-1], *options)


@pytest.mark.family(3)
@pytest.mark.parametrize("road", sorted(ROADS))
def test_the_core_gate_holds_on_every_road(core, road):
    truth = core.truth()
    done = go(core, road)
    assert done.returncode == 3, done.stderr
    assert core.truth() == truth
    assert core.transaction(core.txid)["status"] == "completed"


@pytest.mark.parametrize("road", ["plain", "single", "ignored"])
def test_approval_without_a_reason_approves_nothing(core, road):
    truth = core.truth()
    for options in (["--approve-core"], ["--approve-core", "--reason", "  "]):
        done = go(core, road, *options)
        assert done.returncode in (2, 3), done.stderr
    assert core.truth() == truth


@pytest.mark.parametrize("road", ["plain", "single", "ignored", "all ignored"])
def test_a_failed_run_is_refused_on_every_road(failed, road):
    house = failed
    truth = house.truth()
    assert go(house, road).returncode == 3
    assert house.truth() == truth


@pytest.mark.parametrize("road", ["single", "ignored", "all ignored"])
def test_no_road_promotes_what_was_not_observed(undeclaring, road):
    """With the undeclared package it is another environment, which no run has seen."""
    house = undeclaring
    truth = house.truth()
    done = go(house, road)
    assert done.returncode == 3, done.stderr
    assert house.truth() == truth
    assert "lark" not in house.prod_versions()


def test_a_version_that_only_pip_took_is_told_beside_the_one_of_the_lock():
    """pip knows neither the resolution date nor the other nodes."""
    tx = documents.Transaction(txid="t", node_id="node-a", status="completed")
    tx.diff = {"undeclared": ["lark", "cowsay", "gone"]}
    tx.post_freeze = ["lark==1.2.2", "cowsay==6.1", "humanize==4.0"]
    stages = SimpleNamespace(
        lock_versions=lambda: {"lark": "1.1.0", "cowsay": "6.1", "humanize": "3.0"}
    )
    assert pipeline._locked_otherwise(SimpleNamespace(tx=tx, stages=stages)) == [
        "node-a installed lark 1.2.2 by itself, the lock takes 1.1.0"
    ]


@pytest.mark.parametrize("road", ["single", "ignored", "all ignored"])
def test_no_road_promotes_what_was_not_smoke_tested(completed, road):
    truth = completed.truth()
    done = go(completed, road)
    assert done.returncode == 3, done.stderr
    assert completed.truth() == truth


def test_gov_does_not_take_an_ignored_task_for_done(completed):
    house = completed
    truth = house.truth()
    assert house.doit("ignore", f"promote_observe:{house.txid}").returncode == 0
    answer = house.gov("tx", "promote", house.txid)
    assert (answer.code, answer.error["code"]) == (3, "ignored")
    assert house.truth() == truth
    assert house.doit("forget", "--all").returncode == 0
    house.done("tx", "promote", house.txid)


def test_a_failing_smoke_test_keeps_prod(completed):
    house = completed
    text = house.space.config_path.read_text().replace("{python} -c pass", "{python} -c 1/0")
    house.space.config_path.write_text(text)
    truth = house.truth()
    done = house.doit(f"promote:{house.txid}")
    assert done.returncode == 1, done.stderr
    assert house.truth() == truth
    assert house.transaction(house.txid)["status"] == "promote_failed"
    assert house.doit("-s", f"promote:{house.txid}").returncode in (1, 3)
    assert house.truth() == truth


def test_skipped_requirement_lines_wait_for_a_word(governed):
    house = governed
    house.txid = house.ran("asks-torch", _loading("--extra-index-url https://example.invalid\n"))
    assert house.transaction(house.txid)["skipped_requirements"]
    truth = house.truth()
    for road in ("plain", "single"):
        assert go(house, road).returncode == 3
    assert house.truth() == truth
    assert go(house, "plain", "--accept-skipped").returncode == 0


def test_what_would_not_be_met_waits_for_a_word_on_every_road(governed):
    """By a node on an override that is there, and by an override on a node that is there."""
    house = governed
    build(Wheel("cv-needs-new", "5.0", requires=("numpy>=2",)), house.wheels)
    house.txid = house.ran("plain-cv", _loading("cv-needs-new\n"))
    _overridden(house, "numpy==1.26.4")
    approved = ("--approve-core", "--reason", "old")
    assert house.doit("sync", *approved).returncode == 0, "nothing there needs a newer one"
    house.txid = house.done("tx", "run", "plain-cv")["txid"]
    truth = house.truth()
    for road in ("plain", "single"):
        done = go(house, road, "--accept-findings")
        assert (done.returncode, "requires numpy>=2" in done.stderr) == (3, True), done.stderr
    assert house.truth() == truth
    assert go(house, "plain", "--accept-incompatible").returncode == 0

    _overridden(house, "numpy==1.24.4")
    done = house.doit("sync", *approved)
    assert done.returncode == 0, "another version of it is no new loss"
    _overridden(house, "numpy==2.4.1")
    assert house.doit("sync", *approved).returncode == 0
    _overridden(house, "numpy==1.26.4")
    assert house.doit("sync", *approved).returncode == 3
    assert house.doit("sync", *approved, "--accept-incompatible").returncode == 0


def _overridden(house, line):
    """As a maintainer edits it by hand."""
    text = house.space.pyproject.read_text()
    kept = [row for row in text.splitlines() if not row.startswith("override-dependencies")]
    at = kept.index("[tool.uv]") + 1
    kept.insert(at, f'override-dependencies = ["{line}"]')
    house.space.pyproject.write_text("\n".join(kept) + "\n")


def test_a_promoted_transaction_is_over(completed):
    house = completed
    house.done("tx", "promote", house.txid, "--keep")
    truth = house.truth()
    answer = house.gov("tx", "promote", house.txid)
    assert (answer.code, answer.error["code"]) == (3, "bad_transition")
    assert house.truth() == truth
    assert house.doit(f"promote:{house.txid}").returncode == 2


def test_the_commit_is_never_up_to_date(completed):
    info = completed.doit("info", f"promote:{completed.txid}")
    assert "run" in info.stdout
    listed = completed.doit("list", "--all", "--quiet")
    assert f"promote:{completed.txid}" in listed.stdout


def test_rollback_and_remove_go_the_same_road(governed):
    house = governed
    start = house.done("snapshot", "list")["snapshots"][0]["id"]
    before = house.truth()
    house.promoted("declares-two-packages")
    removed = house.doit("node_remove:declares-two-packages")
    assert removed.returncode == 0, removed.stderr
    assert "cowsay" not in house.prod_versions()
    assert house.plugins() == []
    back = house.doit(f"rollback:{start}")
    assert back.returncode == 0, back.stderr
    assert house.truth()[:3] == before[:3]
    assert os.readlink(house.space.prod) == before[3]


def test_conflicting_requirements_end_in_four_and_a_report(governed):
    house = governed
    house.added("wants-old", _loading("numpy<1.25\n"))
    done = house.doit("tx_run", "wants-old")
    txid = house.done("status")["pending_transactions"][-1]["txid"]
    assert house.transaction(txid)["status"] == "needs_resolution"
    assert json.loads((house.space.conflicts / f"{txid}.json").read_text())["txid"] == txid
    assert done.returncode == 4, done.stderr


def test_a_failed_run_by_doit_ends_in_one(governed):
    governed.added("import-fails", {"__init__.py": "raise RuntimeError('no')\n"})
    done = governed.doit("tx_run", "import-fails")
    assert done.returncode == 1, done.stderr
