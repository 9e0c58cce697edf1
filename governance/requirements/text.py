"""Bytes of a requirement file to the logical lines that pip would see."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

# Windows shells write UTF-16 (`pip freeze > requirements.txt`).  The marks of UTF-32 come first
# because the one of UTF-16 is their prefix.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LINE_END = re.compile(r"\r\n|\r|\n")
# A lookbehind and not `\s+#`, which is quadratic in a long run of blanks.
_COMMENT = re.compile(r"(?<!\S)#.*", re.DOTALL)
_BLANKS = " \t\u00a0\ufeff"


@dataclass(frozen=True)
class Logical:
    """`number` is the first physical line, from 1; `text` has no comment and no continuation."""

    number: int
    raw: str
    text: str


def decode(data: bytes) -> tuple[str, str]:
    """The text, and a note where its encoding is odd.  Raises ValueError for what is no text."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            note = "" if encoding == "utf-8" else f"is {encoding.upper()}"
            return data[len(mark) :].decode(encoding), note
    if b"\0" in data:
        raise ValueError("it holds NUL bytes")
    try:
        return data.decode(), ""
    except UnicodeDecodeError:
        # Every older encoding leaves ASCII alone, and a requirement is ASCII.
        return data.decode("latin-1"), "is not UTF-8, read as Latin-1"


def physical_lines(text: str) -> list[str]:
    return _LINE_END.split(text)


def logical_lines(lines: list[str]) -> Iterator[Logical]:
    """Join lines that end in a backslash; a comment line ends the joining."""
    parts: list[str] = []
    for number, line in enumerate(lines, 1):
        parts.append(line)
        if not _continues(line):
            yield _logical(number - len(parts) + 1, parts)
            parts = []
    if parts:
        yield _logical(len(lines) - len(parts) + 1, parts)


def without_comment(text: str) -> str:
    return _COMMENT.sub("", text).strip(_BLANKS)


def _continues(line: str) -> bool:
    return line.rstrip(_BLANKS).endswith("\\") and not _is_comment(line)


def _is_comment(line: str) -> bool:
    return line.lstrip(_BLANKS).startswith("#")


def _logical(number: int, parts: list[str]) -> Logical:
    pieces = [_piece(part) for part in parts]
    return Logical(number, "\n".join(parts), without_comment("".join(pieces)))


def _piece(part: str) -> str:
    if _is_comment(part):
        return " " + part.lstrip(_BLANKS)
    return part.rstrip(_BLANKS).removesuffix("\\") if _continues(part) else part
