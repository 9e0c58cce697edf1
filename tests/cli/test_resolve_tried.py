"""gov resolve --try, --best, --reset: fixes tried for real, one after another, and forgotten."""

import json
import signal
import threading
from functools import partial

import pytest
from support.fingerprint import truth_and_prod
from support.refusal import assert_refused, assert_told

from governance.changes import tries
from governance.cli import inspection
from governance.sample import world as sample
from governance.sample.nodes import NODES
from governance.truth import workspace
from governance.truth.documents import Transaction

from support.worlds import own_classes  # isort: skip

# Locks with any humanize, and imports with an old one only.
_FUSSY = """\
import humanize

if int(humanize.__version__.partition(".")[0]) >= 4:
    raise ImportError(f"fussy cannot work with humanize {humanize.__version__}")


class Fussy:
    CATEGORY = "sample"
    RETURN_TYPES = ("STRING",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def run(self):
        return ("",)


NODE_CLASS_MAPPINGS = {"Fussy": Fussy}
"""
_WHY = "fussy failed to import: fussy cannot work with humanize 4.14.0"
_GIVEN_UP = {"owner": "node:sample-captioner", "text": "humanize>=4.9", "to": "humanize"}


@pytest.fixture
def add(settled, tmp_path):
    def added(name, files):
        repository = sample.write_node(tmp_path, name, files)
        settled.site.gov("node", "add", repository).ok()

    return added


@pytest.fixture
def fussy(settled, add):
    """The txid of a node whose fix 1, its own range given up, fails at start; fix 2 works."""
    add("fussy", {"__init__.py": _FUSSY, "requirements.txt": "humanize<4\n"})
    return settled.site.run("fussy")


def record(site, txid):
    return json.loads((site.root / f"state/transactions/{txid}.json").read_text())


def left(site):
    """Candidates and work folders."""
    folders = (site.root / ".venv-candidate", site.root / "state/work")
    return sorted(path.name for folder in folders for path in folder.iterdir())


def verdicts(data):
    return [fix.get("tried", {}).get("verdict") for fix in data["suggestions"]]


# --- tried ------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_what_only_the_line_given_up_brought_is_added(settled, add):
    """The node imports lark, which it does not declare: the package that cannot be had would have
    brought it."""
    init = "import lark\n" + NODES["loads-two-classes"].files["__init__.py"]
    files = {"__init__.py": init, "requirements.txt": "no-such-bundle\n"}
    add("leaning", own_classes("leaning", files))
    txid = settled.site.run("leaning")
    ended = settled.site.gov("resolve", txid, "--try", "1").ok()
    assert "fix 1 failed: leaning failed to import: No module named 'lark'" in ended.err
    assert "once more with lark" in ended.err
    assert "      tried: came up with lark added, all nodes loaded\n" in ended.out
    assert "resolved with leaving out no-such-bundle; lark added\n" in (
        settled.site.gov("resolve", txid, "--accept", "1").ok().out
    )
    done = settled.site.gov.json("tx", "promote", txid).ok().data
    assert [change["name"] for change in done["changes"]] == ["lark"]


def test_a_package_is_added_by_hand(settled, add):
    files = {"__init__.py": _FUSSY, "requirements.txt": "humanize<4\n"}
    add("fussy", files)
    txid = settled.site.run("fussy")
    ended = settled.site.gov("resolve", txid, "--accept", "1", "--with", "lark").ok()
    assert "lark added" in ended.out
    assert record(settled.site, txid)["resolution"]["added"] == ["lark"]
    assert_told(settled.site.gov("resolve", txid, "--with", "./here"), 2, "./here")


