"""What a lock by itself tells of its packages: lists, indexes, ages, what has to be built."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from governance.base import clock
from governance.supply import rules as policy
from governance.supply.rows import Row, row
from governance.supply.rules import Rules
from governance.truth import lockfile

Package = Mapping[str, Any]


def look(rules: Rules, lock: Mapping[str, Any], exempt: Collection[str]) -> list[Row]:
    """`exempt` are packages of any age, since ComfyUI pins them (see project.pinned)."""
    now = clock.now()
    found: list[Row] = []
    for package in of_lock(lock):
        found += _lists(rules, package)
        found += _index(rules, package)
        if str(package["name"]) not in exempt:
            found += _age(rules, package, now)
        found += _source(rules, package)
    return found


def of_lock(lock: Mapping[str, Any]) -> list[Package]:
    """All but the project itself."""
    return [p for p in lock.get("package", []) if "virtual" not in p.get("source", {})]


def has_builds(text: str) -> bool:
    """Whether a uv.lock holds a package without wheels: of 340 packages in 1 ms, where parsing
    takes 0.2 s."""
    blocks = text.split("[[package]]\n")[1:]
    return any("\nwheels = [" not in one and "source = { virtual" not in one for one in blocks)


def version_of(package: Package) -> str:
    return lockfile.versions({"package": [package]})[package["name"]]


def _lists(rules: Rules, package: Package) -> Iterator[Row]:
    name, version = str(package["name"]), version_of(package)
    item = policy.listed(name, version, rules.blocked_packages)
    if item:
        why = f"{name} {version} is blocked by {item!r} in policy.blocked_packages"
    elif rules.allowed_packages and not policy.listed(name, version, rules.allowed_packages):
        why = f"{name} {version} is not in policy.allowed_packages"
    else:
        return
    yield row(rules, policy.PACKAGE, name, version, why)


def _index(rules: Rules, package: Package) -> Iterator[Row]:
    name = str(package["name"])
    wanted = rules.index_of(name)
    if wanted is None:
        return
    found = source_of(package)
    if not same_index(found, wanted):
        why = f"{name} comes from {found}, and policy.package_indexes wants it from {wanted}"
        yield row(rules, policy.INDEX, name, version_of(package), why, source=found, wanted=wanted)


def source_of(package: Package) -> str:
    """The index that a package of a lock comes from, or what else it is named by."""
    return str(next(iter(package.get("source", {}).values()), ""))


def same_index(one: str, other: str) -> bool:
    return _plain(one) == _plain(other)


def _plain(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "file":
        return unquote(parts.path).rstrip("/")
    host = parts.netloc.rpartition("@")[2].lower()
    return f"{parts.scheme}://{host}{parts.path}".rstrip("/") if host else url.rstrip("/")


def uploaded(package: Package) -> datetime | None:
    """When the newest file of a release was uploaded; None where its index does not tell."""
    times = [entry.get("upload-time") for entry in lockfile.package_files(package)]
    if not times or not all(times):
        return None
    return max(clock.parse(str(time)) for time in times)


def _age(rules: Rules, package: Package, now: datetime) -> Iterator[Row]:
    name, version = str(package["name"]), version_of(package)
    if rules.span is None or any(policy.fits(name, pattern) for pattern in rules.exempt):
        return
    time = uploaded(package)
    if time is None:
        why = f"the age of {name} {version} is not known: {source_of(package)} tells no upload time"
        yield row(rules, policy.AGE_UNKNOWN, name, version, why)
    elif now - time < rules.span:
        at = clock.stamp(time)
        why = f"{name} {version} was uploaded {at}, less than {rules.age} ago"
        yield row(rules, policy.YOUNG, name, version, why, uploaded=at)


def _source(rules: Rules, package: Package) -> Iterator[Row]:
    source = package.get("source", {})
    is_built = {"git", "directory", "editable"} & set(source)
    if package.get("wheels") or not (is_built or package.get("sdist")):
        return
    name, version = str(package["name"]), version_of(package)
    why = f"{name} {version} has no wheel, and its set-up code runs here to build it"
    yield row(rules, policy.SOURCE_BUILD, name, version, why)
