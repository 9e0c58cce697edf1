"""Where a long piece of work tells how it goes: in sentences, in a line about what is under way,
and what a program says as it says it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

Say = Callable[[str], None]
Live = Callable[[str, str], None]
# What is under way, in the words of this moment; called now and then, from another thread.
Words = Callable[[], str]
During = Callable[[Words], AbstractContextManager[object]]


def quiet(_: str) -> None:
    """A `Say` that says nothing."""


def silent(stream: str, text: str) -> None:
    """A `Live` that shows nothing: the logs have it all, and who failed shows their end."""


def unseen(_: Words) -> AbstractContextManager[object]:
    """A `During` that shows nothing."""
    return nullcontext()


@contextmanager
def following(say: Say, during: During, text: str) -> Iterator[Say]:
    """Say `text`; of what is said to what this gives, the newest is shown and nothing is kept."""
    newest = text

    def show(said: str) -> None:
        nonlocal newest
        newest = said

    say(text)
    with during(lambda: newest):
        yield show
