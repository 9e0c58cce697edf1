"""Conflicts as an operator meets them: the screen of `tx run` says what to type, and it works."""

import re
import tomllib

import pytest
from support.gov import Gov
from support.refusal import assert_told
from support.worlds import own_classes, write_config

from governance.sample import world as sample
from governance.sample.nodes import NODES


@pytest.fixture
def add(settled, tmp_path):
    """Add a node with these lines; its repository has no other history."""

    def cloned(name, text, *before):
        for lines in (*before, text):
            files = {**NODES["loads-two-classes"].files, "requirements.txt": lines}
            repository = sample.write_node(tmp_path, name, own_classes(name, files))
        settled.site.gov("node", "add", repository).ok()

    return cloned


@pytest.fixture
def conflict(settled, add):
    """Add a node with these lines and run it: (its txid, the screen)."""

    def run(name, text, *before):
        add(name, text, *before)
        ended = settled.site.gov("tx", "run", name)
        assert_told(ended, 4, name)
        return ended.out.split()[0], ended.out

    return run


def fixes(screen):
    """The command below each fix, by its words."""
    found = re.findall(r"^  fix \d+: ([^;\n]*).*\n      (g\w+ .*)$", screen, re.M)
    return {words: command.split()[1:] for words, command in found}


def settle(site, screen, words):
    """Type what the screen says for the fix, then what that screen says."""
    told = site.gov(*fixes(screen)[words]).ok().out
    following = re.search(r"^next: gov (.*)$", told, re.M)
    return site.gov.json(*following[1].replace('"..."', "tested").split()).ok().data


def test_against_comfyui_itself(settled, conflict):
    _, screen = conflict("old", "tqdm\nnumpy<1.25\n")
    assert "\nnumpy: old <1.25 against ComfyUI >=1.25\n" in screen
    assert list(fixes(screen)) == ["give up old's numpy<1.25"]
    done = settle(settled.site, screen, "give up old's numpy<1.25")
    assert [(c["name"], c["after"]) for c in done["changes"]] == [("tqdm", "4.67.1")]


def test_a_fix_that_touches_core_says_so_to_the_end(settled, conflict):
    txid, screen = conflict("old", "numpy<1.25\ntransformers<4.30\n")
    assert "touches core: transformers\n" in screen
    told = settled.site.gov(*fixes(screen)["give up old's numpy<1.25"]).ok().out
    assert f'next: gov tx promote {txid} --approve-core --reason "..."\n' in told
    assert_told(settled.site.gov("tx", "promote", txid), 3, "transformers")
    done = settled.site.gov.json("tx", "promote", txid, *core()).ok().data
    after = {change["name"]: change["after"] for change in done["changes"]}
    assert after == {"transformers": "4.26.1", "tqdm": "4.67.1"}


@pytest.mark.thorough
@pytest.mark.pypi
def test_through_a_real_package(tmp_path, world):
    """numba 0.60 wants numpy<2.1: the chain is read from a lock, and the range from uv."""
    comfyui = sample.write_comfyui(tmp_path / "ComfyUI")
    root = tmp_path / "comfy_env"
    root.mkdir()
    write_config(root, comfyui, world)
    gov = Gov(root)
    gov("init", root, "--resolution-date", "none").ok()
    for name, lines in (("modern", "numpy>=2.1\n"), ("compiled", "numba==0.60.0\ntqdm\n")):
        files = {**NODES["loads-two-classes"].files, "requirements.txt": lines}
        gov("node", "add", sample.write_node(tmp_path, name, own_classes(name, files))).ok()
    gov("tx", "promote", gov.json("tx", "run", "modern").ok().data["txid"]).ok()
    screen = gov("tx", "run", "compiled").out
    told = "numpy: compiled >=1.22,<2.1 (through numba 0.60.0) against modern >=2.1"
    assert f"\n{told}\n" in screen
    whole = gov("resolve", "last", "--suggest", "--all").ok().out
    assert "compiled requirements.txt:1  numba==0.60.0 -> numpy>=1.22,<2.1\n" in whole
    assert "modern requirements.txt:1    numpy>=2.1\n" in whole
    typed = fixes(screen)["give up compiled's numba==0.60.0"]
    told = gov(*typed).ok().out
    gov(*re.search(r"^next: gov (.*)$", told, re.M)[1].split()).ok()
    assert "tqdm" in gov("why", "tqdm").ok().out
    assert "compiled gave up numba==0.60.0" in gov("why", "numba").ok().out


