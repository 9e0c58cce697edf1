"""All minimal sets of lines that do not lock together, and what each one is about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from governance.conflict import message, ranges
from governance.conflict.answer import Cause, Party
from governance.conflict.chains import chains, demands, ways
from governance.conflict.message import Message
from governance.conflict.problem import PIN, Owned
from governance.conflict.search import Ids, Search
from governance.conflict.solver import CANNOT_LOOK, CONFLICT, Solved
from governance.requirements import distributions, override_text, parse_pin
from governance.requirements.grammar import leading_name

# Beyond so many sets nobody reads on, and the fixes are the same: independent ones, and all.
MOST_SETS = 12
MOST_CAUSES = 24
# Packages that uv names in one message and that are tried as the one at stake.
MOST_STAKES = 3
# Packages of one line that ask for the one at stake, and whose ranges are looked up.
MOST_PARENTS = 3

holds = ranges.holds


@dataclass(frozen=True)
class Finding:
    """A cause and what the search knows about it.

    `relaxed` locks with the package set free; without `given_up` the set locks (and so does
    everything without what all independent findings give up).  `dated` are packages of which the
    resolution date hides versions.
    """

    ids: Ids
    cause: Cause
    relaxed: Solved | None
    given_up: Ids
    dated: tuple[str, ...]


def find(search: Search, log: str) -> Iterator[Finding]:
    """Independent causes first, then the further opponents of each newcomer's lines.

    The opponents are left alone when half of the time is gone: the rest belongs to the fixes.
    Where that or the number of causes ends the search, `search.is_cut` says so; a thorough search
    ends only where the time does.
    """
    for count, finding in enumerate(_all(search, log), 1):
        yield finding
        if count == MOST_CAUSES and not search.is_thorough:
            search.is_cut = True
            return


def _all(search: Search, log: str) -> Iterator[Finding]:
    independent: list[Finding] = []
    for finding in _independent(search, log):
        independent.append(finding)
        yield finding
    known = [finding.ids for finding in independent]
    for finding in independent:
        if search.new(finding.ids) == finding.ids:
            continue
        if search.is_late:
            search.is_cut = True
            return
        yield from _opponents(search, finding, known)


def _independent(search: Search, log: str) -> Iterator[Finding]:
    """Minimal sets, each found after lines of the earlier ones were left out."""
    rest = search.everything
    for _ in _rounds(search):
        finding = describe(search, search.minimal(rest, log))
        if finding.cause.kind == "unreachable":
            yield finding
            return
        rest = rest - finding.given_up
        yield finding
        # The second set is asked for only later, by `_opponents`, but both take their time.
        search.foresee([rest, _rivals(search, finding.ids, finding.ids)])
        if search.known(rest):
            return
        log = search.probe_whole(rest).log
    search.is_cut = True


def _rounds(search: Search) -> Iterator[int]:
    """Each one leaves out further lines, so there are never more rounds than lines."""
    return iter(range(len(search.problem.lines) + 1 if search.is_thorough else MOST_SETS))


def _given_up(search: Search, ids: Ids, package: str) -> Ids:
    """What to leave out so that the set locks: one newcomer's line, a direct one rather."""
    lines = search.problem.lines
    return frozenset([max(search.new(ids), key=lambda i: (lines[i].name == package, i))])


def _rivals(search: Search, ids: Ids, left_out: Ids) -> Ids:
    """All standing lines but those `left_out`, with the new lines of `ids`."""
    new = search.new(ids)
    return ((search.standing - left_out) | new) if search.standing else frozenset()


def _opponents(search: Search, first: Finding, known: Sequence[Ids]) -> Iterator[Finding]:
    """Further sets of the same new lines with other standing lines."""
    left_out = first.ids
    for ids in _direct(search, first):
        left_out |= ids
        if ids not in known:
            # Two lines about the package that shut each other out need no run to say so.
            yield describe(search, ids, stake=(first.cause.package, first.relaxed))
    for _ in _rounds(search):
        rest = _rivals(search, first.ids, left_out)
        if search.known(rest):
            return
        if search.is_late:
            break
        failed = search.probe_whole(rest)
        if failed.ok:
            return
        more = search.minimal(rest, failed.log)
        if more not in known:
            yield describe(search, more)
        if not more & search.standing:
            return
        left_out |= more
    search.is_cut = True


