"""Relax, then tighten: which ranges have to go so that the rest locks, in a few resolver runs.

One lock without the ranges in question shows which versions the rest gets.  Only the lines that
these violate can be at fault; each is put back once, and stays where it locks.  What is left is a
minimal set of lines, and a fix that works.  On nine known conflicts of real nodes: a fix after one
lock, the minimal set after 2 to 10.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from governance.conflict import abi
from governance.conflict.causes import rules_out
from governance.conflict.remedy import Edits, Remedy, bare
from governance.conflict.search import Ids, Search, TimeUp
from governance.conflict.solver import Solved
from governance.requirements import grammar


def relax(search: Search, loose: Ids, start: Remedy | None = None) -> tuple[Remedy, Solved] | None:
    """The remedy that gives up the fewest ranges of `loose` lines, with its lock; None where the
    rest does not lock even without all of them.  `start` is done in any case."""
    start = start or Remedy()
    without_range = _without_range(search, loose, start.edits)
    found = search.ask(_with(start, without_range).question(search), "locking without ranges")
    if not found.ok:
        return None
    given_up = {i: without_range[i] for i in _violated(search, without_range, found)}
    if not given_up:  # nothing of these lines is at fault
        found = search.ask(start.question(search), "locking with all ranges")
        return (start, found) if found.ok else None
    return _tightened(search, start, given_up, found)


def _tightened(
    search: Search, start: Remedy, given_up: dict[int, str], found: Solved
) -> tuple[Remedy, Solved]:
    """Put each line back, once; those that say most of a range rather than one version first.
    A line stays given up, too, where the lock would not load with it.  When time is up, what is not
    tried yet stays given up."""
    hopeless = abi.unloadable(found)
    for line in sorted(given_up, key=lambda i: _firmness(search, i)):
        rest = {i: text for i, text in given_up.items() if i != line}
        remedy, text = _with(start, rest), search.problem.lines[line].text
        if remedy == Remedy():
            break  # the problem as it is, which does not lock
        try:
            tried = search.ask(remedy.question(search), f"trying with {text}")
        except TimeUp:
            search.is_cut = True
            break
        if tried.ok and abi.unloadable(tried) <= hopeless:
            given_up, found = rest, tried
    return _with(start, given_up), found


def _firmness(search: Search, index: int) -> tuple[bool, int]:
    """A range is spared before a single version (`==`)."""
    return is_exact(search.problem.lines[index].text), index


def is_exact(text: str) -> bool:
    operators = {part.operator for part in grammar.parse(text).specifier}
    return bool(operators & {"==", "==="})


def _without_range(search: Search, loose: Iterable[int], edits: Edits) -> dict[int, str]:
    lines = search.problem.lines
    texts = {i: bare(lines[i].text) for i in loose if i not in edits}
    return {i: text for i, text in texts.items() if text != lines[i].text}


def _violated(search: Search, lines: Iterable[int], solved: Solved) -> list[int]:
    versions, known = solved.versions, search.problem.lines
    return [
        i
        for i in lines
        if known[i].name in versions and rules_out(known[i], versions[known[i].name])
    ]


def _with(start: Remedy, edits: Edits) -> Remedy:
    return replace(start, edits={**start.edits, **edits})