@pytest.mark.thorough
def test_one_that_contradicts_itself(settled, conflict):
    _, screen = conflict("odd", "lark<1.2\n\nlark>=1.2\n")
    assert "\nlark: odd <1.2 against odd >=1.2; odd contradicts itself\n" in screen
    done = settle(settled.site, screen, "give up odd's lark<1.2")
    assert [(c["name"], c["after"]) for c in done["changes"]] == [("lark", "1.2.2")]


@pytest.mark.thorough
def test_a_name_that_is_none(settled, conflict):
    _, screen = conflict("typo", "colorama\nhumanise\n")
    told = "humanise: typo any version, but humanise is not on the index (is humanize meant?)"
    assert f"\n{told}\n" in screen
    assert "  fix 2: leave out humanise; nothing else brings humanise; " in screen
    done = settle(settled.site, screen, "leave out humanise")
    assert [c["name"] for c in done["changes"]] == ["colorama"]


@pytest.mark.thorough
def test_a_version_that_is_none(settled, conflict):
    _, screen = conflict("ahead", "lark==9\n")
    assert "\nlark: ahead ==9, but no such version of lark is on the index\n" in screen
    done = settle(settled.site, screen, "give up ahead's lark==9")
    assert [(c["name"], c["after"]) for c in done["changes"]] == [("lark", "1.2.2")]


@pytest.mark.thorough
def test_three_at_once(settled, conflict):
    txid, screen = conflict("trio", "numpy<1.25\nhumanize<4\nlark<1\ncolorama\n")
    told = re.findall(r"^(\w+): trio <", screen, re.M)
    assert sorted(told) == ["humanize", "lark", "numpy"]
    words = "give up trio's numpy<1.25, give up trio's humanize<4, give up trio's lark<1"
    done = settle(settled.site, screen, words)
    assert [c["name"] for c in done["changes"]] == ["colorama", "lark"]
    assert done["txid"] == txid


def test_pins_add_up_one_at_a_time(settled, conflict):
    txid, _ = conflict("trio", "numpy<1.25\nhumanize<4\n")
    ended = settled.site.gov("resolve", txid, "--pin", "numpy==2.4.1")
    assert_told(ended, 4, "trio")
    assert ended.out.startswith("not resolved with numpy==2.4.1\n")
    assert ended.out.count(" against ") == 1
    told = settled.site.gov("resolve", txid, "--pin", "humanize==4.14.0").ok().out
    assert told.startswith("resolved with numpy==2.4.1, humanize==4.14.0\n")


@pytest.mark.thorough
def test_another_suggestion_takes_the_place_of_the_first(settled, conflict):
    txid, screen = conflict("old", "humanize<4\n")
    first, second = "give up old's humanize<4", "give up sample-captioner's humanize>=4.9"
    assert list(fixes(screen)) == [first, second]
    told = settled.site.gov(*fixes(screen)[first]).ok().out
    assert told.startswith("resolved with giving up old's humanize<4\n")
    told = settled.site.gov(*fixes(screen)[second]).ok().out
    assert told.startswith("resolved with giving up sample-captioner's humanize>=4.9\n")
    settled.site.gov("tx", "promote", txid).ok()
    assert groups(settled.site)["node-old"] == ["humanize<4"]
    assert groups(settled.site)["node-sample-captioner"] == ["cowsay", "humanize"]


