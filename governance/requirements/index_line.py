"""Lines of requirement files that name a package index, in pip's spelling.

They are never followed by themselves: whoever names an index decides what code is installed.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_INDEX = re.compile(
    r"(?P<option>--extra-index-url|--index-url|-i|--find-links|-f)(?:\s+|\s*=\s*)"
    r"(?P<url>https?://[^\s'\"#]+)"
)
_FLAT = frozenset({"--find-links", "-f"})


class NamedIndex(NamedTuple):
    """`flat` where the address is one page of links to files, else a simple index."""

    url: str
    flat: bool = False


def named_index(line: str) -> NamedIndex | None:
    """The index that a line names, beside a requirement or alone; None for none, and for one
    whose user or password was masked."""
    found = _INDEX.search(line)
    if found is None or "@" in found["url"].partition("?")[0]:
        return None
    return NamedIndex(found["url"].rstrip("/"), found["option"] in _FLAT)
