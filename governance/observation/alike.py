"""What two starts say and do is compared without what no two starts have in common: the paths of
their own folders, times, addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_REPLACED = (
    # First the candidate: what its program calls temporary lies in it.
    (re.compile(r"/[^\s\"']*/\.venv-candidate/[^/\s\"']+"), "CANDIDATE"),
    (re.compile(r"/[^\s\"']*/\.generations/[^/\s\"']+"), "ENVIRONMENT"),
    (re.compile(r"(?:CANDIDATE|/var)?/tmp/[^\s\"']+"), "TEMPORARY"),
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?"), "TIME"),
    (re.compile(r"\d\d:\d\d:\d\d(?:[.,]\d+)?"), "TIME"),
    (re.compile(r"0x[0-9a-f]{4,}"), "ADDRESS"),
    (re.compile(r"(?<=127\.0\.0\.1:)\d+"), "PORT"),
    (re.compile(r"\d+\.\d+(?= ?(?:s|ms|sec|seconds)\b)"), "N"),
)

KINDS = ("installs", "programs", "hosts", "writes", "findings")


def plain(text: str) -> str:
    """`text` as every start would have written it."""
    for pattern, word in _REPLACED:
        text = pattern.sub(word, text)
    return text


def key(kind: str, row: Mapping[str, Any]) -> str:
    """One action of one node (a row of `installs`, `programs`, ...), for comparing.

    Not where in its code: a line moves with every update.
    """
    return f"{kind} {row.get('node') or ''}: {plain(' '.join(_words(kind, row)))}"


def _words(kind: str, row: Mapping[str, Any]) -> Iterator[str]:
    if kind == "installs":
        yield from (str(row.get("tool")), str(row.get("action")), str(row.get("outcome")))
        yield from map(str, (*row.get("requested", ()), *row.get("files", ())))
    elif kind == "programs":
        yield from map(str, row.get("argv", ()))
    elif kind == "hosts":
        yield f"{row.get('host')}:{row.get('port')}"
    elif kind == "writes":
        yield str(row.get("path"))
    else:
        yield f"{row.get('kind')} {row.get('what')}"
