"""Releases that their index has yanked, or does not have any more.

A lock does not tell, and uv does not ask again for what is locked.  So uv is asked to look up
exactly these releases, with its own credentials and cache, and its warnings are read.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from governance.base.errors import GovError
from governance.boundaries import store
from governance.boundaries.process import Completed
from governance.boundaries.uv import Uv
from governance.boundaries.uv_failures import failure, is_conflict
from governance.supply import packages
from governance.supply import rules as policy
from governance.supply.packages import Package
from governance.supply.rows import Row, row
from governance.supply.rules import Rules
from governance.truth import lying_index
from governance.truth.resolution import Project

# As uv says it: warning: `six==1` is yanked (reason: "broken")
_YANKED = re.compile(r'^warning: `([\w.-]+)==([^`]+)` is yanked(?: \(reason: "(.*)"\))?$', re.M)
_GONE = re.compile(
    r"no version of ([\w.-]+)==|Because ([\w.-]+) was not found in the package registry"
)
_MOST_ROUNDS = 12


def look(rules: Rules, uv: Uv, lock: Mapping[str, Any], project: Project) -> list[Row]:
    """Of the packages of an index; what cannot be looked up is a row too."""
    asked = [
        package
        for package in packages.of_lock(lock)
        if str(package["source"].get("registry", "")).startswith(("http://", "https://"))
    ]
    found: list[Row] = []
    for _ in range(_MOST_ROUNDS):
        if not asked:
            return found
        try:
            done = _asked(uv, asked, project)
        except GovError as error:
            return [*found, _unanswered(rules, error.message)]
        if done.ok:
            return [*found, *_yanked(rules, done.stderr, asked)]
        gone = [match.groups() for match in _GONE.finditer(_unwrapped(done.stderr))]
        lost = [package for package in asked if any(package["name"] in one for one in gone)]
        if not lost:
            return [*found, _unanswered(rules, failure("asking the index", done).message)]
        found += [_gone(rules, package) for package in lost]
        asked = [package for package in asked if package not in lost]
    return found


def _unwrapped(log: str) -> str:
    return " ".join(log.split())


def _asked(uv: Uv, asked: Sequence[Package], project: Project) -> Completed:
    """A project of exactly these releases, each from the index that its lock names.

    Raises GovError where an index does not answer, or lies: that is no release that has gone.
    """
    urls = list(dict.fromkeys(packages.source_of(package) for package in asked))
    # uv finds the credentials of an index by its name.
    known = {str(index["url"]): str(index["name"]) for index in project.indexes}
    names = {url: known.get(url, f"index-{number}") for number, url in enumerate(urls)}
    lines = [f"{package['name']}=={package['version']}" for package in asked]
    text = [
        "[project]",
        'name = "gov-looks-up"',
        'version = "0"',
        f"dependencies = {_list(lines)}",
        "[tool.uv.sources]",
        *(f"{p['name']} = {{ index = {json.dumps(names[packages.source_of(p)])} }}" for p in asked),
    ]
    for url, name in names.items():
        text += ["[[tool.uv.index]]", "explicit = true"]
        text += [f"name = {json.dumps(name)}", f"url = {json.dumps(url)}"]
    with tempfile.TemporaryDirectory(prefix="gov-look-up-") as folder:
        store.write(Path(folder) / "pyproject.toml", "\n".join([*text, ""]).encode())
        done = uv.look_up(Path(folder), python=project.python)
        if not done.ok and not is_conflict(done.stderr):
            raise failure("asking the index", done, Path(folder))
        lying_index.require_honest(uv, Path(folder), done.stderr)
        return done


def _list(lines: Iterable[str]) -> str:
    return "[" + ", ".join(json.dumps(line) for line in lines) + "]"


def _yanked(rules: Rules, log: str, asked: Sequence[Package]) -> Iterable[Row]:
    where = {str(package["name"]): packages.source_of(package) for package in asked}
    for name, version, reason in _YANKED.findall(log):
        why = f" ({reason})" if reason else ""
        sentence = f"{name} {version} was yanked from {where.get(name, 'its index')}{why}"
        yield row(rules, policy.YANKED, name, version, sentence, reason=reason)


def _gone(rules: Rules, package: Package) -> Row:
    name, version = str(package["name"]), str(package["version"])
    sentence = f"{name} {version} is not at {packages.source_of(package)} any more"
    return row(rules, policy.YANKED, name, version, sentence, reason="")


def _unanswered(rules: Rules, why: str) -> Row:
    sentence = f"yanked releases could not be looked up: {why}"
    return row(rules, policy.YANKED_UNKNOWN, "index", "", sentence)
