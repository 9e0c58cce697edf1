"""gov resolve: pins typed, from a file, from the suggestions, or asked for at a terminal."""

import os
import pty
import select

import pytest
from support.fingerprint import fingerprint, truth_and_prod
from support.refusal import assert_refused, assert_told

from governance.sample import world as sample


def test_a_pin_resolves_and_can_be_promoted(settled):
    site, txid = settled.site, settled.conflicting
    before = truth_and_prod(site.root)
    told = site.gov("resolve", txid, "--pin", "humanize==4.9.0").ok()
    assert "resolved with humanize==4.9.0" in told.out
    assert f"next: gov tx promote {txid}" in told.out
    assert truth_and_prod(site.root) == before
    data = site.gov.json("tx", "promote", txid).ok().data
    assert data["status"] == "promoted"
    assert [(c["name"], c["after"]) for c in data["changes"]] == [("humanize", "4.9.0")]
    assert "override-dependencies" in (site.root / "pyproject.toml").read_text()


def test_the_document_holds_what_the_contract_promises(settled):
    data = settled.site.gov.json("resolve", settled.conflicting, "--accept", "1").ok().data
    assert set(data) >= {"txid", "status", "resolution_pins", "suggestions"}
    assert (data["txid"], data["status"]) == (settled.conflicting, "resolved")
    assert data["resolution_pins"] == [], "a range that is given up is no pin"
    assert data["suggestions"][0]["kind"] == "relax-line"


def test_suggestions_change_nothing(settled):
    before = fingerprint(settled.site.root)
    data = settled.site.gov.json("resolve", settled.conflicting, "--suggest").ok().data
    assert [fix["number"] for fix in data["suggestions"]] == [1, 2]
    assert "fix 1: " in settled.site.gov("resolve", settled.conflicting, "--suggest").ok().out
    assert fingerprint(settled.site.root) == before


def test_every_line_that_conflicts_is_looked_for_on_demand(settled, tmp_path):
    """Against the truth of now: another node's line came after the report was written."""
    site, txid = settled.site, settled.conflicting
    site.gov("tx", "promote", settled.completed).ok()
    files = {"__init__.py": "NODE_CLASS_MAPPINGS = {}\n", "requirements.txt": "humanize>=4\n"}
    site.gov("node", "add", sample.write_node(tmp_path, "later", files)).ok()
    site.gov("tx", "promote", site.run("later"), "--allow-failed-run").ok()
    before = fingerprint(site.root)
    old = site.gov.json("resolve", txid, "--suggest").ok().data
    assert "later" not in str(old["causes"])
    new = site.gov.json("resolve", txid, "--suggest", "--all").ok().data
    parties = [(p["who"], p["spec"]) for cause in new["causes"] for p in cause["parties"]]
    assert dict(parties) == {"sample-statistics": "<4", "sample-captioner": ">=4.9", "later": ">=4"}
    assert new["complete"] is True
    assert new["suggestions"] == old["suggestions"]
    told = site.gov("resolve", txid, "--suggest", "--all").ok().out
    assert "    later requirements.txt:1              humanize>=4\n" in told
    assert "fix 1: " in told
    assert fingerprint(site.root) == before


def test_all_goes_with_suggest(settled):
    argv = ("resolve", settled.conflicting, "--all")
    assert_refused(settled.site, *argv, code=2, says="goes with --suggest")


def test_pins_from_a_file(settled, tmp_path):
    (tmp_path / "pins").write_bytes(
        b"\xef\xbb\xbf# why, as Windows writes it\r\n\r\nhumanize==4.9.0  # this one\r\n"
    )
    given = ("--pins-file", tmp_path / "pins")
    data = settled.site.gov.json("resolve", settled.conflicting, *given).ok().data
    assert data["resolution_pins"] == ["humanize==4.9.0"]


def test_a_pin_that_does_not_help_is_still_unresolved(settled):
    site = settled.site
    ended = site.gov("resolve", settled.conflicting, "--pin", "cowsay==5.0")
    assert_told(ended, 4, "sample-statistics")
    ended = site.gov.json("resolve", settled.conflicting, "--pin", "cowsay==5.0")
    assert (ended.code, ended.data["status"]) == (4, "needs_resolution")
    site.gov("resolve", settled.conflicting, "--pin", "humanize==4.9.0").ok()


def test_a_version_that_there_is_not(settled):
    """The hint names one that there is."""
    argv = ("resolve", settled.conflicting, "--pin", "humanize==99.0")
    ended = assert_refused(settled.site, *argv, code=2, says="humanize==99.0")
    assert "humanize==4.14.0" in ended.error["hint"]


@pytest.mark.parametrize("name", ["promoted", "aborted", "completed", "failed"])
def test_only_a_conflict_can_be_resolved(settled, name):
    argv = ("resolve", getattr(settled, name), "--pin", "humanize==4.9.0")
    assert_refused(settled.site, *argv, code=3, named="bad_transition")


def test_a_core_pin_meets_the_gate(settled):
    """Bug 13: pins typed in resolve passed the core gate."""
    site, txid = settled.site, settled.conflicting
    pins = ("--pin", "humanize==4.9.0", "--pin", "numpy==2.2.6")
    site.gov("resolve", txid, *pins).ok()
    ended = site.gov("tx", "promote", txid)
    assert_told(ended, 3, "numpy 2.4.1 -> 2.2.6")


def test_at_a_terminal_it_asks_line_by_line(settled):
    """An unusable line is told and asked again; an empty one ends."""
    ours, theirs = pty.openpty()
    child = settled.site.gov.start("resolve", settled.conflicting, "--json", stdin=theirs)
    os.close(theirs)
    try:
        seen = _answer(child, ours, [b"humanize>=4\n", b"humanize==4.9.0\n", b"\n"])
        out, err = child.communicate(timeout=60)
    finally:
        child.kill()
        os.close(ours)
    assert child.returncode == 0, (seen, err)
    assert '"resolution_pins": [\n      "humanize==4.9.0"\n    ]' in out
    assert seen.count("pin (package==version") == 3
    assert seen.count("error: ") == 1


def _answer(child, terminal, lines):
    """Type one line at each prompt; what was shown meanwhile."""
    seen = ""
    descriptor = child.stderr.fileno()
    for number, line in enumerate(lines, start=1):
        while seen.count("empty to end): ") < number:
            ready, _, _ = select.select([descriptor], [], [], 60)
            assert ready, seen
            part = os.read(descriptor, 65536).decode()
            assert part, seen
            seen += part
        os.write(terminal, line)
    return seen
