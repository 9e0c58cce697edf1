"""`bin/doit`: doit over the dodo.py of the workspace, with the exit codes of gov."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TextIO

# Run by path, Python puts this folder first, and `-m` the current one: neither may shadow a module.
# Isolated (-I, as the launchers start it) it puts none.
sys.path[: not sys.flags.safe_path] = [str(Path(__file__).resolve().parent.parent)]

from doit.doit_cmd import DoitMain  # noqa: E402

from governance.base.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_USAGE, GovError, UsageError  # noqa: E402
from tasks.context import current  # noqa: E402


class _Doit(DoitMain):  # type: ignore[misc]
    BIN_NAME = "bin/doit"  # in its help; else it names this file


def main(argv: list[str]) -> int:
    """doit with the workspace's own dodo.py, from any current folder."""
    try:
        root = current().workspace.root
    except GovError as error:
        return _told(error)
    own = ["-f", str(root / "dodo.py"), "-d", str(root)]
    heard = _Heard(sys.stderr)
    try:
        with contextlib.redirect_stderr(heard):  # type: ignore[type-var]
            code = _Doit(config_filenames=()).run(_with_options(argv, own))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return EXIT_INTERRUPTED
    failed = current().error or heard.complaint() or _ended_badly()
    if failed is not None:
        return _told(failed)
    # doit's own codes: 2 is an error nobody foresaw, 3 a graph that did not start.
    return {2: EXIT_BUG, 3: EXIT_USAGE}.get(int(code or 0), int(code or 0))


class _Heard:
    """stderr, less doit's own complaint of a command line: that is told as ours are."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._said = ""

    def write(self, text: str) -> int:
        if not text.startswith("ERROR: "):
            return self._stream.write(text)
        self._said = text.removeprefix("ERROR: ")
        return len(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def complaint(self) -> GovError | None:
        # What follows is a list of doit's own objects, or a second line.
        said = self._said.partition(" (parsing options")[0].partition("\n")[0]
        if not said:
            return None
        return UsageError(
            f"doit: {said}",
            hint="`bin/doit list --all` shows the tasks that there are now, "
            "`bin/doit help <task>` the options of one",
        )


def _ended_badly() -> GovError | None:
    """A run that came to no good is a finished task, and still no success."""
    from governance.truth.documents import Transaction

    for result in current().results.values():
        tx = result[0] if isinstance(result, tuple) else result
        if isinstance(tx, Transaction):
            from governance.changes import plan

            return plan.error_of(tx)
    return None


_COMMANDS = frozenset({cmd.get_name() for cmd in DoitMain.DOIT_CMDS})


def _with_options(argv: list[str], own: list[str]) -> list[str]:
    """doit takes -f and -d after the command's name; `help` takes neither."""
    if argv and argv[0] in _COMMANDS:
        return argv if argv[0] in ("help", "tabcompletion") else [argv[0], *own, *argv[1:]]
    if argv and argv[0] in ("--version", "--help"):
        return argv
    return ["run", *own, *argv]


def _told(error: GovError) -> int:
    sys.stderr.write(f"error: {error.message}\nhint: {error.hint}\n")
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
