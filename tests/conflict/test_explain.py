"""Real conflicts of tiny wheels: the named lines are the culprits, and every fix offered works."""

import sys

import pytest

from governance.conflict import causes, fixes, price
from governance.conflict.fixes import Prod, Ref
from governance.conflict.problem import NODE, Problem
from governance.conflict.remedy import Remedy
from governance.conflict.search import Search
from tests.conflict.conftest import owned


def sets(report):
    return [{(line.who, line.text) for line in cause.lines} for cause in report.causes]


def kinds(report):
    return [cause.kind for cause in report.causes]


def fix(report, kind):
    return next(fix for fix in report.fixes if fix.kind == kind)


def test_two_direct_lines(world):
    world.core = ["num>=1", "av"]
    world.nodes = {"one": ["av>=12", "num<2"], "two": ["acc", "num>=2"]}
    report = world.explain("two")
    assert kinds(report) == ["conflict"]
    assert sets(report) == [{("two", "num>=2"), ("one", "num<2")}]
    assert report.causes[0].package == "num"
    assert report.causes[0].lines[0].place == "requirements.txt:2"
    assert "two wants num>=2 (requirements.txt:2)" in report.causes[0].sentence
    assert report.complete


def test_every_fix_offered_locks_when_applied_by_hand(world):
    world.core = ["num>=1", "trans[tim]"]
    world.nodes = {"one": ["num<2", "acc<0.4"], "two": ["num>=2", "peft", "trans<5"]}
    report = world.explain("two")
    assert len(report.fixes) >= 2
    for offered in report.fixes:
        solved = world.again(offered)
        assert solved.ok, (offered, solved.log)


def test_the_fixes_name_what_they_break_and_change(world):
    world.core = ["num>=1"]
    world.nodes = {"one": ["num<2"], "two": ["num>=2"]}
    report = world.explain("two", core_packages=frozenset({"num"}))
    keep, move = report.fixes
    assert (keep.kind, [one.to for one in keep.replaced], keep.changes) == (
        "relax-line",
        ["num"],
        (),
    )
    assert keep.violates == ("gives up two's num>=2",)
    assert keep.command == "gov resolve {txid} --accept 1"
    assert (move.kind, move.core, move.nodes) == ("relax-line", ("num",), ("node:one",))
    assert move.violates == ("gives up one's num<2",)
    assert [(c.name, c.before, c.after) for c in move.changes] == [("num", "1.5", "2.2")]


def test_against_comfyui_itself(world):
    world.core = ["av>=14"]
    world.nodes = {"two": ["av==12"]}
    report = world.explain("two")
    assert sets(report) == [{("two", "av==12"), ("ComfyUI", "av>=14")}]


def test_a_transitive_party_is_shown_with_its_chain(world):
    world.core = ["num"]
    world.nodes = {"one": ["num>=2"], "two": ["acc", "outer"]}
    report = world.explain("two")
    assert sets(report) == [{("two", "outer"), ("one", "num>=2")}]
    assert report.causes[0].package == "num"
    assert report.causes[0].chains == (("outer", "outer 1.0", "grad 1.0", "num<2"), ("num>=2",))
    now = report.fixes[0]
    assert (now.kind, now.scoped) == ("scoped", (("grad", "1.0", "num"),))
    assert now.violates == ("breaks grad 1.0's num<2",)
    assert world.again(now).versions["num"] == "2.2"


def test_all_opponents_of_one_line(world):
    world.core = ["num>=1"]
    world.nodes = {"one": ["num<2"], "other": ["grad"], "third": ["num<=1.5"], "two": ["num>=2"]}
    report = world.explain("two")
    assert report.causes[0].lines[0].text == "num>=2"
    against = {line.who for cause in report.causes for line in cause.lines} - {"two"}
    assert against == {"one", "other", "third"}
    assert report.fixes[0].violates == ("gives up two's num>=2",)


