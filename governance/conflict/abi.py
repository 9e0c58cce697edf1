"""Wheels that lock with numpy 2 and do not load with it.

Compiled code of a time before numpy 2 cannot be imported beside it, and most of these wheels set
no upper bound: their authors could not know (seen: opencv 4.9, pandas 1.5).  Nodes that pin such a
version pin numpy<2 beside it, so both lines have to go, or none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from governance.conflict.ranges import holds
from governance.conflict.solver import Solved

_PACKAGE = "numpy"
_BROKE_WITH = ">=2"
# The first beta, 2.0.0b1, came in that month; nothing older can have been built for it.
_FIRST_BUILT = "2024-03-01"


def unloadable(solved: Solved) -> frozenset[str]:
    """Packages of the lock whose compiled code is older than the numpy that is locked."""
    if not holds(_BROKE_WITH, solved.versions.get(_PACKAGE, "")):
        return frozenset()
    packages = solved.lock.get("package", [])
    return frozenset(str(one["name"]) for one in packages if _asks(one) and _is_older(one))


def _asks(package: Mapping[str, Any]) -> bool:
    return any(entry["name"] == _PACKAGE for entry in package.get("dependencies", []))


def _is_older(package: Mapping[str, Any]) -> bool:
    """Compiled for Python's own interface (a wheel with abi "none" may load numpy or not), and of
    a known time."""
    wheels = package.get("wheels", [])
    return bool(wheels) and all(_is_compiled(one) and _time(one) < _FIRST_BUILT for one in wheels)


def _is_compiled(wheel: Mapping[str, Any]) -> bool:
    name = str(wheel.get("url") or wheel.get("filename") or wheel.get("path") or "")
    tags = name.removesuffix(".whl").rsplit("-", 3)
    return len(tags) == 4 and tags[2] != "none"


def _time(wheel: Mapping[str, Any]) -> str:
    return str(wheel.get("upload-time", "9999"))
