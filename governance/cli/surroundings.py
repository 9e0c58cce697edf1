"""What every command stands on: a current folder, and names that our files can hold."""

from __future__ import annotations

import os
from collections.abc import Sequence

from governance.base.errors import UsageError


def check(argv: Sequence[str]) -> None:
    """Raises UsageError for a current folder that is gone, or a name that is not UTF-8.

    TOML and JSON, in which the truth is written, hold Unicode alone.  What follows `--` is
    another program's.
    """
    try:
        folder = os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        raise UsageError(
            "the current folder was deleted",
            hint='change to another one: cd "$HOME"',
            code="no_folder",
        ) from None
    named = list(argv)[: argv.index("--")] if "--" in argv else list(argv)
    for text in (folder, *named, os.environ.get("GOV_ROOT", "")):
        if not _is_unicode(text):
            raise UsageError(
                f"a name is not UTF-8: {text!a}",
                hint="rename that folder, for example: mv OLD NEW",
                code="not_utf8",
            )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
