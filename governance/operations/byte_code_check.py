"""Does byte code say what its source says?  `python -I -S byte_code_check.py FOLDER...`.

A `.pyc` is believed where the time and size in it are those of the source, and both can be forged.
Run by path, with the Python that would load it; prints one path a line, each that would be loaded
and says something else.

Byte code is compared as code objects: two compilations of one source differ in their bytes by
what else the process holds.
"""

from __future__ import annotations

import importlib.util
import marshal
import os
import re
import sys
from collections.abc import Iterator

_CACHED = re.compile(r"(?P<module>.+)\.(?P<tag>[\w-]+)(?:\.opt-(?P<level>\w+))?\.pyc")


def main(*folders: str) -> None:
    for folder in folders:
        for path in _byte_code(folder):
            if not _is_harmless(folder, path):
                sys.stdout.write(f"{path}\n")
                sys.stdout.flush()


def _byte_code(folder: str) -> Iterator[str]:
    for place, _, names in os.walk(folder):
        yield from (f"{place}/{name}" for name in sorted(names) if name.endswith(".pyc"))


def _is_harmless(folder: str, path: str) -> bool:
    """It says what its source says, or Python would not load it."""
    match = _CACHED.fullmatch(os.path.basename(path))  # noqa: PTH119
    if match is None or match["tag"] != sys.implementation.cache_tag:
        return True
    source = _source(folder, path, match["module"])
    try:
        with open(path, "rb") as stream:
            data = stream.read()
        with open(source, "rb") as stream:
            text, facts = stream.read(), os.fstat(stream.fileno())
    except OSError:
        return True  # without a source none is looked for
    flags, time, size = (int.from_bytes(data[n : n + 4], "little") for n in (4, 8, 12))
    is_old = (time, size) != (int(facts.st_mtime) & 0xFFFFFFFF, facts.st_size & 0xFFFFFFFF)
    if data[:4] != importlib.util.MAGIC_NUMBER or (flags == 0 and is_old):
        return True
    try:
        level = int(match["level"] or 0)
        made = compile(text, source, "exec", dont_inherit=True, optimize=level)
        return bool(marshal.loads(data[16:]) == made)
    except Exception:  # whatever it is, it is not what the source says
        return False


def _source(folder: str, path: str, module: str) -> str:
    """Beside it, or where PYTHONPYCACHEPREFIX has it from."""
    place = os.path.dirname(path)  # noqa: PTH120
    if os.path.basename(place) == "__pycache__":  # noqa: PTH119
        return f"{os.path.dirname(place)}/{module}.py"  # noqa: PTH120
    return f"/{os.path.relpath(place, folder)}/{module}.py"


if __name__ == "__main__":
    main(*sys.argv[1:])
