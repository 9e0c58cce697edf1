"""What a remedy breaks: every range that the versions of its lock do not satisfy, one by one.

The lines are compared with the locked versions.  For what a package asks for, the resolver is
asked about that very version beside the other one; its metadata answers, not what was said of the
failed lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from governance.conflict import ranges
from governance.conflict.causes import rules_out
from governance.conflict.chains import parents
from governance.conflict.problem import CORE, MANAGER
from governance.conflict.relax import is_exact
from governance.conflict.remedy import Remedy, bare
from governance.conflict.search import Search
from governance.conflict.solver import Solved
from governance.requirements import grammar


@dataclass(frozen=True)
class Loss:
    """One demand that does not hold any more.

    `kind`: core (ComfyUI's line), installed (a node's of today), inside (a package's), lost (a
    package that nothing brings any more), index (a package from an index that only a node names),
    range or exact (a newcomer's line); `whose` is a node's owner or a package.
    """

    kind: str
    whose: str
    sentence: str


def losses(search: Search, remedy: Remedy, solved: Solved) -> tuple[Loss, ...]:
    found = [
        *_of_edits(search, remedy, solved),
        *_of_scoped(search, remedy, solved),
        *_of_sources(remedy),
        *_of_pins(search, remedy, solved),
    ]
    return tuple(dict.fromkeys(found))


def lost(search: Search, remedy: Remedy, solved: Solved) -> tuple[str, ...]:
    """Packages of lines that are left out, and that nothing brings any more."""
    names = {search.problem.lines[i].name for i, text in remedy.edits.items() if not text}
    return tuple(sorted(names - solved.versions.keys()))


def _of_edits(search: Search, remedy: Remedy, solved: Solved) -> Iterator[Loss]:
    gone = lost(search, remedy, solved)
    for index, text in sorted(remedy.edits.items()):
        line = search.problem.lines[index]
        if text == bare(line.text):
            yield _lost_line(search, index, f"gives up {line.who}'s {line.text}")
        elif text:
            yield Loss("range", line.owner, f"takes {text} for {line.who}'s {line.text}")
        elif line.name in gone:
            told = f"leaves out {line.who}'s {line.text} (nothing else brings {line.name})"
            yield Loss("lost", line.owner, told)
        else:
            yield _lost_line(search, index, f"leaves out {line.who}'s {line.text}")


def _lost_line(search: Search, index: int, sentence: str) -> Loss:
    line = search.problem.lines[index]
    if index in search.new(search.everything):
        return Loss("exact" if is_exact(line.text) else "range", line.owner, sentence)
    kind = "core" if line.owner in (CORE, MANAGER) else "installed"
    return Loss(kind, line.owner, sentence)


def _of_scoped(search: Search, remedy: Remedy, solved: Solved) -> Iterator[Loss]:
    for scoped in remedy.scoped:
        package = grammar.leading_name(scoped.dependency)
        yield from _inside(search, scoped.package, package, solved)


def _of_sources(remedy: Remedy) -> Iterator[Loss]:
    for package, url, _ in remedy.sources:
        yield Loss("index", package, f"takes {package} from {url}, which only a node names")


def _of_pins(search: Search, remedy: Remedy, solved: Solved) -> Iterator[Loss]:
    for package, version in remedy.pins:
        for index, line in enumerate(search.problem.lines):
            if line.name == package and index not in remedy.edits and rules_out(line, version):
                yield _lost_line(search, index, f"breaks {line.who}'s {line.text}")
        for parent in parents(solved.lock, package):
            yield from _inside(search, parent, package, solved)


def _inside(search: Search, parent: str, package: str, solved: Solved) -> Iterator[Loss]:
    told = ranges.broken(search, parent, package, solved)
    if told is not None:
        sentence = f"breaks {parent} {solved.versions[parent]}'s {package}{told}"
        yield Loss("inside", parent, sentence)
