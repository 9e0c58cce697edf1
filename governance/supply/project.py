"""The rules that uv itself can keep, written into a project: the age of releases (`exclude-newer`)
and the index of a package (`tool.uv.sources` with an explicit index).

What gov wrote is noted in `[tool.gov.policy]`, so that it goes when the setting does.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from governance.base import clock
from governance.requirements import requirement_name
from governance.supply import packages
from governance.supply import rules as policy
from governance.supply.rules import Rules
from governance.truth import lockfile, resolution
from governance.truth.resolution import Project

# uv takes an index for what a project asks for itself, never for what comes along with that, so
# such packages are asked for by name in a group of their own.
GROUP = "policy-indexes"
_A_SECOND = timedelta(seconds=1)
_INDEX = "policy-"
_PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?\s*===?\s*[^*,;\s]+\s*(?:;.*)?$")


@dataclass(frozen=True)
class Seen:
    """What the locks of a transaction told: `names` of packages that come along and have an index
    of their own by policy, `timeless` where an index tells no upload times."""

    names: tuple[str, ...] = ()
    timeless: bool = False


def pinned(project: Project, known: Iterable[str]) -> set[str]:
    """What ComfyUI pins to one version, and the parts that are named after such a package
    (comfyui-workflow-templates-core): a ComfyUI of today pins releases of today."""
    lines = [
        line
        for group in (resolution.CORE_GROUP, resolution.MANAGER_GROUP)
        for line in project.groups.get(group, ())
    ]
    names = {requirement_name(match[1]) for line in lines if (match := _PINNED.match(line))}
    return names | {one for one in known if any(one.startswith(f"{name}-") for name in names)}


def kept(rules: Rules, project: Project, lock: bytes | None, seen: Seen, now: datetime) -> Project:
    """The project with the rules in it; unchanged where there are none and were none.

    `lock` is today's: what it holds stays, however young.  Raises Damaged for a lock that is none.
    """
    before = dict(project.data["tool"]["gov"].get("policy", {}))
    if not before and not rules.age and not rules.indexes:
        return project
    uv = _without(dict(project.data["tool"]["uv"]), before)
    today = lockfile.parse(lock, project.path) if lock else {}
    known = packages.of_lock(today)
    note = {**_with_indexes(rules, uv, project, known, seen)}
    if rules.span is not None and not seen.timeless:
        note |= _with_age(rules, uv, project, known, now)
    return _written(project, uv, note, seen.names if rules.indexes else ())


def _without(uv: dict[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Less what gov wrote for the rules of another day."""
    if before.get("age") and uv.get("exclude-newer") == before["age"]:
        uv.pop("exclude-newer")
        if before.get("date"):
            uv["exclude-newer"] = before["date"]
    for part, names in (
        ("exclude-newer-package", before.get("free", ())),
        ("sources", before.get("packages", ())),
    ):
        uv[part] = {name: to for name, to in uv.get(part, {}).items() if name not in names}
    uv["index"] = [i for i in uv.get("index", []) if not i["name"].startswith(_INDEX)]
    return uv


def _with_age(
    rules: Rules,
    uv: dict[str, Any],
    project: Project,
    known: Iterable[packages.Package],
    now: datetime,
) -> dict[str, Any]:
    span = rules.span
    assert span is not None
    date = uv.get("exclude-newer")
    if date and _moment(str(date)) <= now - span:
        return {}  # an older day binds already
    times = {str(p["name"]): packages.uploaded(p) for p in known}
    named = _asked(project)
    free: dict[str, Any] = dict.fromkeys(pinned(project, times), False)
    free |= {n: False for n in {*times, *named} if any(policy.fits(n, p) for p in rules.exempt)}
    # Such an index seldom tells upload times, and uv would then see none of its files.
    free |= {name: False for name in uv.get("sources", {}) if not times.get(name)}
    # What prod has, stays: up to that very release, and no further.
    free |= {
        name: clock.stamp(time + _A_SECOND)
        for name, time in times.items()
        if time and time > now - span and name not in free
    }
    freed = uv.get("exclude-newer-package", {})
    new = {name: value for name, value in sorted(free.items()) if name not in freed}
    uv["exclude-newer"] = rules.age
    uv["exclude-newer-package"] = {**freed, **new}
    return {"age": rules.age, "free": list(new), **({"date": str(date)} if date else {})}


