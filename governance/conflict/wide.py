"""The last resort: an override of a package for everybody who asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from governance.conflict import causes, message
from governance.conflict.causes import Finding
from governance.conflict.chains import demands
from governance.conflict.remedy import Remedy
from governance.conflict.search import Search
from governance.conflict.solver import Solved
from governance.requirements import override_text, parse_pin

if TYPE_CHECKING:
    from governance.conflict.fixes import Prod

# Further packages overridden when the first overrides are not enough.
_MOST_MORE = 4

_Pins = Mapping[str, str]


def overridden(
    search: Search, findings: Sequence[Finding], prod: Prod
) -> Iterator[tuple[Remedy, Solved]]:
    """Every package at stake as prod has it, and as it comes when it is set free."""
    tried: list[_Pins] = []
    for pins in (_chosen(findings, prod, as_free=False), _chosen(findings, prod, as_free=True)):
        if pins and pins not in tried:
            tried.append(pins)
            found = _widened(search, findings, prod, pins)
            if found is not None:
                yield found


def _chosen(findings: Sequence[Finding], prod: Prod, *, as_free: bool) -> _Pins:
    pins = {}
    for finding in findings:
        package = finding.cause.package
        free = finding.relaxed.versions.get(package) if finding.relaxed else None
        now = prod.versions.get(package)
        version = (free or now) if as_free else (now or free)
        if version and not version.startswith("@"):
            pins[package] = version
    return pins


def _widened(
    search: Search, findings: Sequence[Finding], prod: Prod, pins: _Pins
) -> tuple[Remedy, Solved] | None:
    """Override the next package that uv names, until the set locks."""
    for _ in range(_MOST_MORE):
        remedy = _remedy(search, findings, prod, pins)
        words = " and ".join(f"{package}=={version}" for package, version in pins.items())
        solved = search.ask(remedy.question(search), f"trying {words}")
        if solved.ok:
            return remedy, solved
        further = _further(search, prod, remedy, solved)
        if not further:
            return None
        pins = {**pins, **further}
    return None


def _remedy(search: Search, findings: Sequence[Finding], prod: Prod, pins: _Pins) -> Remedy:
    entries: list[str] = []
    for package, version in pins.items():
        replaced = [line.text for line in search.problem.lines if line.name == package]
        replaced += demands(prod.lock, package)
        for finding in findings:
            replaced += demands(finding.relaxed.lock, package) if finding.relaxed else ()
        entries += override_text(parse_pin(f"{package}=={version}"), replaced)
    return Remedy(overrides=tuple(entries), pins=tuple(pins.items()))


def _further(search: Search, prod: Prod, remedy: Remedy, failed: Solved) -> _Pins:
    pinned = dict(remedy.pins)
    for package in message.read(failed.log).at_stake():
        version = None if package in pinned else _version_for(search, prod, package, remedy)
        if version:
            return {package: version}
    return {}


def _version_for(search: Search, prod: Prod, package: str, remedy: Remedy) -> str | None:
    """Prod's version; for a package that is not in prod, the newest that can be had."""
    now = prod.versions.get(package)
    if now:
        return now
    question = remedy.question(search)
    free = replace(question, overrides=(*causes.without(question.overrides, package), package))
    solved = search.ask(free, f"setting {package} free, too")
    return solved.versions.get(package) if solved.ok else None