def test_three_conflicts_at_once(world):
    world.core = ["num>=2", "av>=14", "acc>=0.4"]
    world.nodes = {"two": ["num<2", "tim", "av<14", "acc<0.4"]}
    report = world.explain("two")
    assert {cause.package for cause in report.causes} == {"num", "av", "acc"}
    assert kinds(report) == ["conflict"] * 3
    best = report.fixes[0]
    assert best.kind == "relax-line"
    assert [one.line.text for one in best.replaced] == ["num<2", "av<14", "acc<0.4"]
    assert world.again(best).versions["num"] == "2.2"


def test_a_node_that_contradicts_itself(world):
    world.core = ["av"]
    world.nodes = {"two": ["num<2", "num>=2"]}
    report = world.explain("two")
    assert kinds(report) == ["self-contradiction"]
    assert len(fix(report, "relax-line").replaced) == 1


def test_one_line_that_contradicts_itself(world):
    world.core = ["av"]
    world.nodes = {"two": ["num<1,>2"]}
    assert kinds(world.explain("two")) == ["self-contradiction"]


def test_a_node_that_contradicts_itself_through_a_package(world):
    world.core = ["av"]
    world.nodes = {"two": ["peft", "acc<0.4"]}
    report = world.explain("two")
    assert kinds(report) == ["self-contradiction"]
    assert report.causes[0].chains[0] == ("peft", "peft 1.0", "acc>=0.4")


def test_one_package_that_contradicts_itself(world):
    """uv then also says which versions there are, and yet no version is missing."""
    world.core = ["av"]
    world.nodes = {"two": ["torn"]}
    assert kinds(world.explain("two")) == ["self-contradiction"]


def test_pages_that_are_not_in_the_cache_are_fetched(world, tmp_path):
    world.core = ["num>=1", "acc"]
    world.nodes = {"one": ["num<2"], "other": ["grad"], "two": ["num>=2"]}
    whole = world.explain("two")
    world.cache = tmp_path / "empty-cache"
    problem = Problem(world.lines(), (), frozenset({NODE + "two"}))
    assert explain_directly(world, problem).causes == whole.causes


def test_only_the_ranges_that_have_to_go_are_given_up(world):
    world.core = ["num>=2", "av"]
    world.nodes = {"two": ["num<2", "num>=2.1", "av<14"]}
    best = world.explain("two").fixes[0]
    assert [one.line.text for one in best.replaced] == ["num<2"]
    assert world.again(best).versions["av"] == "12"


def test_the_first_fix_of_one_line_takes_one_lock(world):
    """To put the only line back would ask once more what is known to fail."""
    world.core = ["num>=1"]
    world.nodes = {"one": ["num<2"], "two": ["num>=2"]}
    problem = Problem(world.lines(), newcomers=frozenset({NODE + "two"}))
    search = Search(problem, world.solver(), 60, lambda doing: None)
    assert search.first_log()
    first = fixes.first(search, Prod({}, frozenset(), {}))
    assert first.violates == ("gives up two's num>=2",)
    assert search.runs == 2


def test_a_range_that_only_an_extra_asks_for_has_its_price(world):
    world.core = ["num"]
    world.nodes = {"one": ["num>=2"], "two": ["opt[fast]"]}
    now = world.explain("two").fixes[0]
    assert (now.kind, now.scoped) == ("scoped", (("opt", "1.0", "num"),))
    assert now.violates == ("breaks opt 1.0's num<2",)
    assert world.again(now).versions["num"] == "2.2"


def test_an_override_names_what_an_extra_asks_for(world):
    world.core = ["num"]
    world.nodes = {"one": ["num>=2"], "two": ["opt[fast]"]}
    problem = Problem(world.lines(), newcomers=frozenset({NODE + "two"}))
    search = Search(problem, world.solver(), 60, lambda doing: None)
    remedy = Remedy(overrides=("num==2.2",), pins=(("num", "2.2"),))
    solved = search.ask(remedy.question(search), "locking")
    assert [loss.sentence for loss in price.losses(search, remedy, solved)] == [
        "breaks opt 1.0's num<2"
    ]


