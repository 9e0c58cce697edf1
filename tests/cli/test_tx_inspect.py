"""gov tx inspect: what a transaction saw and would change."""

import pytest

_FIELDS = {
    "txid", "node_id", "started_at", "ended_at", "status", "candidate_env", "pre_freeze",
    "post_freeze", "diff", "core_impact", "logs", "conflict_report", "resolution_pins",
    "promotion_plan", "promotion", "schema", "kind", "commit", "base", "observation",
}  # fmt: skip


@pytest.mark.parametrize("name", ["promoted", "conflicting", "failed", "aborted", "core"])
def test_every_transaction_is_told_with_all_its_fields(settled, name):
    txid = getattr(settled, name)
    data = settled.site.gov.json("tx", "inspect", txid).ok().data
    assert set(data) >= _FIELDS
    assert data["txid"] == txid
    assert set(data["logs"]) >= {"stdout", "stderr", "run_exit_code"}
    assert set(data["promotion_plan"]) >= {"direct_additions", "override_additions"}
    assert set(data["promotion"]) >= {
        "status", "reason", "pre_snapshot", "post_snapshot", "error",
    }  # fmt: skip
    assert set(data["base"]) == {"pyproject_sha256", "lock_sha256", "plugins_sha256"}
    assert settled.site.gov("tx", "inspect", txid).ok().out.startswith(f"{txid}  ")


def test_a_core_change_is_told_as_one(settled):
    told = settled.site.gov("tx", "inspect", settled.core).ok().out
    assert "down  numpy    2.4.1   2.3.2  core" in told
    data = settled.site.gov.json("tx", "inspect", settled.core).data
    assert data["diff"]["changed"] == [{"name": "numpy", "from": "2.4.1", "to": "2.3.2"}]
    assert [row["name"] for row in data["core_impact"]] == ["numpy"]


def test_a_conflict_is_told_with_its_lines_and_fixes(settled):
    told = settled.site.gov("tx", "inspect", settled.conflicting).ok().out
    assert "humanize<4" in told
    assert "humanize>=4.9" in told
    assert f"gov resolve {settled.conflicting} --accept 1" in told
    report = settled.site.gov.json("tx", "inspect", settled.conflicting).data["conflict_report"]
    assert report == f"state/conflicts/{settled.conflicting}.json"


def test_a_failed_run_names_the_error_of_the_node(settled):
    told = settled.site.gov("tx", "inspect", settled.failed).ok().out
    assert "failed: import-fails failed to import: No module named" in told
    assert "no_such_module_of_the_sample" in told


def test_the_candidates_whereabouts_are_told(settled):
    def state(txid):
        return settled.site.gov.json("tx", "inspect", txid).data["candidate_state"]

    assert state(settled.completed) == "present"
    assert state(settled.promoted) == "cleaned"
    assert state(settled.aborted) == "cleaned"
    assert state(settled.conflicting) == "none"
    told = settled.site.gov("tx", "inspect", settled.completed).out
    assert f"candidate .venv-candidate/{settled.completed} (present)" in told


def test_what_is_the_same_each_time_stands_here_and_not_in_the_run(settled):
    ran = settled.site.gov("tx", "run", "shares-cowsay").ok().out
    told = settled.site.gov("tx", "inspect", ran.split()[0]).ok().out
    for words in ("note: seen is what passes through Python", "candidate .venv-candidate/"):
        assert words in told
        assert words not in ran
