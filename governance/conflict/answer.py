"""The answer: causes, fixes that were tried, and what the search cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from governance.conflict.problem import CORE, Owned, owner_words
from governance.truth.lockfile import Change


@dataclass(frozen=True)
class Party:
    """Who asks for what, as one line on a screen shows it: `who` wants `name` `spec`.

    `name` is the package at stake, or that of a line which does not lead to it.  `spec` is "" for
    any version.  `through` are the packages that ask on behalf of the line, each with its version.
    `is_new` where the line is one of those that were not locked before.
    """

    who: str
    name: str
    spec: str
    through: tuple[str, ...] = ()
    is_new: bool = False


@dataclass(frozen=True)
class Cause:
    """A minimal set of lines that do not lock together.

    `kind`: conflict, self-contradiction, not-on-index, no-version, no-wheel, yanked,
    newer-than-date, python, build, unreachable, malformed.  `package` is the one at stake ("" where
    no single one is).  `chains` lead from each line to it, read from a lock; the first element is
    the line's text.  `what` is the sentence less its parties; `parties` are in the
    order of `lines`.
    """

    kind: str
    lines: tuple[Owned, ...]
    package: str
    chains: tuple[tuple[str, ...], ...]
    sentence: str
    what: str = ""
    parties: tuple[Party, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "lines": [line.to_json() for line in self.lines]}


@dataclass(frozen=True)
class Fix:
    """A change with which the whole set was seen to lock.

    `kind`: override, overrides, drop-line, ref, exempt-date.  `pins` are complete entries for
    override-dependencies, `typed` the same as a person types them.  `overrides` is the whole list
    to put into the truth (earlier overrides included).  `lost` are packages of `dropped` lines
    that nothing else brings.  `changes` are against prod, downgrades
    first; `core` the core packages among them.  `command` holds {txid}.
    """

    kind: str
    pins: tuple[str, ...] = ()
    typed: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    dropped: tuple[Owned, ...] = ()
    exempt: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    ref: str = ""
    locked: bool = True
    violates: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    core: tuple[str, ...] = ()
    command: str = ""

    @property
    def rank(self) -> tuple[int, int, int, int, int]:
        """Best first: requirements broken, core packages changed, ComfyUI's own lines broken,
        versions changed in prod.

        A line left out together with the only way to its package counts twice.  Of two that cost
        the same, the one that leaves the node all its packages comes first.
        """
        changed = [change for change in self.changes if change.before is not None]
        own = sum(text.startswith(f"breaks {owner_words(CORE)}'s ") for text in self.violates)
        broken = len(self.violates) + len(self.lost)
        return broken, len(self.core), own, len(changed), len(self.dropped)

    def to_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "dropped": [line.to_json() for line in self.dropped],
            "changes": [change.to_json() for change in self.changes],
        }


@dataclass(frozen=True)
class Report:
    """`complete` is False where the time limit or the number of causes cut the search.

    `cause_seconds`, `all_causes_seconds` and `fix_seconds` tell when the first cause, all causes
    and the first fix were known (None: never).
    """

    causes: tuple[Cause, ...]
    fixes: tuple[Fix, ...]
    runs: int
    seconds: float
    complete: bool
    cause_seconds: float | None = None
    all_causes_seconds: float | None = None
    fix_seconds: float | None = None

    @property
    def summary(self) -> str:
        return "; ".join(cause.sentence for cause in self.causes)

    @property
    def packages(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cause.package for cause in self.causes if cause.package))

    def to_json(self) -> dict[str, Any]:
        return {
            "causes": [cause.to_json() for cause in self.causes],
            "suggestions": numbered(self.fixes),
            "resolver_runs": self.runs,
            "seconds": round(self.seconds, 3),
            "complete": self.complete,
        }


def numbered(fixes: Sequence[Fix]) -> list[dict[str, Any]]:
    """As `--accept N` counts them, from 1."""
    return [{"number": number, **fix.to_json()} for number, fix in enumerate(fixes, 1)]