def _direct(search: Search, first: Finding) -> Iterator[Ids]:
    """The one new line with each standing line about the same package that rules out the version
    which the new one gets alone, where both together were seen to fail."""
    lines, new = search.problem.lines, search.new(first.ids)
    alone = search.known_answer(new)
    if len(new) != 1 or alone is None or lines[min(new)].name != first.cause.package:
        return
    version = alone.versions.get(first.cause.package, "")
    rivals = [
        new | {i}
        for i in sorted(search.standing - first.ids)
        if lines[i].name == first.cause.package and rules_out(lines[i], version)
    ]
    search.probe_all(rivals)
    yield from (ids for ids in rivals if search.known(ids) is False)


def describe(search: Search, ids: Ids, stake: tuple[str, Solved | None] | None = None) -> Finding:
    """Name the package at `stake` (found by runs where it is not known), the kind and the chains.
    The set fails, which was seen."""
    failed = search.ask(search.question(ids, by_line=True), "reading the message")
    said = message.read(failed.log)
    order = sorted(search.new(ids)) + sorted(ids & search.standing)
    lines = tuple(search.problem.lines[i] for i in order)
    package, relaxed = stake or _at_stake(search, ids, said, lines)
    found = [_chain(search, relaxed, ids, i, package) for i in order]
    pins = _pins(search, package, relaxed)
    kind = _kind(failed, said, lines, package, relaxed)
    # Only wheels are asked for once its build has failed; that is the reason to tell.
    why = dict(search.problem.unbuildable).get(package) if kind == "no-wheel" else None
    if why is not None and meant(search, package):
        kind = "build"
    parties = tuple(
        _party(search, i, way, spec, said, package)
        for i, (way, spec) in zip(order, found, strict=True)
    )
    parties = (*(_pin_party(pin) for pin in pins), *parties)
    lines = (*pins, *lines)
    told = (*((pin.text,) for pin in pins), *(way for way, _ in found))
    what = _what(search, kind, lines, package, failed.log, why)
    sentence = _sentence(kind, lines, told, what)
    cause = Cause(kind, lines, package, told, sentence, what, parties)
    return Finding(ids, cause, relaxed, _given_up(search, ids, package), said.filtered)


def _pins(search: Search, package: str, relaxed: Solved | None) -> list[Owned]:
    """Overrides of today without which the lines lock: they are parties, too."""
    kept = without(search.problem.overrides, package)
    if relaxed is None:
        return []
    gone = [text for text in search.problem.overrides if text not in kept]
    return [Owned(text, PIN, "pyproject.toml", 0, package) for text in gone]


def set_free(
    search: Search, lines: Sequence[Owned], package: str, lock: Solved | None
) -> list[str]:
    """Overrides that take every version of `package`, keeping extras and markers."""
    replaced = [line.text for line in lines if line.name == package]
    replaced += demands(lock.lock, package) if lock else []
    entries = override_text(parse_pin(f"{package}==0"), replaced)
    return [entry.replace("==0", "", 1) for entry in entries]


def without(overrides: Sequence[str], package: str) -> tuple[str, ...]:
    """`overrides` less those of `package`."""
    return tuple(text for text in overrides if leading_name(text) != package)


