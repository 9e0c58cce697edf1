"""What may be done about a conflict, as a value that can be asked of the resolver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from governance.conflict.causes import without
from governance.conflict.problem import Owned, Scoped, Source
from governance.conflict.search import Search
from governance.conflict.solver import Question
from governance.requirements import grammar

# By index in the problem: the text in place of a line, "" for a line that is left out.
Edits = Mapping[int, str]


@dataclass(frozen=True)
class Remedy:
    """`edits` change requirement lines, `scoped` what single packages ask for, `overrides` what
    everybody asks for; `exempt` packages are free of the resolution date; `sources` come from an
    index of their own."""

    edits: Edits = field(default_factory=dict)
    scoped: tuple[Scoped, ...] = ()
    overrides: tuple[str, ...] = ()
    pins: tuple[tuple[str, str], ...] = ()
    exempt: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()

    def question(self, search: Search) -> Question:
        problem = search.problem
        names = {package for package, _ in self.pins}
        standing = problem.overrides
        for name in names:
            standing = without(standing, name)
        asked = search.question(
            search.everything,
            overrides=(*standing, *self.overrides),
            scoped=(*problem.scoped, *self.scoped),
            exempt=self.exempt,
            sources=self.sources,
        )
        return replace(asked, lines=edited(asked.lines, self.edits))


def edited(lines: tuple[tuple[int, Owned], ...], edits: Edits) -> tuple[tuple[int, Owned], ...]:
    """The lines as they are to be; those that are left out are gone."""
    changed = [(i, _with_text(line, edits[i]) if i in edits else line) for i, line in lines]
    return tuple((i, line) for i, line in changed if line.text)


def _with_text(line: Owned, text: str) -> Owned:
    return replace(line, text=text, name=grammar.leading_name(text))


def bare(text: str) -> str:
    """The line without its range; extras and marker stay.  A line without one is as it is."""
    found = grammar.parse(text)
    if found.url or not found.specifier:
        return text
    extras = f"[{','.join(sorted(found.extras))}]" if found.extras else ""
    marker = f" ; {found.marker}" if found.marker else ""
    return f"{found.name}{extras}{marker}"