def test_fixes_are_tried_and_the_best_is_taken(settled, fussy):
    site = settled.site
    before, chosen, folders = truth_and_prod(site.root), record(site, fussy), left(site)
    data = site.gov.json("resolve", fussy, "--try").ok().data
    assert (data["tried"], verdicts(data)) == ([1, 2], ["failed", "completed"])
    assert data["suggestions"][0]["tried"]["reason"] == _WHY
    assert data["suggestions"][1]["tried"]["nodes"] == 2
    now = (truth_and_prod(site.root), record(site, fussy), left(site))
    assert now == (before, chosen, folders)
    told = site.gov("resolve", fussy, "--suggest").ok().out
    assert f"      tried: failed: {_WHY}\n" in told
    assert "      tried: came up, all nodes loaded\n" in told
    best = site.gov.json("resolve", fussy, "--best").ok().data
    assert (best["tried"], best["accepted"]) == ([], 2), "what is known is not tried again"
    assert record(site, fussy)["resolution"]["replaced"] == [_GIVEN_UP]
    done = site.gov.json("tx", "promote", fussy).ok().data
    assert [(c["name"], c["after"]) for c in done["changes"]] == [("humanize", "3.14.0")]


def test_the_best_is_found_where_nothing_was_tried(settled):
    site, txid = settled.site, settled.conflicting
    told = site.gov("resolve", txid, "--best").ok().out
    given_up = "giving up sample-statistics's humanize<4"
    assert told.startswith(f"fix 1 is taken\nresolved with {given_up}\n")
    data = site.gov.json("resolve", txid, "--suggest").ok().data
    assert verdicts(data) == ["completed", None], "the first that comes up is enough"


@pytest.mark.thorough
def test_the_best_is_looked_for_until_one_comes_up(settled, fussy):
    told = settled.site.gov("resolve", fussy, "--best").ok().out
    given_up = "giving up sample-captioner's humanize>=4.9"
    assert told.startswith(f"fix 2 is taken\nresolved with {given_up}\n")


def test_none_comes_up(settled, fussy):
    site = settled.site
    ended = site.gov("-q", "resolve", fussy, "--try", "1")
    assert_told(ended, 4, "none of the fixes tried for fussy")
    assert f"      tried: failed: {_WHY}\n" in ended.out
    ended = site.gov.json("resolve", fussy, "--try", "1")
    assert (ended.error["code"], ended.data["tried"]) == ("no_fix_came_up", [1])


@pytest.fixture
def grown(settled, tmp_path):
    """The txid of a node whose newer commit, fix 1, does not ask for what conflicts."""
    write = partial(sample.write_node, tmp_path / "grown", "grown")
    files = own_classes("grown", NODES["loads-two-classes"].files)
    repository = write({**files, "requirements.txt": "lark\nhumanize<4\n"})
    settled.site.gov("node", "add", repository).ok()
    write({"requirements.txt": "lark\n"})
    return settled.site.run("grown")


@pytest.mark.thorough
def test_a_line_that_is_left_out(settled, add):
    site = settled.site
    add(
        "odd", own_classes("odd", {**NODES["loads-two-classes"].files, "requirements.txt": "zzz\n"})
    )
    txid = site.run("odd")
    data = site.gov.json("resolve", txid, "--try", "1").ok().data
    assert (data["suggestions"][0]["kind"], verdicts(data)[0]) == ("drop-line", "completed")
    told = site.gov("resolve", txid, "--accept", "1").ok().out
    assert told.startswith("resolved with leaving out zzz\n")
    site.gov("tx", "promote", txid).ok()


@pytest.mark.parametrize(
    ("kind", "row", "words"),
    [
        ("replaced", _GIVEN_UP, "giving up sample-captioner's humanize>=4.9"),
        (
            "replaced",
            {"owner": "node:a", "text": "humanise<4", "to": "humanize"},
            "taking humanize for a's humanise<4",
        ),
        ("replaced", {"owner": "node:a", "text": "zzz", "to": ""}, "leaving out a's zzz"),
        (
            "scoped",
            {"package": "legacy", "version": "1.0", "dependency": "humanize"},
            "legacy 1.0 not asked for its range of humanize",
        ),
        (
            "sources",
            {"package": "lib", "url": "https://example.org/whl", "flat": False},
            "lib from https://example.org/whl",
        ),
        ("added", "lark", "lark added"),
    ],
)
def test_what_was_chosen_is_told(settled, kind, row, words):
    tx = Transaction(txid="t", node_id="a", status="resolved")
    tx.resolution[kind] = [row]
    told = inspection.resolution(workspace.find(settled.site.root), tx)
    assert told[0] == f"resolved with {words}"


