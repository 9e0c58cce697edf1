"""Fixes, each run through the resolver with the whole set; only what locks is kept.

Narrow before wide: the newcomer's ranges are relaxed first, then ranges inside packages; an
override that holds for everybody is tried only where nothing else locks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

from governance.conflict import causes, price, wide
from governance.conflict.answer import Fix, Replaced
from governance.conflict.causes import Finding
from governance.conflict.chains import Lock
from governance.conflict.narrow import narrow
from governance.conflict.package_changes import changes, in_core
from governance.conflict.problem import NODE, PIN, Owned, Source
from governance.conflict.relax import relax
from governance.conflict.remedy import Edits, Remedy, bare
from governance.conflict.search import Ids, Search
from governance.conflict.solver import Question, Solved

MOST_REFS = 5
# Causes that lie in one line: its name leads nowhere; no version of it is for this machine.
_WRONG_NAME = frozenset({"not-on-index", "build", "malformed"})
_NOT_HERE = frozenset({"no-wheel", "python"})
# Another index may have it.
_ELSEWHERE = frozenset({"not-on-index", "no-version", "no-wheel", "build"})

_Found = tuple[Remedy, Solved]


class Ref(NamedTuple):
    """Another commit of the newcomer with what it declares there."""

    ref: str
    lines: Sequence[Owned]
    is_newer: bool = False


@dataclass(frozen=True)
class Prod:
    """What prod has now, its lock, and which packages need an approval."""

    versions: Mapping[str, str]
    core_packages: frozenset[str]
    lock: Lock


def first(search: Search, prod: Prod) -> Fix | None:
    """Only the newcomers' ranges give way: found before anybody knows the cause, since it takes a
    lock or two.  None where that is not enough."""
    loose = _of_nodes(search, search.new(search.everything))
    found = relax(search, loose) if loose else None
    return _fix(search, prod, found) if found else None


def inside(search: Search, prod: Prod) -> Fix | None:
    """Only ranges inside of packages give way; where not more is asked, that needs no causes."""
    found = narrow(search, Remedy(), prod.versions)
    return _fix(search, prod, found) if found else None


def offer(
    search: Search,
    findings: Sequence[Finding],
    prod: Prod,
    refs: Callable[[], Iterable[Ref]] | None,
    known: Fix | None = None,
) -> Iterator[Fix]:
    """Further fixes as they are found, unsorted; `known` is the first one."""
    made = _Offer(search, findings, prod)
    found = [known] if known else []
    tries = (made.narrow(is_first=known is None), made.other_indexes(), made.other_refs(refs))
    for fix in chain.from_iterable(tries):
        found.append(fix)
        yield fix
    if not found or made.has_pins:
        yield from made.wide()


def ordered(fixes: Iterable[Fix]) -> tuple[Fix, ...]:
    """Best first, without doubles, each with the command that accepts it."""
    best = sorted(dict.fromkeys(fixes), key=lambda fix: fix.rank)
    return tuple(replace(fix, command=_command(n, fix)) for n, fix in enumerate(best, 1))


def _command(number: int, fix: Fix) -> str:
    if fix.kind in ("override", "overrides") and not (fix.exempt or fix.dropped or fix.replaced):
        pins = " ".join(f"--pin {pin}" for pin in fix.typed)
        return f"gov resolve {{txid}} {pins}"
    return f"gov resolve {{txid}} --accept {number}"


def _of_nodes(search: Search, ids: Iterable[int]) -> Ids:
    """Lines that may give way: ComfyUI's are no node's, and stand."""
    lines = search.problem.lines
    return frozenset(i for i in ids if lines[i].owner.startswith(NODE))


class _Offer:
    """Builds remedies from the findings and tries them."""

    def __init__(self, search: Search, findings: Sequence[Finding], prod: Prod) -> None:
        self._search = search
        self._findings = findings
        self._prod = prod
        self._new = search.new(search.everything)

    @property
    def has_pins(self) -> bool:
        """An override of today is a party, and only another one replaces it."""
        return any(line.owner == PIN for one in self._findings for line in one.cause.lines)

    def narrow(self, *, is_first: bool) -> Iterator[Fix]:
        for found in self._narrow(is_first=is_first):
            if found:
                yield _fix(self._search, self._prod, found)

    def _narrow(self, *, is_first: bool) -> Iterator[_Found | None]:
        base = Remedy(edits=self._base(_WRONG_NAME))
        yield self._exempt(base)
        mended = (self._relaxed(base) or self._not_here()) if is_first else None
        yield mended
        is_open = is_first and mended is None
        if is_open or (is_first and base.edits):
            yield from self._dropped()
        if self._search.standing:
            yield relax(self._search, _of_nodes(self._search, self._search.standing), base)
        inside = narrow(self._search, base, self._prod.versions)
        yield inside
        if is_open and inside is None:
            yield self._inside_too(base)

    def _relaxed(self, base: Remedy) -> _Found | None:
        loose = _of_nodes(self._search, self._new - base.edits.keys())
        return relax(self._search, loose, base)

    def _not_here(self) -> _Found | None:
        """Without the lines whose packages have no version for this machine."""
        edits = self._base(_WRONG_NAME | _NOT_HERE)
        return self._relaxed(Remedy(edits=edits)) if edits else None

    def _inside_too(self, base: Remedy) -> _Found | None:
        """Ranges of the newcomers and ranges inside of packages, each as few as do."""
        lines = self._search.problem.lines
        loose = _of_nodes(self._search, self._new - base.edits.keys())
        without_ranges = {i: bare(lines[i].text) for i in loose}
        start = replace(base, edits={**base.edits, **without_ranges})
        found = narrow(self._search, start, self._prod.versions)
        if found is None:
            return None
        return relax(self._search, loose, replace(base, scoped=found[0].scoped))

    def _base(self, kinds: Collection[str]) -> Edits:
        """Lines whose package cannot be had: the one that is meant in its place, else none."""
        edits = {}
        for finding in self._findings:
            kind, ids = finding.cause.kind, finding.ids
            if kind not in kinds or len(ids) > 1 or not ids <= self._new:
                continue
            index = min(ids)
            name = self._search.problem.lines[index].name
            wrong = kind in _WRONG_NAME and name == finding.cause.package
            edits[index] = (causes.meant(self._search, name) or "") if wrong else ""
        return edits

    def _exempt(self, base: Remedy) -> _Found | None:
        """Versions that are newer than the workspace's resolution date."""
        dated = dict.fromkeys(name for finding in self._findings for name in finding.dated)
        return self._tried(replace(base, exempt=tuple(dated))) if dated else None

    def _dropped(self) -> Iterator[_Found]:
        """The fewest newcomers' lines that touch every cause left out, if that is enough."""
        safe = frozenset[int]().union(*(finding.given_up for finding in self._findings))
        for dropped in dict.fromkeys((_fewest(self._search, self._findings), safe)):
            if not dropped or not dropped <= _of_nodes(self._search, self._new):
                continue
            found = self._tried(Remedy(edits=dict.fromkeys(dropped, "")))
            if found:
                yield found
                return

    def _tried(self, remedy: Remedy) -> _Found | None:
        lines = self._search.problem.lines
        words = [f"without {lines[i].text}" for i, text in remedy.edits.items() if not text]
        words += [f"{name} of any date" for name in remedy.exempt]
        words += [f"{one.package} from {one.url}" for one in remedy.sources]
        solved = self._search.ask(remedy.question(self._search), f"trying {' and '.join(words)}")
        return (remedy, solved) if solved.ok else None

    def other_indexes(self) -> Iterator[Fix]:
        """Packages that cannot be had from the index that a newcomer's own file names."""
        missing = [
            finding.cause.package
            for finding in self._findings
            if finding.cause.kind in _ELSEWHERE and finding.ids <= self._new
        ]
        for url, flat in self._search.problem.indexes if missing else ():
            sources = tuple(Source(package, url, flat) for package in dict.fromkeys(missing))
            found = self._tried(Remedy(sources=sources))
            if found:
                yield _fix(self._search, self._prod, found)

    def other_refs(self, refs: Callable[[], Iterable[Ref]] | None) -> Iterator[Fix]:
        """The first other ref of the node whose requirements lock."""
        tries = 0
        for ref in refs() if refs else ():
            if self._is_hopeless(ref.lines):
                continue
            asked = self._with_lines(ref.lines)
            solved = self._search.ask(asked, f"trying the node at {ref.ref}")
            if solved.ok:
                yield _described(_of_ref(self._search, ref), solved, self._prod)
                return
            tries += 1
            if tries == MOST_REFS:
                return

    def wide(self) -> Iterator[Fix]:
        for found in wide.overridden(self._search, self._findings, self._prod):
            yield _fix(self._search, self._prod, found)

    def _is_hopeless(self, lines: Sequence[Owned]) -> bool:
        """The ref asks for the same lines that were seen to fail."""
        texts = {line.text for line in lines}
        for finding in self._findings:
            mine = {self._search.problem.lines[i].text for i in self._search.new(finding.ids)}
            if mine <= texts:
                return True
        return False

    def _with_lines(self, lines: Sequence[Owned]) -> Question:
        """The whole problem with other lines for the newcomers."""
        problem = self._search.problem
        kept = [(i, problem.lines[i]) for i in sorted(self._search.standing)]
        first = len(problem.lines)
        asked = (*kept, *enumerate(lines, first))
        return Question(asked, problem.overrides, scoped=problem.scoped)


