"""What an accepted fix leaves in the truth: lines given up or replaced, and their end."""

import json
import re
import tomllib

import pytest
from support.refusal import assert_told
from support.worlds import own_classes

from governance.sample import world as sample
from governance.sample.nodes import NODES
from governance.sample.wheels import Wheel, build

ROW = {"text": "humanize<4", "to": "humanize"}


class Node:
    """A node and the repository that it was cloned from; `commit` makes that newer."""

    def __init__(self, site, folder, name):
        self.site, self.folder, self.name = site, folder, name

    def commit(self, lines, mark=""):
        init = NODES["loads-two-classes"].files["__init__.py"] + mark
        files = own_classes(self.name, {"__init__.py": init, "requirements.txt": lines})
        sample.write_node(self.folder, self.name, files)
        return sample.git(self.folder / self.name, "rev-parse", "HEAD")

    @property
    def record(self):
        plugins = json.loads((self.site.root / "state/plugins.json").read_text())
        return next(row for row in plugins if row["id"] == self.name)

    def conflict(self):
        """The txid and the screen of a run that must conflict."""
        ended = self.site.gov("tx", "run", self.name)
        assert_told(ended, 4, self.name)
        return ended.out.split()[0], ended.out

    def accept(self, *approvals):
        """Run it, accept the first fix, promote; the data of the promote."""
        txid, _ = self.conflict()
        self.site.gov("resolve", txid, "--accept", "1").ok()
        return self.site.gov.json("tx", "promote", txid, *approvals).ok().data


@pytest.fixture
def node(settled, tmp_path):
    """`node(name, lines)` is added and not run yet."""

    def added(name, lines):
        made = Node(settled.site, tmp_path, name)
        made.commit(lines)
        settled.site.gov("node", "add", tmp_path / name).ok()
        return made

    return added


def truth(site):
    return tomllib.loads((site.root / "pyproject.toml").read_text())


def group(site, name):
    return truth(site)["dependency-groups"][f"node-{name}"]


# --- lines given up ---------------------------------------------------------------------------


@pytest.mark.thorough
def test_the_bare_name_stays_and_the_line_is_kept_in_mind(settled, node):
    old = node("old", "humanize<4\nlark\n")
    done = old.accept()
    assert [change["name"] for change in done["changes"]] == ["lark"]
    assert group(settled.site, "old") == ["humanize", "lark"]
    assert (old.record["managed_deps"], old.record["given_up"]) == (["humanize", "lark"], [ROW])
    assert old.record["override_deps"] == []
    told = settled.site.gov("why", "humanize").ok().out
    assert (
        "  old gave up humanize<4, humanize stands in its place; "
        "`gov node update old` tries it again\n"
    ) in told
    data = settled.site.gov.json("why", "humanize").ok().data
    assert data["given_up"] == [{"node_id": "old", **ROW}]
    assert settled.site.gov.json("why", "lark").ok().data["given_up"] == []


@pytest.mark.thorough
def test_it_holds_nothing_that_a_later_node_asks_for(settled, node):
    node("old", "humanize<4\n").accept()
    node("later", "humanize<4.13\n")
    ended = settled.site.gov("tx", "run", "later").ok()
    assert ended.problems("warning") == []
    data = settled.site.gov.json("tx", "inspect", "last").ok().data
    assert data["plan"].get("notes", []) == []
    done = settled.site.gov.json("tx", "promote", "last").ok().data
    assert [(c["name"], c["after"]) for c in done["changes"]] == [("humanize", "4.12.0")]
    assert "override-dependencies" not in truth(settled.site)["tool"]["uv"]