def test_another_commit_cannot_be_tried(settled, grown):
    ended = settled.site.gov("resolve", grown, "--try", "1").ok()
    assert "fix 1 is not tried: it is another commit of grown" in ended.err
    data = settled.site.gov.json("resolve", grown, "--suggest").ok().data
    assert verdicts(data)[:2] == [None, "completed"]


@pytest.mark.thorough
def test_another_commit_is_taken_by_a_transaction_of_its_own(settled, grown):
    site = settled.site
    ended = site.gov.json("resolve", grown, "--accept", "1").ok()
    assert ended.data["txid"] != grown
    assert (record(site, grown)["status"], ended.data["status"]) == ("aborted", "completed")
    site.gov("tx", "promote", ended.data["txid"]).ok()
    plugins = json.loads((site.root / "state/plugins.json").read_text())
    assert next(row for row in plugins if row["id"] == "grown")["managed_deps"] == ["lark"]


@pytest.mark.thorough
def test_side_by_side(settled, monkeypatch):
    """On a machine with more cores than this one may have."""
    monkeypatch.setattr(tries, "_at_once", lambda: 2)
    site, txid = settled.site, settled.conflicting
    folders = left(site)
    ended = site.gov("resolve", txid, "--try", "2", "-v").ok()
    assert "  | fix 1: " in ended.err
    assert "  | fix 2: " in ended.err
    assert ended.err.index("fix 2: starting") < ended.err.index("fix 1 came up")
    data = site.gov.json("resolve", txid, "--suggest").ok().data
    assert verdicts(data) == ["completed", "completed"]
    assert left(site) == folders


@pytest.mark.parametrize("at_once", [1, 2])
def test_interrupted_it_leaves_everything_as_it_was(settled, monkeypatch, at_once):
    site, txid = settled.site, settled.conflicting
    watch, report = tries._watched, site.root / f"state/conflicts/{txid}.json"

    def interrupted(ready):
        if ready.number == 2:
            # Not to the process: a thread of the test runner may take it, though signals wait.
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        return watch(ready)

    monkeypatch.setattr(tries, "_at_once", lambda: at_once)
    monkeypatch.setattr(tries, "_watched", interrupted)
    before = (truth_and_prod(site.root), record(site, txid), report.read_bytes(), left(site))
    assert_told(site.gov("-q", "resolve", txid, "--try", "2"), 130)
    now = (truth_and_prod(site.root), record(site, txid), report.read_bytes(), left(site))
    assert now == before


@pytest.mark.parametrize("more", [("--accept", "1"), ("--reset",), ("--pin", "humanize==4.9.0")])
def test_each_wish_stands_alone(settled, more):
    argv = ("resolve", settled.conflicting, "--try", "2", *more)
    assert_refused(settled.site, *argv, code=2, says="--try stands alone")


@pytest.mark.parametrize("count", ["0", "many"])
def test_a_number_of_fixes(settled, count):
    argv = ("resolve", settled.conflicting, "--try", count)
    assert_refused(settled.site, *argv, code=2, says="is not a number of fixes")


# --- one after another ------------------------------------------------------------------------