def _at_stake(
    search: Search, ids: Ids, said: Message, lines: Sequence[Owned]
) -> tuple[str, Solved | None]:
    """The package that, set free, lets the lines lock, and that every line brings; else the one
    that most of them bring (freeing another often helps by a detour through an old version that
    asks for less); else uv's first guess and None."""
    guesses = said.at_stake() or [lines[0].name]
    found: list[tuple[int, str, Solved]] = []
    for package in guesses[:MOST_STAKES]:
        if said.absent.get(package) == "not-on-index":
            return package, None
        relaxed = release(search, ids, package)
        if relaxed.ok:
            found.append((_bringing(search, ids, package, relaxed), package, relaxed))
            if found[-1][0] == len(ids):
                break
    if not found:
        # Nothing about any version helps: then it is a package that cannot be had at all, rather
        # than one of which uv also says which versions there are.
        out_of_reach = [p for p in guesses if said.absent.get(p, NO_VERSION) != NO_VERSION]
        return (out_of_reach or guesses)[0], None
    _, package, relaxed = max(found, key=lambda one: one[0])
    return package, relaxed


def _bringing(search: Search, ids: Ids, package: str, relaxed: Solved) -> int:
    """How many of the lines are about `package` or bring it."""
    return sum(
        search.problem.lines[i].name == package or bool(_way(relaxed, i, package)) for i in ids
    )


def release(search: Search, ids: Ids, package: str) -> Solved:
    """Lock the lines with `package` set free, to the newest version that can be had."""
    lines = [search.problem.lines[i] for i in ids]
    free = set_free(search, lines, package, None)
    overrides = (*without(search.problem.overrides, package), *free)
    question = search.question(ids, by_line=True, overrides=overrides, fresh=True)
    return search.ask(question, f"setting {package} free")


def _kind(
    failed: Solved, said: Message, lines: Sequence[Owned], package: str, relaxed: Solved | None
) -> str:
    if failed.code == "build_failed":
        return "build"
    if failed.code in CANNOT_LOOK:
        return "unreachable"
    if failed.code != CONFLICT:
        return "malformed"
    contested = said.parties.get(package, 0) > 1
    absent = said.absent.get(package)
    # Where setting it free did not help, it does not matter how many ask for it.
    is_gone = relaxed is None and absent != NO_VERSION
    if len(lines) == 1 and absent and (is_gone or not contested):
        return absent
    if absent == "python" and all(line.name == package for line in lines):
        # Some version would do for all of them, but for its Python.
        return absent
    same = {line.owner for line in lines}
    return "self-contradiction" if len(same) == 1 else "conflict"


def _chain(
    search: Search, relaxed: Solved | None, ids: Ids, index: int, package: str
) -> tuple[tuple[str, ...], str]:
    """(the line, `package version` ..., the package as its last parent wants it); the range."""
    line = search.problem.lines[index]
    way: tuple[str, ...] = ()
    spec = ranges.declared(line.text)
    if line.name != package and relaxed is not None:
        way, spec = _telling_way(search, relaxed, ids, index, package)
    if not way or relaxed is None:
        return (line.text,), spec
    steps = [f"{name} {relaxed.versions.get(name, '')}".strip() for name in way[:-1]]
    return (line.text, *steps, package + spec), spec


def _telling_way(
    search: Search, relaxed: Solved, ids: Ids, index: int, package: str
) -> tuple[tuple[str, ...], str]:
    """The shortest way whose last parent wants some versions only, and which; those first that uv
    quoted.  Else the shortest way and "", or the line's own range where it leads nowhere."""
    found = _ways(search, relaxed, index, package)
    for way in found[:MOST_PARENTS]:
        contested = ranges.contested(search, ids, index, package, relaxed)
        spec = ranges.wanted(search, way[-2], package, relaxed, contested)
        if spec:
            return way, spec
    return (found[0], "") if found else ((), ranges.declared(search.problem.lines[index].text))


def _ways(search: Search, relaxed: Solved, index: int, package: str) -> list[tuple[str, ...]]:
    """From the line's own package to `package`, one for each of its parents."""
    found = ways(relaxed.lock, f"{message.LINE_GROUP}{index}", package)
    quoted = {way: ranges.quoted(search, way[-2], package, relaxed) for way in found}
    return sorted(found, key=lambda way: (not quoted[way], len(way), way))


def _way(relaxed: Solved, index: int, package: str) -> tuple[str, ...]:
    """The packages from the line's own to `package`; () where it does not bring it."""
    group = f"{message.LINE_GROUP}{index}"
    return next((c.packages for c in chains(relaxed.lock, package) if c.group == group), ())


