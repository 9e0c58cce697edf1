"""`python -m governance`, or this file run by its path, as the launchers do."""

import sys
from pathlib import Path

# Run by path, Python puts this folder first, and `-m` the current one: neither may shadow a module.
# Isolated (-I, as the launchers start it) it puts none.
sys.path[: not sys.flags.safe_path] = [str(Path(__file__).resolve().parent.parent)]

from governance.cli.main import run  # noqa: E402

if __name__ == "__main__":
    run()
