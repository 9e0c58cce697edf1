"""Candidate fixes, each run through the resolver with the whole set; only what locks is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from governance.conflict import causes, message
from governance.conflict.answer import Fix
from governance.conflict.causes import Finding
from governance.conflict.chains import Lock, demands
from governance.conflict.package_changes import changes, in_core
from governance.conflict.problem import Owned
from governance.conflict.search import AT_ONCE, Search
from governance.conflict.solver import Question, Solved
from governance.requirements import override_text, parse_pin

# Resolver runs spent on combinations; the first one is the likeliest.
MOST_TRIES = 8
# Further packages overridden when the first overrides are not enough.
MOST_MORE = 3
MOST_REFS = 5

Ref = tuple[str, Sequence[Owned]]


@dataclass(frozen=True)
class Prod:
    """What prod has now, its lock, and which packages need an approval."""

    versions: Mapping[str, str]
    core_packages: frozenset[str]
    lock: Lock


@dataclass(frozen=True)
class Remedy:
    """What to do about one package: pin it, exempt it from the date, or leave lines out."""

    pins: tuple[tuple[str, str], ...] = ()
    exempt: tuple[str, ...] = ()
    dropped: frozenset[int] = field(default_factory=frozenset)

    def __add__(self, other: Remedy) -> Remedy:
        return Remedy(
            tuple(dict([*self.pins, *other.pins]).items()),
            tuple(dict.fromkeys((*self.exempt, *other.exempt))),
            self.dropped | other.dropped,
        )

    @property
    def kind(self) -> str:
        if self.dropped:
            return "drop-line"
        if self.exempt and not self.pins:
            return "exempt-date"
        return "override" if len(self.pins) == 1 else "overrides"


@dataclass(frozen=True)
class Menu:
    """What may be done about one package at stake, the likeliest first; a remedy of one of
    `cured_by` may do instead."""

    package: str
    remedies: tuple[Remedy, ...]
    cured_by: frozenset[str]


def offer(
    search: Search,
    findings: Sequence[Finding],
    prod: Prod,
    refs: Callable[[], Iterable[Ref]] | None,
) -> Iterator[Fix]:
    """Fixes as they are found, unsorted."""
    attempt = _Attempt(search, findings, prod)
    yield from attempt.combinations()
    yield from attempt.without_lines()
    if refs is not None:
        yield from attempt.other_refs(refs())


def ordered(fixes: Iterable[Fix]) -> tuple[Fix, ...]:
    """Best first, without doubles, each with the command that accepts it."""
    best = sorted(dict.fromkeys(fixes), key=lambda fix: fix.rank)
    return tuple(replace(fix, command=_command(n, fix)) for n, fix in enumerate(best, 1))


def _command(number: int, fix: Fix) -> str:
    if fix.kind in ("override", "overrides") and not fix.exempt:
        pins = " ".join(f"--pin {pin}" for pin in fix.typed)
        return f"gov resolve {{txid}} {pins}"
    return f"gov resolve {{txid}} --accept {number}"


class _Attempt:
    """Builds candidates from the findings and tries them."""

    def __init__(self, search: Search, findings: Sequence[Finding], prod: Prod) -> None:
        self._search = search
        self._findings = findings
        self._prod = prod

    def combinations(self) -> Iterator[Fix]:
        """One remedy per package at stake: the likeliest ones, then each replaced in turn."""
        found = False
        menus = self._menus()
        tries = _varied(menus)[:MOST_TRIES] if menus else []
        for start in range(0, len(tries), AT_ONCE):
            for remedy, solved in self._tried(tries[start : start + AT_ONCE]):
                if solved.ok:
                    found = True
                    yield self._slimmed(remedy, solved)
        if tries and not found:
            widened = list(self._widened(tries[0]))
            as_in_prod = self._as_in_prod()
            yield from widened if widened or not as_in_prod.pins else self._widened(as_in_prod)

    def _otherwise(self) -> frozenset[int]:
        """The newcomers' lines that do not take what prod has."""
        now, lines = self._prod.versions, self._search.problem.lines
        return frozenset(
            i
            for i in self._search.giveable
            if lines[i].name in now and causes.rules_out(lines[i], now[lines[i].name])
        )

    def _as_in_prod(self) -> Remedy:
        """Every package that the newcomers ask for otherwise than prod has it, as prod has it."""
        now = self._prod.versions
        asked = {self._search.problem.lines[i].name for i in self._otherwise()}
        at_stake = {finding.cause.package for finding in self._findings}
        return Remedy(tuple((name, now[name]) for name in sorted(asked | (at_stake & now.keys()))))

    def _slimmed(self, remedy: Remedy, solved: Solved) -> Fix:
        """Without the pins that break nothing, where it locks without them, too."""
        breaking = [pin for pin in remedy.pins if list(self._broken(*pin, remedy, solved))]
        slim = replace(remedy, pins=tuple(breaking))
        if slim not in (remedy, Remedy()):
            answer = self._tried([slim])[0][1]
            if answer.ok:
                return self._fix(slim, answer)
        return self._fix(remedy, solved)

    def without_lines(self) -> Iterator[Fix]:
        """Leave out the fewest newcomers' lines that touch every cause, if that is enough."""
        safe = frozenset[int]().union(*(finding.given_up for finding in self._findings))
        fewest = _fewest(self._search, self._findings)
        for dropped in dict.fromkeys((fewest, safe, safe | self._otherwise())):
            if not dropped <= self._search.giveable:
                continue
            remedy, solved = self._tried([Remedy(dropped=dropped)])[0]
            if solved.ok:
                yield self._fix(remedy, solved)
                return

    def other_refs(self, refs: Iterable[Ref]) -> Iterator[Fix]:
        """The first other ref of the node whose requirements lock."""
        tries = 0
        for ref, lines in refs:
            if self._is_hopeless(lines):
                continue
            solved = self._search.ask(self._with_lines(lines), f"trying the node at {ref}")
            if solved.ok:
                overrides = self._search.problem.overrides
                yield self._described(Fix("ref", ref=ref, overrides=overrides), solved)
                return
            tries += 1
            if tries == MOST_REFS:
                return

    def _menus(self) -> list[Menu]:
        """The remedies for each package at stake."""
        by_package: dict[str, list[Finding]] = {}
        for finding in self._findings:
            by_package.setdefault(finding.cause.package, []).append(finding)
        menus = [
            Menu(package, tuple(self._remedies(package, found)), _cured_by(package, found))
            for package, found in by_package.items()
        ]
        return [menu for menu in menus if menu.remedies]

    def _remedies(self, package: str, findings: Sequence[Finding]) -> list[Remedy]:
        remedies = [Remedy(((package, v),)) for v in self._versions(package, findings)]
        remedies[1:1] = self._newer_parents(package, findings)
        dated = dict.fromkeys(name for finding in findings for name in finding.dated)
        if dated:
            remedies.insert(0, Remedy(exempt=tuple(dated)))
        dropped = _fewest(self._search, findings)
        if not remedies and dropped <= self._search.giveable:
            remedies = [Remedy(dropped=dropped)]
        return remedies

    def _newer_parents(self, package: str, findings: Sequence[Finding]) -> Iterator[Remedy]:
        """The one new line brings `package` through its own: a newer version of that may not."""
        lines, relaxed = self._search.problem.lines, findings[0].relaxed
        new = {i for finding in findings for i in self._search.new(finding.ids)}
        parents = {lines[i].name for i in new} - {package}
        if len(new) != 1 or not parents or relaxed is None:
            return
        parent = parents.pop()
        newest = causes.release(self._search, findings[0].ids, parent)
        now = relaxed.versions.get(parent)
        version = newest.versions.get(parent) if newest.ok else None
        if version and now and causes.holds(f">{now}", version):
            yield Remedy(((parent, version),))

    def _versions(self, package: str, findings: Sequence[Finding]) -> list[str]:
        """What prod has, what each line of a set gets alone (newcomers first), the newest."""
        relaxed = [finding.relaxed for finding in findings if finding.relaxed is not None]
        if not relaxed:
            return []
        wanted = [solved for finding in findings for solved in self._alone(finding)]
        found = [self._prod.versions.get(package)]
        found += [solved.versions.get(package) for solved in (*wanted, *relaxed)]
        return list(dict.fromkeys(v for v in found if v and not v.startswith("@")))

    def _alone(self, finding: Finding) -> list[Solved]:
        """What the lines of a set get by themselves, as far as it was asked; a newcomer's is."""
        answers = [self._search.known_answer(frozenset([line])) for line in sorted(finding.ids)]
        known = [solved for solved in answers if solved is not None]
        if known or len(finding.ids) == 1:
            return known
        return [self._search.probe(frozenset([min(self._search.new(finding.ids))]))]

    def _tried(self, remedies: Sequence[Remedy]) -> list[tuple[Remedy, Solved]]:
        asked = [(self._question(remedy), self._doing(remedy)) for remedy in remedies]
        return list(zip(remedies, self._search.ask_all(asked), strict=True))

    def _doing(self, remedy: Remedy) -> str:
        lines = self._search.problem.lines
        words = [f"{package}=={version}" for package, version in remedy.pins]
        words += [f"without {lines[i].text}" for i in sorted(remedy.dropped)]
        words += [f"{name} of any date" for name in remedy.exempt]
        return f"trying {' and '.join(words)}"

    def _question(self, remedy: Remedy) -> Question:
        overrides = self._overrides(remedy)
        kept = self._search.everything - remedy.dropped
        return self._search.question(kept, overrides=overrides, exempt=remedy.exempt)

    def _overrides(self, remedy: Remedy) -> tuple[str, ...]:
        overrides = self._search.problem.overrides
        for package, _ in remedy.pins:
            overrides = causes.without(overrides, package)
        return (*overrides, *self._entries(remedy))

    def _entries(self, remedy: Remedy) -> list[str]:
        lines = self._search.problem.lines
        entries: list[str] = []
        for package, version in remedy.pins:
            replaced = [line.text for line in lines if line.name == package]
            replaced += demands(self._prod.lock, package)
            for finding in self._findings:
                if finding.relaxed is not None:
                    replaced += demands(finding.relaxed.lock, package)
            entries += override_text(parse_pin(f"{package}=={version}"), replaced)
        return entries

    def _widened(self, remedy: Remedy) -> Iterator[Fix]:
        """Override the next package that uv names, until the set locks."""
        for _ in range(MOST_MORE):
            solved = self._tried([remedy])[0][1]
            if solved.ok:
                yield self._slimmed(remedy, solved)
                return
            further = self._further(remedy, solved)
            if further is None:
                return
            remedy = further

    def _further(self, remedy: Remedy, failed: Solved) -> Remedy | None:
        pinned = dict(remedy.pins)
        for package in message.read(failed.log).at_stake():
            version = None if package in pinned else self._version_for(package, remedy)
            if version:
                return remedy + Remedy(((package, version),))
        return None

    def _version_for(self, package: str, remedy: Remedy) -> str | None:
        """Prod's version; for a package that is not in prod, the newest that can be had."""
        now = self._prod.versions.get(package)
        if now:
            return now
        question = self._question(remedy)
        free = replace(question, overrides=(*question.overrides, package))
        solved = self._search.ask(free, f"setting {package} free, too")
        return solved.versions.get(package) if solved.ok else None

    def _fix(self, remedy: Remedy, solved: Solved) -> Fix:
        lines = self._search.problem.lines
        fix = Fix(
            remedy.kind,
            pins=tuple(self._entries(remedy)),
            typed=tuple(f"{package}=={version}" for package, version in remedy.pins),
            overrides=self._overrides(remedy),
            dropped=tuple(lines[i] for i in sorted(remedy.dropped)),
            exempt=remedy.exempt,
            lost=self._lost(remedy, solved),
            violates=tuple(self._violated(remedy, solved)),
        )
        return self._described(fix, solved)

    def _described(self, fix: Fix, solved: Solved) -> Fix:
        changed = changes(self._prod.versions, solved.versions)
        return replace(fix, changes=changed, core=in_core(changed, self._prod.core_packages))

    def _lost(self, remedy: Remedy, solved: Solved) -> tuple[str, ...]:
        """Packages that can be had, but that nothing brings any more."""
        lines = self._search.problem.lines
        gone = {lines[i].name for i in remedy.dropped} - solved.versions.keys()
        had = {name for f in self._findings if f.relaxed for name in f.relaxed.versions}
        return tuple(sorted(gone & had))

    def _violated(self, remedy: Remedy, solved: Solved) -> Iterator[str]:
        lost = self._lost(remedy, solved)
        for index in sorted(remedy.dropped):
            line = self._search.problem.lines[index]
            and_all = f" (nothing else brings {line.name})" if line.name in lost else ""
            yield f"leaves out {line.who}'s {line.text}{and_all}"
        for package, version in remedy.pins:
            yield from self._broken(package, version, remedy, solved)

    def _broken(self, package: str, version: str, remedy: Remedy, solved: Solved) -> Iterator[str]:
        yield from self._broken_lines(package, version, remedy.dropped)
        yield from self._broken_packages(package, version, solved)

    def _broken_lines(self, package: str, version: str, dropped: frozenset[int]) -> Iterator[str]:
        for index, line in enumerate(self._search.problem.lines):
            is_about = line.name == package and index not in dropped
            if is_about and causes.rules_out(line, version):
                yield f"breaks {line.who}'s {line.text}"

    def _broken_packages(self, package: str, version: str, solved: Solved) -> Iterator[str]:
        """By what uv said of the locked versions of those who depend on the package."""
        broken: dict[str, str] = {}
        for said in self._search.statements:
            mine = solved.versions.get(said.who)
            if said.name != package or not said.spec or mine is None:
                continue
            in_force = causes.holds(said.who_range, mine)
            if in_force and not causes.holds(said.spec, version):
                # uv shortens a specifier where a part of it decides; the longest says most.
                broken[said.who] = max(broken.get(said.who, ""), said.spec, key=len)
        for who, spec in broken.items():
            yield f"breaks {who} {solved.versions[who]}'s {package}{spec}"

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
        return Question((*kept, *enumerate(lines, first)), problem.overrides)