@pytest.mark.parametrize(
    ("pin", "code", "says"),
    [
        ("lark==77", "unknown_pin", "lark==77 cannot be had: no such version of lark"),
        ("larkk==1", "unknown_pin", "larkk==1 cannot be had: larkk is not on the index"),
        (
            "modern-only==1.0",
            "unknown_pin",
            "modern-only needs Python >=3.99, this workspace has 3.",
        ),
        ("colorama==0.4.6", None, ""),
        ("humanize>=4", "bad_pin", "is no pin"),
    ],
)
def test_pins_are_checked_before_anything(settled, conflict, pin, code, says):
    txid, _ = conflict("old", "humanize<4\n")
    before = settled.site.gov.json("tx", "inspect", txid).ok().data
    ended = settled.site.gov.json("resolve", txid, "--pin", pin)
    if code is None:
        assert ended.code == 4, "it exists, and does not help"
        return
    assert (ended.code, ended.error["code"]) == (2, code)
    assert says in ended.error["message"]
    assert settled.site.gov.json("tx", "inspect", txid).ok().data == before


def test_a_pin_that_holds_nothing_is_refused(settled, conflict):
    txid, _ = conflict("old", "humanize<4\n")
    given = ("--pin", "humanize==4.9.0", "--pin", "colorama==0.4.6")
    ended = settled.site.gov("resolve", txid, *given)
    assert_told(ended, 2, "colorama==0.4.6 would hold nothing")
    settled.site.gov("resolve", txid, "--pin", "humanize==4.9.0").ok()
    settled.site.gov("tx", "promote", txid).ok()
    assert "colorama" not in (settled.site.root / "pyproject.toml").read_text()


def test_a_failing_pin_never_offers_comfyuis_own_line(settled, conflict):
    """Given up can be only what the node asks for."""
    txid, _ = conflict("old", "numpy<1.25\ntransformers<4.30\n")
    settled.site.gov("resolve", txid, "--pin", "transformers==4.57.1")
    data = settled.site.gov.json("resolve", txid, "--suggest").ok().data
    changed = [row["line"] for fix in data["suggestions"] for row in fix["replaced"]]
    changed += [line for fix in data["suggestions"] for line in fix["dropped"]]
    assert changed
    assert {line["owner"] for line in changed} == {"node:old"}


@pytest.mark.thorough
def test_the_extras_of_what_is_held_are_kept(settled, conflict, add):
    add("wide", "transformers[timm]>=4.50\n")
    settled.site.gov("tx", "promote", settled.site.run("wide"), *core()).ok()
    txid, _ = conflict("narrow", "transformers==4.26.1\n")
    settled.site.gov("resolve", txid, "--pin", "transformers==4.57.1").ok()
    done = settled.site.gov.json("tx", "promote", txid).ok().data
    assert done["changes"] == []
    text = (settled.site.root / "pyproject.toml").read_text()
    assert '"transformers[timm]==4.57.1"' in text


@pytest.mark.thorough
def test_the_extras_of_a_line_that_is_given_up_are_kept(settled, conflict, add):
    add("wide", "transformers>=4.50\n")
    settled.site.gov("tx", "promote", settled.site.run("wide"), *core()).ok()
    txid, screen = conflict("narrow", "transformers[timm]==4.26.1\n")
    settled.site.gov(*fixes(screen)["give up narrow's transformers[timm]==4.26.1"]).ok()
    done = settled.site.gov.json("tx", "promote", txid, *core()).ok().data
    assert "timm" in [change["name"] for change in done["changes"]]
    assert groups(settled.site)["node-narrow"] == ["transformers[timm]"]


def core():
    return "--approve-core", "--reason", "a test"


def groups(site):
    """The lines of each group that the truth declares."""
    return tomllib.loads((site.root / "pyproject.toml").read_text())["dependency-groups"]