def test_a_package_that_does_not_lock_by_itself_has_its_price_too(world):
    world.core = ["num"]
    world.nodes = {"two": ["torn"]}
    now = world.explain("two").fixes[0]
    assert world.again(now).versions["num"] == "2.2"
    assert set(now.violates) == {
        "breaks mid 1.0's num>1.5,<2.2",
        "breaks torn 1.0's num>=1.5,<2",
    }


@pytest.mark.parametrize("pin", ["compiled<2", "compiled==1.0"])
def test_compiled_code_from_before_numpy_2_goes_with_the_numpy_of_its_time(world, pin):
    """It would lock with numpy 2, but not load: no metadata says so."""
    world.nodes = {"one": ["numpy>=2"], "two": [pin, "numpy<2"]}
    best, other = world.explain("two").fixes
    assert {one.line.text for one in best.replaced} == {pin, "numpy<2"}
    assert world.again(best).versions == {"compiled": "2.0", "numpy": "2.1"}
    assert [one.line.text for one in other.replaced] == ["numpy>=2"]
    assert world.again(other).versions["numpy"] == "1.26"


def test_compiled_code_that_was_built_for_numpy_2_keeps_its_pin(world):
    world.nodes = {"one": ["numpy>=2"], "two": ["compiled>=1.1", "numpy<2"]}
    assert [one.line.text for one in world.explain("two").fixes[0].replaced] == ["numpy<2"]


def test_comfyui_s_own_lines_are_never_given_up(world):
    world.core = ["num<2"]
    world.nodes = {"one": ["av"], "two": ["num>=2"]}
    losses = {loss for offered in world.explain("two").fixes for loss in offered.losses}
    assert "core" not in losses


def test_a_later_node_meets_no_trace_of_a_fix(world):
    """An override would hold num for everybody; a range that was given up holds nobody."""
    world.core = ["num>=1"]
    world.nodes = {"one": ["num<2"], "two": ["num>=2"]}
    best = world.explain("two").fixes[0]
    assert (best.overrides, best.scoped) == ((), ())


def test_ranges_of_a_node_and_of_a_package_together(world):
    world.core = ["num>=2"]
    world.nodes = {"one": ["acc<0.4"], "two": ["grad", "peft", "num==1.5"]}
    best = world.explain("two").fixes[0]
    assert {(one.package, one.dependency) for one in best.scoped} == {
        ("grad", "num"),
        ("peft", "acc"),
    }
    assert [one.line.text for one in best.replaced] == ["num==1.5"]
    assert sorted(best.violates) == [
        "breaks grad 1.0's num<2",
        "breaks peft 1.0's acc>=0.4",
        "gives up two's num==1.5",
    ]
    assert world.again(best).ok


def test_an_override_is_the_last_resort(world):
    world.core = ["num>=2", "num<2"]
    world.nodes = {"one": ["av"]}
    assert [offered.kind for offered in world.explain().fixes] == ["override"]


@pytest.mark.parametrize(
    ("line", "kind", "package"),
    [
        ("avv", "not-on-index", "avv"),
        ("winonly", "no-wheel", "winonly"),
        ("modern", "python", "modern"),
        ("novel>=2", "python", "novel"),
        ("on-novel", "python", "novel"),
        ("both", "python", "novel"),
        ("needs-ghost", "not-on-index", "ghost"),
        ("broken", "build", "broken"),
    ],
)
def test_a_line_that_fails_alone_is_named_for_what_it_is(world, line, kind, package):
    world.core = ["num", "av"]
    world.nodes = {"one": ["acc"], "two": ["tim", line]}
    report = world.explain("two")
    assert (kinds(report), report.causes[0].package) == ([kind], package)
    assert sets(report) == [{("two", line)}]
    assert world.again(fix(report, "drop-line")).ok
    assert fix(report, "drop-line").dropped == report.causes[0].lines


