"""The documents as their readers see them: blocks, inline code, links."""

import re
from pathlib import Path
from typing import NamedTuple

from governance.cli import parser

CHECKOUT = Path(__file__).parents[2]
DOCS = CHECKOUT / "docs"
PAGES = (*sorted(CHECKOUT.glob("README*.md")), *sorted(DOCS.glob("*.md")))

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_STARTS = re.compile(r"(\S*bin/)?gov \S|\S*bin/(doit|test|setup|python) \S")
_PLACEHOLDER = re.compile(r"<[^>]+>")


class Command(NamedTuple):
    """What a reader is told to type, and where."""

    page: str
    line: str

    @property
    def text(self) -> str:
        """Placeholders filled in, and without what belongs to the shell."""
        return _PLACEHOLDER.sub("X", self.line).split(" > ")[0]


def prose(page):
    """The text without its code blocks."""
    return _BLOCK.sub("", page.read_text())


def inline(page):
    return _INLINE.findall(prose(page))


def links(page):
    return _LINK.findall(prose(page))


def anchors(page):
    """As GitHub makes them of headings."""
    heads = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def commands():
    """Lines of bash blocks, prompts of console blocks, and inline code that starts gov or doit,
    unless it is the bare name of a verb."""
    names = {f"gov {verb.words}" for verb in parser.VERBS}
    for page in PAGES:
        for language, body in _BLOCK.findall(page.read_text()):
            for line in body.splitlines():
                if language == "bash" and line.strip():
                    yield Command(page.name, line)
                elif language == "console" and line.startswith("$ "):
                    yield Command(page.name, line[2:])
        for text in inline(page):
            if _STARTS.match(text) and text not in names:
                yield Command(page.name, text)
