"""Lists what is installed in a site-packages folder, as JSON on stdout.

Run by path (`python -I -S looker.py SITE_PACKAGES`) inside the layer, where alone the candidate's
changes can be seen; it imports the standard library only and runs nothing of the environment.
Each entry is [name as written, version, direct_url.json or null]; a folder without a readable
METADATA is told by its own name.
"""

from __future__ import annotations

import itertools
import json
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_MAX_BYTES = 1 << 20
_MAX_PACKAGES = 20_000
_LONGEST = 200


def look(site_packages: Path) -> list[list[Any]]:
    folders = (
        path for path in site_packages.iterdir() if path.suffix in (".dist-info", ".egg-info")
    )
    return [
        _entry(path) for path in sorted(folders)[:_MAX_PACKAGES] if not path.name.startswith("~")
    ]


def _entry(path: Path) -> list[Any]:
    name, _, version = path.stem.partition("-")
    for line in head(path):
        key, _, value = line.partition(":")
        if key.lower() == "name":
            name = value.strip()
        elif key.lower() == "version":
            version = value.strip()
    return [name[:_LONGEST], version[:_LONGEST], _direct_url(path / "direct_url.json")]


def head(path: Path) -> Iterator[str]:
    """The header lines of a package's METADATA, none where it cannot be read."""
    about = path if path.is_file() else path / ("PKG-INFO", "METADATA")[path.suffix == ".dist-info"]
    # Line ends are the author's: a blank line ends the headers, however it is written.
    return itertools.takewhile(str.strip, _text(about).splitlines())


def _direct_url(path: Path) -> Any:
    try:
        return json.loads(_text(path) or "null")
    except (ValueError, RecursionError):
        return None


def _text(path: Path) -> str:
    """Of a plain file; a node may have put a pipe there, which nobody would ever write to."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return os.read(descriptor, _MAX_BYTES).decode(errors="replace") if is_file else ""
    except OSError:
        return ""
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    json.dump(look(Path(sys.argv[1])), sys.stdout)
