"""How long the verbs of an installation with many nodes take.

    python benchmarks/day_two.py [--nodes 30] [--changes 1000] [--quick]

Every node is a git repository of its own with a commit that is promoted and a newer one; ratios
compare whole commands that are run in turn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from speed import BARE, GOV, Bench, Row

from governance.sample import world

_NODE = "class {0}: pass\nNODE_CLASS_MAPPINGS = {{'{0}': {0}}}\n"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=30)
    parser.add_argument("--changes", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gov-bench-") as name:
        bench = DayTwo(Path(name), 5 if told.quick else 15, told.nodes)
        rows = bench.updates() + bench.going_back() + bench.questions(told.changes)
    print(f"\n{'ratio, or seconds where it says so':<66} {'found':>6}     limit")
    for row in rows:
        print(row.line())
    return 0


class DayTwo(Bench):
    """A workspace whose nodes are all promoted, and have all been updated by their authors."""

    def __init__(self, folder: Path, runs: int, nodes: int) -> None:
        super().__init__(folder, runs)
        self.nodes = [f"node-{number:02}" for number in range(nodes)]
        for name in self.nodes:
            self.write(name, 1)
            self.gov("node", "add", str(folder / "repos" / name))
        txid = self.gov("tx", "run", *self.nodes)["txid"]
        self.gov("tx", "promote", txid)
        for name in self.nodes:
            self.write(name, 2)

    def write(self, name: str, version: int) -> None:
        files = {f"part{n:02}.py": f"version = {version}\n" for n in range(20)}
        files["__init__.py"] = _NODE.format(name.replace("-", "_")) + f"version = {version}\n"
        files["requirements.txt"] = "cowsay\n" if version == 1 else "cowsay\nhumanize\n"
        world.write_node(self.folder / "repos", name, files)

    def taken(self, *words: str) -> tuple[float, dict]:
        started = time.perf_counter()
        data = self.gov(*words)
        return time.perf_counter() - started, data

    def updates(self) -> list[Row]:
        repositories = [self.folder / "repos" / name for name in self.nodes]
        one_by_one = sum(self.once(["git", "ls-remote", str(path)]) for path in repositories)
        asked, _ = self.taken("outdated")
        updated, data = self.taken("node", "update", "--all")
        promoted, _ = self.taken("tx", "promote", data["txid"])
        count = len(self.nodes)
        print(f"node update --all: {updated:.1f} s, tx promote: {promoted:.1f} s, {count} nodes")
        what = f"outdated of {count} nodes / git ls-remote of each, one after the other"
        return [Row(what, asked / one_by_one, 5)]

    def going_back(self) -> list[Row]:
        """Code and packages, there and back, beside the check of prod's files."""
        snapshots = self.gov("snapshot", "list")["snapshots"]
        own = []
        for target in (snapshots[-2]["id"], snapshots[-1]["id"]) * 3:
            seconds, done = self.taken("rollback", target)
            own.append(seconds - done["file_check_seconds"])
        what = f"rollback of {len(self.nodes)} nodes and packages, seconds, file check apart"
        return [Row(what, statistics.median(own), 2)]

    def questions(self, changes: int) -> list[Row]:
        line = self.space.history.read_text().splitlines()[-1]
        row = json.loads(line)
        with self.space.history.open("a") as stream:
            for number in range(changes):
                row["id"] = f"20260101T000000Z-{number:08x}"
                stream.write(json.dumps(row) + "\n")
        listed, told, bare = self.medians([*GOV, "node", "list"], [*GOV, "history"], BARE)
        return [
            Row(f"node list of {len(self.nodes)} nodes / python -c pass", listed / bare, 5),
            Row(f"history of {changes:,} changes / python -c pass", told / bare, 5),
        ]


if __name__ == "__main__":
    sys.exit(main())
