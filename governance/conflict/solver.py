"""One question, one real `uv lock` in a scratch folder.

Measured with 264 packages on two cores (uv 0.13.9): a lock that asks the index anew took 14.9 s,
of which 0.1 s resolving; with `cache-control` for pages and files 0.13 s, and 0.02-0.04 s where it
fails.  `--dry-run` saves nothing, and `uv pip compile` knows neither groups nor the truth's
settings.  `--offline` is as fast from the first run on, but passes over versions whose metadata it
has not seen: what locks, locks, but perhaps with others.  Hence plain `uv lock` with pages trusted
for the length of one command, and offline where only yes or no is asked of the whole set.  (uv
keeps that trust with the page: it also holds for the next command, so it is no longer than the ten
minutes that the public index allows by itself.)

One group per requirement line makes uv name the very line; but the grouping changes which versions
uv picks (264 packages: 14 differed), so what is offered is locked with the truth's own groups.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from governance.base.errors import GovError
from governance.boundaries import process, uv, uv_failures
from governance.conflict.message import LINE_GROUP
from governance.conflict.problem import Owned, Scoped, Source
from governance.truth import lockfile, resolution

_REGISTRY = re.compile(r'source = \{ registry = "(https?://[^"]+)"')

CONFLICT = "conflict"
TIMED_OUT = "timed_out"
CANNOT_LOOK = uv_failures.AT_FAULT


@dataclass(frozen=True)
class Question:
    """`lines` by their index in the problem.

    `exempt` are packages that the resolution date does not bind; `by_line` puts every line into a
    group of its own; `fresh` prefers no version that is locked today; `offline` asks the cache
    alone, however old its pages; `sources` are packages that come from an index of their own.
    """

    lines: tuple[tuple[int, Owned], ...]
    overrides: tuple[str, ...] = ()
    exempt: tuple[str, ...] = ()
    by_line: bool = False
    fresh: bool = False
    offline: bool = False
    scoped: tuple[Scoped, ...] = ()
    sources: tuple[Source, ...] = ()

    def groups(self) -> dict[str, list[str]]:
        groups: dict[str, list[str]] = {}
        for index, line in self.lines:
            group = f"{LINE_GROUP}{index}" if self.by_line else line.group
            groups.setdefault(group, []).append(line.text)
        return groups


@dataclass(frozen=True)
class Solved:
    """`code` is "" for a lock, "conflict", or the code of the error; `text` is that of uv.lock."""

    ok: bool
    code: str
    log: str
    seconds: float
    text: str = ""

    @cached_property
    def lock(self) -> Mapping[str, Any]:
        """Parsed on demand, which takes as long as a run (0.1 s for 350 packages)."""
        return tomllib.loads(self.text)

    @cached_property
    def versions(self) -> dict[str, str]:
        return lockfile.versions_in(self.text)


class Solver(Protocol):
    """Safe to call from several threads at once."""

    def solve(self, question: Question, timeout: float) -> Solved: ...


class UvSolver:
    """`base` is the text of the truth's pyproject.toml, `lock` its uv.lock (preferred versions).

    `trust_seconds`: index pages in the cache that are not older are taken as they are; with 0 uv
    decides, as it does for the verbs.
    """

    def __init__(
        self,
        uv_door: uv.Uv,
        *,
        base: str,
        python: str,
        folder: Path,
        lock: bytes | None = None,
        trust_seconds: int = 600,
    ) -> None:
        self._uv = uv_door
        self._base = tomllib.loads(base)
        self._python = python
        self._folder = folder
        self._lock = lock
        age = f"max-age={trust_seconds}"
        self._trust = {"cache-control": {"api": age, "files": age}} if trust_seconds else {}
        self._default_index = _default_index(lock.decode()) if lock else ""

    def solve(self, question: Question, timeout: float) -> Solved:
        self._folder.mkdir(parents=True, exist_ok=True)
        project = Path(tempfile.mkdtemp(prefix="probe-", dir=self._folder))
        try:
            self._stage(project, question)
            return self._solve(project, question.offline, timeout)
        finally:
            shutil.rmtree(project, ignore_errors=True)

    def _stage(self, project: Path, question: Question) -> None:
        text = "".join(
            f"{key} = {_toml(value)}\n" for key, value in self._document(question).items()
        )
        (project / "pyproject.toml").write_text(text, encoding="utf-8")
        if self._lock is not None and not question.fresh:
            (project / "uv.lock").write_bytes(self._lock)

    def _solve(self, project: Path, offline: bool, timeout: float) -> Solved:
        started = time.monotonic()
        try:
            done = self._uv.try_lock(
                project, python=Path(self._python), offline=offline, timeout=timeout
            )
        except GovError as error:
            if error.code != TIMED_OUT:
                raise
            return Solved(False, TIMED_OUT, error.message, time.monotonic() - started)
        seconds = time.monotonic() - started
        if not done.ok:
            return Solved(False, _code(done), done.stderr, seconds)
        text = (project / "uv.lock").read_text()
        self._default_index = self._default_index or _default_index(text)
        return Solved(True, "", done.stderr, seconds, text)

    def _document(self, question: Question) -> dict[str, Any]:
        settings = dict(self._base.get("tool", {}).get("uv", {}))
        scoped = resolution.scoped_entries(question.scoped)
        settings["override-dependencies"] = [*question.overrides, *scoped]
        if question.exempt:
            dates = dict(settings.get("exclude-newer-package", {}))
            settings["exclude-newer-package"] = {**dates, **dict.fromkeys(question.exempt, False)}
        settings["index"] = self._indexes(settings.get("index", []))
        resolution.add_sources(settings, question.sources)
        return {
            "project": self._base["project"],
            "dependency-groups": question.groups(),
            "tool": {"uv": settings},
        }

    def _indexes(self, declared: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The truth's own, with trust; uv's default one too, once a lock has told where it is."""
        indexes = [
            index if index.get("format") == "flat" else {**self._trust, **index}
            for index in declared
        ]
        taken = {index.get("url", "").rstrip("/") for index in declared}
        has_default = any(index.get("default") for index in declared)
        told = self._default_index
        if told and not has_default and told.rstrip("/") not in taken:
            indexes.append({"url": told, "default": True, **self._trust})
        return indexes


def _toml(value: Any) -> str:
    """A value on one line: tomlkit takes 0.1 s for 240 lines, as long as half a run."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    # JSON's texts, numbers and truth values are TOML's, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _code(done: process.Completed) -> str:
    is_conflict = uv_failures.is_conflict(done.stderr)
    return CONFLICT if is_conflict else uv_failures.failure("uv lock", done).code


def _default_index(lock: str) -> str:
    """Where most packages of a lock come from; "" where that is no address."""
    urls = Counter(_REGISTRY.findall(lock))
    return next((url for url, _ in urls.most_common(1)), "")
