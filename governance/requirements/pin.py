"""Names of groups, pins typed by a person, and the overrides made of them."""

from __future__ import annotations

from collections.abc import Sequence

from governance.base.errors import UsageError
from governance.requirements import grammar
from governance.requirements.declaration import Line, Origin
from governance.requirements.grammar import Malformed

_LONGEST_SHOWN = 200


def group_name(node_id: str) -> str:
    """`node-<normalised id>`.  Raises UsageError for an id that uv takes for no group's name."""
    group = "node-" + grammar.normalised(node_id)
    if not grammar.is_name(node_id) or not grammar.is_name(group):
        raise UsageError(
            f"{node_id!r} cannot name a dependency group",
            hint="give another id with --id: letters, digits, and - _ . between them",
            code="bad_node_id",
            facts={"id": node_id},
        )
    return group


def parse_pin(text: str) -> Line:
    """`pkg==version`, extras allowed, one `==` or `===`, no URL, no marker.  Raises UsageError."""
    try:
        found = grammar.parse(text.strip())
    except Malformed as error:
        raise _bad_pin(text, str(error)) from None
    operators = [specifier.operator for specifier in found.specifier]
    if found.url or found.marker or operators not in (["=="], ["==="]):
        raise _bad_pin(text, "it has to name one version and nothing else")
    return Line(grammar.spell(text, found), text, Origin("", 0), grammar.normalised(found.name))


def override_text(pin: Line, replaced: Sequence[str]) -> list[str]:
    """Entries of override-dependencies that keep the extras and markers of what they replace.

    `replaced` holds **every** requirement on the package in the resolution, transitive ones too
    (a bare name stands for one whose text is not known): with uv 0.13 every requirement on the
    package, wherever it stands, becomes all of the entries at once.  Measured: an entry without
    extras loses `child[d]`'s packages; one without a marker installs here what was asked for only
    on Windows or an old Python, also transitively (click's colorama); one with a marker takes the
    package away from those who asked without one; `extra == "x"` of a parent's own metadata holds
    whatever the entry says; an entry for what nobody asks for adds nothing; overlapping entries
    are fine.  Raises UsageError for a text that is no requirement.
    """
    demands = _demands(pin, replaced)
    always = demands.pop("", None)
    if always is None and not demands:
        return [pin.text]
    entries = [] if always is None else [_entry(pin, always)]
    for marker, extras in demands.items():
        if always is None or not extras <= always:
            entries.append(f"{_entry(pin, extras)} ; {marker}")
    return entries


def _demands(pin: Line, replaced: Sequence[str]) -> dict[str, set[str]]:
    """Marker ("" for none) to the extras asked for under it."""
    demands: dict[str, set[str]] = {}
    for text in replaced:
        try:
            found = grammar.parse(text)
        except Malformed as error:
            raise _bad_replaced(text, str(error)) from None
        if grammar.normalised(found.name) == pin.name:
            extras = demands.setdefault(str(found.marker or ""), set())
            extras.update(map(grammar.normalised, found.extras))
    return demands


def _entry(pin: Line, extras: set[str]) -> str:
    found = grammar.parse(pin.text)
    names = extras | {grammar.normalised(extra) for extra in found.extras}
    wanted = f"[{','.join(sorted(names))}]" if names else ""
    return f"{found.name}{wanted}{found.specifier}"


def _bad_replaced(text: str, why: str) -> UsageError:
    return UsageError(
        f"{text!r} cannot be overridden: {why}",
        hint="mend the line in pyproject.toml",
        code="bad_requirement",
        facts={"text": text},
    )


def _bad_pin(text: str, why: str) -> UsageError:
    shown = text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"
    return UsageError(
        f"{shown!r} is no pin: {why}",
        hint="write pkg==version, for example numpy==1.26.4",
        code="bad_pin",
        facts={"text": shown},
    )
