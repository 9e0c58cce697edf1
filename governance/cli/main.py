"""`gov`: one document or a few lines on stdout, problems on stderr, an exit code that means it."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from governance.base.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_TERMINATED, GovError
from governance.cli.outcome import Outcome

if TYPE_CHECKING:
    from argparse import Namespace
    from pathlib import Path


class Terminated(KeyboardInterrupt):
    """SIGTERM, unwound like Ctrl-C so that every child is ended and nothing is half done."""


def run() -> None:
    """The entry point of the console script."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name of other bytes than Unicode's is shown by its number, never a reason to fail.
        sys.stdout.reconfigure(errors="backslashreplace")
    code = main(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has gone (`gov ... | head`); Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def main(argv: list[str]) -> int:
    """Parse, act, tell; returns the exit code of the contract and never raises."""
    signal.signal(signal.SIGTERM, _terminate)
    arguments: Namespace | None = None
    try:
        from governance.cli import parser, surroundings

        surroundings.check(argv)
        arguments = parser.parse(argv)
        outcome = _act(arguments)
    except Exception as error:  # everything that is not ours is a bug of ours
        return _tell(argv, arguments, _as_failure(error, arguments))
    except Terminated:
        return _interrupted(argv, arguments, EXIT_TERMINATED, "terminated")
    except KeyboardInterrupt:
        return _interrupted(argv, arguments, EXIT_INTERRUPTED, "interrupted")
    return _tell(argv, arguments, outcome)


def _act(arguments: Namespace) -> Outcome:
    from governance.cli import verbs

    if getattr(arguments, "no_network", False):
        from governance.boundaries import uv_offline

        os.environ[uv_offline.VARIABLE] = "1"  # uv's own word for it, in every call below
    act: Callable[[Namespace], Outcome] = getattr(verbs, arguments.act)
    return act(arguments)


def _tell(argv: list[str], arguments: Any, outcome: Outcome) -> int:
    from governance.cli import report

    try:
        return report.tell(argv, arguments, outcome)
    except BrokenPipeError:
        return outcome.exit_code


def _as_failure(error: Exception, arguments: Namespace | None) -> Outcome:
    if isinstance(error, GovError):
        return Outcome(None, (), _all_of(error), error.exit_code, error)
    if isinstance(error, OSError):
        from governance.boundaries import store

        ours = store.machine_error(error)
        if ours is not None:
            return Outcome(None, exit_code=ours.exit_code, error=ours)
    return Outcome(None, exit_code=EXIT_BUG, error=_bug(error, getattr(arguments, "root", None)))


def _all_of(error: GovError) -> list[str]:
    """One line each, where the error's own line names the first of several."""
    rows = error.facts.get("incompatible", [])
    return [str(row["sentence"]) for row in rows] if len(rows) > 1 else []


def _bug(error: Exception, root: Path | None) -> GovError:
    from governance.cli import bugs

    path = bugs.write(error, root)
    return GovError(
        f"a bug in gov: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
        hint=f"please report it with {path}" if path else "please report it; run it with -v",
        code="bug",
        facts={"log": str(path) if path else None},
    )


def _interrupted(argv: list[str], arguments: Any, code: int, word: str) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    error = GovError(
        f"{word}; truth and prod are as they were", hint="run the command again", code=word
    )
    return _tell(argv, arguments, Outcome(None, exit_code=code, error=error))


def _terminate(number: int, frame: Any) -> None:
    raise Terminated
