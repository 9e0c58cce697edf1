"""gov clean: what is beyond retention goes, never what is in use or needed to go back."""


def names(site, folder):
    return {path.name for path in (site.root / folder).iterdir()}


def test_a_dry_run_deletes_nothing(workspace):
    txid = workspace.run("loads-two-classes")
    workspace.gov("tx", "abort", txid, "--keep").ok()
    workspace.set(storage__generations_keep=1)
    before = {f: names(workspace, f) for f in (".generations", ".venv-candidate", "state/logs")}
    shown = workspace.gov.json("clean", "--dry-run").ok().data
    assert shown["dry_run"] is True
    assert any(txid in path for path in shown["deleted"])
    for folder, kept in before.items():
        assert names(workspace, folder) == kept
    gone = workspace.gov.json("clean").ok().data["deleted"]
    assert gone == shown["deleted"]
    assert txid not in names(workspace, ".venv-candidate")
    assert (workspace.root / ".venv-prod/bin/python").exists()


def test_pending_transactions_keep_what_they_need(settled):
    site = settled.site
    site.set(storage__generations_keep=1, storage__logs_keep=1)
    told = site.gov("clean", "--dry-run").ok().out
    assert settled.completed not in told
    assert settled.core not in told
    generation = site.gov.json("tx", "inspect", settled.completed).data["observation"]["generation"]
    assert generation not in told
