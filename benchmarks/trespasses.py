"""How many ways to prod are open: `python benchmarks/trespasses.py` prints the table of docs/07.

Each trespass of tests/sandbox/trespasses.py is tried without the fence and behind each of its
variants, as this user and, where that is root, as an ordinary one.  The reach of a strict fence
(secrets, memory, sockets, kernel calls, network, limits) is what tests/sandbox/test_strict.py and
test_network.py try.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "tests")]

from sandbox import conftest, test_fence  # noqa: E402

from governance import sandbox  # noqa: E402


def main() -> None:
    print("| who | behind | tried | worked | what worked |\n|---|---|---|---|---|")
    for who, person in people():
        top = Path(tempfile.mkdtemp(prefix="gov-trespasses-"))
        top.chmod(0o755)
        try:
            for variant in ("none", *test_fence.VARIANTS):
                print(row(who, person, top, variant), flush=True)
        finally:
            shutil.rmtree(top)


def row(who: str, person: Any, top: Path, variant: str) -> str:
    folder = top / variant
    folder.mkdir()
    field = test_fence.Field(person, folder, variant)
    worked = sorted(name for name, error in field.results.items() if error is None)
    named = f"{len(worked)} of them" if variant == "none" else ", ".join(worked) or "none"
    return f"| {who} | {variant} | {len(field.results)} | {len(worked)} | {named} |"


def people() -> Iterator[tuple[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        own = sandbox.probe(Path(name))
        yield "root" if os.geteuid() == 0 else "a user", conftest.Person(None, sys.executable, own)
    python = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")
    if os.geteuid() == 0 and python:
        folder = tempfile.mkdtemp()
        support = conftest.probe_as(conftest.NOBODY, python, folder)
        shutil.rmtree(folder)
        yield "a user", conftest.Person(conftest.NOBODY, python, support)


if __name__ == "__main__":
    main()
