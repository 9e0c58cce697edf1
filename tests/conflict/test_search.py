"""Minimal sets against brute force: which lines clash is given, and nothing but that decides."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from governance.conflict.causes import find
from governance.conflict.problem import NODE, Owned, Problem
from governance.conflict.search import Search
from governance.conflict.solver import CONFLICT, Solved


class Clashes:
    """Locks whatever holds none of the given sets; says nothing, or names the lines of one."""

    def __init__(self, clashes, talks):
        self.clashes, self.talks = clashes, talks

    def solve(self, question, timeout):
        ids = {index for index, _ in question.lines}
        free = {text.partition("[")[0] for text in question.overrides}
        for clash in self.clashes:
            if clash <= ids and not free & {f"p{i}" for i in clash}:
                return Solved(False, CONFLICT, self.words(clash), 0.0)
        return Solved(True, "", "", 0.0, "version = 1\n")

    def words(self, clash):
        said = [f"e:line-{i} depends on p{i}" for i in sorted(clash)]
        return "Because " + " and ".join(said) if self.talks else "No"


def lines_of(count, newcomers):
    owners = [NODE + "new" if i in newcomers else "core" for i in range(count)]
    return tuple(Owned(f"p{i}", owners[i], "f", i, f"p{i}") for i in range(count))


worlds = st.integers(2, 24).flatmap(
    lambda count: st.tuples(
        st.just(count),
        st.sets(
            st.frozensets(st.integers(0, count - 1), min_size=1, max_size=4), min_size=1, max_size=4
        ),
        st.booleans(),
    )
)


def found(count, clashes, talks, newcomers=frozenset()):
    owners = frozenset({NODE + "new"}) if newcomers else frozenset()
    problem = Problem(lines_of(count, newcomers), (), owners)
    search = Search(problem, Clashes(clashes, talks), 60, lambda doing: None)
    return [finding.ids for finding in find(search, search.first_log())], search


@settings(deadline=None, max_examples=150)
@given(worlds)
def test_what_is_found_is_minimal_and_breaking_each_one_lets_the_rest_lock(world):
    count, clashes, talks = world
    minimal = {c for c in clashes if not any(other < c for other in clashes)}
    sets, _ = found(count, clashes, talks)
    assert set(sets) <= minimal
    assert len(sets) == len(set(sets))


@settings(deadline=None, max_examples=100)
@given(worlds)
def test_leaving_out_what_the_findings_give_up_lets_everything_lock(world):
    count, clashes, talks = world
    problem = Problem(lines_of(count, ()))
    search = Search(problem, Clashes(clashes, talks), 60, lambda doing: None)
    given_up = [finding.given_up for finding in find(search, search.first_log())]
    rest = search.everything.difference(*given_up)
    assert not any(clash <= rest for clash in clashes)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 4), st.sets(st.integers(5, 15), min_size=1, max_size=4), st.booleans())
def test_every_opponent_of_a_new_line_is_found(new, opponents, talks):
    clashes = {frozenset({new, other}) for other in opponents}
    sets, _ = found(16, clashes, talks, newcomers={new})
    assert set(sets) == clashes


def test_a_silent_solver_costs_few_runs_all_the_same():
    for pair in itertools.islice(itertools.combinations(range(200), 2), 0, 19900, 1999):
        sets, search = found(200, {frozenset(pair)}, talks=False)
        assert sets == [frozenset(pair)]
        assert search.runs <= 40


def test_groups_that_tell_nothing_are_asked_again_line_by_line():
    class Mumbling(Clashes):
        def solve(self, question, timeout):
            self.talks = question.by_line
            return super().solve(question, timeout)

    problem = Problem(lines_of(200, ()))
    search = Search(problem, Mumbling({frozenset({3, 150})}, True), 60, lambda doing: None)
    sets = [finding.ids for finding in find(search, search.first_log())]
    assert sets == [frozenset({3, 150})]
    assert search.runs <= 9


def test_where_the_cache_cannot_answer_the_index_is_asked():
    class Blind(Clashes):
        def solve(self, question, timeout):
            if question.offline:
                return Solved(False, "index_unreachable", "", 0.0)
            return super().solve(question, timeout)

    clashes = {frozenset({0, 5}), frozenset({0, 7})}
    problem = Problem(lines_of(16, {0}), (), frozenset({NODE + "new"}))
    search = Search(problem, Blind(clashes, True), 60, lambda doing: None)
    assert {finding.ids for finding in find(search, search.first_log())} == clashes


def test_a_talking_solver_needs_a_handful():
    sets, search = found(200, {frozenset({3, 150})}, talks=True)
    assert sets == [frozenset({3, 150})]
    assert search.runs <= 8