@pytest.mark.parametrize(
    ("line", "kind", "package"),
    [
        ("num==99", "no-version", "num"),
        ("num>=99", "no-version", "num"),
        ("withdrawn>1", "yanked", "withdrawn"),
    ],
)
def test_a_range_without_a_version_is_given_up(world, line, kind, package):
    world.core = ["num", "av"]
    world.nodes = {"one": ["acc"], "two": ["tim", line]}
    report = world.explain("two")
    assert (kinds(report), report.causes[0].package) == ([kind], package)
    assert report.fixes[0].violates == (f"gives up two's {line}",)
    assert package in world.again(report.fixes[0]).versions


def test_a_misspelt_name_is_replaced_by_its_neighbour(world):
    world.core = ["trans", "num<2"]
    world.nodes = {"two": ["tran", "num>=2"]}
    report = world.explain("two")
    assert any("(is trans meant?)" in cause.sentence for cause in report.causes)
    meant, without = report.fixes[:2]
    assert (meant.kind, meant.replaced[0].to) == ("replace-line", "trans")
    assert meant.violates == ("takes trans for two's tran", "gives up two's num>=2")
    assert without.kind == "drop-line"


def what(world, *lines, one=()):
    world.core = ["num"]
    world.nodes = {"one": [*one], "two": [*lines]}
    (cause,) = world.explain("two").causes
    return cause.what, [(p.who, p.name, p.spec, p.through, p.is_new) for p in cause.parties]


def test_another_python_is_named_with_the_one_there_is(world):
    has = f"this workspace has 3.{sys.version_info[1]}"
    told = f"novel needs Python >=3.99, {has}"
    assert what(world, "novel") == (told, [("two", "novel", "", (), True)])
    through = ("on-novel>=2",)
    assert what(world, "on-novel>=2") == (told, [("two", "novel", ">=2", through, True)])
    assert what(world, "gap>=2", one=["gap<3"]) == (
        f"gap needs Python >=3.98, {has}",
        [("two", "gap", ">=2", (), True), ("one", "gap", "<3", (), False)],
    )


def test_why_a_build_failed_is_told(world):
    told = "broken has no wheel here and building it failed (no compiler)"
    assert what(world, "broken") == (told, [("two", "broken", "", (), True)])


def test_the_range_is_there_though_uv_lists_several(world):
    _, parties = what(world, "picky", one=["num>=2.2"])
    assert parties == [
        ("two", "num", "!=1.5,<2.2", ("picky 1.0",), True),
        ("one", "num", ">=2.2", (), False),
    ]


def test_a_thorough_search_leaves_nothing_out(world, monkeypatch):
    """Neither the time that belongs to fixes nor the number of causes ends it."""
    monkeypatch.setattr(causes, "MOST_CAUSES", 1)
    monkeypatch.setattr(causes, "MOST_SETS", 1)
    world.core = ["num>=2"]
    world.nodes = {"one": ["grip"], "other": ["num>1.5"], "two": ["num<1.5"]}
    cut = world.explain("two")
    assert (len(cut.causes), cut.complete) == (1, False)
    whole = world.explain("two", thorough=True)
    against = {line.who for cause in whole.causes for line in cause.lines} - {"two"}
    assert against == {"ComfyUI", "one", "other"}
    assert (whole.complete, whole.fixes) == (True, ())


def test_a_thorough_search_does_not_keep_time_for_fixes(world):
    problem = Problem(world.lines(), (), frozenset({NODE + "two"}))
    late = Search(problem, world.solver(), 0.0, print)
    assert late.is_late
    assert not Search(problem, world.solver(), 0.0, print, is_thorough=True).is_late


def test_no_wheel_where_building_is_forbidden(world):
    world.settings = {"no_build": True}
    world.nodes = {"two": ["source-only"]}
    world.core = ["num"]
    assert kinds(world.explain("two")) == ["no-wheel"]


