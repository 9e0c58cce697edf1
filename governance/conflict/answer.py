"""The answer: causes, fixes that were tried, and what the search cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from governance.conflict.problem import Owned, Scoped, Source
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


class Replaced(NamedTuple):
    """A line with another text in its place: its name without the range, or another name."""

    line: Owned
    to: str

    def to_json(self) -> dict[str, Any]:
        return {"line": self.line.to_json(), "to": self.to}


# Who loses, the dearest first: what is there today, then what a package asks for, then the new.
LOSSES = ("core", "installed", "lost", "index", "inside", "older", "range", "exact")


@dataclass(frozen=True)
class Fix:
    """A change with which the whole set was seen to lock.

    `kind`: relax-line, replace-line, drop-line, scoped, index, override, overrides, ref,
    exempt-date.
    `replaced` are lines that get another text, `dropped` those that go.  `scoped` change what one
    version of a package asks for; `sources` name the index of a package.  `pins` are complete
    entries for override-dependencies, `typed` the same as a person types them, `overrides` the
    whole list to put into the truth (earlier overrides included).  `violates` are sentences, one
    for each range that does not hold with it; `losses` says of what kind each is (see LOSSES) and
    `nodes` which nodes they are about.  `lost` are packages of `dropped` lines that nothing else
    brings.  `changes` are against prod, downgrades first; `core` the core packages among them.
    `command` holds {txid}.
    """

    kind: str
    pins: tuple[str, ...] = ()
    typed: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    dropped: tuple[Owned, ...] = ()
    replaced: tuple[Replaced, ...] = ()
    scoped: tuple[Scoped, ...] = ()
    sources: tuple[Source, ...] = ()
    exempt: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    ref: str = ""
    locked: bool = True
    violates: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    core: tuple[str, ...] = ()
    command: str = ""

    @property
    def rank(self) -> tuple[Any, ...]:
        """Best first: a global override last; then whose line loses, ComfyUI's and today's nodes'
        spared first; then fewer nodes, fewer core packages, fewer changes; at last by its text, so
        that the order is the same each time."""
        lost = tuple(self.losses.count(kind) for kind in LOSSES)
        changed = sum(change.before is not None for change in self.changes)
        text = (*self.violates, *self.typed, self.ref)
        return (
            self.kind in ("override", "overrides"),
            *lost,
            len(self.nodes),
            len(self.core),
            changed,
            text,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "dropped": [line.to_json() for line in self.dropped],
            "replaced": [one.to_json() for one in self.replaced],
            "scoped": [one._asdict() for one in self.scoped],
            "sources": [one._asdict() for one in self.sources],
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
