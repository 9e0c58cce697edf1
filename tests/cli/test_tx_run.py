"""gov tx run: ComfyUI with the node in a candidate; what came of it is recorded in each case."""

import pytest
from support.fingerprint import differences, fingerprint, truth_and_prod
from support.refusal import assert_refused, assert_told


@pytest.fixture
def site(settled):
    return settled.site


def test_a_node_that_loads_is_completed(site):
    site.add("three-packages")
    before = truth_and_prod(site.root)
    told = site.gov("tx", "run", "three-packages").ok()
    txid = told.out.split()[0]
    assert told.out.startswith(f"{txid}  three-packages  completed")
    assert f"next: gov tx promote {txid}" in told.out
    # ComfyUI's own log is folded; where it lies is said.
    assert relayed(told) == []
    assert f"its log: state/logs/{txid}.*.log" in told.err
    assert truth_and_prod(site.root) == before
    data = site.gov.json("tx", "inspect", txid).data
    assert (data["status"], data["node_id"]) == ("completed", "three-packages")
    assert data["diff"]["added"] == ["lark==1.2.2"]
    assert data["diff"]["undeclared"] == ["lark"]
    assert data["promotion_plan"]["direct_additions"] == ["cowsay", "humanize"]
    assert data["promotion_plan"]["override_additions"] == ["lark"]
    for stream in ("stdout", "stderr"):
        assert (site.root / data["logs"][stream]).is_file()
    assert "To see the GUI" in (site.root / data["logs"]["stderr"]).read_text()
    assert (site.root / data["candidate_env"]).is_dir()
    assert not any(line.startswith("pip") for line in data["post_freeze"])


def relayed(ended):
    """Lines of ComfyUI's own log on the screen."""
    return [line for line in ended.err.splitlines() if line.startswith("  | ")]


@pytest.mark.thorough
def test_all_that_comfyui_logs_is_shown_with_v(site):
    told = site.gov("tx", "run", "sample-captioner", "-v").ok()
    assert any("To see the GUI go to" in line for line in relayed(told))
    log = site.root / f"state/logs/{told.out.split()[0]}.stderr.log"
    assert len(relayed(told)) >= len(log.read_text().splitlines())


@pytest.mark.thorough
def test_where_it_fails_the_lines_that_matter_are_shown_once(site):
    told = site.gov("tx", "run", "import-fails")
    assert told.code == 1
    shown = relayed(told)
    assert "custom_nodes/import-fails/__init__.py" in shown[0], "how ComfyUI loads it is left out"
    assert sum("ModuleNotFoundError" in line for line in shown) == 1
    assert not any("To see the GUI" in line or "Stopped server" in line for line in shown)
    verbose = site.gov("tx", "run", "import-fails", "-v")
    assert sum("ModuleNotFoundError" in line for line in relayed(verbose)) == 1


def test_where_comfyui_does_not_come_up_the_end_of_its_log_is_shown(site):
    told = site.gov("tx", "run", "import-sleeps", "--timeout", "4")
    assert told.code == 1
    log = site.root / f"state/logs/{told.out.split()[0]}.stderr.log"
    lines = log.read_text().splitlines()
    assert relayed(told)
    # However far a slow machine came: what it said last, and where it was stopped.
    assert relayed(told) == [f"  | {line}" for line in lines[-25:]]


def test_a_node_that_does_not_load_is_failed(settled):
    """Though ComfyUI itself exits 0."""
    before = truth_and_prod(settled.site.root)
    ended = settled.site.gov("-q", "tx", "run", "import-fails")
    assert_told(ended, 1, "import-fails")
    assert "import-fails  failed" in ended.out
    assert truth_and_prod(settled.site.root) == before
    ended = settled.site.gov.json("tx", "run", "import-fails")
    assert ended.code == 1
    assert ended.data["status"] == "failed"
    assert (ended.error["code"], ended.error["facts"]["txid"]) == ("run_failed", ended.data["txid"])


def test_a_conflict_needs_resolution_before_any_environment(settled):
    site = settled.site
    before = fingerprint(site.root)
    ended = assert_told(site.gov("tx", "run", "sample-statistics"), 4, "sample-statistics")
    txid = ended.out.split()[0]
    changed = differences(before, fingerprint(site.root))
    assert [name for name in changed if name.startswith((".gen", ".venv", "snap", "uv"))] == []
    assert f"state/conflicts/{txid}.json" in changed
    assert f"gov resolve {txid}" in ended.problems("hint")[0]


def test_a_conflict_as_a_document(settled):
    ended = settled.site.gov.json("tx", "run", "sample-statistics")
    assert ended.code == 4
    assert ended.data["status"] == "needs_resolution"
    assert ended.error["code"] == "lock_conflict"
    assert ended.data["conflict_report"] == f"state/conflicts/{ended.data['txid']}.json"


def test_a_node_that_never_comes_up_fails_at_the_limit(site):
    ended = site.gov.json("tx", "run", "import-sleeps", "--timeout", "2")
    assert ended.code == 1
    assert ended.data["status"] == "failed"
    assert "2" in ended.data["observation"]["reason"]


def test_quiet_shows_no_progress_and_no_output(site):
    site.add("odd-requirements")
    told = site.gov("-q", "tx", "run", "odd-requirements").ok()
    assert [line for line in told.err.splitlines() if line.startswith(("·", "  |"))] == []


def test_skipped_lines_are_named_with_their_place(site):
    site.add("odd-requirements")
    site.set(policy__skipped_requirements="refuse")
    ended = assert_told(site.gov("tx", "run", "odd-requirements"), 3, "requirements.txt:2")
    assert "--accept-skipped" in ended.problems("hint")[0]


def test_an_index_that_cannot_be_reached(site):
    """Recorded as failed; truth and prod as they were."""
    from governance.boundaries import store

    lock = site.root / "pyproject.toml"
    text = lock.read_text()
    assert str(site.world.wheels) in text
    moved = text.replace(str(site.world.wheels), "http://127.0.0.1:1/simple").replace(
        'format = "flat"', ""
    )
    lock.write_text(moved)
    site.set(storage__uv_cache_dir=str(site.root.parent / "cold-cache"))
    site.add("three-packages")
    before = truth_and_prod(site.root)
    try:
        ended = site.gov.json("tx", "run", "three-packages")
    finally:
        store.remove_tree(site.root.parent / "cold-cache")
    assert ended.code == 1
    assert ended.error["code"] == "index_unreachable"
    assert "network" in ended.error["hint"]
    record = site.gov.json("tx", "inspect", ended.error["facts"]["txid"]).data
    assert record["status"] == "failed"
    assert truth_and_prod(site.root) == before


def test_a_node_whose_code_is_gone(site):
    from governance.boundaries import store

    store.remove_tree(site.nodes / "import-fails")
    assert_told(site.gov("tx", "run", "import-fails"), 2, "import-fails")


def test_a_link_in_place_of_the_clone_is_not_followed(settled):
    """Where it leads, the node could write: a link to `/` took the fence away."""
    clone = settled.site.nodes / "shares-cowsay"
    clone.rename(clone.with_name("elsewhere"))
    clone.symlink_to(settled.site.root / "state")
    argv = ("tx", "run", "shares-cowsay")
    assert_refused(settled.site, *argv, code=1, says=str(clone), named="unexpected_link")
    ended = settled.site.gov("tx", "shell", settled.completed, "--", "true")
    assert_told(ended, 1, str(clone))
