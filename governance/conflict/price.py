"""What a remedy breaks: every range that the versions of its lock do not satisfy, one by one.

The lines are compared with the locked versions.  For what a package asks for, the resolver is
asked about that very version beside the other one; its metadata answers, not what was said of the
failed lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from governance.conflict import message
from governance.conflict.causes import holds, rules_out
from governance.conflict.chains import children, parents, with_extras
from governance.conflict.problem import CORE, NODE, Owned
from governance.conflict.relax import is_exact
from governance.conflict.remedy import Remedy, bare
from governance.conflict.search import Search
from governance.conflict.shared import away
from governance.conflict.solver import Question, Solved
from governance.requirements import grammar


@dataclass(frozen=True)
class Loss:
    """One demand that does not hold any more.

    `kind`: core (ComfyUI's line), installed (a node's of today), inside (a package's), lost (a
    package that nothing brings any more), range or exact (a newcomer's line); `whose` is a node's
    owner or a package.
    """

    kind: str
    whose: str
    sentence: str


def losses(search: Search, remedy: Remedy, solved: Solved) -> tuple[Loss, ...]:
    found = [
        *_of_edits(search, remedy, solved),
        *_of_scoped(search, remedy, solved),
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
    kind = "core" if line.owner == CORE else "installed"
    return Loss(kind, line.owner, sentence)


def _of_scoped(search: Search, remedy: Remedy, solved: Solved) -> Iterator[Loss]:
    for scoped in remedy.scoped:
        package = grammar.leading_name(scoped.dependency)
        yield from _inside(search, scoped.package, package, solved)


def _of_pins(search: Search, remedy: Remedy, solved: Solved) -> Iterator[Loss]:
    for package, version in remedy.pins:
        for index, line in enumerate(search.problem.lines):
            if line.name == package and index not in remedy.edits and rules_out(line, version):
                yield _lost_line(search, index, f"breaks {line.who}'s {line.text}")
        for parent in parents(solved.lock, package):
            yield from _inside(search, parent, package, solved)


def _inside(search: Search, parent: str, package: str, solved: Solved) -> Iterator[Loss]:
    told = demand(search, solved, parent, package)
    if told is not None:
        sentence = f"breaks {parent} {solved.versions[parent]}'s {package}{told}"
        yield Loss("inside", parent, sentence)


def demand(search: Search, solved: Solved, parent: str, package: str) -> str | None:
    """The range of `package` that `parent` asks for, both as they are locked, where the lock is not
    within it ("" where uv does not quote it); None where both go together.

    Only these two are asked about, with the extras of the lock: all else that they need is taken
    away, so that nothing else can be at fault.
    """
    version = solved.versions.get(package)
    if version is None or parent not in solved.versions:
        return None
    asked = _question(solved, parent, package)
    answer = search.ask(asked, f"asking what {parent} {solved.versions[parent]} needs")
    if answer.ok:
        return None
    specs = [
        one.spec
        for one in message.read(answer.log).statements
        if (one.who, one.name) == (parent, package) and not holds(one.spec or ">=0", version)
    ]
    if specs:
        return max(specs, key=len)
    alone = replace(asked, lines=asked.lines[:1])
    return "" if search.ask(alone, f"looking at {parent}").ok else None


def _question(solved: Solved, *names: str) -> Question:
    """The packages as they are locked, and nothing of what they need."""
    others = {child for name in names for child in children(solved.lock, name)} - {*names}
    lines = tuple(
        (
            index,
            Owned(
                f"{with_extras(solved.lock, name)}=={solved.versions[name]}",
                f"{NODE}asked",
                "",
                0,
                name,
            ),
        )
        for index, name in enumerate(names)
    )
    return Question(lines, away(sorted(others)), by_line=True, fresh=True)