def _moment(text: str) -> datetime:
    found = clock.parse(text)
    return found if found.tzinfo else clock.parse(f"{text}T00:00:00Z")


def _with_indexes(
    rules: Rules,
    uv: dict[str, Any],
    project: Project,
    known: Iterable[packages.Package],
    seen: Seen,
) -> dict[str, Any]:
    """Sources for all that a group asks for, for what came along in a lock, and for what is
    named in the rules themselves."""
    if not rules.indexes:
        return {}
    asked = _asked(project)
    default = next((str(i["url"]) for i in uv["index"] if i.get("default")), _PUBLIC)
    sources = {}
    for name in sorted({*asked, *seen.names}):
        url = rules.index_of(name)
        if url is None or (packages.same_index(url, default) and name not in uv["sources"]):
            continue
        sources[name] = {"index": _index_named(uv, url, default)}
    uv["sources"] = {**uv["sources"], **sources}
    return {"packages": list(sources)} if sources else {}


_PUBLIC = "https://pypi.org/simple"


def _index_named(uv: dict[str, Any], url: str, default: str) -> str:
    """The name of the index, which is made where the project has none of that address."""
    for index in uv["index"]:
        if packages.same_index(str(index["url"]), url):
            return str(index["name"])
    name = _INDEX + hashlib.sha256(url.encode()).hexdigest()[:8]
    made: dict[str, Any] = {"name": name, "url": url, "explicit": True}
    if url.startswith(("file://", "/")):
        made["format"] = "flat"
    uv["index"] = [*uv["index"], made]
    return name


def discovering(rules: Rules, project: Project) -> Project | None:
    """A project to lock for its names alone, before the true one: uv takes a package from the
    first index that has it, so that with the indexes of policy before all others nothing that is
    theirs is asked for elsewhere.  None where policy names no index."""
    uv = dict(project.data["tool"]["uv"])
    urls = dict.fromkeys(rules.indexes.values())
    default = next((str(i["url"]) for i in uv.get("index", []) if i.get("default")), _PUBLIC)
    first = [url for url in urls if not packages.same_index(url, default)]
    if not first:
        return None
    own = [
        {"name": f"first-{n}", "url": url, **({"format": "flat"} if "://" not in url else {})}
        for n, url in enumerate(first)
    ]
    uv["index"] = [*own, *(i for i in uv.get("index", []) if not i["name"].startswith(_INDEX))]
    for part in ("exclude-newer", "exclude-newer-package"):
        uv.pop(part, None)  # dates do not matter here, and an index of policy may tell none
    gone = set(project.data["tool"]["gov"].get("policy", {}).get("packages", ()))
    uv["sources"] = {n: to for n, to in uv.get("sources", {}).items() if n not in gone}
    return project.with_uv(uv)


def along(rules: Rules, lock: Mapping[str, Any], project: Project) -> tuple[str, ...]:
    """Packages that come along with others in a lock, for which policy names an index."""
    own = _asked(project)
    found = packages.of_lock(lock)
    needed = {str(row["name"]) for package in found for row in _needs(package)}
    return tuple(sorted(name for name in needed - own if rules.index_of(name)))


def _asked(project: Project) -> set[str]:
    """What the groups ask for by themselves."""
    groups = project.groups.items()
    return {requirement_name(x) for name, lines in groups if name != GROUP for x in lines}


def _needs(package: packages.Package) -> Collection[Mapping[str, Any]]:
    extra = package.get("optional-dependencies", {}).values()
    return [*package.get("dependencies", []), *(row for rows in extra for row in rows)]


def _written(
    project: Project, uv: dict[str, Any], note: Mapping[str, Any], names: Collection[str]
) -> Project:
    made = project.with_uv(uv).with_note("policy", note)
    if names:
        return made.with_group(GROUP, sorted(names))
    return made.without_group(GROUP) if GROUP in made.groups else made
