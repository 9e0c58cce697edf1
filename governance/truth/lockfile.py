"""uv.lock read as data: versions, the digest that decides an environment, and what changed.

Two locks of one set of requirements were seen to differ in `size` and time fields, so content is
compared, never bytes.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from governance.base.names import normalise
from governance.boundaries import store

_VOLATILE = frozenset({"size", "upload-time"})
_PACKAGE = re.compile(
    r'^\[\[package\]\]\nname = "([^"\\]+)"\n(?:version = "([^"\\]+)"\n)?source = \{ (\w+) = ', re.M
)


@dataclass(frozen=True)
class Change:
    """One package that differs; `before` or `after` is None where it is absent."""

    name: str
    before: str | None
    after: str | None

    @property
    def kind(self) -> str:
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        return "changed"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "kind": self.kind}


def parse(data: bytes, path: Path) -> Mapping[str, Any]:
    """Nobody changes it: one decision asks many questions of the same lock, and reads it once.

    Raises Damaged.
    """
    try:
        return _parsed(data)
    except (ValueError, RecursionError) as error:
        raise store.damaged(path, str(error)) from None


def read(path: Path) -> Mapping[str, Any]:
    """Raises Damaged, FileNotFoundError."""
    return parse(store.read_bytes(path), path)


@functools.lru_cache(maxsize=4)
def _parsed(data: bytes) -> Mapping[str, Any]:
    return tomllib.loads(data.decode())


def content_digest(lock: Mapping[str, Any]) -> str:
    """SHA-256 of the lock less its volatile fields: equal for equal environments."""
    text = json.dumps(_stable(lock), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def hashed(lock: Mapping[str, Any]) -> frozenset[str]:
    """The packages of which every file is named with its hash."""
    return frozenset(
        normalise(str(package["name"]))
        for package in lock.get("package", [])
        if (files := package_files(package)) and all(row.get("hash") for row in files)
    )


def package_files(package: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows of its wheels and of its source, as far as it has any."""
    return [*package.get("wheels", []), *filter(None, [package.get("sdist")])]


def versions(lock: Mapping[str, Any]) -> dict[str, str]:
    """Name to version, or to `@ <source>` where the package does not come from an index."""
    return {
        package["name"]: _version(package)
        for package in lock.get("package", [])
        if "virtual" not in package.get("source", {})
    }


def versions_in(text: str) -> dict[str, str]:
    """The same from the text of a uv.lock.  Of 340 packages in 2 ms, where parsing takes 0.2 s;
    one with other sources than an index is parsed all the same."""
    found = _PACKAGE.findall(text)
    plain = {name: version for name, version, source in found if source == "registry"}
    virtual = sum(source == "virtual" for _, _, source in found)
    if len(plain) + virtual == text.count("[[package]]\n"):
        return plain
    return versions(tomllib.loads(text))


def frozen_versions(lines: Iterable[str]) -> dict[str, str]:
    """The same from freeze lines (`name==version`, `name @ url`)."""
    result: dict[str, str] = {}
    for line in lines:
        name, separator, version = line.partition("==")
        if not separator:
            name, _, url = line.partition(" @ ")
            version = f"@ {url}"
        result[name.strip()] = version
    return result


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[Change]:
    names = sorted(before.keys() | after.keys())
    pairs = ((name, before.get(name), after.get(name)) for name in names)
    return [Change(name, old, new) for name, old, new in pairs if old != new]


def _version(package: Mapping[str, Any]) -> str:
    source = package.get("source", {})
    for kind in ("git", "url", "path", "directory", "editable"):
        if kind in source:
            return f"@ {source[kind]}"
    return str(package.get("version", ""))


def _stable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stable(item) for key, item in value.items() if key not in _VOLATILE}
    if isinstance(value, list):
        return [_stable(item) for item in value]
    return value
