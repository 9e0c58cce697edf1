"""Real conflicts of tiny wheels: the named lines are the culprits, and every fix offered works."""

import sys

import pytest

from governance.conflict import causes
from governance.conflict.problem import NODE, Problem
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
    assert len(report.fixes) >= 3
    for offered in report.fixes:
        solved = world.again(offered)
        assert solved.ok, (offered, solved.log)


def test_the_fixes_name_what_they_break_and_change(world):
    world.core = ["num>=1"]
    world.nodes = {"one": ["num<2"], "two": ["num>=2"]}
    report = world.explain("two", core_packages=frozenset({"num"}))
    keep, leave, move = report.fixes
    assert (keep.kind, keep.typed, keep.changes) == ("override", ("num==1.5",), ())
    assert keep.violates == ("breaks two's num>=2",)
    assert keep.command == "gov resolve {txid} --pin num==1.5"
    assert (leave.kind, leave.violates) == ("drop-line", ("leaves out two's num>=2",))
    assert leave.command == "gov resolve {txid} --accept 2"
    assert (move.typed, move.core) == (("num==2.2",), ("num",))
    assert move.violates == ("breaks one's num<2",)
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
    now = next(fix for fix in report.fixes if fix.typed == ("num==2.2",))
    assert now.violates == ("breaks grad 1.0's num<2",)


def test_all_opponents_of_one_line(world):
    world.core = ["num>=1"]
    world.nodes = {"one": ["num<2"], "other": ["grad"], "third": ["num<=1.5"], "two": ["num>=2"]}
    report = world.explain("two")
    assert report.causes[0].lines[0].text == "num>=2"
    against = {line.who for cause in report.causes for line in cause.lines} - {"two"}
    assert against == {"one", "other", "third"}
    wanted = next(fix for fix in report.fixes if fix.typed == ("num==2.2",))
    assert len(wanted.violates) == 3


def test_three_conflicts_at_once(world):
    world.core = ["num>=2", "av>=14", "acc>=0.4"]
    world.nodes = {"two": ["num<2", "tim", "av<14", "acc<0.4"]}
    report = world.explain("two")
    assert {cause.package for cause in report.causes} == {"num", "av", "acc"}
    assert kinds(report) == ["conflict"] * 3
    best = report.fixes[0]
    assert best.kind == "overrides"
    assert set(best.typed) == {"num==2.2", "av==14", "acc==0.4"}
    assert [line.text for line in fix(report, "drop-line").dropped] == ["num<2", "av<14", "acc<0.4"]


def test_a_node_that_contradicts_itself(world):
    world.core = ["av"]
    world.nodes = {"two": ["num<2", "num>=2"]}
    report = world.explain("two")
    assert kinds(report) == ["self-contradiction"]
    assert len(fix(report, "drop-line").dropped) == 1


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


def test_leaving_out_takes_the_fewest_lines(world):
    world.core = ["num>=2"]
    world.nodes = {"two": ["num<2", "num>=2.1"]}
    dropped = fix(world.explain("two"), "drop-line").dropped
    assert [line.text for line in dropped] == ["num<2"]


