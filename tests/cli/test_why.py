"""gov why: who asks for a package, who brought its version, and what if it were another."""

import pytest
from support.fingerprint import fingerprint
from support.refusal import assert_refused, assert_told

from governance.sample import world as sample


def test_lines_with_owner_file_and_chain(workspace):
    workspace.world.add("deep", {"requirements.txt": "# first\ntransformers>=4.50\n"})
    txid = workspace.promote("deep", "--approve-core", "--reason", "a test")["txid"]
    told = workspace.gov("why", "numpy").ok()
    assert told.out.splitlines() == [
        "numpy 2.4.1  (core)",
        "  ComfyUI requirements.txt:1  numpy>=1.25",
        "  deep requirements.txt:2     transformers>=4.50 -> numpy",
        f"  this version came with init ({_changes(workspace)[0]['txid']})",
    ]
    data = workspace.gov.json("why", "Transformers").ok().data
    assert (data["package"], data["version"]) == ("transformers", "4.57.1")
    assert data["brought_by"]["txid"] == txid
    assert [row["chain"] for row in data["asked_by"]] == [["transformers"]]


def _changes(site):
    return site.gov.json("history").ok().data["changes"]


def test_came_with_is_the_change_that_brought_this_version(settled):
    """Also one that no node stands for: a pin, a rollback, a lock edited by hand."""
    site = settled.site
    first = site.gov.json("why", "humanize").ok().data["brought_by"]
    assert (first["txid"], first["node_id"]) == (settled.promoted, "sample-captioner")
    site.gov("pin", "humanize==4.9.0", "--promote").ok()
    pinned = site.gov.json("why", "humanize").ok().data
    assert (pinned["version"], pinned["brought_by"]["steps"]) == ("4.9.0", ["pin humanize==4.9.0"])
    site.gov("rollback", settled.after).ok()
    assert f"came with rollback: restore {settled.after}" in site.gov("why", "humanize").ok().out
    lock = site.root / "uv.lock"
    lock.write_text(lock.read_text().replace('version = "4.14.0"', 'version = "4.13.9"'))
    assert "no change that brought this version" in site.gov("why", "humanize").ok().out


def test_an_override_is_told(settled):
    settled.site.gov("resolve", settled.conflicting, "--pin", "humanize==4.9.0").ok()
    settled.site.gov("tx", "promote", settled.conflicting).ok()
    told = settled.site.gov("why", "humanize").ok().out
    assert "held by an override: humanize==4.9.0" in told
    assert f"came with tx promote: add sample-statistics ({settled.conflicting})" in told
    ended = settled.site.gov("why", "humanize", "--if", "<4")
    assert ended.out.count("what-if <4") == ended.out.count(" against ") == 1, (
        "what the override settles for the others is not asked about"
    )


@pytest.mark.parametrize("wish", ["<2.4", "2.3.2"])
def test_if_it_were_held_lower(settled, wish):
    before = fingerprint(settled.site.root)
    data = settled.site.gov.json("why", "numpy", "--if", wish).ok().data
    assert data["if"]["fits"] is True
    (change,) = data["if"]["changes"]
    assert (change["name"], change["after"], change["direction"]) == ("numpy", "2.3.2", "down")
    assert change["asked_by"] == ["core"], "the question itself asks for nothing"
    assert fingerprint(settled.site.root) == before


def test_nodes_of_one_transaction_each_have_their_file_and_line(settled, tmp_path):
    files = {
        "__init__.py": "NODE_CLASS_MAPPINGS = {}\n",
        "requirements.txt": "# old\nhumanize>=4\n",
    }
    for name in ("here", "there"):
        settled.site.gov("node", "add", sample.write_node(tmp_path, name, files)).ok()
    txid = settled.site.gov.json("tx", "run", "here", "there").data["txid"]
    settled.site.gov("tx", "promote", txid, "--allow-failed-run").ok()
    told = settled.site.gov("why", "humanize").ok().out
    assert "  here requirements.txt:2" in told
    assert "  there requirements.txt:2" in told


def test_if_it_cannot_be_held(settled):
    before = fingerprint(settled.site.root)
    ended = settled.site.gov("why", "humanize", "--if", "<4")
    assert_told(ended, 4, "humanize cannot be held at <4")
    assert "humanize: what-if <4 against sample-captioner >=4.9\n" in ended.out
    assert "sample-captioner requirements.txt:2  humanize>=4.9" in ended.out
    assert "fix" not in ended.out
    assert fingerprint(settled.site.root) == before


@pytest.mark.parametrize("wish", ["!!", "<2; python_version > '3'", "", "@ https://host/x.whl"])
def test_a_wish_that_is_none(settled, wish):
    assert_refused(settled.site, "why", "numpy", "--if", wish, code=2, named="bad_wish")


def test_a_package_that_is_not_there(settled):
    ended = assert_refused(settled.site, "why", "humanise", code=2, named="unknown_package")
    assert ended.error["hint"] == "is humanize meant?"
