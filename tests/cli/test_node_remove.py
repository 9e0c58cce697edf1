"""gov node remove: the node and what only it needed go, what others need stays."""

import json

import pytest
from support.refusal import assert_refused


def freeze(site):
    path = next((site.root / ".venv-prod/lib").glob("python*")) / "site-packages"
    return {p.name.split("-")[0] for p in path.glob("*.dist-info")}


def test_what_only_it_needed_goes_and_the_rest_stays(settled):
    """sample-captioner: cowsay, humanize; shares-cowsay: cowsay, colorama."""
    site = settled.site
    site.gov("tx", "promote", settled.completed).ok()
    assert freeze(site) >= {"cowsay", "humanize", "colorama"}
    data = site.gov.json("node", "remove", "sample-captioner").ok().data
    assert data["node_id"] == "sample-captioner"
    assert data["removed_packages"] == ["humanize==4.14.0"]
    assert freeze(site) & {"cowsay", "humanize", "colorama"} == {"cowsay", "colorama"}
    assert (site.nodes / "sample-captioner").is_dir()
    assert "node-sample-captioner" not in (site.root / "pyproject.toml").read_text()
    rows = json.loads((site.root / "state/plugins.json").read_text())
    assert "sample-captioner" not in [row["id"] for row in rows]
    reasons = [row["reason"] for row in site.gov.json("snapshot", "list").data["snapshots"]]
    assert reasons[-2:] == ["remove_pre", "remove_post"]
    site.gov("rollback", data["pre_snapshot"]).ok()
    assert freeze(site) >= {"cowsay", "humanize", "colorama"}


def test_purge_code_deletes_its_folder_alone(settled):
    site = settled.site
    others = {path.name for path in site.nodes.iterdir()} - {"sample-captioner"}
    told = site.gov("node", "remove", "sample-captioner", "--purge-code").ok()
    assert {path.name for path in site.nodes.iterdir()} == others
    assert "its folder is deleted" in told.out


def test_a_node_that_was_never_promoted_costs_no_new_environment(settled):
    site = settled.site
    before = (site.root / ".venv-prod").readlink()
    data = site.gov.json("node", "remove", "import-sleeps", "--purge-code").ok().data
    assert data["removed_packages"] == []
    assert (site.root / ".venv-prod").readlink() == before


def test_a_record_without_its_folder_can_go(settled):
    from governance.boundaries import store

    store.remove_tree(settled.site.nodes / "import-fails")
    settled.site.gov("node", "remove", "import-fails", "--purge-code").ok()


def test_purging_never_leaves_custom_nodes(settled, tmp_path):
    """A record made by hand, or damaged, names a path outside."""
    precious = settled.site.comfyui / "precious"
    precious.mkdir()
    try:
        path = settled.site.root / "state/plugins.json"
        rows = json.loads(path.read_text())
        rows[-1] |= {"id": "../precious", "path": str(precious)}
        path.write_text(json.dumps(rows))
        assert_refused(
            settled.site, "node", "remove", "../precious", "--purge-code", code=1, says="precious"
        )
        assert precious.is_dir()
    finally:
        precious.rmdir()


def test_a_core_package_goes_only_with_approval(settled):
    site = settled.site
    site.set(policy__core_packages=["Humanize"])
    ended = assert_refused(site, "node", "remove", "sample-captioner", code=3, says="humanize")
    assert ended.error["code"] == "core_approval"
    site.gov("node", "remove", "sample-captioner", "--approve-core", "--reason", "unused").ok()
    assert "humanize" not in freeze(site)


@pytest.mark.parametrize("name", ["SAMPLE-CAPTIONER", "sample", "node-sample-captioner"])
def test_only_the_very_id_is_taken(settled, name):
    assert_refused(settled.site, "node", "remove", name, code=2, named="unknown_node")