@pytest.mark.thorough
def test_another_nodes_line_is_kept_in_mind_with_that_node(settled, node):
    """The newcomer keeps its own."""
    old = node("old", "humanize<4\n")
    txid, screen = old.conflict()
    assert "  fix 2: give up sample-captioner's humanize>=4.9; " in screen
    settled.site.gov("resolve", txid, "--accept", "2").ok()
    settled.site.gov("tx", "promote", txid).ok()
    other = Node(settled.site, None, "sample-captioner")
    assert other.record["given_up"] == [{"text": "humanize>=4.9", "to": "humanize"}]
    assert (group(settled.site, "old"), old.record["given_up"]) == (["humanize<4"], [])
    told = settled.site.gov("why", "humanize").ok().out
    assert "  sample-captioner gave up humanize>=4.9" in told


# --- tried again ------------------------------------------------------------------------------


@pytest.mark.thorough
def test_an_update_to_a_range_that_fits_gives_up_nothing(settled, node):
    old = node("old", "humanize<4\n")
    old.accept()
    commit = old.commit("humanize<5\n")
    ended = settled.site.gov("node", "update", "old", "--promote").ok()
    assert "given up before" not in ended.err
    assert (old.record["commit"], old.record["given_up"]) == (commit, [])
    assert group(settled.site, "old") == ["humanize<5"]
    assert settled.site.gov.json("why", "humanize").ok().data["given_up"] == []


def test_an_update_with_a_line_that_fits_by_now_takes_it_back(settled, node):
    """The other node that it did not stand with is gone."""
    old = node("old", "humanize<4\n")
    old.accept()
    settled.site.gov("node", "remove", "sample-captioner").ok()
    old.commit("humanize<4\n", "# newer\n")
    settled.site.gov("node", "update", "old", "--promote").ok()
    assert old.record["given_up"] == []
    assert group(settled.site, "old") == ["humanize<4"]
    assert settled.site.installed()["humanize"] == "3.14.0"


@pytest.mark.thorough
def test_an_update_with_the_same_line_gives_it_up_again(settled, node):
    old = node("old", "humanize<4\n")
    old.accept()
    commit = old.commit("humanize<4\ncolorama\n")
    ended = settled.site.gov("node", "update", "old").ok()
    assert "locking without the lines that were given up before" in ended.err
    txid = ended.out.split()[0]
    assert not (settled.site.root / f"state/conflicts/{txid}.json").exists()
    told = settled.site.gov("tx", "inspect", txid).ok().out
    assert "resolved with giving up old's humanize<4\n" in told
    done = settled.site.gov.json("tx", "promote", txid).ok().data
    assert [change["name"] for change in done["changes"]] == ["colorama"]
    assert (old.record["commit"], old.record["given_up"]) == (commit, [ROW])
    assert group(settled.site, "old") == ["humanize", "colorama"]


@pytest.mark.thorough
def test_an_update_with_a_new_line_that_does_not_fit_asks_again(settled, node):
    """What was given up is another line, and says nothing about this one."""
    old = node("old", "humanize<4\n")
    old.accept()
    old.commit("humanize<4.1\n")
    ended = settled.site.gov("node", "update", "old")
    assert_told(ended, 4, "old")
    assert "  fix 1: give up old's humanize<4.1; " in ended.out
    assert old.record["given_up"] == [ROW], "nothing moves before the promotion"


# --- another name -----------------------------------------------------------------------------


@pytest.mark.thorough
def test_a_misspelt_name_is_replaced(settled, node):
    typo = node("typo", "colorama\nhumanise>=4\n")
    txid, screen = typo.conflict()
    assert "  fix 1: take humanize for typo's humanise>=4; " in screen
    told = settled.site.gov("resolve", txid, "--accept", "1").ok().out
    assert told.startswith("resolved with taking humanize for typo's humanise>=4\n")
    done = settled.site.gov.json("tx", "promote", txid).ok().data
    assert [change["name"] for change in done["changes"]] == ["colorama"]
    assert group(settled.site, "typo") == ["colorama", "humanize"]
    assert typo.record["given_up"] == [{"text": "humanise>=4", "to": "humanize"}]
    assert "typo gave up humanise>=4, humanize stands" in settled.site.gov("why", "humanize").out