def _fewest(search: Search, findings: Sequence[Finding]) -> frozenset[int]:
    """One newcomer's line of every set, those first that stand in most sets (greedy)."""
    chosen: frozenset[int] = frozenset()
    while left := [finding for finding in findings if not finding.ids & chosen]:
        rated = Counter(line for finding in left for line in search.new(finding.ids))
        rated.update(line for finding in left for line in finding.given_up)
        chosen |= {rated.most_common(1)[0][0]}
    return chosen


def _cured_by(package: str, findings: Sequence[Finding]) -> frozenset[str]:
    """Packages through which every finding about `package` runs: at another version of one of
    them there may be nothing to mend."""
    named = [
        {line.name for line in finding.cause.lines}
        | {step.partition(" ")[0] for way in finding.cause.chains for step in way[1:-1]}
        for finding in findings
    ]
    return frozenset.intersection(*map(frozenset, named)) - {package}


def _varied(menus: Sequence[Menu]) -> list[Remedy]:
    """The first choice of every menu, then each menu's other choices one at a time; those first
    with which other menus may not be needed."""
    first = {menu.package: menu.remedies[0] for menu in menus}
    picks = [first]
    for menu in menus:
        needed = {other.package for other in menus if menu.package not in other.cured_by}
        if len(needed) < len(menus):
            kept = {package: first[package] for package in first if package in needed}
            picks += [{**kept, menu.package: other} for other in menu.remedies]
    for menu in menus:
        picks += [{**first, menu.package: other} for other in menu.remedies[1:]]
    return [sum(pick.values(), Remedy()) for pick in picks]
