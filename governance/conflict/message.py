"""uv's words about a failed lock, read as a guess that a resolver run has to confirm."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from governance.base.names import normalise

LINE_GROUP = "line-"

# Atomic and from a word's start only: uv's words come to megabytes, with ranges of a thousand
# characters, and a pattern that goes back over each of them took ten seconds a message.
_NAME = r"(?>[A-Za-z0-9](?:[\w.-]*\w)?)"
_WORD = rf"(?<![^\s`(])({_NAME})"
_EXTRAS = r"(?:\[[^\]]*\])?"
_RANGE = r"[<>=!~][^\s,]*"
_DEPENDS = re.compile(
    rf"(?:all of: (?P<others>(?:{_NAME}{_EXTRAS}[<>=!~]\S* )*))?"
    rf"(?<!\S)(?P<who>\S++) depends? on (?P<many>one of: )?"
    rf"(?P<on>{_NAME}){_EXTRAS}(?P<spec>[<>=!~]\S*)?"
    rf"(?: and (?P<also>{_NAME}){_EXTRAS}(?P<also_spec>{_RANGE}(?:,{_RANGE})*)?(?=, ))?"
)
# What uv concludes holds for the lines at hand only; what it starts from comes from the index.
_CONCLUSION = re.compile(
    r"we can conclude that .*?(?=And because|Because|hint:|$)"
    r"|we know from \(\d+\).*? that \S+ .*?(?=,| and )"
)
_LINE = re.compile(rf":{LINE_GROUP}(\d+)$")
_GROUP = re.compile(r"[\w.-]:([a-z][a-z0-9-]*)")
_HEAD = re.compile(rf"({_NAME})(?:\[[^\]]*\])?(.*)")
_FILTERED = re.compile(r"`([\w.-]+)` was filtered by `exclude-newer`")
_BUILT = re.compile(
    r"Failed to (?:build|download)(?: and build)?[^`]*`([\w.-]+?)(?: @ [^`]*|==[^`]*)?`"
)
_INCLUDED = re.compile(r"was included because `([^`]+)`(.*)")
_NO_EXTRA = re.compile(r"The package `([\w.-]+?)==([^`]+)` does not have an extra named `([^`]+)`")
_YANKED = re.compile(r'`([\w.-]+?)==([^`]+)` is yanked(?: \(reason: "(.*?)"\))?')

# What uv says of a package that cannot be had; the first group is the package.  Order matters:
# a date and a withdrawal hide versions, so they come before "only these are available".
_ABSENCES = (
    ("not-on-index", re.compile(rf"{_WORD}(?:\[\S*\])? was not found in the package registry")),
    ("newer-than-date", _FILTERED),
    ("python", re.compile(rf"{_WORD}\S*+ depends on Python[<>=]")),
    (
        "no-wheel",
        re.compile(
            rf"{_WORD}\S*+ (?:has|have) no (?:wheels|usable wheels|`[^`]*`-compatible wheels)"
        ),
    ),
    ("yanked", re.compile(rf"{_WORD}\S*+ was yanked")),
    ("no-version", re.compile(rf"\bno versions? of ({_NAME})")),
    ("no-version", re.compile(rf"\bonly ({_NAME})[<>=!~]\S* is available")),
    ("no-version", re.compile(rf"following versions of ({_NAME}) are available")),
)


@dataclass(frozen=True)
class Statement:
    """`who` (a package, or "" for a requirement line) `who_range` depends on `name` `spec`.

    `spec` is "" where uv lists several ranges.
    """

    who: str
    who_range: str
    line: int | None
    name: str
    spec: str


@dataclass(frozen=True)
class Message:
    """`lines` are indexes of requirement lines, `groups` the other groups of the project that uv
    names; `absent` maps a package to why it cannot be had.
    """

    lines: frozenset[int]
    groups: frozenset[str]
    statements: tuple[Statement, ...]
    absent: dict[str, str]
    filtered: tuple[str, ...]

    @property
    def packages(self) -> frozenset[str]:
        return frozenset(statement.name for statement in self.statements) | self.absent.keys()

    def at_stake(self) -> list[str]:
        """Packages, those first that most parties ask for, in different words."""
        contested = sorted(self.parties, key=lambda name: -self.parties[name])
        several = [name for name in contested if self.parties[name] > 1]
        return list(dict.fromkeys([*several, *self.absent, *contested]))

    @cached_property
    def parties(self) -> dict[str, int]:
        """How many packages and lines ask for each package."""
        asking: dict[str, set[tuple[str, int | None]]] = {}
        for statement in self.statements:
            asked = asking.setdefault(statement.name, set())
            asked.add((statement.who, statement.line))
        return {name: len(asked) for name, asked in asking.items()}


@lru_cache(maxsize=64)
def read(log: str) -> Message:
    text = " ".join(log.split())
    statements = tuple(dict.fromkeys(_statements(text)))
    named = {int(number) for number in re.findall(rf":{LINE_GROUP}(\d+)", text)}
    return Message(
        lines=frozenset(named),
        groups=frozenset(_GROUP.findall(text)),
        statements=statements,
        absent=dict(_absences(text)),
        filtered=tuple(dict.fromkeys(map(normalise, _FILTERED.findall(text)))),
    )


def missing_extras(log: str) -> tuple[tuple[str, str, str], ...]:
    """(package, version, extra) of the extras that a successful lock did not find."""
    return tuple(
        (normalise(name), version, extra) for name, version, extra in _NO_EXTRA.findall(log)
    )


def yanked(log: str) -> tuple[tuple[str, str, str], ...]:
    """(package, version, reason) of yanked versions that a successful lock took all the same."""
    return tuple((normalise(name), version, why) for name, version, why in _YANKED.findall(log))


def _statements(text: str) -> Iterator[Statement]:
    for match in _DEPENDS.finditer(_CONCLUSION.sub(" ", text)):
        if match["on"] == "Python":
            continue
        spec = "" if match["many"] else _clean(match["spec"])
        for token in (*(match["others"] or "").split(), match["who"]):
            who, who_range, line = _party(token)
            yield Statement(who, who_range, line, normalise(match["on"]), spec)
        if match["also"]:
            # Two demands on one package are one party against itself: the second is nobody's, so
            # that the package counts as contested.
            same = match["also"] == match["on"]
            party = ("", "", None) if same else (who, who_range, line)
            yield Statement(*party, normalise(match["also"]), _clean(match["also_spec"]))


def _party(token: str) -> tuple[str, str, int | None]:
    line = _LINE.search(token)
    if line:
        return "", "", int(line[1])
    head = _HEAD.match(token)
    return (normalise(head[1]), head[2], None) if head else (token, "", None)


def _clean(spec: str | None) -> str:
    return (spec or "").rstrip(",.")


def _absences(text: str) -> Iterable[tuple[str, str]]:
    pairs = [
        (normalise(name), kind) for kind, pattern in _ABSENCES for name in pattern.findall(text)
    ]
    pairs += [(normalise(name), "build") for name in _BUILT.findall(text)]
    return reversed(pairs)
