"""An index that only a node's own file names: offered, never followed by itself."""

import tomllib

import pytest
from support.refusal import assert_told

from governance.sample import world as sample
from governance.sample.index import serve
from governance.sample.wheels import Wheel, build


@pytest.fixture
def elsewhere(tmp_path_factory):
    """A second index; it has a package of its own, and a numpy that must never come from it."""
    folder = tmp_path_factory.mktemp("elsewhere")
    build(Wheel("privatelib", "1.0", requires=("humanize",)), folder)
    build(Wheel("humanize", "99.0"), folder)
    with serve(folder) as index:
        yield index.url.rstrip("/")


@pytest.fixture
def conflict(settled, tmp_path, elsewhere):
    lines = f"--extra-index-url {elsewhere}\nprivatelib\n"
    init = "import privatelib\nNODE_CLASS_MAPPINGS = {}\n"
    sample.write_node(tmp_path, "solo", {"__init__.py": init, "requirements.txt": lines})
    settled.site.gov("node", "add", tmp_path / "solo").ok()
    ended = settled.site.gov("tx", "run", "solo")
    assert_told(ended, 4, "solo")
    return settled.site, ended, elsewhere


def uv_table(site):
    return tomllib.loads((site.root / "pyproject.toml").read_text())["tool"]["uv"]


def test_it_serves_the_package_that_was_missing_and_goes_with_the_node(conflict):
    site, ended, url = conflict
    txid = ended.out.split()[0]
    assert f"  fix 1: take privatelib from {url}; only the node names that index: " in ended.out
    before = uv_table(site)
    site.gov("resolve", txid, "--accept", "1").ok()
    done = site.gov.json("tx", "promote", txid, "--accept-skipped").ok().data
    assert [(c["name"], c["after"]) for c in done["changes"]] == [("privatelib", "1.0")]
    (source,) = [one for name, one in uv_table(site)["sources"].items() if name == "privatelib"]
    (index,) = [one for one in uv_table(site)["index"] if one["name"] == source["index"]]
    assert (index["url"], index["explicit"]) == (url, True)
    assert f"it comes from {url}, which a node names" in site.gov("why", "privatelib").ok().out
    site.gov("node", "disable", "solo").ok()
    assert uv_table(site) == before
    site.gov("node", "enable", "solo").ok()
    assert uv_table(site)["sources"]["privatelib"] == source
    site.gov("node", "remove", "solo").ok()
    assert uv_table(site) == before


def test_no_command_chooses_it_by_itself(conflict):
    site, ended, _ = conflict
    txid = ended.out.split()[0]
    chosen = site.gov("resolve", txid, "--best")
    assert chosen.code == 4
    assert "fix 1 is not tried: it takes a package from an index that only the node" in chosen.err