@pytest.mark.thorough
def test_a_line_that_was_left_out_stays_out_at_an_update(settled, node):
    typo = node("typo", "colorama\nhumanise\n")
    txid, screen = typo.conflict()
    assert "  fix 2: leave out humanise; " in screen
    told = settled.site.gov("resolve", txid, "--accept", "2").ok().out
    assert told.startswith("resolved with leaving out humanise\n")
    settled.site.gov("tx", "promote", txid).ok()
    assert group(settled.site, "typo") == ["colorama"]
    assert typo.record["given_up"] == [{"text": "humanise", "to": ""}]
    assert settled.site.gov.json("why", "colorama").ok().data["given_up"] == []
    typo.commit("colorama\nhumanise\nlark\n")
    settled.site.gov("node", "update", "typo", "--promote").ok()
    assert group(settled.site, "typo") == ["colorama", "lark"]
    assert typo.record["given_up"] == [{"text": "humanise", "to": ""}]


# --- a range inside a package -----------------------------------------------------------------


@pytest.fixture
def scoped(settled, node):
    """A node whose package wants what prod does not have; its first fix is accepted."""
    build(Wheel("wants-old", "1.0", requires=("humanize<4",)), settled.site.world.wheels)
    inside = node("inside", "wants-old\n")
    txid, screen = inside.conflict()
    words = "do not ask wants-old 1.0 for its range of humanize"
    assert f"  fix 1: {words}; breaks wants-old 1.0's humanize<4; " in screen
    told = settled.site.gov("resolve", txid, "--accept", "1").ok().out
    assert told.startswith("resolved with wants-old 1.0 not asked for its range of humanize\n")
    assert re.search(r"^next: gov tx promote \S+ --accept-incompatible$", told, re.M), told
    return inside, txid


def test_a_range_inside_a_package_is_not_asked_for(settled, scoped):
    inside, txid = scoped
    ended = settled.site.gov("tx", "promote", txid)
    assert_told(ended, 3, "wants-old 1.0 requires humanize<4, but humanize 4.14.0 is installed")
    settled.site.gov("tx", "promote", txid, "--accept-incompatible").ok()
    assert inside.record["scoped_deps"] == [
        {"package": "wants-old", "version": "1.0", "dependency": "humanize"}
    ]
    assert truth(settled.site)["tool"]["uv"]["override-dependencies"] == [
        {"package": {"name": "wants-old", "version": "1.0"}, "dependencies": ["humanize"]}
    ]
    told = settled.site.gov("why", "humanize").ok().out
    assert "  wants-old 1.0 is not asked for its range of it\n" in told


def test_it_goes_with_the_node_that_needed_it(settled, scoped):
    before = truth(settled.site)
    settled.site.gov("tx", "promote", scoped[1], "--accept-incompatible").ok()
    promoted = truth(settled.site)
    settled.site.gov("node", "disable", "inside").ok()
    assert truth(settled.site) == before
    settled.site.gov("node", "enable", "inside", "--accept-incompatible").ok()
    assert truth(settled.site) == promoted, "it comes back with the node"
    settled.site.gov("node", "remove", "inside").ok()
    assert truth(settled.site) == before


# --- another commit ---------------------------------------------------------------------------


def test_a_newer_commit_is_the_first_fix_and_taken_by_its_number(settled, node):
    late = node("late", "humanize<4\n")
    commit = late.commit("humanize>=4\nlark\n")
    old, screen = late.conflict()
    assert f"  fix 1: take the node at {commit[:12]}; in prod: 1 added\n" in screen
    told = settled.site.gov("resolve", old, "--accept", "1").ok().out
    new = re.match(rf"{old} is aborted: (\S+) takes its place\n", told)[1]
    assert settled.site.gov.json("tx", "inspect", old).ok().data["status"] == "aborted"
    assert settled.site.gov.json("tx", "inspect", new).ok().data["status"] == "completed"
    settled.site.gov("tx", "promote", new).ok()
    assert (late.record["commit"], late.record["given_up"]) == (commit, [])
    assert group(settled.site, "late") == ["humanize>=4", "lark"]
    assert settled.site.head("late") == commit
