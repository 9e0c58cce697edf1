"""Which versions a package wants of another one: as uv quoted it, else asked of the resolver.

A lock tells who depends on whom without the range, and uv's message names a range only where it
needed it.  Two lines that cannot stand together (the very version of the parent, and a version of
the package that somebody else wants) make uv quote it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from governance.conflict.chains import children, demands, with_extras
from governance.conflict.message import Statement
from governance.conflict.problem import PIN, Owned
from governance.conflict.search import Ids, Search, TimeUp
from governance.conflict.shared import away
from governance.conflict.solver import CANNOT_LOOK, Question, Solved
from governance.requirements import override_text, parse_pin
from governance.requirements.grammar import leading_name

# Pairs of lines that are locked to make uv name one range.
MOST_PAIRS = 3


def holds(specifier: str, version: str) -> bool:
    """Whether `version` is within `specifier`; False for what is neither."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion

    try:
        return SpecifierSet(specifier).contains(version, prereleases=True)
    except (InvalidSpecifier, InvalidVersion):
        return False


def declared(text: str) -> str:
    """The range of a requirement line: `<2` of `numpy[x]<2 ; marker`, `@ URL` of a link."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        found = Requirement(text)
    except InvalidRequirement:
        return ""
    # As it is typed: `SpecifierSet` sorts, and nobody writes `<2,>=1`.
    typed = text.partition(";")[0].removeprefix(found.name).strip()
    typed = typed.partition("]")[2] if typed.startswith("[") else typed
    return f"@ {found.url}" if found.url else "".join(typed.strip("() ").split())


def quoted(search: Search, parent: str, package: str, relaxed: Solved) -> str:
    """What uv quoted for this very version of the parent, "" where it did not."""
    found = _about(search, parent, package, relaxed)
    return next((text for said in found if (text := _range_of(said))), "")


def wanted(
    search: Search, parent: str, package: str, relaxed: Solved, contested: Iterable[str]
) -> str:
    """The range that this version of `parent` wants of `package`, "" where it takes any.

    `contested` are lines about the package that may rule each other out with it.
    """
    known = quoted(search, parent, package, relaxed)
    return known or _asked(search, parent, package, relaxed, contested)


def _asked(
    search: Search, parent: str, package: str, relaxed: Solved, contested: Iterable[str]
) -> str:
    version = relaxed.versions.get(parent, "")
    if not version or version.startswith("@"):
        return ""
    try:
        for line in islice(contested, MOST_PAIRS):
            _lock_together(search, [*_exactly(parent, version, relaxed), line])
            if known := quoted(search, parent, package, relaxed):
                return known
    except TimeUp:
        # The cause stands without it.
        search.is_cut = True
    return ""


def broken(search: Search, parent: str, package: str, solved: Solved) -> str | None:
    """The range of `package` that the locked version of `parent` asks for, where the locked one is
    not in it ("" where uv does not quote it); None where both go together.

    Only these two are asked about, with the extras of the lock: all else that they need is taken
    away, so that nothing else can be at fault.
    """
    versions = solved.versions
    if parent not in versions or package not in versions:
        return None
    exact = [f"{with_extras(solved.lock, parent)}=={versions[parent]}"]
    pinned = f"{with_extras(solved.lock, package)}=={versions[package]}"
    others = {*children(solved.lock, parent), *children(solved.lock, package)} - {parent, package}
    gone = away(sorted(others))
    if _lock_together(search, [*exact, pinned], gone).ok:
        return None
    told = [t for said in _about(search, parent, package, solved) if (t := _range_of(said))]
    specs = [spec for spec in told if not holds(spec, versions[package])]
    if specs:
        return max(specs, key=len)
    return "" if _lock_together(search, exact, gone).ok else None


def _range_of(said: Statement) -> str:
    return said.spec or " or ".join(said.any_of)


def _about(search: Search, parent: str, package: str, relaxed: Solved) -> Iterator[Statement]:
    version = relaxed.versions.get(parent, "")
    for said in search.statements:
        if (said.who, said.name) == (parent, package) and holds(said.who_range, version):
            yield said


def _exactly(parent: str, version: str, relaxed: Solved) -> list[str]:
    """This version with the extras that are asked for: an extra may be what brings the package."""
    return override_text(parse_pin(f"{parent}=={version}"), demands(relaxed.lock, parent))


def _lock_together(search: Search, texts: Sequence[str], gone: Sequence[str] = ()) -> Solved:
    """What uv says of it is kept by the search, too; packages of the overrides `gone` are not
    looked at."""
    lines = tuple((i, Owned(t, PIN, "", 0, leading_name(t))) for i, t in enumerate(texts))
    question = Question(lines, tuple(gone), by_line=True, fresh=True, offline=True)
    doing = f"looking what {texts[0]} asks for"
    # All were part of a lock a moment ago, so their pages are in the cache.
    solved = search.ask(question, doing)
    if solved.code in CANNOT_LOOK:
        return search.ask(replace(question, offline=False), doing)
    return solved


def contested(search: Search, ids: Ids, index: int, package: str, relaxed: Solved) -> Iterator[str]:
    """Lines about `package` that the line `index` may not stand with: those of the others, the
    newest version, and what each of the others gets alone."""
    lines, others = search.problem.lines, sorted(ids - {index})
    yield from (lines[i].text for i in others if lines[i].name == package)
    seen: set[str] = set()
    for solved in _alone(search, relaxed, [i for i in others if lines[i].name != package]):
        version = solved.versions.get(package, "")
        if version and not version.startswith("@") and version not in seen:
            seen.add(version)
            yield f"{package}=={version}"


def _alone(search: Search, relaxed: Solved, others: list[int]) -> Iterator[Solved]:
    yield relaxed
    for index in others:
        yield search.probe(frozenset([index]))
