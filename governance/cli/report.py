"""Tell an outcome: lines and tables for people, or one JSON document for scripts."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from governance.base import names
from governance.base.errors import GovError
from governance.base.progress import Live, Words, silent
from governance.cli import called, parser
from governance.cli.outcome import Outcome, Table

if TYPE_CHECKING:
    from governance.changes.session import Session
    from governance.truth.workspace import Workspace

SCHEMA = "gov/1"
_LINE = "governance.cli.progress"
_STYLES = {"bad": "bold red", "core": "bold yellow", "good": "green", "dim": "dim"}


def tell(argv: list[str], arguments: Any, outcome: Outcome) -> int:
    """Print and return the exit code."""
    if _LINE in sys.modules:  # nothing has moved where nobody asked for it
        sys.modules[_LINE].LINE.rest()
    if parser.wants_json(argv):
        _tell_json(parser.words_of(argv) if arguments is None else arguments.words, outcome)
    else:
        _tell_people(outcome, verbose=bool(getattr(arguments, "verbose", False)))
    return outcome.exit_code


def _tell_json(command: str, outcome: Outcome) -> None:
    import json

    error = outcome.error
    document = {
        "schema": SCHEMA,
        "command": command,
        "ok": outcome.exit_code == 0,
        "exit_code": outcome.exit_code,
        "data": outcome.data,
        "warnings": list(outcome.warnings),
        "error": None if error is None else _error(error),
    }
    text = json.dumps(document, indent=2, ensure_ascii=False, default=str)
    sys.stdout.write((text if text.isascii() else _escaped_json(text)) + "\n")


def _escaped_json(text: str) -> str:
    """JSON escapes the oldest control characters; a terminal obeys newer ones, too."""
    import json

    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def _error(error: GovError) -> dict[str, Any]:
    return {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "facts": error.facts,
    }


def _tell_people(outcome: Outcome, *, verbose: bool) -> None:
    for part in outcome.parts:
        _show(part)
    sys.stdout.flush()
    for warning in _untold(outcome):
        _problem("warning", warning)
    error = outcome.error
    if error is not None:
        _problem("error", error.message)
        _problem("hint", error.hint)
        if verbose and "log" in error.facts:
            sys.stderr.write(printable(str(error.facts["log"])) + "\n")


def _untold(outcome: Outcome) -> list[str]:
    """Each warning once: most of them stand where they belong in what was told."""
    told = {part.strip() for part in outcome.parts if isinstance(part, str)}
    return [text for text in outcome.warnings if f"warning: {text}" not in told]


def _show(part: str | Table) -> None:
    if isinstance(part, Table):
        _show_rich(part) if sys.stdout.isatty() else _show_plain(part)
    else:
        sys.stdout.write(called.in_line(printable(part)) + "\n")


def _show_plain(table: Table) -> None:
    """Columns by blanks, so that grep and awk can read them."""
    if table.title:
        sys.stdout.write(f"{table.title}\n")
    rows = [[printable(cell) for cell in row] for row in (table.columns, *table.rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.columns))]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(f"  {line.rstrip()}\n")


def _show_rich(table: Table) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table as Grid

    grid = Grid(title=table.title or None, title_justify="left", box=box.SIMPLE_HEAD)
    for number, column in enumerate(table.columns):
        _add_column(grid, column, [str(row[number]) for row in table.rows])
    for number, row in enumerate(table.rows):
        style = _STYLES.get(table.marks.get(number, ""))
        grid.add_row(*(escape(printable(cell)) for cell in row), style=style)
    Console(highlight=False).print(grid)


def _add_column(grid: Any, column: str, cells: list[str]) -> None:
    """An id is copied to the next command: it stays whole, whatever else has to fold."""
    if any(map(names.is_id, cells)):
        longest = max(map(len, cells))
        grid.add_column(column, overflow="ignore", no_wrap=True, min_width=longest)
    else:
        grid.add_column(column, overflow="fold")


def _problem(word: str, text: str) -> None:
    """One line, in colour on a terminal; what others wrote cannot steer it."""
    line = called.in_hint(" ".join(printable(text).split("\n")))
    colour = {"error": "31", "warning": "33", "hint": "36"}[word]
    if sys.stderr.isatty():
        sys.stderr.write(f"\x1b[{colour}m{word}:\x1b[0m {line}\n")
    else:
        sys.stderr.write(f"{word}: {line}\n")


def printable(text: str) -> str:
    """Control characters shown, not obeyed; line ends stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()


class Voice:
    """Tells a long command's progress on stderr.  What ComfyUI itself says is folded unless it is
    `verbose`: the logs have it."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self._quiet = quiet
        self.live: Live = self._echo if verbose and not quiet else silent

    def session(self, space: Workspace) -> Session:
        """What a decision or a question works with, told with this voice."""
        from governance.changes.session import open_session

        return open_session(space, self.say, self.live, self.during)

    def say(self, text: str) -> None:
        if not self._quiet:
            mark = "\x1b[2m·\x1b[0m" if sys.stderr.isatty() else "·"
            self._write(f"{mark} {called.in_hint(printable(text))}\n")

    def during(self, words: Words) -> AbstractContextManager[object]:
        if self._quiet:
            return nullcontext()
        from governance.cli import progress

        return progress.LINE.during(lambda: " ".join(printable(words()).split()))

    def _echo(self, stream: str, text: str) -> None:
        """A line of the observed program; it was made safe for a terminal already."""
        self._write(f"  | {text}\n")

    def _write(self, text: str) -> None:
        from governance.cli import progress

        with progress.LINE.above():
            sys.stderr.write(text)
            sys.stderr.flush()
