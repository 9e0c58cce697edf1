"""Damaged documents: named, with the way out, never read as empty and never overwritten."""

import pytest
from support.refusal import assert_refused

TRUTH = ("pyproject.toml", "uv.lock", "state/plugins.json")
HARM = {
    "empty": b"",
    "half": b'[{"id": "sample-captioner", "git_',
    "null bytes": bytes(200),
    "not UTF-8": b'\xff\xfe{"x": 1}',
    "another kind": b'"a string"',
    "nested": b"[" * 100_000,
}
WRITERS = {
    "node add": lambda s: ("node", "add", s.site.world.repos / "three-packages"),
    "node remove": lambda s: ("node", "remove", "sample-captioner"),
    "tx run": lambda s: ("tx", "run", "loads-two-classes"),
    "tx promote": lambda s: ("tx", "promote", s.completed),
    "resolve": lambda s: ("resolve", s.conflicting, "--pin", "humanize==4.9.0"),
}


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_registry_stops_every_writer(settled, harm):
    path = settled.site.root / "state/plugins.json"
    path.write_bytes(HARM[harm])
    for verb in WRITERS:
        ended = assert_refused(settled.site, *WRITERS[verb](settled), code=1, says="plugins.json")
        assert "gov rollback" in ended.error["hint"]
    assert path.read_bytes() == HARM[harm]


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_registry_is_no_empty_one_for_status(settled, harm):
    (settled.site.root / "state/plugins.json").write_bytes(HARM[harm])
    assert_refused(settled.site, "status", code=1, says="plugins.json", named="damaged")


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_transaction_is_named(settled, harm):
    path = settled.site.root / f"state/transactions/{settled.completed}.json"
    path.write_bytes(HARM[harm])
    for verb in ("inspect", "promote", "abort"):
        argv = ("tx", verb, settled.completed)
        assert_refused(settled.site, *argv, code=1, says=path.name, named="damaged")
    assert path.read_bytes() == HARM[harm]


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_transaction_does_not_stop_the_others(settled, harm):
    (settled.site.root / f"state/transactions/{settled.completed}.json").write_bytes(HARM[harm])
    settled.site.gov("tx", "abort", settled.core).ok()


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_index_of_snapshots(settled, harm):
    path = settled.site.root / "state/snapshots_index.json"
    path.write_bytes(HARM[harm])
    for argv in (
        ("snapshot", "list"),
        ("snapshot", "inspect", settled.before),
        ("rollback", settled.before),
        ("node", "remove", "sample-captioner"),
    ):
        assert_refused(settled.site, *argv, code=1, says="snapshots_index.json", named="damaged")


def test_entries_without_an_id_are_named(settled):
    """The graph asks for ids before any verb acts."""
    path = settled.site.root / "state/snapshots_index.json"
    whole = path.read_text()
    for text in ('{"snapshots": [{}]}', '{"snapshots": [{"id": "../x"}]}', '{"snapshots": {}}'):
        path.write_text(text)
        argv = ("node", "remove", "sample-captioner")
        assert_refused(settled.site, *argv, code=1, says="snapshots_index.json", named="damaged")
    path.write_text(whole)
    plugins = settled.site.root / "state/plugins.json"
    plugins.write_text('[{"git_url": "x"}]')
    settled.site.gov("rollback", settled.before).ok()


@pytest.mark.parametrize("name", ["meta.json", "pyproject.toml", "uv.lock", "plugins.json"])
@pytest.mark.parametrize("harm", ["empty", "half"])
def test_a_damaged_snapshot_is_not_brought_back(settled, name, harm):
    (settled.site.root / "snapshots" / settled.before / name).write_bytes(HARM[harm])
    argv = ("rollback", settled.before)
    assert_refused(settled.site, *argv, code=1, says=settled.before, named="damaged")


