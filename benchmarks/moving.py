"""How long export and import take, beside git's own copying.

    python benchmarks/moving.py [--nodes 30] [--quick]

Every node is a git repository of its own.  Git's own copying is a `git clone` of each, one after
the other, and what an import takes anyway (the observation, the environment) is measured apart: a
second import of the same bundle finds all code and the environment there.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from day_two import DayTwo
from speed import Row

from governance.bundle import incoming
from governance.changes.session import open_session
from governance.truth.workspace import Workspace


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=30)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gov-bench-") as name:
        bench = Moving(Path(name), 3 if told.quick else 7, told.nodes)
        rows = bench.export() + bench.imports()
    print(f"\n{'seconds':<66} {'found':>6}     limit")
    for row in rows:
        print(row.line())
    return 0


class Moving(DayTwo):
    """One workspace that leaves, and fresh ones that it comes to."""

    @property
    def file(self) -> Path:
        return self.folder / "x.gov.tar"

    def copying(self) -> float:
        """Seconds that git takes to clone every node."""
        target = self.folder / "copies"
        started = time.perf_counter()
        for name in self.nodes:
            source = self.folder / "repos" / name
            subprocess.run(["git", "clone", "-q", source, target / name], check=True)
        seconds = time.perf_counter() - started
        shutil.rmtree(target)
        return seconds

    def export(self) -> list[Row]:
        own = []
        for _ in range(self.runs):
            self.file.unlink(missing_ok=True)
            copying = self.copying()
            seconds, _ = self.taken("export", str(self.file), "--with-code")
            own.append(seconds - copying)
            print(f"export {seconds:.2f} s, git's copying {copying:.2f} s")
        what = f"export of {len(self.nodes)} nodes with code, less git's copying"
        return [Row(what, statistics.median(own), 2)]

    def imports(self) -> list[Row]:
        """Until the transaction begins: from there it is the road of every change."""
        own = []
        for number in range(self.runs):
            space = self.fresh(number)
            copying = self.copying()
            session = open_session(space)
            wish = incoming.Wish(index=str(self.folder / "wheels"))
            started = time.perf_counter()
            incoming.begun(session, self.file, wish)
            seconds = time.perf_counter() - started
            own.append(seconds - copying)
            print(f"import {seconds:.2f} s, git's copying {copying:.2f} s")
        what = f"import of {len(self.nodes)} nodes until it is observed, less git's copying"
        return [Row(what, statistics.median(own), 2)]

    def fresh(self, number: int) -> Workspace:
        folder = self.folder / f"second-{number}"
        shutil.copytree(self.folder / "ComfyUI", folder / "ComfyUI", ignore=_nodes)
        shutil.rmtree(folder / "ComfyUI/.git", ignore_errors=True)
        subprocess.run(
            ["git", "clone", "-q", "--bare", self.folder / "ComfyUI", folder / "ComfyUI/.git"],
            check=True,
        )
        subprocess.run(
            ["git", "-C", folder / "ComfyUI", "config", "core.bare", "false"], check=True
        )
        subprocess.run(["git", "-C", folder / "ComfyUI", "reset", "-q"], check=True)
        words = ["init", str(folder / "env"), "--comfyui-dir", str(folder / "ComfyUI")]
        self.gov(*words, "--index", str(self.folder / "wheels"), "--resolution-date", "none")
        return Workspace((folder / "env").resolve())


def _nodes(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith("node-")]


if __name__ == "__main__":
    sys.exit(main())
