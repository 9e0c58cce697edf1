"""Where a long piece of work tells how it goes: in sentences, and what a program says as it says
it."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str], None]
Live = Callable[[str, str], None]


def quiet(_: str) -> None:
    """A `Say` that says nothing."""


def silent(stream: str, text: str) -> None:
    """A `Live` that shows nothing; the logs have it all."""
