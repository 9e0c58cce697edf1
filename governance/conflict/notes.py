"""What a lock that succeeds says only in passing, or not at all: extras that do not exist,
versions withdrawn, lines that an earlier override outvotes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from governance.conflict import message
from governance.conflict.answer import Cause
from governance.conflict.problem import Owned
from governance.conflict.ranges import holds
from governance.requirements.grammar import leading_name


def noted(log: str, lines: Sequence[Owned]) -> tuple[Cause, ...]:
    """Kinds missing-extra and yanked, each with the lines that ask for the package directly."""
    return (*_missing_extras(log, lines), *_yanked(log, lines))


def outvoted(
    overrides: Sequence[str], versions: Mapping[str, str], lines: Sequence[Owned]
) -> Iterator[Cause]:
    """Kind overridden: lines that `versions` do not satisfy, since an override stands."""
    held = {leading_name(text): text for text in overrides}
    for line in lines:
        if line.name in held and not _is_met(line, versions.get(line.name)):
            sentence = (
                f"{line.who} wants {line.text} ({line.place}), "
                f"but an earlier resolution holds {held[line.name]}"
            )
            yield Cause("overridden", (line,), line.name, ((line.text,),), sentence)


def _is_met(line: Owned, version: str | None) -> bool:
    from packaging.requirements import Requirement

    wanted = Requirement(line.text)
    if wanted.marker is not None and not wanted.marker.evaluate():
        return True
    return version is not None and holds(str(wanted.specifier), version)


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

    from governance.base.names import normalise

    return {normalise(extra) for extra in Requirement(line.text).extras}
