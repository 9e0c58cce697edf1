"""Minimal sets of lines that do not lock together, in few resolver runs.

uv's message about one failing run names lines; that guess is confirmed by a run of its own, then
every line of it is left out once.  What is known is not asked again: a part of a set that locks
locks, and whatever holds a set that does not lock does not lock either.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from governance.boundaries import process
from governance.conflict import message
from governance.conflict.problem import Problem
from governance.conflict.solver import CANNOT_LOOK, TIMED_OUT, Question, Solved, Solver

Ids = frozenset[int]

# Two at once: a run is one busy core for most of its time (measured on two cores: 1.7 times).
AT_ONCE = 2
# Up to so many lines, leaving out each one alone needs fewer runs than halving (QuickXplain).
FEW = 8


_Asked = TypeVar("_Asked")


class TimeUp(Exception):
    """The time limit is reached; what was found so far stands."""


class Search:
    """Everything asked of the solver in one explanation, and what follows from the answers.

    `is_cut`: not everything was looked for, since time was up or the causes were many.
    `is_thorough`: all of the time belongs to the causes, however many there are.
    """

    def __init__(
        self,
        problem: Problem,
        solver: Solver,
        seconds: float,
        progress: Callable[[str], None],
        *,
        is_thorough: bool = False,
    ) -> None:
        self.problem = problem
        self.runs = 0
        self.is_cut = False
        self.is_thorough = is_thorough
        self.statements: dict[message.Statement, None] = {}
        self._solver = solver
        self._started = time.monotonic()
        self._limit = seconds
        self._progress = progress
        self._answers: dict[Question, Solved] = {}
        # Theirs to give up; who else's lines turn out to fail, too, does not matter for that.
        self.giveable = self.new(self.everything)
        self._locking: list[Ids] = []
        self._failing: list[Ids] = []
        if self.standing:
            self._locking.append(self.standing)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    @property
    def is_late(self) -> bool:
        """Half of the time is gone, and there is something else to do with the rest."""
        return not self.is_thorough and self.seconds * 2 > self._limit

    @property
    def everything(self) -> Ids:
        return frozenset(range(len(self.problem.lines)))

    @property
    def standing(self) -> Ids:
        """Lines known to lock together: those of nobody new."""
        return self.everything - self.new(self.everything)

    def new(self, ids: Iterable[int]) -> Ids:
        """Those of `ids` that belong to a newcomer; all where nothing is known to lock."""
        owners = self.problem.newcomers
        lines = self.problem.lines
        return frozenset(i for i in ids if not owners or lines[i].owner in owners)

    def question(self, ids: Iterable[int], **more: object) -> Question:
        lines = tuple((index, self.problem.lines[index]) for index in sorted(ids))
        asked = Question(lines, self.problem.overrides, scoped=self.problem.scoped)
        return replace(asked, **more)  # type: ignore[arg-type]

    def ask(self, question: Question, doing: str) -> Solved:
        """The answer of the solver, remembered.  Raises TimeUp."""
        known = self._answers.get(question)
        if known is not None:
            return known
        left = self._limit - self.seconds
        if left <= 0:
            raise TimeUp
        self._progress(doing)
        self.runs += 1
        solved = self._solver.solve(question, left)
        if solved.code == TIMED_OUT:
            raise TimeUp
        self._answers[question] = solved
        if not solved.ok:
            self.learn_statements(solved.log)
        return solved

    def learn_statements(self, log: str) -> None:
        """Keep what uv says about who depends on what."""
        self.statements.update(dict.fromkeys(message.read(log).statements))

    def probe(self, ids: Ids) -> Solved:
        """Lock exactly these lines, each in a group of its own, so that uv names lines."""
        solved = self.ask(self.question(ids, by_line=True), f"locking {_lines(ids)}")
        self._learn(ids, solved)
        return solved

    def probe_whole(self, ids: Ids) -> Solved:
        """Lock these lines, nearly all there are, in the truth's groups; only yes or no counts.

        The cache alone answers where it can: the pages of all that is locked today are in it.
        """
        question, doing = self.question(ids), f"locking the other {_lines(ids)}"
        solved = self.ask(replace(question, offline=True), doing)
        if solved.code in CANNOT_LOOK:
            solved = self.ask(question, doing)
        self._learn(ids, solved)
        return solved

    def first_log(self) -> str | None:
        """What uv says of the whole set, None where it locks."""
        log = self.problem.log
        if not log:
            solved = self.ask(self.question(self.everything), "locking")
            log = solved.log
            if solved.ok:
                return None
        self._failing.append(self.everything)
        self.learn_statements(log)
        self._doubt_standing(log)
        return log

    def _doubt_standing(self, log: str) -> None:
        """Where uv names no new line, see whether the standing ones still lock (an index may have
        lost a version since); if not, nothing is known to lock."""
        guess = self._guesses(self.everything, message.read(log))[0]
        if not guess or self.new(guess):
            return
        self._locking.clear()
        if not self.probe_whole(self.standing).ok:
            self.problem = replace(self.problem, newcomers=frozenset())

    def foresee(self, sets: Sequence[Ids]) -> None:
        """Probe several sets that are nearly the whole at the same time."""
        unknown = [ids for ids in dict.fromkeys(sets) if self.known(ids) is None]
        self._at_once(self.probe_whole, unknown)

    def probe_all(self, sets: Sequence[Ids]) -> None:
        """Probe those of the sets of which nothing is known yet, some at the same time."""
        self._at_once(self.probe, [ids for ids in sets if self.known(ids) is None])

    def known_answer(self, ids: Ids) -> Solved | None:
        """The lock of exactly these lines, if it was made already."""
        solved = self._answers.get(self.question(ids, by_line=True))
        return solved if solved is not None and solved.ok else None

    def locks(self, ids: Ids) -> bool:
        known = self.known(ids)
        return self.probe(ids).ok if known is None else known

    def known(self, ids: Ids) -> bool | None:
        """Whether `ids` lock, where that follows from earlier answers."""
        if not ids or any(ids <= larger for larger in self._locking):
            return True
        if any(smaller <= ids for smaller in self._failing):
            return False
        return None

    def minimal(self, ids: Ids, log: str) -> Ids:
        """A minimal failing part of `ids`, of which uv said `log`."""
        ids = self._narrowed(ids, log)
        if len(ids) > FEW:
            ids = self._halved(frozenset(), False, ids)
        return self._thinned(ids)

    def _at_once(self, probe: Callable[[_Asked], Solved], asked: Sequence[_Asked]) -> list[Solved]:
        return process.side_by_side(probe, asked, AT_ONCE)

    def _learn(self, ids: Ids, solved: Solved) -> None:
        (self._locking if solved.ok else self._failing).append(ids)

    def _narrowed(self, ids: Ids, log: str) -> Ids:
        """Follow uv's words as long as they name fewer lines and the run confirms them."""
        smaller, log = self._confirmed(ids, log)
        if smaller == ids and len(ids) > FEW:
            smaller, log = self._confirmed(ids, self.probe(ids).log)
        while smaller != ids:
            ids = smaller
            smaller, log = self._confirmed(ids, log)
        return ids

    def _confirmed(self, ids: Ids, log: str) -> tuple[Ids, str]:
        for guess in self._guesses(ids, message.read(log)):
            if not guess or guess == ids or self.known(guess):
                continue
            solved = self.probe(guess)
            if not solved.ok:
                return guess, solved.log
        return ids, log

    def _guesses(self, ids: Ids, said: message.Message) -> tuple[Ids, ...]:
        """The lines that uv names; those on the packages it names, of the groups it names."""
        lines = self.problem.lines
        packages = said.packages
        on_stage = frozenset(i for i in ids if lines[i].name in packages)
        if said.lines:
            return said.lines & ids, (said.lines & ids) | on_stage
        return frozenset(i for i in on_stage if lines[i].group in said.groups), on_stage

    def _thinned(self, ids: Ids) -> Ids:
        """Leave out every line that is not needed."""
        while True:
            smaller = [ids - {line} for line in sorted(ids) if len(ids) > 1]
            self.probe_all(smaller)
            failing = next((part for part in smaller if self.known(part) is False), None)
            if failing is None:
                return ids
            ids = failing

    def _halved(self, needed: Ids, has_grown: bool, ids: Ids) -> Ids:
        """QuickXplain (Junker 2004): the part of `ids` that fails together with `needed`."""
        if has_grown and not self.locks(needed):
            return frozenset()
        if len(ids) == 1:
            return ids
        ordered = sorted(ids)
        half = len(ordered) // 2
        first, second = frozenset(ordered[:half]), frozenset(ordered[half:])
        late = self._halved(needed | first, bool(first), second)
        early = self._halved(needed | late, bool(late), first)
        return early | late


def _lines(ids: Ids) -> str:
    return f"{len(ids)} lines" if len(ids) != 1 else "1 line"
