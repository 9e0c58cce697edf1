"""How gov was called, so that the commands in hints can be pasted.

The launchers leave it in GOV_CALLED_AS.  Only what people read is rewritten: in JSON a command
always begins with `gov`, so that scripts need not know from where they called it.
"""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from pathlib import Path

VARIABLE = "GOV_CALLED_AS"
_PLAIN = "gov"


def name() -> str:
    """`gov` where that is found on PATH or nothing better is known, else the path as typed."""
    typed = os.environ.get(VARIABLE) or _of_script()
    if "/" not in typed:
        return _PLAIN
    import shlex
    import shutil

    found = shutil.which(_PLAIN)
    is_found = found is not None and Path(found) == Path(typed)
    return _PLAIN if is_found else shlex.quote(typed)


def _of_script() -> str:
    """The console script that pip makes has no launcher."""
    return sys.argv[0] if Path(sys.argv[0]).name == _PLAIN else ""


def in_hint(text: str) -> str:
    """A sentence: commands stand in backticks."""
    return _rewritten(text, _quoted())


def in_line(text: str) -> str:
    """A line of an answer: a command may also stand at its beginning, or after `next: `."""
    return _rewritten(text, _bare())


def _rewritten(text: str, pattern: re.Pattern[str]) -> str:
    if f"{_PLAIN} " not in text:
        return text
    called = name()
    if called == _PLAIN:
        return text
    return pattern.sub(lambda found: f"{found['indent'] or ''}{called}", text)


@cache
def _quoted() -> re.Pattern[str]:
    return re.compile(r"(?<=`)(?P<indent>)gov(?= )")


@cache
def _bare() -> re.Pattern[str]:
    """Before a verb only: prose speaks of gov as well."""
    from governance.cli import parser

    verbs = "|".join(sorted({verb.words.split()[0] for verb in parser.VERBS}))
    before = r"(?:(?<=`)|(?<=: )|(?<=, or )|(?<= and )|(?:(?<=\n)|^)(?P<indent> *))"
    return re.compile(rf"{before}gov(?= (?:--[a-z]|(?:{verbs})\b))")
