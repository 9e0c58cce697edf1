"""gov rollback: the same bytes back, and prod with them."""

import shutil

import pytest
from support.fingerprint import fingerprint
from support.refusal import assert_refused

FILES = {
    "pyproject.toml": "pyproject.toml",
    "uv.lock": "uv.lock",
    "state/plugins.json": "plugins.json",
}


def installed(site):
    place = next((site.root / ".venv-prod/lib").glob("python*")) / "site-packages"
    return {path.name.split("-")[0] for path in place.glob("*.dist-info")}


def assert_truth_of(site, snapshot):
    for name, kept in FILES.items():
        wanted = (site.root / "snapshots" / snapshot / kept).read_bytes()
        assert (site.root / name).read_bytes() == wanted, name


def test_there_and_back(settled):
    site = settled.site
    assert installed(site) >= {"cowsay", "humanize"}
    told = site.gov("rollback", settled.before).ok()
    assert f"as of {settled.before}" in told.out
    assert installed(site) & {"cowsay", "humanize"} == set()
    assert_truth_of(site, settled.before)
    site.gov("rollback", settled.after).ok()
    assert installed(site) >= {"cowsay", "humanize"}
    assert_truth_of(site, settled.after)


def test_the_document_holds_what_the_contract_promises(settled):
    data = settled.site.gov.json("rollback", settled.before).ok().data
    assert data["snapshot_id"] == settled.before
    assert data["generation"] == (settled.site.root / ".venv-prod").readlink().name
    assert {(c["name"], c["kind"]) for c in data["changes"]} == {
        ("cowsay", "removed"), ("humanize", "removed"),
    }  # fmt: skip
    rows = settled.site.gov.json("snapshot", "list").data["snapshots"]
    last = (rows[-1]["id"], rows[-1]["reason"], rows[-1]["ref"])
    assert last == (data["rollback_pre"], "rollback_pre", settled.before)


def test_node_code_is_never_moved_but_what_does_not_fit_is_told(settled):
    site = settled.site
    before = {k: v for k, v in fingerprint(site.root, site.comfyui).items() if k[:4] == "Comf"}
    told = site.gov("rollback", settled.before).ok()
    after = {k: v for k, v in fingerprint(site.root, site.comfyui).items() if k[:4] == "Comf"}
    assert after == before
    assert any("shares-cowsay is in custom_nodes" in line for line in told.problems("warning"))


def test_a_file_of_a_snapshot_that_was_changed_is_not_brought_back(settled):
    path = settled.site.root / "snapshots" / settled.before / "uv.lock"
    path.write_bytes(path.read_bytes() + b"\n# mine\n")
    argv = ("rollback", settled.before)
    assert_refused(settled.site, *argv, code=1, says=settled.before, named="damaged")


def test_an_environment_that_is_gone_is_built_again(workspace):
    """From the cache: the folder of wheels is not there any more."""
    data = workspace.promote("sample-captioner")
    rows = workspace.gov.json("snapshot", "inspect", data["pre_snapshot"]).data
    from governance.boundaries import store

    store.remove_tree(workspace.root / ".generations" / rows["generation"])
    back = workspace.gov.json("rollback", data["pre_snapshot"]).ok().data
    assert back["rebuilt"] is True
    assert "cowsay" not in installed(workspace)
    assert_truth_of(workspace, data["pre_snapshot"])


def test_a_clone_that_is_gone_is_told(settled):
    shutil.rmtree(settled.site.nodes / "sample-captioner")
    told = settled.site.gov("rollback", settled.after).ok()
    assert any("sample-captioner is registered, but" in w for w in told.problems("warning"))


@pytest.mark.parametrize("what", ["folder", "meta.json"])
def test_a_snapshot_that_is_gone_does_not_exist(settled, what):
    from governance.boundaries import store

    path = settled.site.root / "snapshots" / settled.before
    store.remove_tree(path if what == "folder" else path / what)
    argv = ("rollback", settled.before)
    assert_refused(settled.site, *argv, code=2, says=settled.before, named="unknown_snapshot")
