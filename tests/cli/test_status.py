"""gov status: what the workspace looks like, without writing or waiting."""

from support.fingerprint import fingerprint


def test_it_tells_prod_lock_and_transactions(settled):
    told = settled.site.gov("status").ok()
    assert f"workspace    {settled.site.root}" in told.out
    assert "transactions 6, 4 pending" in told.out
    assert f"{settled.failed}  import-fails" in told.out
    assert "drift        never verified" in told.out
    assert told.err == ""


def test_the_document_holds_what_the_contract_promises(settled):
    data = settled.site.gov.json("status").ok().data
    assert data["root"] == str(settled.site.root)
    assert data["prod_env_exists"] is True
    assert data["lock_exists"] is True
    assert (data["transactions_total"], data["transactions_pending"]) == (6, 4)
    assert data["nodes_total"] == 7
    assert data["generation"] == (settled.site.root / ".venv-prod").readlink().name
    assert data["drift"] == {"verdict": None, "checked_at": None}
    assert data["held_by"] is None
    statuses = {row["txid"]: row["status"] for row in data["recent_transactions"]}
    assert statuses == {
        settled.promoted: "promoted",
        settled.conflicting: "needs_resolution",
        settled.failed: "failed",
        settled.aborted: "aborted",
        settled.core: "completed",
        settled.completed: "completed",
    }


def test_a_question_writes_nothing(settled):
    before = fingerprint(settled.site.root, settled.site.comfyui)
    for verb in (["status"], ["snapshot", "list"], ["tx", "inspect", settled.core], ["verify"]):
        settled.site.gov(*verb).ok()
    assert fingerprint(settled.site.root, settled.site.comfyui) == before


def test_a_run_whose_process_is_gone_is_shown_as_interrupted(settled):
    record = settled.site.root / f"state/transactions/{settled.core}.json"
    record.write_text(record.read_text().replace('"status": "completed"', '"status": "running"'))
    (settled.site.root / "state/transactions_index.json").unlink()
    assert f"{settled.core}  sample-upscaler    interrupted" in settled.site.gov("status").out
    rows = settled.site.gov.json("status").data["pending_transactions"]
    assert [row["interrupted"] for row in rows if row["txid"] == settled.core] == [True]


def test_a_hand_edited_project_is_a_warning(settled):
    project = settled.site.root / "pyproject.toml"
    project.write_text(project.read_text() + "\n# mine\n")
    ended = settled.site.gov("status").ok()
    assert "pyproject.toml was edited by hand" in ended.problems("warning")[0]
    assert len(settled.site.gov.json("status").document["warnings"]) == 1


def test_changed_requirements_of_comfyui_are_a_warning(settled):
    declared = settled.site.comfyui / "requirements.txt"
    before = declared.read_text()
    declared.write_text(before + "cowsay\n")
    try:
        assert "gov init" in settled.site.gov("status").ok().problems("warning")[0]
    finally:
        declared.write_text(before)


def test_a_damaged_transaction_is_named_and_the_rest_is_told(settled):
    path = settled.site.root / f"state/transactions/{settled.core}.json"
    path.write_bytes(b'{"txid": ')
    (settled.site.root / "state/transactions_index.json").unlink()
    told = settled.site.gov("status").ok()
    assert f"{settled.core}  ?                  damaged" in told.out
    assert settled.completed in told.out
    assert path.read_bytes() == b'{"txid": '
