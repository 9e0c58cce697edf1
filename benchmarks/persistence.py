"""What a removed node leaves behind and runs again: `python benchmarks/persistence.py`.

It prints the table of docs/07, which takes about ten minutes.

Each attempt of tests/sandbox/remnants.py is made by a plain process, by a node that is observed and
given up, by one that is promoted (with all writes, with data alone), and by the build of a package
that a node asks for; then the node is removed and an operator goes on working
(tests/sandbox/persistence.py).  Nothing outside one scratch folder is touched: root gets a
/var/spool of its own.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "tests")]

from sandbox import persistence  # noqa: E402

SPOOL = "/var/spool/cron/crontabs/root"
OWN_SPOOL = f'mount -t tmpfs tmpfs /var/spool && mkdir -p {Path(SPOOL).parent} && exec "$@"'


def main() -> None:
    if os.geteuid() == 0 and persistence.SPOOL_VARIABLE not in os.environ:
        os.environ[persistence.SPOOL_VARIABLE] = SPOOL
        again = [sys.executable, *sys.argv]
        os.execvp("unshare", ["unshare", "--mount", "sh", "-c", OWN_SPOOL, "sh", *again])
    kinds = persistence.KINDS
    found = {how: outcomes(how) for how in kinds}
    print("|", " | ".join(["attempt", "without a fence", *kinds[1:]]), "|")
    print("|---" * (len(kinds) + 1) + "|")
    for name in persistence.NAMES:
        cells = [str(found[how][name]) for how in kinds[1:]]
        bare = control(found[persistence.PLAIN][name])
        print("|", " | ".join([name.replace("_", " "), bare, *cells]), "|")
    for how in kinds:
        survived = [one.name for one in found[how].values() if one.survived]
        print(f"{how}: {len(survived)} of {len(found[how])} survived", file=sys.stderr)


def outcomes(how: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for names in persistence.parts(how):
        place = persistence.Place(Path(tempfile.mkdtemp(prefix="gov-persistence-")))
        try:
            found |= place.outcomes(how, names)
        finally:
            place.remove()
        print(f"{how}: {len(found)} attempts", file=sys.stderr, flush=True)
    return found


def control(one: Any) -> str:
    """Of an attempt that nothing hinders."""
    if one.ran:
        return f"runs again ({one.ran})"
    if one.at_once:
        return "runs where it lies, not after the removal"
    return f"cannot: {one.error}" if one.error else f"does not: {one}"


if __name__ == "__main__":
    main()
