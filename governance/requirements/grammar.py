"""PEP 508 as uv takes it in a dependency group.

`packaging` takes more than uv 0.13 does, and one line that uv cannot parse stops every lock of the
workspace.  Seen: `foo_`, `foo[a_]`, `foo===abc`, `===` and `extras` in a marker, large numbers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_LONGEST = 2000
_LARGEST = (1 << 64) - 2
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_START = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_HEAD = re.compile(r"(?P<head>\s*[A-Za-z0-9._-]+\s*(?:\[[^\]]*\])?\s*)(?P<rest>[<>=!~].*)", re.S)
_GLUED = re.compile(r"(?<=[\w*])\s*(?=[<>=!~]=|[<>])")


class Malformed(ValueError):
    """Its text is the reason, half a sentence for a person."""


def normalised(name: str) -> str:
    """As PEP 503 says."""
    return re.sub(r"[-_.]+", "-", name).lower()


def is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def leading_name(text: str) -> str:
    """The normalised name that a line begins with, "" where it begins with something else."""
    match = _START.match(text)
    return normalised(match[1]) if match else ""


def check_characters(text: str) -> None:
    """Raises Malformed."""
    if len(text) > _LONGEST:
        raise Malformed(f"it is longer than {_LONGEST:,} characters")
    if not text.isascii():
        raise Malformed("it holds characters outside ASCII")
    if any(not (" " <= character <= "~" or character == "\t") for character in text):
        raise Malformed("it holds control characters")


def check_numbers(text: str) -> None:
    """Raises Malformed."""
    if any(int(digits) > _LARGEST for digits in re.findall(r"\d+", text)):
        raise Malformed("a number in it is too large")


def parse(text: str) -> Requirement:
    """Raises Malformed."""
    from packaging.requirements import InvalidRequirement, Requirement

    check_characters(text)
    if "\\" in text.partition(";")[2]:
        # packaging reads it as Python does, and what it stood for would be part of the truth.
        raise Malformed("a backslash has no place in its marker")
    try:
        found = Requirement(text)
    except InvalidRequirement as error:
        raise Malformed(_sentence(str(error))) from None
    except RecursionError:
        raise Malformed("its marker is nested too deeply") from None
    for name in (found.name, *found.extras):
        if not is_name(name):
            raise Malformed(f"{name!r} is not a valid name")
    _check_versions(found)
    _check_marker(str(found.marker or ""))
    return found


def spell(text: str, found: Requirement) -> str:
    """`text`, of which `found` was parsed, without blanks and brackets; a URL is not expected."""
    head = re.sub(r"[\s()]+", "", text.partition(";")[0]).replace("[]", "").rstrip(",")
    return f"{head}; {found.marker}" if found.marker else head


def with_commas(text: str) -> str:
    """`numpy<1.24>=1.18` as `numpy<1.24,>=1.18`; other texts as they are."""
    requirement, semicolon, marker = text.partition(";")
    match = _HEAD.fullmatch(requirement)
    if match is None:
        return text
    return match["head"] + _GLUED.sub(",", match["rest"]) + semicolon + marker


def _check_versions(found: Requirement) -> None:
    from packaging.version import InvalidVersion, Version

    for specifier in found.specifier:
        if specifier.operator == "===":
            try:
                Version(specifier.version)
            except InvalidVersion:
                raise Malformed(f"{specifier.version!r} is not a version") from None
    check_numbers(str(found.specifier))


def _check_marker(marker: str) -> None:
    words = re.sub(r"'[^']*'|\"[^\"]*\"", "", marker)
    # The first is no operator of markers, the others are for lock files only.
    foreign = re.search(r"===|\bextras\b|\bdependency_groups\b", words)
    if foreign:
        raise Malformed(f"{foreign[0]} has no place in its marker")
    check_numbers(marker)


def _sentence(error: str) -> str:
    first = error.splitlines()[0].strip()
    return first[:1].lower() + first[1:]
