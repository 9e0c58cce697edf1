"""The one form of a conflict on a screen: a line a package, then the fixes, within the width."""

from dataclasses import replace

import pytest

from governance.cli.conflicts import screen
from governance.conflict.answer import Cause, Fix, Party, numbered
from governance.conflict.problem import CORE, NODE, Owned
from governance.truth.lockfile import Change

TXID = "20260131T120000Z-0a1b2c3d"
MINE = Party("PhotoMaker", "transformers", "==4.36.2", (), True)


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch):
    """Whole lines, as a program reads them."""

    def none(fd):
        raise OSError

    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr("os.get_terminal_size", none)


def line(party, number):
    owner = CORE if party.who == "ComfyUI" else f"{NODE}{party.who}"
    return Owned(f"{party.name}{party.spec}", owner, "requirements.txt", number, party.name)


def cause(*parties, kind="conflict", package="transformers", what="no version suits all"):
    lines = tuple(line(party, number) for number, party in enumerate(parties, 1))
    ways = tuple((one.text,) for one in lines)
    return Cause(kind, lines, package, ways, "a sentence", what, parties)


def report(*causes, fixes=(), complete=True):
    return {
        "causes": [one.to_json() for one in causes],
        "suggestions": numbered(fixes),
        "complete": complete,
    }


def against(who, spec, **more):
    return cause(MINE, Party(who, "transformers", spec, **more))


def opponents(count):
    return [
        against("ComfyUI", ">=4.37.2"),
        *(against(f"N{n}", f">=4.{n}") for n in range(1, count)),
    ]


def test_one_line_a_package_and_the_others_counted():
    first = screen(report(*opponents(8)), None)[0]
    assert first == (
        "transformers: PhotoMaker ==4.36.2 against ComfyUI >=4.37.2, N1 >=4.1, N2 >=4.2 and 5 more"
    )


def test_as_many_as_are_named_are_not_counted():
    first = screen(report(*opponents(3)), None)[0]
    assert first.endswith(" against ComfyUI >=4.37.2, N1 >=4.1 and N2 >=4.2")


def test_each_package_has_its_line():
    other = cause(Party("X", "num", "<2", (), True), Party("Y", "num", ">=2"), package="num")
    told = screen(report(against("ComfyUI", ">=4.40"), other, against("Z", ">=4.50")), None)
    assert told == [
        "transformers: PhotoMaker ==4.36.2 against ComfyUI >=4.40 and Z >=4.50",
        "num: X <2 against Y >=2",
    ]


def test_through_whom_and_any_version():
    way = ("rembg 2.0.50", "onnxruntime 1.17")
    told = screen(report(against("L", "<2", through=way), against("M", "")), None)
    assert told[0].endswith(
        " against L <2 (through rembg 2.0.50 -> onnxruntime 1.17) and M any version"
    )


def test_a_long_way_and_a_long_range_are_cut():
    way = ("a 1", "b 1", "c 1", "d 1")
    told = screen(report(against("L", ">=1" + ",!=1.2.3" * 200, through=way)), None)
    assert "(through a 1 -> ... -> d 1)" in told[0]
    assert len(told[0]) < 200


def test_a_line_about_another_package_says_which():
    told = screen(report(cause(MINE, Party("ComfyUI", "bridge", ">=1"))), None)
    assert told[0].endswith(" against ComfyUI bridge >=1")


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("python", "transformers needs Python >=3.12, this workspace has 3.11"),
        ("build", "transformers has no wheel here and building it failed (no compiler)"),
        ("not-on-index", "transformers is not on the index"),
    ],
)
def test_what_cannot_be_had_has_the_same_form(kind, what):
    other = Party("LTXVideo", "transformers", ">=4", (), True)
    told = screen(report(cause(MINE, kind=kind, what=what), cause(other, kind=kind, what=what)), "")
    assert told[0] == f"transformers: PhotoMaker ==4.36.2 and LTXVideo >=4, but {what}"


def test_the_python_that_a_package_needs_is_named_once_with_its_command():
    what = "transformers needs Python >=3.12, this workspace has 3.11"
    found = report(cause(MINE, kind="python", what=what), cause(MINE, kind="python", what=what))
    assert screen(found, TXID)[2:-1] == ["not tried: another Python, `gov python 3.12`"]
    older = "transformers needs Python <3.10, this workspace has 3.11"
    assert not any(
        "another Python" in part
        for part in screen(report(cause(MINE, kind="python", what=older)), TXID)
    )


