"""Which ranges a lock does not satisfy, by the index's own metadata: a check of `conflict.price`.

Nothing here asks the resolver.  Every package of the lock is looked up (METADATA of its wheel, by
range requests), every Requires-Dist that applies here is held against the locked versions, and so
is every line that a node or ComfyUI declares.
"""

from __future__ import annotations

import email
import io
import re
import threading
import urllib.request
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import sys_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

_AT_ONCE = 6
_TAIL = 100_000
_TRIES = 3
_TIMEOUT = 60


@dataclass(frozen=True)
class Broken:
    """`who` asks for `text`, but `found` is locked ("" for nothing)."""

    who: str
    text: str
    found: str

    def __str__(self) -> str:
        return f"{self.who} wants {self.text}, but {self.found or 'nothing'} is locked"


@dataclass(frozen=True)
class Verdict:
    """`unjudged` are packages without metadata and lines that cannot be read."""

    broken: frozenset[Broken]
    unjudged: frozenset[str]


class Index:
    """Metadata of locked packages, kept in a folder by name and version."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tags = frozenset(sys_tags())
        self._known: dict[tuple[str, str], str] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def requires(self, packages: Sequence[Mapping[str, Any]]) -> dict[str, list[str] | None]:
        """Name to its Requires-Dist; None where the metadata cannot be had."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            texts = list(pool.map(self._text, packages))
        return {
            str(package["name"]): _requires(text) if text else None
            for package, text in zip(packages, texts, strict=True)
        }

    def _text(self, package: Mapping[str, Any]) -> str:
        key = (str(package["name"]), str(package.get("version", "")))
        if key not in self._known:
            self._known[key] = self._read(package, self._folder / f"{key[0]}-{key[1]}.txt")
        return self._known[key]

    def _read(self, package: Mapping[str, Any], path: Path) -> str:
        if path.is_file():
            return path.read_text(encoding="utf-8")
        url = self._wheel(package)
        text = _metadata(url) if url else ""
        if text:
            part = path.with_suffix(f".{threading.get_ident()}")
            part.write_text(text, encoding="utf-8")
            part.replace(path)
        return text

    def _wheel(self, package: Mapping[str, Any]) -> str:
        """A wheel for this interpreter; "" where there is none."""
        for wheel in package.get("wheels", ()):
            url = str(wheel.get("url", ""))
            try:
                tags = parse_wheel_filename(url.rpartition("/")[2].replace("%2B", "+"))[3]
            except InvalidWheelFilename:
                continue
            if url and tags & self._tags:
                return url
        return ""


def judge(lock: Mapping[str, Any], lines: Iterable[tuple[str, str]], index: Index) -> Verdict:
    """`lines` are (who, text) as they were declared, before any fix."""
    packages = [one for one in lock.get("package", []) if "virtual" not in one.get("source", {})]
    return _Judge(packages, index).verdict(lines)


class _Judge:
    """One lock: who brings what with which extras, and what of it does not hold."""

    def __init__(self, packages: Sequence[Mapping[str, Any]], index: Index) -> None:
        self._versions = {str(one["name"]): str(one.get("version", "")) for one in packages}
        self._requires = index.requires(packages)
        self._extras: dict[str, set[str]] = {}
        self._waiting: list[str] = []
        self._broken: set[Broken] = set()
        self._unjudged: set[str] = set()
        self._environment = {key: str(value) for key, value in default_environment().items()}

    def verdict(self, lines: Iterable[tuple[str, str]]) -> Verdict:
        for who, text in lines:
            self._ask(who, text, {""})
        # Every locked package is judged, also one that only an edited line brings.
        for name in self._versions:
            self._bring(name, frozenset())
        while self._waiting:
            self._look_into(self._waiting.pop())
        return Verdict(frozenset(self._broken), frozenset(self._unjudged))

    def _ask(self, who: str, text: str, extras: Iterable[str]) -> None:
        try:
            asked = Requirement(text)
        except InvalidRequirement:
            self._unjudged.add(f"{who}: {text}")
            return
        if not self._applies(asked, extras):
            return
        name = canonicalize_name(asked.name)
        if not self._holds(asked, name):
            shown = f"{name}{asked.specifier}"
            self._broken.add(Broken(who, shown, self._versions.get(name, "")))
        if name in self._versions:
            self._bring(name, frozenset(asked.extras))

    def _applies(self, asked: Requirement, extras: Iterable[str]) -> bool:
        marker = asked.marker
        if marker is None:
            return True
        return any(marker.evaluate({**self._environment, "extra": extra}) for extra in extras)

    def _holds(self, asked: Requirement, name: str) -> bool:
        version = self._versions.get(name)
        if version is None:
            return False
        if not version or asked.url:
            return True
        try:
            return asked.specifier.contains(Version(version), prereleases=True)
        except InvalidVersion:
            self._unjudged.add(f"{name} {version}")
            return True

    def _bring(self, name: str, extras: frozenset[str]) -> None:
        """The package is to be looked into, once more where it gets further extras."""
        known = self._extras.get(name, set())
        wanted = {"", *known, *map(canonicalize_name, extras)}
        if wanted > known:
            self._extras[name] = wanted
            self._waiting.append(name)

    def _look_into(self, name: str) -> None:
        lines = self._requires[name]
        if lines is None:
            self._unjudged.add(f"{name} {self._versions[name]}".strip())
            return
        for text in lines:
            self._ask(f"{name} {self._versions[name]}", text, self._extras[name])


def _requires(text: str) -> list[str]:
    return [str(line) for line in email.message_from_string(text).get_all("Requires-Dist", [])]


def _metadata(url: str) -> str:
    """METADATA of a wheel; "" where it cannot be had."""
    for _ in range(_TRIES):
        try:
            with zipfile.ZipFile(io.BufferedReader(_Remote(url), _TAIL)) as wheel:
                return "".join(_members(wheel))
        except (OSError, zipfile.BadZipFile, ValueError):
            continue
    return ""


def _members(wheel: zipfile.ZipFile) -> Iterator[str]:
    names = [name for name in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
    yield from (wheel.read(name).decode("utf-8", "replace") for name in names[:1])


class _Remote(io.RawIOBase):
    """A file on a server that answers range requests; its end is asked for first."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._at = 0
        self._tail, told = self._asked(f"-{_TAIL}")
        self._size = int(told.rpartition("/")[2])

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        start, end = self._at, min(self._at + len(buffer), self._size)
        if end <= start:
            return 0
        known = self._size - len(self._tail)
        found = self._tail[start - known : end - known] if start >= known else b""
        found = found or self._asked(f"{start}-{end - 1}")[0]
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)

    def _asked(self, span: str) -> tuple[bytes, str]:
        request = urllib.request.Request(self._url, headers={"Range": f"bytes={span}"})
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            if answer.status != 206:
                raise OSError("the server does not answer range requests")
            return answer.read(), str(answer.headers.get("Content-Range", ""))
