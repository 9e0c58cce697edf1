"""What uv only warns of when a lock succeeds: extras that do not exist, versions withdrawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from governance.conflict import message
from governance.conflict.answer import Cause
from governance.conflict.problem import Owned


def noted(log: str, lines: Sequence[Owned]) -> tuple[Cause, ...]:
    """Kinds missing-extra and yanked, each with the lines that ask for the package directly."""
    return (*_missing_extras(log, lines), *_yanked(log, lines))


def _missing_extras(log: str, lines: Sequence[Owned]) -> Iterator[Cause]:
    for name, version, extra in message.missing_extras(log):
        asking = tuple(line for line in lines if line.name == name and extra in _extras(line))
        who = " and ".join(dict.fromkeys(line.who for line in asking)) or "a package"
        sentence = f"{who} asks for {name}[{extra}], but {name} {version} has no such extra"
        yield Cause("missing-extra", asking, name, tuple((a.text,) for a in asking), sentence)


def _yanked(log: str, lines: Sequence[Owned]) -> Iterator[Cause]:
    for name, version, reason in message.yanked(log):
        asking = tuple(line for line in lines if line.name == name)
        why = f": {reason.strip()}" if reason.strip() else ""
        sentence = f"{name} {version} was yanked from the index{why}"
        yield Cause("yanked", asking, name, tuple((a.text,) for a in asking), sentence)


def _extras(line: Owned) -> set[str]:
    from packaging.requirements import Requirement

    from governance.names import normalise

    return {normalise(extra) for extra in Requirement(line.text).extras}