@pytest.mark.parametrize(
    ("line", "kind", "package"),
    [
        ("avv", "not-on-index", "avv"),
        ("num==99", "no-version", "num"),
        ("num>=99", "no-version", "num"),
        ("winonly", "no-wheel", "winonly"),
        ("modern", "python", "modern"),
        ("novel>=2", "python", "novel"),
        ("on-novel", "python", "novel"),
        ("withdrawn>1", "yanked", "withdrawn"),
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


def test_a_misspelt_name_is_told_its_neighbour(world):
    world.core = ["trans"]
    world.nodes = {"two": ["tran"]}
    assert "(is trans meant?)" in world.explain("two").causes[0].sentence


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
    world.nodes = {"two": ["trans<5"]}
    report = world.explain("two")
    for offered in report.fixes:
        assert "tim" in world.again(offered).versions, offered
    older = next(fix for fix in report.fixes if fix.typed == ("trans==4",))
    assert older.pins == ("trans[tim]==4",)


def test_extras_that_only_a_package_asks_for_are_carried_over(world):
    """No line names the extra, and no line of the conflict brings who does."""
    world.core = ["asker", "trans>=5"]
    world.nodes = {"two": ["trans<5"]}
    lock = world.lock(world.lines(without=("two",))).lock
    report = world.explain("two", lock_now=lock)
    older = next(fix for fix in report.fixes if fix.typed == ("trans==4",))
    assert older.pins == ("trans[tim]==4",)
    assert "tim" in world.again(older).versions


def test_three_lines_that_only_together_clash(world):
    world.core = ["bridge>=1"]
    world.nodes = {"one": ["left==2"], "two": ["right==2"]}
    report = world.explain("two")
    assert sets(report) == [{("ComfyUI", "bridge>=1"), ("one", "left==2"), ("two", "right==2")}]
    assert {offered.kind for offered in report.fixes} == {"override", "drop-line"}
    assert all(world.again(offered).ok for offered in report.fixes)


def test_an_override_uncovers_a_second_clash(world):
    """The first package set free brings another that is in nobody's way today."""
    world.core = ["av==12"]
    world.nodes = {"one": ["acc<0.4"], "two": ["av>=14", "heavy"]}
    report = world.explain("two")
    assert all(world.again(offered).ok for offered in report.fixes)
    assert fix(report, "overrides")


def test_several_overrides_when_one_is_not_enough(world):
    world.core = ["num>=2"]
    world.nodes = {"one": ["acc<0.4"], "two": ["grad", "peft"]}
    report = world.explain("two")
    assert set(fix(report, "overrides").typed) == {"acc==0.3", "num==2.2"}


def test_one_override_that_cures_two_conflicts_comes_first(world):
    """The second conflict runs through the version at which the first one holds a package."""
    world.core = ["av"]
    world.nodes = {"one": ["lib==1"], "two": ["lib>=2", "num>=2"]}
    report = world.explain("two")
    assert {cause.package for cause in report.causes} == {"lib", "num"}
    assert report.fixes[0].typed == ("lib==2.0",)
    assert report.fixes[0].violates == ("breaks one's lib==1",)
    assert world.again(report.fixes[0]).ok


def test_a_newer_version_of_what_the_node_asks_for(world):
    """It keeps the package, where leaving out the line loses it."""
    world.core = ["av"]
    world.nodes = {"one": ["num>=2"], "two": ["lib<2"]}
    report = world.explain("two")
    newer = next(fix for fix in report.fixes if fix.typed == ("lib==2.0",))
    assert newer.violates == ("breaks two's lib<2",)
    assert world.again(newer).ok
    dropped = fix(report, "drop-line")
    assert dropped.lost == ("lib",)
    assert dropped.violates == ("leaves out two's lib<2 (nothing else brings lib)",)
    assert report.fixes.index(newer) < report.fixes.index(dropped)


def test_more_conflicts_than_are_looked_for_have_a_fix(world, monkeypatch):
    """A node of forty old pins had sixty causes, and no fix was offered."""
    monkeypatch.setattr(causes, "MOST_SETS", 1)
    names = {"num": 2, "acc": 0.4, "av": 14, "trans": 5, "left": 2, "right": 2}
    world.core = [f"{name}>={version}" for name, version in names.items()]
    world.nodes = {"two": [f"{name}<{version}" for name, version in names.items()]}
    report = world.explain("two")
    assert {offered.kind for offered in report.fixes} == {"overrides", "drop-line"}
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


def test_another_ref_of_the_node(world):
    asked = []

    def refs():
        for ref, texts in (("same", ["num<2"]), ("bad", ["num==99"]), ("good", ["num>=2"])):
            asked.append(ref)
            yield ref, owned(NODE + "two", *texts)
        asked.append("beyond")

    world.core = ["num>=2"]
    world.nodes = {"two": ["num<2", "av"]}
    told = []
    report = world.explain("two", refs=refs, progress=told.append)
    best = report.fixes[0]
    assert (best.kind, best.ref, best.violates) == ("ref", "good", ())
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


def test_what_if_a_package_were_held(world):
    world.core = ["num>=2"]
    report = explain_directly(world, Problem(world.lines()).holding("num<2"))
    assert sets(report) == [{("a pin", "num<2"), ("ComfyUI", "num>=2")}]


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


def test_what_was_found_before_the_limit_stands(world):
    class Slow:
        def __init__(self, inner, runs):
            self.inner, self.left = inner, runs

        def solve(self, question, timeout):
            self.left -= 1
            solved = self.inner.solve(question, timeout)
            if self.left >= 0:
                return solved
            return type(solved)(False, "timed_out", "", 0.0)

    world.core = ["num>=2"]
    world.nodes = {"two": ["num<2"]}
    whole = world.explain("two")
    report = world.explain("two", solver=Slow(world.solver(), whole.runs - 2))
    assert report.causes == whole.causes
    assert not report.complete


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
    assert [row["number"] for row in document["suggestions"]] == [1, 2, 3]
    assert document["causes"][0]["lines"][0]["who"] == "two"
    assert document["resolver_runs"] == report.runs


def test_few_resolver_runs(world):
    world.core = ["av", "acc", "tim", "num>=2"]
    world.nodes = {f"n{i}": ["av", "acc", "tim"] for i in range(20)} | {"two": ["tim", "num<2"]}
    assert world.explain("two").runs <= 10
