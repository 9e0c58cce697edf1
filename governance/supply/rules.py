"""The settings of [policy] that speak of a supply chain, read as one value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

from governance.base.errors import Refused, UsageError
from governance.base.names import normalise
from governance.boundaries import store
from governance.boundaries.config import Config

OFF, ASK, REFUSE = "off", "ask", "refuse"

# What a finding is, which is also the code of its error, and the setting that decides on it.
YOUNG, AGE_UNKNOWN = "young_release", "release_age_unknown"
PACKAGE, NODE, AUTHOR = "blocked_package", "blocked_node", "blocked_author"
INDEX = "wrong_index"
VULNERABLE, VULNERABLE_UNKNOWN = "vulnerable", "vulnerabilities_unknown"
YANKED, YANKED_UNKNOWN = "yanked", "yanked_unknown"
SOURCE_BUILD = "source_build"
SETTING_OF = {
    YOUNG: "release_age",
    AGE_UNKNOWN: "release_age",
    PACKAGE: "lists",
    NODE: "lists",
    AUTHOR: "lists",
    INDEX: "other_indexes",
    VULNERABLE: "vulnerabilities",
    VULNERABLE_UNKNOWN: "vulnerabilities",
    YANKED: "yanked",
    YANKED_UNKNOWN: "yanked",
}

_ITEM = re.compile(r"([A-Za-z0-9*?][A-Za-z0-9._*?-]*)\s*(.*)")
# Forms of a span that both uv's and this reading take: `3 days`, `1 week 2 days`, `72h`, `P3D`.
_SPAN = re.compile(r"(\d{1,4})\s*(w(?:eeks?)?|d(?:ays?)?|h(?:ours?|rs?)?)(?:\s+|(?=\d)|$)")
_ISO_SPAN = re.compile(r"P(?=\d)(?:(\d{1,4})W)?(?:(\d{1,4})D)?")


@dataclass(frozen=True)
class Rules:
    """`age` is the span as typed, "" for none; `indexes` a pattern of package names to the URL
    that these may come from; `modes` what policy says (off, ask, refuse), by setting."""

    age: str
    exempt: tuple[str, ...]
    blocked_packages: tuple[str, ...]
    allowed_packages: tuple[str, ...]
    blocked_nodes: tuple[str, ...]
    allowed_nodes: tuple[str, ...]
    blocked_authors: tuple[str, ...]
    allowed_authors: tuple[str, ...]
    indexes: Mapping[str, str]
    service: str
    accepted: tuple[str, ...]
    modes: Mapping[str, str]
    source_builds: bool

    def mode(self, kind: str) -> str:
        """What policy says of a finding of this kind."""
        if kind == SOURCE_BUILD:
            return OFF if self.source_builds else REFUSE
        return self.modes[SETTING_OF[kind]]

    @property
    def span(self) -> timedelta | None:
        return span(self.age) if self.age and self.modes["release_age"] != OFF else None

    @property
    def asks_lock(self) -> bool:
        """Whether a lock has to be read for them, beyond what has to be built."""
        lists = self.blocked_packages or self.allowed_packages
        return bool(lists or self.indexes or self.age)

    @property
    def asks_nodes(self) -> bool:
        blocked = self.blocked_nodes or self.blocked_authors
        return bool(blocked or self.allowed_nodes or self.allowed_authors)

    @property
    def asks_service(self) -> bool:
        return self.modes["vulnerabilities"] != OFF

    @property
    def asks_indexes(self) -> bool:
        return self.modes["yanked"] != OFF

    @property
    def digest(self) -> str:
        """Changes with any of them: what was found under other rules is looked at anew."""
        return store.digest(repr(self).encode())

    def index_of(self, package: str) -> str | None:
        """Where a package may come from; an exact name counts before a pattern, the longest
        pattern before the others."""
        fitting = [pattern for pattern in self.indexes if fits(package, pattern)]
        if not fitting or self.modes["other_indexes"] == OFF:
            return None
        return self.indexes[max(fitting, key=lambda one: ("*" not in one, len(one)))]


def of(config: Config) -> Rules:
    """Raises UsageError (code `bad_config`) for a setting that cannot be read."""
    policy = {key: config.texts(f"policy.{key}") for key in _LISTS}
    for key in ("blocked_packages", "allowed_packages"):
        for text in policy[key]:
            _item(text, f"policy.{key}")
    age = config.text("policy.minimum_release_age").strip()
    if age:
        span(age)
    indexes = {normal(name): url for name, url in config.table("policy.package_indexes").items()}
    for url in indexes.values():
        _require_index(url)
    return Rules(
        age=age,
        exempt=tuple(map(normal, policy["release_age_exempt"])),
        blocked_packages=policy["blocked_packages"],
        allowed_packages=policy["allowed_packages"],
        blocked_nodes=policy["blocked_nodes"],
        allowed_nodes=policy["allowed_nodes"],
        blocked_authors=policy["blocked_authors"],
        allowed_authors=policy["allowed_authors"],
        indexes=indexes,
        service=config.text("policy.vulnerability_service"),
        accepted=policy["accepted_vulnerabilities"],
        modes={key: config.text(f"policy.{key}") for key in dict.fromkeys(SETTING_OF.values())},
        source_builds=config.flag("policy.allow_source_builds"),
    )


_LISTS = (
    "release_age_exempt",
    "blocked_packages",
    "allowed_packages",
    "blocked_nodes",
    "allowed_nodes",
    "blocked_authors",
    "allowed_authors",
    "accepted_vulnerabilities",
)


def span(text: str) -> timedelta:
    """Raises UsageError for what is no span of weeks, days and hours."""
    iso = _ISO_SPAN.fullmatch(text)
    if iso:
        return timedelta(weeks=int(iso[1] or 0), days=int(iso[2] or 0))
    found = _SPAN.findall(text)
    if not found or _SPAN.sub("", text).strip():
        raise _bad("policy.minimum_release_age", text, 'write "3 days", "1 week" or "36 hours"')
    units = {"w": "weeks", "d": "days", "h": "hours"}
    parts = [timedelta(**{units[unit[0]]: int(number)}) for number, unit in found]
    return sum(parts, timedelta())


def normal(pattern: str) -> str:
    """A pattern of package names, normalised as the names are."""
    return re.sub(r"[-_.]+", "-", pattern).lower()


def fits(package: str, pattern: str) -> bool:
    return fnmatchcase(normalise(package), normal(pattern))


def listed(package: str, version: str, items: Iterable[str]) -> str:
    """The first item (`name`, `acme-*`, `requests<2.32`) about this release; "" for none."""
    return next((text for text in items if _is_about(package, version, text)), "")


def _is_about(package: str, version: str, text: str) -> bool:
    from packaging.version import InvalidVersion, Version

    name, ranges = _item(text, "policy")
    if not fits(package, name):
        return False
    try:
        release = Version(version.partition("+")[0])
    except InvalidVersion:
        return True  # a URL or a commit: nobody can say that it lies outside the range
    return not ranges or bool(ranges.contains(release, prereleases=True))


def _item(text: str, key: str) -> tuple[str, Any]:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    match = _ITEM.fullmatch(text.strip())
    try:
        if match is not None:
            return match[1], SpecifierSet(match[2])
    except InvalidSpecifier:
        pass
    raise _bad(key, text, 'write a name, a pattern or a range: "evil", "acme-*", "requests<2.32"')


def matching(names: Sequence[str], patterns: Iterable[str]) -> str:
    """The first pattern that one of the names fits, without regard to case; "" for none."""
    lowered = [name.lower() for name in names]
    return next((p for p in patterns if any(fnmatchcase(n, p.lower()) for n in lowered)), "")


def _require_index(url: str) -> None:
    if url.startswith(("https://", "http://", "file://", "/")) and "@" not in url:
        return
    hint = 'write { "acme-*" = "https://packages.example.com/simple" }, without credentials'
    raise _bad("policy.package_indexes", url, hint)


def _bad(key: str, value: str, hint: str) -> UsageError:
    return UsageError(
        f"config.toml: {key} holds {value!r}, which gov cannot read",
        hint=hint,
        code="bad_config",
        facts={"key": key},
    )


def refusal(found: Sequence[Mapping[str, Any]], what: str, mode: str) -> Refused:
    """The error for rows (see rows.row) that policy refuses or asks about; `what` is a transaction,
    "" where there is none yet."""
    first = found[0]
    more = f" (and {len(found) - 1} more)" if found[1:] else ""
    listed = f"`gov tx inspect {what}` lists what was found; " if what and more else ""
    return Refused(
        f"{first['sentence']}{more}",
        hint=listed + (_refused_by(str(first["kind"])) if mode == REFUSE else _ACCEPT),
        code=str(first["kind"]),
        facts={"supply": [dict(one) for one in found]},
    )


_ACCEPT = "--accept-findings goes on all the same"


def _refused_by(kind: str) -> str:
    if kind not in SETTING_OF:
        return "config.toml refuses it: `allow_source_builds = true` in [policy] lets it in"
    setting = f'`{SETTING_OF[kind]} = "ask"`'
    return f"config.toml refuses it: {setting} in [policy] lets --accept-findings go on"
