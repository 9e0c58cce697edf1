"""`bin/doit`: doit over the dodo.py of the workspace, with the exit codes of gov."""

from __future__ import annotations

import sys
from pathlib import Path

# Run by path, Python puts this folder first, and `-m` the current one: neither may shadow a module.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from doit.doit_cmd import DoitMain  # noqa: E402

from governance.errors import EXIT_INTERRUPTED, EXIT_USAGE, GovError  # noqa: E402
from tasks.context import current  # noqa: E402


def main(argv: list[str]) -> int:
    """doit with the workspace's own dodo.py, from any current folder."""
    try:
        root = current().workspace.root
    except GovError as error:
        return _told(error)
    own = ["-f", str(root / "dodo.py"), "-d", str(root)]
    try:
        code = DoitMain(config_filenames=()).run(_with_options(argv, own))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return EXIT_INTERRUPTED
    failed = current().error
    if failed is not None:
        return _told(failed)
    return EXIT_USAGE if code == 3 else int(code or 0)


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