def test_one_that_contradicts_itself():
    twice = Party("PhotoMaker", "transformers", ">=5", (), True)
    told = screen(report(cause(MINE, twice, kind="self-contradiction", what="it does")), None)
    assert told[0] == "transformers: PhotoMaker ==4.36.2 against PhotoMaker >=5; it does"


FIX = Fix(
    "override",
    typed=("transformers==5",),
    violates=("breaks PhotoMaker's transformers==4.36.2",),
    changes=tuple(Change(name, "2", "1") for name in ("aa", "bb", "cc", "dd", "transformers")),
    core=("transformers",),
)


def test_a_fix_says_what_it_does_and_costs_and_how_it_is_taken():
    told = screen(report(against("ComfyUI", ">=5"), fixes=[FIX]), TXID)
    assert told[1:] == [
        "  fix 1: hold transformers==5; breaks PhotoMaker's transformers==4.36.2; "
        "in prod: transformers 2 -> 1, aa 2 -> 1, bb 2 -> 1, 2 more; touches core: transformers",
        f"      gov resolve {TXID} --accept 1",
        f"every line, with file and chain: gov resolve {TXID} --suggest --all",
    ]


def test_what_is_lost_is_a_price():
    dropped = Fix("drop-line", dropped=(line(MINE, 1),), lost=("transformers",))
    told = screen(report(against("ComfyUI", ">=5"), fixes=[dropped]), None)
    assert told[1] == (
        "  fix 1: leave out transformers==4.36.2; nothing else brings transformers; "
        "in prod: no change"
    )


def test_another_commit_has_its_own_command():
    other = Fix("ref", ref="0123456789abcdef", command="git checkout it")
    told = screen(report(against("ComfyUI", ">=5"), fixes=[other]), None)
    assert told[1:] == [
        "  fix 1: take the node at 0123456789ab; in prod: no change",
        "      " + other.command,
    ]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_nothing_is_wider_than_the_terminal_but_what_is_copied(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    told = screen(report(*opponents(8), fixes=[FIX], complete=False), TXID)
    assert all(len(text) <= width for text in told if "gov " not in text)
    assert f"      gov resolve {TXID} --accept 1" in told


def test_a_fix_takes_two_lines_where_naming_less_allows_it(monkeypatch):
    monkeypatch.setenv("COLUMNS", "78")
    told = screen(report(against("ComfyUI", ">=5"), fixes=[FIX]), TXID)
    assert told[1:4] == [
        "  fix 1: hold transformers==5; breaks PhotoMaker's transformers==4.36.2; in",
        "      prod: transformers 2 -> 1, aa 2 -> 1, 3 more; touches core: transformers",
        f"      gov resolve {TXID} --accept 1",
    ]


def test_fewer_are_named_where_there_is_no_room(monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    first = screen(report(*opponents(8)), None)[0]
    assert first == "transformers: PhotoMaker ==4.36.2 against ComfyUI >=4.37.2 and 7 more"


def test_in_full_every_line_with_its_place_and_chain_once():
    through = cause(MINE, Party("M", "transformers", "<4"))
    ways = (("transformers==4.36.2",), ("outer", "outer 1", "mid 2"))
    through = replace(through, chains=ways)
    told = screen(report(against("ComfyUI", ">=5"), through), TXID, whole=True)
    assert told[1:4] == [
        "    PhotoMaker requirements.txt:1  transformers==4.36.2",
        "    ComfyUI requirements.txt:2     transformers>=5",
        "    M requirements.txt:2           transformers<4 -> outer 1 -> mid 2",
    ]
    assert not any("--all" in text for text in told)


def test_a_search_that_was_cut_says_so():
    told = screen(report(against("ComfyUI", ">=5"), complete=False), TXID)
    assert "there may be more: the search ended" in "\n".join(told)
    whole = screen(report(against("ComfyUI", ">=5"), complete=False), TXID, whole=True)
    assert "there may be more: the search ended" in "\n".join(whole)
    assert "there may be more" not in "\n".join(screen(report(against("C", ">=5")), TXID))


def test_a_report_of_an_earlier_gov_has_lines_only():
    old = against("ComfyUI", ">=5").to_json()
    del old["parties"]
    told = screen({"causes": [old]}, None)
    assert told == ["transformers: PhotoMaker ==4.36.2 against ComfyUI >=5"]


def test_what_nobody_could_explain_is_told_as_uv_did():
    told = screen({"causes": [], "summary": "uv is at a loss"}, None)
    assert told == ["the requirements do not lock: uv is at a loss"]