def test_a_version_newer_than_the_resolution_date(world):
    world.settings = {"date": "2024-01-01T00:00:00Z"}
    world.core = ["young>=1"]
    world.nodes = {"two": ["young>=2"]}
    report = world.explain("two")
    assert kinds(report) == ["newer-than-date"]
    assert report.fixes[0].kind == "exempt-date"
    assert report.fixes[0].exempt == ("young",)
    assert report.fixes[0].violates == ()
    assert world.again(report.fixes[0]).versions["young"] == "2.0"
    assert not world.lock(world.lines()).ok


def test_extras_are_carried_over(world):
    world.core = ["trans[tim]>=5"]
    world.nodes = {"two": ["trans[tim]<5"]}
    report = world.explain("two")
    assert report.fixes[0].replaced[0].to == "trans[tim]"
    for offered in report.fixes:
        assert "tim" in world.again(offered).versions, offered


def test_extras_that_only_a_package_asks_for_are_carried_over(world):
    """No line names the extra, and an override would drop it."""
    world.core = ["asker", "trans>=5", "trans<5"]
    world.nodes = {"one": ["av"]}
    alone = world.lock(owned("core", "asker")).lock
    report = world.explain(lock_now=alone)
    assert report.fixes[0].pins[0].startswith("trans[tim]==")
    assert "tim" in world.again(report.fixes[0]).versions


def test_three_lines_that_only_together_clash(world):
    world.core = ["bridge>=1"]
    world.nodes = {"one": ["left==2"], "two": ["right==2"]}
    report = world.explain("two")
    assert sets(report) == [{("ComfyUI", "bridge>=1"), ("one", "left==2"), ("two", "right==2")}]
    assert report.fixes[0].violates == ("gives up two's right==2",)
    assert all(world.again(offered).ok for offered in report.fixes)


def test_one_range_that_goes_uncovers_a_second_clash(world):
    """The package brings another clash that is in nobody's way today."""
    world.core = ["av==12"]
    world.nodes = {"one": ["acc<0.4"], "two": ["av>=14", "heavy"]}
    report = world.explain("two")
    assert report.fixes
    assert all(world.again(offered).ok for offered in report.fixes)


def test_several_ranges_inside_packages_when_one_is_not_enough(world):
    world.core = ["num>=2"]
    world.nodes = {"one": ["acc<0.4"], "two": ["grad", "peft"]}
    best = world.explain("two").fixes[0]
    assert {one.package for one in best.scoped} == {"grad", "peft"}


def test_what_is_installed_is_spared_although_the_newcomer_gives_up_more(world):
    """The second conflict runs through the version at which the first one holds a package."""
    world.core = ["av"]
    world.nodes = {"one": ["lib==1"], "two": ["lib>=2", "num>=2"]}
    report = world.explain("two")
    assert {cause.package for cause in report.causes} == {"lib", "num"}
    assert report.fixes[0].violates == ("gives up two's lib>=2", "gives up two's num>=2")
    assert report.fixes[-1].violates == ("gives up one's lib==1",)
    assert all(world.again(offered).ok for offered in report.fixes)


def test_a_newer_version_of_what_the_node_asks_for(world):
    """It keeps the package, where leaving out the line would lose it."""
    world.core = ["av"]
    world.nodes = {"one": ["num>=2"], "two": ["lib<2"]}
    best = world.explain("two").fixes[0]
    assert best.violates == ("gives up two's lib<2",)
    assert world.again(best).versions["lib"] == "2.0"


def test_more_conflicts_than_are_looked_for_have_a_fix(world, monkeypatch):
    """A node of forty old pins had sixty causes, and no fix was offered."""
    monkeypatch.setattr(causes, "MOST_SETS", 1)
    names = {"num": 2, "acc": 0.4, "av": 14, "trans": 5, "left": 2, "right": 2}
    world.core = [f"{name}>={version}" for name, version in names.items()]
    world.nodes = {"two": [f"{name}<{version}" for name, version in names.items()]}
    report = world.explain("two")
    assert len(report.fixes[0].replaced) == 6
    assert all(world.again(offered).ok for offered in report.fixes)
    assert not report.complete


