"""What a requirement file declares, as values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

TORCH_FAMILY = frozenset({"torch", "torchvision", "torchaudio", "torchsde"})


@dataclass(frozen=True)
class Origin:
    """`file` is relative to the node's folder, with `/`; `line` is the first one, from 1.

    What a person typed has no file: ("", 0).
    """

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Line:
    """A requirement that was taken.

    `text` is PEP 508 as the author wrote it, without comment, blanks and options; `name` is
    normalised as PEP 503 says; `note` tells what was mended.
    """

    text: str
    raw: str
    origin: Origin
    name: str
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Skipped:
    """A requirement that was not taken, and why.

    `kind` is stable: option, url, local-path, editable, git, torch, malformed, encoding,
    missing-file, environment-variable, include-loop, outside-node, too-large, too-deep, dynamic.
    `raw` is the author's text without the credentials in URLs, cut at 1,000 characters, and may
    hold control characters.
    """

    raw: str
    origin: Origin
    reason: str
    kind: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Declared:
    """`source` is the file that was the authority, "" where there is none."""

    lines: tuple[Line, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    source: str = ""
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "lines": [line.to_json() for line in self.lines],
            "skipped": [entry.to_json() for entry in self.skipped],
            "source": self.source,
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Policy:
    """What may be taken.

    `torch_family` (normalised names) belongs to ComfyUI: a node never decides its version or index.
    A node's bare `torch` asks for what ComfyUI brings anyway and is left out with a note; one with
    a specifier (a lower bound too), extras or a URL is skipped as kind "torch".  xformers is not in
    the family: it is no requirement of ComfyUI's, and where it moves torch the core gate says so.
    Empty for ComfyUI's own file.
    """

    torch_family: frozenset[str] = field(default=TORCH_FAMILY)
    allow_git: bool = False
    allow_urls: bool = False


def joined(parts: Iterable[Declared], source: str) -> Declared:
    """All parts as one, in order, duplicates merged."""
    parts = list(parts)
    return Declared(
        merge_duplicates([line for part in parts for line in part.lines]),
        tuple(entry for part in parts for entry in part.skipped),
        source,
        tuple(note for part in parts for note in part.notes),
    )


def merge_duplicates(lines: Sequence[Line]) -> tuple[Line, ...]:
    """Collapse lines that mean the same; other specifiers or extras of a package stay (uv takes
    both)."""
    from packaging.requirements import Requirement

    same: dict[Requirement, list[Line]] = {}
    for line in lines:
        same.setdefault(Requirement(line.text), []).append(line)
    return tuple(_merged(first, others) for first, *others in same.values())


def _merged(first: Line, others: Sequence[Line]) -> Line:
    if not others:
        return first
    times = "twice" if len(others) == 1 else f"{len(others) + 1} times"
    places = ", ".join(_place(first.origin, other.origin) for other in others)
    note = f"declared {times}, also {places}"
    return replace(first, note=f"{first.note}; {note}" if first.note else note)


def _place(seen_from: Origin, origin: Origin) -> str:
    return f"line {origin.line}" if origin.file == seen_from.file else str(origin)
