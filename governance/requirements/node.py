"""The files in which a node, or ComfyUI, declares its requirements."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from governance.requirements import text
from governance.requirements.declaration import Declared, Origin, Policy, joined
from governance.requirements.entry import Entry, judge, skip

REQUIREMENTS = "requirements.txt"
PYPROJECT = "pyproject.toml"

_MAX_BYTES = 1 << 20
_MAX_LINES = 10_000
_MAX_DEPTH = 10
# How far beyond the entry before it an entry of an array is looked for, in characters.
_WINDOW = 4000
# Bounded, since the real path of a very long one takes very long to find.
_INCLUDE = re.compile(
    r"(?:-r\s*|--requirement(?:\s+|\s*=\s*))(?P<path>[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]{0,500})"
)


class _Unreadable(Exception):
    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


@dataclass
class _Reading:
    """One walk through a file and what it includes; the bounds hold for the whole walk."""

    folder: Path
    policy: Policy
    lines_left: int = _MAX_LINES
    seen: set[Path] = field(default_factory=set)


def read_node(folder: Path, *, policy: Policy) -> Declared:
    """requirements.txt is the authority, pyproject.toml counts only where there is none."""
    if os.path.lexists(folder / REQUIREMENTS):
        return read_file(folder / REQUIREMENTS, folder, policy=policy)
    if os.path.lexists(folder / PYPROJECT):
        return _read_pyproject(folder / PYPROJECT, folder, policy)
    return Declared()


def read_file(path: Path, folder: Path, *, policy: Policy) -> Declared:
    """A requirement file and what it includes, as far as that lies in `folder`."""
    reading = _Reading(Path(os.path.realpath(folder)), policy)
    source = _relative(path, folder)
    asked = Entry("", "", Origin(source, 1))
    return joined(_read(reading, path, asked, ()), source)


def _read(
    reading: _Reading, path: Path, asked: Entry, trail: tuple[Path, ...]
) -> Iterator[Declared]:
    """`asked` is the line that includes the file, `trail` the files that led here."""
    try:
        real = _inside(path, reading.folder)
        if not _is_new(reading, real, trail):
            return
        content, note = _content(real)
        lines = text.physical_lines(content)
        _spend(reading, lines)
    except _Unreadable as error:
        yield skip(asked, error.kind, error.reason)
        return
    file = _relative(real, reading.folder)
    if note:
        yield Declared(notes=(f"{file} {note}",))
    for logical in text.logical_lines(lines):
        entry = Entry(logical.raw, logical.text, Origin(file, logical.number))
        yield from _entry(reading, entry, (*trail, real))


def _entry(reading: _Reading, entry: Entry, trail: tuple[Path, ...]) -> Iterator[Declared]:
    match = _INCLUDE.fullmatch(entry.text)
    if match is None:
        yield judge(entry, reading.policy)
    elif "://" in match["path"]:
        yield skip(entry, "url", "a requirement file is not fetched from the network")
    else:
        name = match["path"].strip("\"'").replace("\\", "/")
        yield from _read(reading, trail[-1].parent / name, entry, trail)


def _is_new(reading: _Reading, real: Path, trail: tuple[Path, ...]) -> bool:
    if real in trail:
        raise _Unreadable("include-loop", "the file includes itself")
    if len(trail) >= _MAX_DEPTH:
        raise _Unreadable("too-deep", f"files are nested more than {_MAX_DEPTH} deep")
    if real in reading.seen:
        return False
    reading.seen.add(real)
    return True


def _spend(reading: _Reading, lines: list[str]) -> None:
    if len(lines) > reading.lines_left:
        raise _Unreadable("too-large", f"there are more than {_MAX_LINES:,} lines")
    reading.lines_left -= len(lines)


def _inside(path: Path, folder: Path) -> Path:
    """The real path of a file of the node.  git's own folder may hold credentials."""
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(folder) or ".git" in real.relative_to(folder).parts:
        raise _Unreadable("outside-node", "the file is not one of the node's own")
    return real


def _content(real: Path) -> tuple[str, str]:
    try:
        return text.decode(_bytes(real))
    except OSError as error:
        reason = f"the file cannot be read: {error.strerror}"
        raise _Unreadable("missing-file", reason) from None
    except ValueError:
        raise _Unreadable("encoding", "the file is not text in any known encoding") from None


def _bytes(real: Path) -> bytes:
    """Non-blocking, since the file may be a pipe."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open(os.open(real, flags), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise _Unreadable("missing-file", "it is not a regular file")
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise _Unreadable("too-large", "the file is larger than 1 MiB")
    return data


def _relative(path: Path, folder: Path) -> str:
    try:
        return path.relative_to(folder).as_posix()
    except ValueError:
        return path.name


def _read_pyproject(path: Path, folder: Path, policy: Policy) -> Declared:
    whole = Entry("", "", Origin(PYPROJECT, 1))
    try:
        content, note = _content(_inside(path, Path(os.path.realpath(folder))))
        parts = list(_project_entries(content, whole, policy))
    except _Unreadable as error:
        return joined([skip(whole, error.kind, error.reason)], PYPROJECT)
    notes = (f"{PYPROJECT} {note}",) if note else ()
    return joined([Declared(notes=notes), *parts], PYPROJECT)


def _project_entries(content: str, whole: Entry, policy: Policy) -> Iterator[Declared]:
    project = _project(content)
    if "dependencies" in _texts(project.get("dynamic")):
        reason = "its dependencies are computed when it is built"
        yield skip(whole, "dynamic", reason)
    declared = project.get("dependencies", [])
    if not isinstance(declared, list) or len(declared) > _MAX_LINES:
        yield skip(whole, "malformed", "its project.dependencies are no list of reasonable length")
        return
    for line, item in _located(content, declared):
        origin = Origin(PYPROJECT, line)
        raw = item if isinstance(item, str) else repr(item)
        entry = Entry(raw, text.without_comment(raw), origin)
        if isinstance(item, str):
            yield judge(entry, policy)
        else:
            yield skip(entry, "malformed", "it is not a string")


def _project(content: str) -> dict[str, Any]:
    import tomllib

    try:
        project = tomllib.loads(content).get("project", {})
    except (ValueError, RecursionError) as error:
        # The sentence of a RecursionError is about Python, not about the file.
        why = str(error) if isinstance(error, ValueError) else "nested too deeply"
        raise _Unreadable("malformed", f"the file is not valid TOML: {why}") from None
    if not isinstance(project, dict):
        raise _Unreadable("malformed", "its project is no table")
    return project


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _located(content: str, items: list[Any]) -> Iterator[tuple[int, Any]]:
    """Each item with its line, which tomllib does not tell; the one before it where not found."""
    table = re.search(r"^[ \t]*\[[ \t]*project[ \t]*\]", content, re.MULTILINE)
    start = re.compile(r"^[ \t]*dependencies[ \t]*=", re.MULTILINE)
    found = start.search(content, table.end() if table else 0)
    at = found.end() if found else 0
    line = content.count("\n", 0, at) + 1
    for item in items:
        begin, end = _occurrence(content, item, at)
        line += content.count("\n", at, begin)
        yield line, item
        line += content.count("\n", begin, end)
        at = end


def _occurrence(content: str, item: object, at: int) -> tuple[int, int]:
    escaped = str(item).replace("\\", "\\\\").replace('"', '\\"')
    quoted = [f'"{escaped}"', f"'{item}'"]
    hits = [(content.find(form, at, at + _WINDOW), len(form)) for form in quoted]
    return min(((hit, hit + length) for hit, length in hits if hit >= 0), default=(at, at))