def rules_out(line: Owned, version: str) -> bool:
    """Whether the line, where it applies here, does not take `version` of its package."""
    from packaging.requirements import Requirement

    found = Requirement(line.text)
    applies = found.marker is None or found.marker.evaluate()
    return applies and not holds(str(found.specifier), version)


def _party(
    search: Search, index: int, way: Sequence[str], spec: str, said: Message, package: str
) -> Party:
    """A line as a party: of the package at stake, where it brings that, else of its own."""
    line = search.problem.lines[index]
    is_new = index in search.giveable
    if line.name == package:
        return Party(line.who, package, spec, (), is_new)
    if len(way) > 1:
        return Party(line.who, package, spec, tuple(way[1:-1]), is_new)
    asking = [s for s in said.statements if s.name == package and s.who]
    if package in said.absent and asking:
        # It cannot be had, so there is no lock to read the way from: uv's words have to do.
        through = tuple(dict.fromkeys((line.text, asking[0].who)))
        through = through[:1] if asking[0].who == line.name else through
        return Party(line.who, package, asking[0].spec, through, is_new)
    return Party(line.who, line.name, spec, (), is_new)


def _pin_party(pin: Owned) -> Party:
    return Party(pin.who, pin.name, ranges.declared(pin.text))


def _what(
    search: Search, kind: str, lines: Sequence[Owned], package: str, log: str, why: str | None
) -> str:
    if kind == "conflict":
        return f"no version of {package} satisfies all of them"
    if kind == "self-contradiction":
        return f"{lines[0].who} contradicts itself"
    return absence(kind, package, log, why) + _near(search, kind, package)


def absence(kind: str, package: str, log: str, why: str | None = None) -> str:
    """Why a package cannot be had, in words; `why` is what its build said, where `log` is not."""
    said = message.read(log)
    if kind == "python" and package in said.pythons and said.python:
        needed = said.pythons[package]
        return f"{package} needs Python {needed}, this workspace has {said.python}"
    if why is not None:
        kind = "build"
    elif kind == "build":
        why = message.build_problem(log)
    return ABSENT[kind].format(package=package) + (f" ({why[:120]})" if why else "")


def _sentence(kind: str, lines: Sequence[Owned], ways: Sequence[tuple[str, ...]], what: str) -> str:
    asked = " and ".join(_asking(line, way) for line, way in zip(lines, ways, strict=True))
    if kind == "self-contradiction":
        return f"{what}: {asked}"
    return f"{asked}: {what}" if kind == "conflict" else f"{asked}, but {what}"


NO_VERSION = "no-version"
ABSENT = {
    "not-on-index": "{package} is not on the index",
    "no-version": "no such version of {package} is on the index",
    "no-wheel": "{package} has no wheel for this Python and platform",
    "yanked": "the versions of {package} that fit were yanked",
    "newer-than-date": "{package} had no such version at the workspace's resolution date",
    "python": "{package} needs another Python than this workspace's",
    "build": "{package} has no wheel here and building it failed",
    "unreachable": "{package} could not be fetched",
    "malformed": "uv cannot read it",
}


def _asking(line: Owned, way: Sequence[str]) -> str:
    through = f" (through {', '.join(way[1:-1])}: {way[-1]})" if len(way) > 2 else ""
    return f"{line.who} wants {line.text}{through} ({line.place})"


def _near(search: Search, kind: str, package: str) -> str:
    """The package that may be meant, where the name is of none (or of a mere placeholder)."""
    if kind not in ("not-on-index", "build"):
        return ""
    likely = meant(search, package)
    return f" (is {likely} meant?)" if likely else ""


def meant(search: Search, package: str) -> str | None:
    """The distribution that is likely to be meant by a name that cannot be had."""
    names = {line.name for line in search.problem.lines} - {package}
    part = package.partition("-")[0]
    return distributions.meant(package, names) or (part if part in names else None)