@pytest.mark.thorough
def test_after_one_failed_the_next_is_observed_on_its_own(settled, fussy):
    site = settled.site
    site.gov("resolve", fussy, "--accept", "1").ok()
    assert_told(site.gov("-q", "tx", "promote", fussy), 1, _WHY)
    data = site.gov.json("resolve", fussy, "--suggest").ok().data
    assert verdicts(data) == ["failed", None], "the promote tried it"
    site.gov("resolve", fussy, "--accept", "2").ok()
    told = site.gov("tx", "inspect", fussy).ok().out
    assert f"failed before with giving up fussy's humanize<4: {_WHY}" in told
    assert "NOT LOADED" not in told
    site.gov("tx", "promote", fussy).ok()
    seen = record(site, fussy)["observation"]
    assert (seen["verdict"], seen["nodes"]["fussy"]["loaded"]) == ("completed", True)


def test_the_next_is_no_more_trusted_than_the_first(settled, fussy):
    """The pin needs the very packages that failed with fix 1."""
    site = settled.site
    for chosen in (("--accept", "1"), ("--pin", "humanize==4.14.0")):
        site.gov("resolve", fussy, *chosen).ok()
        assert_told(site.gov("-q", "tx", "promote", fussy), 1, _WHY)


@pytest.mark.thorough
def test_reset_forgets_what_was_chosen(settled, fussy):
    site = settled.site
    before = record(site, fussy)
    site.gov("resolve", fussy, "--pin", "humanize==3.14.0").ok()
    ended = site.gov("resolve", fussy, "--reset")
    assert_told(ended, 4, "the requirements of fussy conflict")
    site.gov("resolve", fussy, "--accept", "1").ok()
    assert record(site, fussy)["resolution"]["replaced"] != []
    assert_told(site.gov("-q", "tx", "promote", fussy), 1, _WHY)
    ended = site.gov.json("resolve", fussy, "--reset")
    assert (ended.code, ended.data["resolution_pins"]) == (4, [])
    assert verdicts(ended.data) == [None, None]
    after = record(site, fussy)
    for name in ("status", "resolution_pins", "resolution", "observation", "diff"):
        assert after[name] == before[name]


@pytest.mark.thorough
def test_reset_keeps_what_the_run_was_told(settled, add):
    files = {**NODES["loads-two-classes"].files, "requirements.txt": "humanize<4\nlark\n"}
    add("plain", own_classes("plain", files))
    data = settled.site.gov.json("tx", "run", "plain", "--without", "lark").data
    txid = data["txid"]
    settled.site.gov("resolve", txid, "--accept", "1").ok()
    chosen = record(settled.site, txid)["resolution"]
    assert (chosen["without"], len(chosen["replaced"])) == (["lark"], 1)
    assert settled.site.gov("resolve", txid, "--reset").code == 4
    chosen = record(settled.site, txid)["resolution"]
    assert (chosen["without"], chosen["replaced"]) == (["lark"], [])


# --- pins that hold nothing -------------------------------------------------------------------


def test_a_pin_that_holds_nothing_is_not_kept_beside_a_conflict(settled):
    site, txid = settled.site, settled.conflicting
    ended = site.gov("resolve", txid, "--pin", "colorama==0.4.6")
    assert_told(ended, 4)
    assert "nothing asks for colorama==0.4.6: left out" in ended.err
    assert record(site, txid)["resolution_pins"] == []
    data = site.gov.json("resolve", txid, "--accept", "1").ok().data
    assert data["resolution_pins"] == []
    assert len(record(site, txid)["resolution"]["replaced"]) == 1


def test_a_pin_that_is_refused_is_not_kept(settled):
    site, txid = settled.site, settled.conflicting
    before = record(site, txid)
    pins = ("--pin", "humanize==4.9.0", "--pin", "colorama==0.4.6")
    assert_told(site.gov("resolve", txid, *pins), 2, "colorama==0.4.6 would hold nothing")
    assert record(site, txid) == before