@pytest.mark.parametrize(("most", "complete"), [(3, True), (2, False)])
def test_causes_that_were_not_looked_for_are_no_secret(world, monkeypatch, most, complete):
    monkeypatch.setattr(causes, "MOST_CAUSES", most)
    world.core = ["av"]
    world.nodes = {"one": ["num>=2", "left>=2"], "two": ["num<2", "left<2"]}
    report = world.explain("two")
    assert (len(report.causes), report.complete) == (2, complete)


def test_opponents_that_were_not_looked_for_for_want_of_time_are_no_secret(world, monkeypatch):
    world.core = ["num>=2"]
    world.nodes = {"one": ["grip"], "two": ["num<2"]}
    assert [len(cause.lines) for cause in world.explain("two").causes] == [2, 2]
    monkeypatch.setattr(Search, "is_late", True)
    report = world.explain("two")
    assert len(report.causes) == 1
    assert report.fixes
    assert not report.complete


def test_the_package_at_stake_is_one_that_every_line_brings(world):
    """Setting `tele` free helps, too: by a detour to an old sender that asks for no num."""
    world.core = ["av"]
    world.nodes = {"one": ["grip"], "two": ["clip"]}
    report = world.explain("two")
    assert [cause.package for cause in report.causes] == ["num"]
    assert report.causes[0].chains == (
        ("clip", "clip 1.0", "num<2"),
        ("grip", "grip 1.0", "sender 2.0", "num>=2"),
    )


def test_a_chain_runs_through_the_parent_that_makes_the_demand(world):
    world.core = ["av"]
    world.nodes = {"one": ["num>=2"], "two": ["hub"]}
    report = world.explain("two")
    assert report.causes[0].chains[0] == ("hub", "hub 1.0", "grad 1.0", "num<2")


def test_a_pin_of_today_is_a_party_and_can_be_replaced(world):
    world.core = ["num>=1"]
    world.nodes = {"one": ["av"], "two": ["num>=2"]}
    world.overrides = ("num==99",)
    problem_lines = world.lines()
    report = world.explain()
    assert ("a pin", "num==99") in sets(report)[0]
    offered = next(fix for fix in report.fixes if fix.pins)
    assert "num==99" not in offered.overrides
    assert world.lock(problem_lines, offered.overrides).ok


def test_other_pins_stay_with_a_fix(world):
    world.core = ["num>=2", "av"]
    world.overrides = ("av==12",)
    world.nodes = {"two": ["num<2"]}
    for offered in world.explain("two").fixes:
        if offered.pins:
            assert "av==12" in offered.overrides


@pytest.mark.parametrize("is_newer", [True, False])
def test_another_ref_of_the_node(world, is_newer):
    asked = []

    def refs():
        for ref, texts in (("same", ["num<2"]), ("bad", ["num==99"]), ("good", ["num>=2"])):
            asked.append(ref)
            yield Ref(ref, owned(NODE + "two", *texts), is_newer)
        asked.append("beyond")

    world.core = ["num>=2"]
    world.nodes = {"two": ["num<2", "av"]}
    told = []
    report = world.explain("two", refs=refs, progress=told.append)
    best = report.fixes[0 if is_newer else -1]
    assert (best.kind, best.ref) == ("ref", "good")
    assert best.violates == (() if is_newer else ("takes an older commit of the node",))
    assert asked == ["same", "bad", "good"]
    tried = [doing.split()[-1] for doing in told if doing.startswith("trying the node at")]
    assert tried == ["bad", "good"], "a ref with the lines that failed is not run again"


def test_nothing_known_to_lock(world):
    world.core = ["num>=2", "av"]
    world.nodes = {"one": ["acc"], "two": ["num<2"]}
    report = world.explain()
    assert sets(report) == [{("ComfyUI", "num>=2"), ("two", "num<2")}]
    assert report.fixes


