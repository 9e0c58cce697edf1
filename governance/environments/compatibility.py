"""Do the packages of an environment get what they ask for?  `uv pip check`'s question.

Answered from the METADATA of the packages: uv answers in prose, leaves extras out, and costs a
process.  uv never locks what does not fit together, unless an override tells it to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from governance.base.names import normalise
from governance.environments import interpreter
from governance.observation import looker

if TYPE_CHECKING:
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

PYTHON = "Python"


@dataclass(frozen=True)
class Incompatible:
    """A package that does not get what it asks for; `found` is null where nothing is there.

    `for_extra` is the extra of the package that asks, empty where the package itself does.
    """

    package: str
    version: str
    requires: str
    name: str
    found: str | None
    for_extra: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """The demand, whatever versions are there: unmet before and after is nothing new."""
        return self.package, self.requires

    @property
    def sentence(self) -> str:
        who = f"{self.package}[{self.for_extra}]" if self.for_extra else self.package
        there = f"{self.name} {self.found} is" if self.found else f"{self.name} is not"
        return f"{who} {self.version} requires {self.requires}, but {there} installed"

    @property
    def at_stake(self) -> str:
        """The package to ask `gov why` about."""
        return self.name if self.found and self.name != PYTHON else self.package

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Incompatible:
        return cls(**{name: row.get(name, "") for name in cls.__dataclass_fields__})


class _Package(NamedTuple):
    name: str
    version: str
    requires: tuple[str, ...]
    python: str


def incompatible(environment: Path, lines: Iterable[str] = ()) -> list[Incompatible]:
    """Every demand of an installed package that is not met, sorted.

    `lines` are the requirements that the environment was locked from: with those of the packages
    they say which extras were asked for, whose demands count too.
    """
    packages = {package.name: package for package in _packages(environment)}
    markers = _markers(environment)
    found = set(_wrong_python(packages.values(), str(markers.get("python_full_version"))))
    seen: set[tuple[str, str]] = set()
    asked = [one for one in map(_parsed, lines) if one and _applies(one, "", markers)]
    waiting = [*((name, "") for name in packages), *_extras(asked)]
    while waiting:
        name, extra = asking = waiting.pop()
        if asking in seen or name not in packages:
            continue
        seen.add(asking)
        demands = _demands(packages[name], extra, markers)
        waiting += _extras(demands)
        found |= {
            _unmet(packages[name], extra, demand, packages.get(normalise(demand.name)))
            for demand in demands
            if not _is_met(demand, packages.get(normalise(demand.name)))
        }
    return sorted(found, key=lambda one: (*one.key, one.for_extra))


def _unmet(
    asking: _Package, extra: str, demand: Requirement, there: _Package | None
) -> Incompatible:
    extras = f"[{','.join(sorted(demand.extras))}]" if demand.extras else ""
    name = normalise(demand.name)
    requires = f"{name}{extras}{demand.specifier}"
    found = there.version if there else None
    return Incompatible(asking.name, asking.version, requires, name, found, extra)


def _is_met(demand: Requirement, there: _Package | None) -> bool:
    """A URL names no version: of it only the name is compared, as uv does."""
    return there is not None and _holds(demand.specifier, there.version)


def _holds(specifier: SpecifierSet, version: str) -> bool:
    from packaging.version import InvalidVersion

    try:
        return not str(specifier) or specifier.contains(version, prereleases=True)
    except InvalidVersion:
        return False


def _wrong_python(packages: Iterable[_Package], version: str) -> Iterator[Incompatible]:
    for package in packages:
        demand = _parsed(f"python{package.python}") if package.python else None
        if demand is not None and not _holds(demand.specifier, version):
            requires = f"{PYTHON}{demand.specifier}"
            yield Incompatible(package.name, package.version, requires, PYTHON, version)


def _demands(package: _Package, extra: str, markers: Mapping[str, str]) -> list[Requirement]:
    """What the package asks for: by itself, or beyond that for one of its extras."""
    texts = [text for text in package.requires if extra or not _ONLY_EXTRA.search(text)]
    found = [parsed for parsed in map(_parsed, texts) if parsed is not None]
    return [
        one
        for one in found
        if _applies(one, extra, markers) and not (extra and _applies(one, "", markers))
    ]


def _applies(demand: Requirement, extra: str, markers: Mapping[str, str]) -> bool:
    return demand.marker is None or demand.marker.evaluate({**markers, "extra": extra})


# Most lines of most packages are those of extras that nobody asked for, and parsing is the price.
_ONLY_EXTRA = re.compile(r";(?!.*\bor\b).*\bextra\s*==")


def _extras(demands: Iterable[Requirement]) -> Iterator[tuple[str, str]]:
    """Which extras of which package they ask for."""
    for demand in demands:
        for extra in demand.extras:
            yield normalise(demand.name), normalise(extra)


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Requirement | None:
    """None for what nobody can read; uv takes some old spellings that `packaging` refuses."""
    from packaging.requirements import InvalidRequirement, Requirement

    head, semicolon, marker = text.partition(";")
    for spelling in (text, _modern(head) + semicolon + marker):
        try:
            return Requirement(spelling)
        except InvalidRequirement:
            continue
    return None


def _modern(text: str) -> str:
    """`torch (>=1.9.*)` and `numpy>='1.2'`, which packages on the index still say."""
    return re.sub(r"([<>]=?\s*[\w.]+?)\.\*", r"\1", re.sub(r"""["']""", "", text))


# --- what lies in the environment -------------------------------------------------------------


def _packages(environment: Path) -> Iterator[_Package]:
    for folder in sorted(environment.glob("lib/python3.*/site-packages/*.dist-info")):
        if folder.name.startswith("~"):
            continue
        fields = _fields(folder)
        name, _, version = folder.stem.partition("-")
        yield _Package(
            normalise(_first(fields, "name", name)),
            _first(fields, "version", version),
            tuple(value for key, value in fields if key == "requires-dist"),
            _first(fields, "requires-python", ""),
        )


def _first(fields: Sequence[tuple[str, str]], wanted: str, default: str) -> str:
    return next((value for key, value in fields if key == wanted), default)


def _fields(folder: Path) -> list[tuple[str, str]]:
    """The headers, a value that goes on in the next line joined."""
    unfolded = re.sub(r"\r?\n[ \t]+(?=\S)", " ", "\n".join(looker.head(folder)))
    pairs = (line.partition(":") for line in unfolded.split("\n"))
    return [(key.strip().lower(), value.strip()) for key, _, value in pairs]


def _markers(environment: Path) -> dict[str, str]:
    """As the environment's Python would say: gov runs on another one, of the same machine."""
    from packaging.markers import default_environment

    here: dict[str, Any] = {**default_environment()}
    told = interpreter.configuration(environment)
    version = told.get("version_info") or told.get("version")
    if version:
        here["python_full_version"] = here["implementation_version"] = version
        here["python_version"] = ".".join(version.split(".")[:2])
    implementation = told.get("implementation")
    if implementation:
        here["platform_python_implementation"] = implementation
        here["implementation_name"] = implementation.lower()
    return here