@pytest.mark.parametrize("harm", ["half", "not UTF-8", "null bytes", "nested"])
@pytest.mark.parametrize("name", ["pyproject.toml", "uv.lock"])
def test_a_damaged_truth_is_named(settled, name, harm):
    (settled.site.root / name).write_bytes(HARM[harm])
    for argv in (("tx", "promote", settled.completed), ("node", "remove", "sample-captioner")):
        assert_refused(settled.site, *argv, code=1, says=name)


@pytest.mark.parametrize("name", TRUTH)
@pytest.mark.parametrize("harm", [*HARM, "missing"])
def test_rollback_is_the_way_out_of_a_damaged_truth(settled, name, harm):
    path = settled.site.root / name
    good = (settled.site.root / "snapshots" / settled.after / path.name).read_bytes()
    path.unlink() if harm == "missing" else path.write_bytes(HARM[harm])
    data = settled.site.gov.json("rollback", settled.after).ok().data
    assert path.read_bytes() == good
    evidence = settled.site.root / "snapshots" / data["rollback_pre"] / path.name
    assert evidence.read_bytes() == HARM.get(harm, b"")


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_conflict_report(settled, harm):
    (settled.site.root / f"state/conflicts/{settled.conflicting}.json").write_bytes(HARM[harm])
    for verb in (("tx", "inspect"), ("resolve", "--suggest"), ("resolve", "--accept=1")):
        argv = (*verb[: 1 if verb[0] == "resolve" else 2], settled.conflicting)
        argv += verb[1:] if verb[0] == "resolve" else ()
        assert_refused(settled.site, *argv, code=1, says=f"{settled.conflicting}.json")


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("name", ["intent.json", "receipt.json"])
def test_damaged_papers_of_gov_itself(settled, name, harm):
    (settled.site.root / "state" / name).write_bytes(HARM[harm])
    for argv in (("node", "add", settled.site.world.repos / "three-packages"), ("status",)):
        before = (settled.site.root / "state" / name).read_bytes()
        ended = settled.site.gov(*argv)
        assert ended.code in (0, 1), ended
        assert ended.code == 0 or name in ended.problems("error")[0]
        assert name == "receipt.json" or ended.code == 1
        assert name == "receipt.json" or (settled.site.root / "state" / name).read_bytes() == before


@pytest.mark.parametrize("harm", HARM)
def test_derived_documents_are_made_again(settled, harm):
    """The index of transactions and doit's database are caches."""
    (settled.site.root / "state/transactions_index.json").write_bytes(HARM[harm])
    assert settled.site.gov.json("status").ok().data["transactions_total"] == 6
    (settled.site.root / ".doit.db").write_bytes(HARM[harm])
    settled.site.gov("tx", "abort", settled.core).ok()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"tx = [", "config.toml"),
        (b"\xff\xfe", "config.toml"),
        (b"[tx]\ntimeout_secs = 3\n", "tx.timeout_secs"),
        (b'[tx]\ntimeout_seconds = "3"\n', "tx.timeout_seconds"),
        (b"[tx]\ntimeout_seconds = 0\n", "tx.timeout_seconds"),
        (b"[tx]\ntimeout_seconds = nan\n", "tx.timeout_seconds"),
        (b"[tx]\nrun_install_script = 1\n", "tx.run_install_script"),
        (b'[storage]\nlink_mode = "symlink"\n', "storage.link_mode"),
        (b"[policy]\ncore_packages = [1]\n", "policy.core_packages"),
        (b'comfyui_dir = "/nowhere"\n', "/nowhere"),
        (b"", "comfyui_dir"),
    ],
)
def test_bad_configuration_stops_every_writer(settled, text, says):
    (settled.site.root / "config.toml").write_bytes(text)
    needs_no_comfyui = {"resolve"} if "comfyui" in says or says == "/nowhere" else set()
    for verb in WRITERS.keys() - needs_no_comfyui:
        assert_refused(settled.site, *WRITERS[verb](settled), code=2, says=says)
