"""gov rollback: the same bytes back, and prod with them."""

import shutil

import pytest
from support.fingerprint import differences, fingerprint
from support.refusal import assert_refused

from governance.truth import inventory

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
    pre, post = rows[-2:]
    told = (pre["id"], pre["reason"], pre["ref"])
    assert told == (data["rollback_pre"], "rollback_pre", settled.before)
    assert post["reason"] == "rollback_post"


def test_code_that_did_not_change_stays_and_what_does_not_fit_is_told(settled):
    site = settled.site
    before = {k: v for k, v in fingerprint(site.root, site.comfyui).items() if k[:4] == "Comf"}
    told = site.gov("rollback", settled.before, "-v").ok()
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


def code_of(site, node):
    """Its files, without those of git."""
    files = (path for path in sorted((site.nodes / node).rglob("*")) if path.is_file())
    return {path.name: path.read_bytes() for path in files if ".git" not in path.parts}


def test_a_clone_that_is_gone_comes_back(settled):
    """From the workspace's own store, without its origin."""
    site, before = settled.site, code_of(settled.site, "sample-captioner")
    shutil.rmtree(site.nodes / "sample-captioner")
    site.gov("rollback", settled.after).ok()
    assert code_of(site, "sample-captioner") == before
    site.gov("verify").ok()


def test_code_comes_back_with_its_packages(settled, upstream):
    """Packages under newer code were a state that never existed."""
    site, repository = settled.site, upstream("sample-captioner")
    newer = repository.commit(requirements="cowsay\nhumanize>=4.9\nlark\n")
    site.gov("node", "update", "sample-captioner", "--promote").ok()
    back = site.gov.json("rollback", "@1").ok().data
    moved = {"place": "sample-captioner", "before": newer, "after": repository.first}
    assert back["code"] == [moved]
    assert site.head("sample-captioner") == repository.first
    assert "lark" not in site.installed()
    again = site.gov.json("rollback", back["rollback_pre"], "--packages-only").ok().data
    assert again["code"] == []
    assert site.head("sample-captioner") == repository.first
    assert "lark" in site.installed()


def test_a_dry_run_tells_what_would_come_back_and_changes_nothing(settled):
    before = fingerprint(settled.site.root, settled.site.comfyui)
    told = settled.site.gov.json("rollback", settled.before, "--dry-run").ok().data
    assert {change["name"] for change in told["changes"]} == {"cowsay", "humanize"}
    assert not differences(before, fingerprint(settled.site.root, settled.site.comfyui))


@pytest.mark.parametrize("typed", ["last", "@0", "part", "name"])
def test_a_snapshot_can_be_typed_in_short(settled, typed):
    site = settled.site
    site.gov("snapshot", "name", settled.after, "good").ok()
    word = {"part": settled.after[-6:], "name": "good"}.get(typed, typed)
    assert site.gov.json("rollback", word).ok().data["snapshot_id"] == settled.after


@pytest.mark.parametrize("what", ["folder", "meta.json"])
def test_a_snapshot_that_is_gone_does_not_exist(settled, what):
    from governance.boundaries import store

    path = settled.site.root / "snapshots" / settled.before
    store.remove_tree(path if what == "folder" else path / what)
    argv = ("rollback", settled.before)
    assert_refused(settled.site, *argv, code=2, says=settled.before, named="unknown_snapshot")


def test_what_is_not_registered_is_one_line(settled):
    site = settled.site
    names = [f"by-hand-{number}" for number in range(6)]
    for name in names:
        (site.comfyui / "custom_nodes" / name).mkdir()
    told = site.gov("rollback", settled.before).ok()
    lines = [line for line in told.problems("warning") if "registered" in line]
    assert len(lines) == 1
    first = "in custom_nodes, but not registered: by-hand-0, by-hand-1, by-hand-2, by-hand-3 and "
    assert first in lines[0]
    whole = site.gov("verify", "-v")
    assert sum("but not registered" in line for line in whole.problems("warning")) >= len(names)
    document = site.gov.json("rollback", settled.after).ok()
    for told in (document.data["mismatches"], document.document["warnings"]):
        assert [f"{name} is in custom_nodes, but not registered" in told for name in names] == (
            [True] * len(names)
        )


def test_one_that_is_not_registered_is_a_sentence_of_its_own():
    one = ["a is registered, but /x is not there", "b is in custom_nodes, but not registered"]
    assert inventory.folded(one) == one
    two = [*one, "c is in custom_nodes, but not registered"]
    assert inventory.folded(two) == [one[0], "in custom_nodes, but not registered: b, c"]