def test_standing_lines_that_do_not_lock_any_more(world):
    """The index may have lost a version since prod was locked."""
    world.core = ["num>=2"]
    world.nodes = {"one": ["num<2"], "two": ["av"]}
    problem = Problem(world.lines(), (), frozenset({NODE + "two"}))
    report = explain_directly(world, problem)
    assert sets(report) == [{("ComfyUI", "num>=2"), ("one", "num<2")}]


def explain_directly(world, problem):
    from governance.conflict.explain import explain

    return explain(
        problem,
        world.solver(),
        versions_now={},
        core_packages=frozenset(),
        deadline=60,
        progress=lambda doing: None,
    )


def test_a_problem_that_locks_has_no_causes(world):
    world.core = ["num"]
    world.nodes = {"two": ["av"]}
    report = world.explain("two")
    assert (report.causes, report.fixes, report.complete, report.runs) == ((), (), True, 1)


def test_the_time_limit_cuts_the_search_and_says_so(world):
    world.core = ["num>=2"]
    world.nodes = {"two": ["num<2"]}
    report = world.explain("two", deadline=0.0)
    assert not report.complete
    assert report.runs == 0


class Slow:
    """A solver whose time is up after so many runs."""

    def __init__(self, inner, runs):
        self.inner, self.left = inner, runs

    def solve(self, question, timeout):
        self.left -= 1
        solved = self.inner.solve(question, timeout)
        if self.left >= 0:
            return solved
        return type(solved)(False, "timed_out", "", 0.0)


def test_what_was_found_before_the_limit_stands(world):
    world.core = ["num>=1"]
    world.nodes = {"one": ["num<2"], "two": ["num>=2"]}
    whole = world.explain("two", solver=world.solver())
    report = world.explain("two", solver=Slow(world.solver(), 3))
    assert report.fixes == whole.fixes[:1], "it is known before the causes are"
    assert not report.complete
    report = world.explain("two", solver=Slow(world.solver(), whole.runs - 1))
    assert report.causes == whole.causes
    assert not report.complete


def test_a_later_fix_that_was_found_before_the_limit_stands(world):
    world.core = ["num"]
    world.nodes = {"one": ["num>=2"], "two": ["acc", "outer"]}
    whole = world.explain("two")
    assert len(whole.fixes) > 1
    report = world.explain("two", solver=Slow(world.solver(), whole.runs - 1))
    assert report.fixes
    assert not report.complete


def test_no_run_is_made_twice(world):
    """Where ranges inside of packages are enough, none of the newcomer's is tried with them."""
    world.core = ["num"]
    world.nodes = {"one": ["num>=2"], "two": ["acc", "outer"]}
    said = []
    world.explain("two", progress=said.append)
    assert said.count("trying without grad's range of num") == 1, "it is offered as it was found"


def test_an_unreachable_index_is_no_conflict(world):
    world.index = Gone
    world.environ = {"UV_HTTP_RETRIES": "0"}
    world.core = ["num"]
    report = explain_directly(world, Problem(world.lines()))
    assert kinds(report) == ["unreachable"]
    assert report.fixes == ()


class Gone:
    url = "http://127.0.0.1:9/simple/"


def test_the_report_is_json(world):
    import json

    world.core = ["num>=2"]
    world.nodes = {"two": ["num<2"]}
    report = world.explain("two")
    document = json.loads(json.dumps(report.to_json()))
    numbers = [row["number"] for row in document["suggestions"]]
    assert numbers == list(range(1, len(report.fixes) + 1))
    assert document["suggestions"][0]["replaced"][0]["to"] == "num"
    assert document["causes"][0]["lines"][0]["who"] == "two"
    assert document["resolver_runs"] == report.runs


def test_few_resolver_runs(world):
    world.core = ["av", "acc", "tim", "num>=2"]
    world.nodes = {f"n{i}": ["av", "acc", "tim"] for i in range(20)} | {"two": ["tim", "num<2"]}
    assert world.explain("two").runs <= 10
