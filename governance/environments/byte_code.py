"""Compile byte code from sealed sources; run by path, with the environment's own Python.

`python -I -S byte_code.py after SEEN TRUSTED ROOT`: what a running ComfyUI imported.  SEEN is the
byte code of that run, where nodes may have put anything: only the names in it are read.
`python -I -S byte_code.py now NAMES`: NAMES is a file with a JSON list of [source, target] or
[source, target, name in tracebacks].

TRUSTED, which later starts take their byte code from, gets what the sources in ROOT (a sealed
environment) and in Python's own library say.  Compiling runs no code of a package.
"""

from __future__ import annotations

import importlib.util
import json
import os
import py_compile
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence

# By then most has been imported, and ComfyUI no longer needs every core for its own start.
_SECONDS = 20.0


def after(seen: str, trusted: str, root: str) -> None:
    os.nice(19)
    time.sleep(_SECONDS)
    sys.pycache_prefix = trusted
    roots = [os.path.realpath(path) for path in (root, library())]
    for source, name in sources(seen, roots):
        target = importlib.util.cache_from_source(source)
        if os.path.basename(target) == name and not os.path.exists(target):  # noqa: PTH110, PTH119
            py_compile.compile(source, target, quiet=2)


def now(names: str) -> None:
    with open(names) as stream:
        rows = json.load(stream)
    for source, target, *shown in rows:
        try:
            py_compile.compile(source, target, shown[0] if shown else None, quiet=2)
        except (OSError, ValueError, RecursionError, MemoryError):
            pass  # one file that cannot be compiled takes nothing from the others


def library() -> str:
    """Python's own."""
    return sysconfig.get_path("stdlib")


def sources(seen: str, roots: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Source files in `roots` that `seen` has byte code of, and the byte code's name."""
    for folder, _, names in os.walk(seen):
        beside = "/" + os.path.relpath(folder, seen)
        for name in names:
            source = f"{beside}/{name.partition('.')[0]}.py"
            real = os.path.realpath(source)
            if name.endswith(".pyc") and any(real.startswith(f"{root}/") for root in roots):
                yield source, name


if __name__ == "__main__":
    if sys.argv[1] == "now":
        now(*sys.argv[2:])
    else:
        after(*sys.argv[2:])