def _fewest(search: Search, findings: Sequence[Finding]) -> Ids:
    """One newcomer's line of every set, those first that stand in most sets (greedy)."""
    chosen: Ids = frozenset()
    while left := [finding for finding in findings if not finding.ids & chosen]:
        rated = Counter(line for finding in left for line in search.new(finding.ids))
        rated.update(line for finding in left for line in finding.given_up)
        chosen |= {rated.most_common(1)[0][0]}
    return chosen


# --- a remedy told ----------------------------------------------------------------------------


def _fix(search: Search, prod: Prod, found: _Found) -> Fix:
    remedy, solved = found
    lines = search.problem.lines
    losses = price.losses(search, remedy, solved)
    edits = sorted(remedy.edits.items())
    asked = remedy.question(search)
    fix = Fix(
        _kind(search, remedy),
        pins=remedy.overrides,
        typed=tuple(f"{package}=={version}" for package, version in remedy.pins),
        overrides=asked.overrides,
        dropped=tuple(lines[i] for i, text in edits if not text),
        replaced=tuple(Replaced(lines[i], text) for i, text in edits if text),
        scoped=remedy.scoped,
        sources=remedy.sources,
        exempt=remedy.exempt,
        lost=price.lost(search, remedy, solved),
        violates=tuple(loss.sentence for loss in losses),
        losses=tuple(loss.kind for loss in losses),
        nodes=tuple(dict.fromkeys(one.whose for one in losses if one.whose.startswith(NODE))),
    )
    return _described(fix, solved, prod)


def _of_ref(search: Search, ref: Ref) -> Fix:
    fix = Fix("ref", ref=ref.ref, overrides=search.problem.overrides)
    if ref.is_newer:
        return fix
    return replace(fix, violates=("takes an older commit of the node",), losses=("older",))


def _kind(search: Search, remedy: Remedy) -> str:
    lines = search.problem.lines
    if remedy.pins:
        return "override" if len(remedy.pins) == 1 else "overrides"
    if remedy.scoped:
        return "scoped"
    if remedy.sources:
        return "index"
    if any(text and text != bare(lines[i].text) for i, text in remedy.edits.items()):
        return "replace-line"
    if any(remedy.edits.values()):
        return "relax-line"
    return "exempt-date" if remedy.exempt else "drop-line"


def _described(fix: Fix, solved: Solved, prod: Prod) -> Fix:
    changed = changes(prod.versions, solved.versions)
    return replace(fix, changes=changed, core=in_core(changed, prod.core_packages))
