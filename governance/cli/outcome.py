"""What a verb hands to the report: data for scripts, lines for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from governance.errors import EXIT_OK, GovError


@dataclass(frozen=True)
class Table:
    """`marks` gives a row's style by index: bad, core, good, dim."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    marks: dict[int, str] = field(default_factory=dict)


Part = str | Table


@dataclass(frozen=True)
class Outcome:
    """`error` is set where a verb has both data and a non-zero end (a failed run)."""

    data: Any
    parts: Sequence[Part] = ()
    warnings: Sequence[str] = ()
    exit_code: int = EXIT_OK
    error: GovError | None = None
    passed_on: bool = False
