"""Claims for doit's `uptodate`: small objects that read as sentences in `doit info`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from governance.base.errors import GovError


class Claim:
    """True while the claim holds.  One that cannot be looked at does not hold: then the action
    runs and tells what is wrong."""

    def __init__(self, sentence: str, holds: Callable[..., bool], *about: Any) -> None:
        self._sentence = sentence
        self._holds = holds
        self._about = about

    def __call__(self, task: Any, values: Any) -> bool:
        try:
            return self._holds(*self._about)
        except (GovError, OSError):
            return False

    def __repr__(self) -> str:
        return f'the claim "{self._sentence}"'