def test_an_earlier_commit_taken_as_the_screen_says(settled, conflict):
    """It ranks after a range of the node's own."""
    site = settled.site
    txid, screen = conflict("grew", "lark\nhumanize<4\n", "lark\n")
    fitting = sample.git(site.nodes / "grew", "rev-parse", "HEAD^")
    words = f"take the node at {fitting[:12]}"
    assert list(fixes(screen))[:2] == ["give up grew's humanize<4", words]
    assert f"  fix 2: {words}; an older commit; in prod: 1 added\n" in screen
    assert fixes(screen)[words] == ["resolve", txid, "--accept", "2"]
    told = site.gov(*fixes(screen)[words]).ok().out
    taken = re.search(rf"{txid} is aborted: (\S+) takes its place", told)[1]
    done = site.gov.json("tx", "promote", taken).ok().data
    assert [c["name"] for c in done["changes"]] == ["lark"]
    assert site.head("grew") == fitting


def test_a_family_settled_as_the_screen_says(settled, add):
    site = settled.site
    add("eyes", "opencv-python\nopencv-contrib-python\n")
    screen = site.gov("tx", "run", "eyes").ok().out
    assert re.search(r"opencv-\S+ and opencv-\S+ install \d+ of the same files", screen)
    command = re.search(r" alone will do: gov (.*)$", screen, re.M)[1]
    assert command == "tx run eyes --without opencv-python"
    told = site.gov(*command.split()).ok().out
    assert "same files" not in told
    assert "resolved with no opencv-python installed" in told
    done = site.gov.json("tx", "promote", told.split()[0]).ok().data
    assert [c["name"] for c in done["changes"]] == ["opencv-contrib-python"]
    truth = site.root / "pyproject.toml"
    assert "opencv-python ; sys_platform == 'never'" in truth.read_text()
    site.gov("node", "remove", "eyes").ok()
    assert "never" not in truth.read_text(), "the node's own overrides go with it"


def test_a_moved_base_is_shown_refused_and_observed_again(settled, add):
    site = settled.site
    add("first", "tqdm==4.66.0\n")
    add("second", "tqdm\n")
    second = site.run("second")
    site.gov("tx", "promote", site.run("first")).ok()
    shown = site.gov("tx", "promote", second, "--dry-run").ok()
    assert "tqdm 4.67.1 -> 4.66.0" in shown.problems("warning")[0]
    assert f"next: gov tx promote {second} --rebase" in shown.out
    assert_told(site.gov("tx", "promote", second), 3, "tqdm 4.67.1 -> 4.66.0")
    done = site.gov.json("tx", "promote", second, "--rebase").ok().data
    assert (done["status"], done["changes"]) == ("promoted", [])
    assert site.gov.json("tx", "inspect", second).ok().data["status"] == "aborted"


@pytest.mark.thorough
def test_a_base_that_moved_elsewhere_is_no_obstacle(settled, add):
    site = settled.site
    add("first", "lark\n")
    add("second", "tqdm\n")
    second = site.run("second")
    site.gov("tx", "promote", site.run("first")).ok()
    shown = site.gov("tx", "promote", second, "--dry-run").ok()
    assert shown.problems("warning") == [
        "warning: the truth moved since this run, but not what the node was observed with"
    ]
    done = site.gov.json("tx", "promote", second).ok().data
    assert [c["name"] for c in done["changes"]] == ["tqdm"]


@pytest.mark.thorough
def test_a_rebase_keeps_what_was_resolved(settled, conflict, add):
    txid, screen = conflict("old", "humanize<4\nlark\n")
    settled.site.gov(*fixes(screen)["give up old's humanize<4"]).ok()
    add("first", "colorama\n")
    settled.site.gov("tx", "promote", settled.site.run("first")).ok()
    done = settled.site.gov.json("tx", "promote", txid, "--rebase").ok().data
    assert [c["name"] for c in done["changes"]] == ["lark"]
    assert groups(settled.site)["node-old"] == ["humanize", "lark"]
