"""What an environment holds, told by its own interpreter as JSON on stdout.

Run by path (`python -I -B probe.py FILE...`) with the interpreter of an environment that is not
gov's: it imports the standard library only (and PyYAML for the FILEs, extra model paths, where it
is there), writes nothing, and has to run on Pythons that are older than ours.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Dict, Iterator, Tuple  # noqa: UP035 - Python 3.8 runs it

_LONGEST = 4000

Row = Dict[str, Any]  # noqa: UP006
Named = Tuple[str, metadata.Distribution]  # noqa: UP006


def tell(files: list[str]) -> Row:
    found = list(_distributions())
    return {
        "version": platform.python_version(),
        "implementation": sys.implementation.name,
        "prefix": sys.prefix,
        "base": sys.base_prefix,
        "distributions": _with_modules(found),
        "model_paths": {path: _node_folders(path) for path in files},
    }


def _distributions() -> Iterator[Named]:
    """The first of each name counts, as for an import."""
    seen = set()
    for one in metadata.distributions():
        name = one.metadata["Name"] if one.metadata is not None else None
        if name and one.version and name.lower() not in seen:
            seen.add(name.lower())
            yield name, one


def _with_modules(found: list[Named]) -> list[Row]:
    """A module that several distributions share is told with its parts: `google.protobuf`."""
    modules = [_modules(one) for _, one in found]
    owners: dict[str, int] = {}
    for parts in modules:
        for top in {name.partition(".")[0] for name in parts}:
            owners[top] = owners.get(top, 0) + 1
    return [
        {
            "name": name,
            "version": one.version,
            "requires": [text[:_LONGEST] for text in one.requires or ()],
            "direct_url": _direct_url(one),
            "installed_at": _installed_at(one),
            "modules": sorted(
                part for part in parts if ("." in part) == (owners[part.partition(".")[0]] > 1)
            ),
        }
        for (name, one), parts in zip(found, modules)  # noqa: B905 - older Pythons know no strict
    ]


def _modules(one: metadata.Distribution) -> set[str]:
    names = set()
    for path in one.files or ():
        parts = path.parts
        if parts[0] in ("..", "/", "__pycache__") or parts[0].endswith((".dist-info", ".pth")):
            continue
        first = parts[0] if len(parts) > 1 else _stem(parts[0])
        if first and first.isidentifier():
            names.add(first)
            second = parts[1] if len(parts) > 2 else _stem(parts[-1])
            if len(parts) > 1 and second and second.isidentifier():
                names.add(first + "." + second)
    for line in (one.read_text("top_level.txt") or "").split():
        names.add(line)
    return names


def _stem(name: str) -> str:
    """Of a module's file; "" of any other."""
    return name.partition(".")[0] if name.endswith((".py", ".so", ".pyd")) else ""


def _direct_url(one: metadata.Distribution) -> Row | None:
    try:
        found = json.loads(one.read_text("direct_url.json") or "null")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _installed_at(one: metadata.Distribution) -> float | None:
    """Seconds since 1970, of its metadata; None where that has no place on the disk."""
    try:
        return Path(str(getattr(one, "_path", ""))).stat().st_mtime
    except OSError:
        return None


def _node_folders(file: str) -> list[str] | None:
    """The folders of nodes that a file of extra model paths names; None where it cannot be
    read."""
    try:
        import yaml  # type: ignore[import-untyped]

        with Path(file).open(encoding="utf-8") as stream:
            document = yaml.safe_load(stream)
        return [found for section in document.values() for found in _of_section(section, file)]
    except Exception:  # whatever is wrong with it, ComfyUI says it better
        return None


def _of_section(section: Any, file: str) -> Iterator[str]:
    if not isinstance(section, dict):
        return
    base = os.path.expandvars(str(section.get("base_path") or ""))
    folder = Path(file).absolute().parent / Path(base).expanduser()
    for line in str(section.get("custom_nodes") or "").split("\n"):
        if line.strip():
            yield os.path.normpath(folder / line.strip())


if __name__ == "__main__":
    json.dump(tell(sys.argv[1:]), sys.stdout)
