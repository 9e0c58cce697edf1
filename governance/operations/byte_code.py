"""Compile anew what a running ComfyUI imported: `python -I -S byte_code.py SEEN TRUSTED ROOT`.

SEEN is the byte code of that run, where nodes may have put anything: only the names in it are read.
TRUSTED, which later starts take their byte code from, gets what the sources in ROOT (a sealed
environment) and in Python's own library say.  Run by path, with that environment's Python.
"""

from __future__ import annotations

import importlib.util
import os
import py_compile
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence

# By then most has been imported, and ComfyUI no longer needs every core for its own start.
_SECONDS = 20.0


def main(seen: str, trusted: str, root: str) -> None:
    os.nice(19)
    time.sleep(_SECONDS)
    sys.pycache_prefix = trusted
    roots = [os.path.realpath(path) for path in (root, sysconfig.get_path("stdlib"))]
    for source, name in sources(seen, roots):
        target = importlib.util.cache_from_source(source)
        if os.path.basename(target) == name and not os.path.exists(target):  # noqa: PTH110, PTH119
            py_compile.compile(source, target, quiet=2)


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
    main(*sys.argv[1:])
