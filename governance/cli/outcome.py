"""What a verb hands to the report: data for scripts, lines for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from governance.base.errors import EXIT_OK, GovError


class Table(NamedTuple):
    """`marks` gives a row's style by index: bad, core, good, dim."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    marks: Mapping[int, str] = {}


Part = str | Table


class Outcome(NamedTuple):
    """`error` is set where a verb has both data and a non-zero end (a failed run)."""

    data: Any
    parts: Sequence[Part] = ()
    warnings: Sequence[str] = ()
    exit_code: int = EXIT_OK
    error: GovError | None = None
    passed_on: bool = False