@pytest.mark.thorough
def test_a_pin_whose_package_leaves_is_left_out_at_the_promote(settled, add):
    site, txid = settled.site, settled.conflicting
    files = {**NODES["loads-two-classes"].files, "requirements.txt": "lark\n"}
    add("other", own_classes("other", files))
    site.gov("tx", "promote", site.run("other")).ok()
    pins = ("--pin", "humanize==4.9.0", "--pin", "lark==1.1.9")
    site.gov("resolve", txid, *pins).ok()
    site.gov("node", "remove", "other").ok()
    site.gov("tx", "promote", txid).ok()
    plugins = json.loads((site.root / "state/plugins.json").read_text())
    owner = next(row for row in plugins if row["id"] == "sample-statistics")
    assert owner["override_deps"] == ["humanize==4.9.0"]
    assert record(site, txid)["resolution_pins"] == ["humanize==4.9.0"]
    assert "lark" not in (site.root / "pyproject.toml").read_text()


@pytest.mark.thorough
def test_a_pin_whose_package_leaves_is_left_out_of_the_next_choice(settled, add):
    site, txid = settled.site, settled.conflicting
    files = {**NODES["loads-two-classes"].files, "requirements.txt": "lark\n"}
    add("other", own_classes("other", files))
    site.gov("tx", "promote", site.run("other")).ok()
    site.gov("resolve", txid, "--pin", "humanize==4.9.0", "--pin", "lark==1.1.9").ok()
    site.gov("node", "remove", "other").ok()
    data = site.gov.json("resolve", txid, "--pin", "humanize==4.12.0").ok().data
    assert data["resolution_pins"] == ["humanize==4.12.0"]


@pytest.mark.thorough
def test_a_new_pin_replaces_an_earlier_one_of_the_node(settled, upstream):
    site = settled.site
    site.gov("resolve", settled.conflicting, "--pin", "humanize==4.9.0").ok()
    site.gov("tx", "promote", settled.conflicting).ok()
    upstream("sample-statistics").commit(requirements="humanize<4\nlark==9\n")
    txid = site.gov.json("node", "update", "sample-statistics").data["txid"]
    site.gov("resolve", txid, "--pin", "humanize==4.12.0", "--pin", "lark==1.2.2").ok()
    site.gov("tx", "promote", txid).ok()
    plugins = json.loads((site.root / "state/plugins.json").read_text())
    owner = next(row for row in plugins if row["id"] == "sample-statistics")
    assert owner["override_deps"] == ["humanize==4.12.0", "lark==1.2.2"]


# --- prod moved -------------------------------------------------------------------------------


@pytest.mark.thorough
def test_what_was_found_with_another_prod_says_so(settled):
    site, txid = settled.site, settled.conflicting
    assert site.gov.json("resolve", txid, "--suggest").ok().data["stale"] is False
    site.gov("resolve", txid, "--try", "1").ok()
    site.gov("tx", "promote", settled.completed).ok()
    data = site.gov.json("resolve", txid, "--suggest").ok().data
    assert data["stale"] is True
    assert data["suggestions"][0]["tried"]["stale"] is True
    line = f"prod changed since: `gov resolve {txid} --reset` looks anew\n"
    for words in (("resolve", txid, "--suggest"), ("tx", "inspect", txid)):
        told = site.gov(*words).ok().out
        assert line in told
        assert "tried with an earlier prod: came up" in told
    best = site.gov.json("resolve", txid, "--best").ok()
    assert best.data["tried"] == [1], "what came up with another prod is tried again"
    assert "it was locked anew with prod as it is now" in best.document["warnings"][0]
    done = site.gov.json("tx", "promote", txid).ok().data
    assert done["changes"] == []
    assert '"colorama' in (site.root / "pyproject.toml").read_text()


@pytest.mark.thorough
def test_reset_looks_anew(settled):
    site, txid = settled.site, settled.conflicting
    site.gov("tx", "promote", settled.completed).ok()
    assert site.gov.json("resolve", txid, "--reset").data["stale"] is False
    site.gov("node", "remove", "sample-captioner").ok()
    told = site.gov("resolve", txid, "--reset").ok().out
    assert f"next: gov tx promote {txid}" in told, "what it was in conflict with is gone"
