"""What a JSON value has to look like, checked before anything relies on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# A type stands for its own values (True is no int), a tuple for any of its shapes, `[shape]` for a
# list of such items, a mapping for an object with these fields: those ending in `?` may be
# missing, `*` stands for every other one.
Shape = Any

TEXT_OR_NONE = (str, type(None))


def mismatch(value: Any, shape: Shape, place: str) -> str | None:
    """What is wrong and where, as half a sentence; None where all is as it should be."""
    return next(_mismatches(value, shape, place), None)


def _mismatches(value: Any, shape: Shape, place: str) -> Iterator[str]:
    if isinstance(shape, tuple):
        found = [mismatch(value, one, place) for one in shape]
        if None not in found:
            yield str(found[0])
    elif isinstance(shape, list):
        yield from _in_list(value, shape[0], place)
    elif isinstance(shape, Mapping):
        yield from _in_object(value, shape, place)
    elif not isinstance(value, shape) or (shape is int and isinstance(value, bool)):
        yield f"{place} is a {type(value).__name__}, not a {shape.__name__}"


def _in_list(value: Any, item: Shape, place: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{place} is a {type(value).__name__}, not a list"
        return
    for number, entry in enumerate(value):
        yield from _mismatches(entry, item, f"{place}[{number}]")


def _in_object(value: Any, shape: Mapping[str, Shape], place: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{place} is a {type(value).__name__}, not an object"
        return
    for field, inner in shape.items():
        name = field.removesuffix("?")
        if name in value:
            yield from _mismatches(value[name], inner, f"{place}.{name}")
        elif name != "*" and name == field:
            yield f"{place} has no {name}"
    if "*" in shape:
        known = {field.removesuffix("?") for field in shape}
        for name in value.keys() - known:
            yield from _mismatches(value[name], shape["*"], f"{place}.{name}")
