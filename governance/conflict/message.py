"""uv's words about a failed lock, read as a guess that a resolver run has to confirm."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

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
    # uv puts each range of "one of:" on a line of its own, with the name before it.
    rf"(?P<more>(?(many)(?: {_NAME}{_EXTRAS}[<>=!~]\S*)*))"
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
    r"Failed to (?:build|download)(?: and build)?[^`]*`([\w.-]+?)(?: @ [^`]*|==([^`]*))?`"
)
_NO_EXTRA = re.compile(r"The package `([\w.-]+?)==([^`]+)` does not have an extra named `([^`]+)`")
# uv before 0.13 says "depends on Python>=3.12", and which Python there is.
_ON_PYTHON = r"(?:depends? on|requires?) Python ?"
_NEEDS_PYTHON = re.compile(rf"{_WORD}\S*+ {_ON_PYTHON}([<>=!~][^\s]*)")
_HAS_PYTHON = re.compile(r"(?:(?:requested|current) Python version \([^)\d]*|Using \w+ )(\d+\.\d+)")
_NEEDED_TO_BUILD = re.compile(
    r"Failed to resolve requirements from [^\n]*\n[^\n]*No solution found when resolving: "
    r"`([^`]+)`.*?(?=\n\s*hint: |\Z)",
    re.DOTALL,
)
_BUILD_LOG = re.compile(r"\[std(?:err|out)\]\n(.*?)(?=\n\s*\[std|\n\s*hint: |\Z)", re.DOTALL)
_ERROR = re.compile(r"^[\w.]*(?:Error|Exception)\b|\b(?:error|fatal):|\bfailed\b", re.IGNORECASE)
_YANKED = re.compile(r'`([\w.-]+?)==([^`]+)` is yanked(?: \(reason: "(.*?)"\))?')

# What uv says of a package that cannot be had; the first group is the package.  Order matters:
# a date and a withdrawal hide versions, so they come before "only these are available".
_ABSENCES = (
    ("not-on-index", re.compile(rf"{_WORD}(?:\[\S*\])? was not found in the package registry")),
    ("newer-than-date", _FILTERED),
    ("python", re.compile(rf"{_WORD}\S*+ {_ON_PYTHON}[<>=]")),
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

    Where uv lists several ranges they are `any_of`, and `spec` is "" if no specifier says the same.
    """

    who: str
    who_range: str
    line: int | None
    name: str
    spec: str
    any_of: tuple[str, ...] = ()


@dataclass(frozen=True)
class Message:
    """`lines` are indexes of requirement lines, `groups` the other groups of the project that uv
    names; `absent` maps a package to why it cannot be had.  `pythons` are the Pythons that packages
    need, `python` the workspace's (3.11), "" where uv does not say.
    """

    lines: frozenset[int]
    groups: frozenset[str]
    statements: tuple[Statement, ...]
    absent: dict[str, str]
    filtered: tuple[str, ...]
    pythons: dict[str, str]
    python: str

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
    # What a package needs for its build is no party: its own line is.
    text = " ".join(_NEEDED_TO_BUILD.sub(" ", log).split())
    statements = tuple(dict.fromkeys(_statements(text)))
    named = {int(number) for number in re.findall(rf":{LINE_GROUP}(\d+)", text)}
    return Message(
        lines=frozenset(named),
        groups=frozenset(_GROUP.findall(text)),
        statements=statements,
        absent=dict(_absences(text)),
        filtered=tuple(dict.fromkeys(map(normalise, _FILTERED.findall(text)))),
        pythons=_pythons(text),
        python=next(iter(_HAS_PYTHON.findall(text)), ""),
    )


def build_problem(log: str) -> str:
    """The last line of a failed build that speaks of an error, else its first; "" without any.

    A traceback and a compiler end with the error; one that refuses to be built begins with why, and
    ends with where to read more.
    """
    needed = _NEEDED_TO_BUILD.search(log)
    if needed is not None:
        return f"its build needs {needed[1]}, which cannot be had"
    parts: list[str] = _BUILD_LOG.findall(log)
    written = [line.strip() for part in parts for line in part.splitlines()]
    written = [line for line in written if line]
    errors = [line for line in written if _ERROR.search(line)]
    return next(iter(errors[-1:] or written), "")


def failed_builds(log: str) -> tuple[tuple[str, str], ...]:
    """(package, version) of what was to be built and could not; the version "" for a URL's."""
    return tuple((normalise(name), version) for name, version in _BUILT.findall(log))


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
        any_of = _listed(match) if match["many"] else ()
        spec = _without_holes(any_of) if any_of else _clean(match["spec"])
        for token in (*(match["others"] or "").split(), match["who"]):
            who, who_range, line = _party(token)
            yield Statement(who, who_range, line, normalise(match["on"]), spec, any_of)
        if match["also"] and match["also"] != "Python":
            # Two demands on one package are one party against itself: the second is nobody's, so
            # that the package counts as contested.
            same = match["also"] == match["on"]
            party = ("", "", None) if same else (who, who_range, line)
            yield Statement(*party, normalise(match["also"]), _clean(match["also_spec"]))


def _listed(match: re.Match[str]) -> tuple[str, ...]:
    """The ranges below "one of:"."""
    heads = (_HEAD.match(item) for item in match["more"].split())
    ranges = [match["spec"], *(head[2] for head in heads if head)]
    return tuple(dict.fromkeys(filter(None, map(_clean, ranges))))


def _without_holes(ranges: Sequence[str]) -> str:
    """`>=1,!=1.5,<2` for `>=1,<1.5` and `>1.5,<2`: so uv writes what excludes single versions.

    "" where more than that lies between two ranges.
    """
    parts = [text.split(",") for text in ranges]
    if parts[0][0].startswith(">") and not parts[-1][0].startswith(">"):
        parts.reverse()
    holes = []
    for left, right in pairwise(parts):
        below, above = left[-1], right[0]
        if below[:1] != "<" or above[:1] != ">" or below[1:] != above[1:] or "=" in below:
            return ""
        holes.append(f"!={below[1:]}")
    first = [text for text in parts[0] if text.startswith(">")]
    last = [text for text in parts[-1] if text.startswith("<")]
    return ",".join((*first, *holes, *last))


def _pythons(text: str) -> dict[str, str]:
    """The Python that each package needs; of several versions, what asks for the least."""
    found: dict[str, list[str]] = {}
    for name, spec in _NEEDS_PYTHON.findall(text):
        found.setdefault(normalise(name), []).append(_clean(spec))
    return {name: min(specs, key=_numbers) for name, specs in found.items()}


def _numbers(spec: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", spec)]


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
    pairs += [(name, "build") for name, _ in failed_builds(text)]
    return reversed(pairs)
