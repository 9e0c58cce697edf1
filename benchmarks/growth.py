"""What the verbs cost in a workspace that has grown: `python benchmarks/growth.py [--quick]`.

Two worlds side by side: ten nodes, snapshots and transactions and two environments; and 200 nodes
in prod, 1,000 snapshots, 10,000 transactions, 60 environments.  Whole commands, run in turn.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from speed import GOV, Bench, Row

from governance.boundaries import store
from governance.code import repository
from governance.environments import generations
from governance.sample import world
from governance.truth import snapshots

_NODE = "class {0}: pass\nNODE_CLASS_MAPPINGS = {{'{0}': {0}}}\n"
SMALL = {"nodes": 10, "snapshots": 10, "transactions": 10, "generations": 2}
LARGE = {"nodes": 200, "snapshots": 1000, "transactions": 10_000, "generations": 60}
VERBS = (["status"], ["node", "list"], ["history"], ["snapshot", "list"], ["clean", "--dry-run"])


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    runs = 5 if parser.parse_args().quick else 15
    with tempfile.TemporaryDirectory(prefix="gov-bench-") as name:
        worlds = [Grown(Path(name) / word, runs, size) for word, size in
                  (("small", SMALL), ("large", LARGE))]  # fmt: skip
        left_alone(worlds)
        rows = [compared(worlds, verb) for verb in VERBS]
        rows.append(rolled_back(worlds))
    print(f"\n{'seconds in the large world / in the small one':<66} {'found':>6}     limit")
    for row in rows:
        print(row.line())
    return 0


class Grown(Bench):
    def __init__(self, folder: Path, runs: int, size: dict[str, int]) -> None:
        folder.mkdir()
        super().__init__(folder, runs)
        names = [f"node-{number:03}" for number in range(size["nodes"])]
        for name in names:
            files = {"__init__.py": _NODE.format(name.replace("-", "_"))}
            path = world.write_node(
                folder / "repos", name, files | {"requirements.txt": "cowsay\n"}
            )
            self.gov("node", "add", str(path))
        self.gov("tx", "promote", self.gov("tx", "run", *names)["txid"])
        self.fill(size["transactions"])
        self.more_generations(size["generations"])
        self.more_snapshots(size["snapshots"] - len(snapshots.index(self.space)))
        self.last = generations.current(self.space)
        self.newest = snapshots.index(self.space)[-1]["id"]

    def more_snapshots(self, count: int) -> None:
        truth, own = snapshots.truth(self.space), generations.current(self.space)
        how = {"reason": "promote_post", "generation": own, "ref": None}
        made = [snapshots.write(self.space, truth, **how) for _ in range(max(0, count))]
        store.write(self.space.snapshots_index, snapshots.indexed(self.space, *made))

    def more_generations(self, count: int) -> None:
        own = generations.current(self.space)
        for number in range(count - len(generations.names(self.space))):
            name = f"{own[:-4]}{number:04x}"
            for path in (generations.path, generations.papers):
                source, target = path(self.space, own), path(self.space, name)
                subprocess.run(["cp", "-al", source, target], check=True)
            manifest = generations.papers(self.space, name) / generations.MANIFEST
            text = manifest.read_text()
            manifest.unlink()
            manifest.write_text(text.replace(own, name))


def left_alone(worlds: list[Grown]) -> None:
    """What was written a moment ago is read each time: nodes are, as a rule, older than that."""
    time.sleep(repository._LEFT_ALONE + 5)
    for one in worlds:
        one.gov("rollback", one.newest)


def compared(worlds: list[Grown], verb: list[str]) -> Row:
    small, large = in_turn(worlds, lambda one: one.once([*GOV, *verb]))
    return Row(f"gov {' '.join(verb)} ({small:.2f} s, {large:.2f} s)", large / small, 2)


def in_turn(worlds: list[Grown], act: Callable[[Grown], float]) -> list[float]:
    for one in worlds:
        act(one)
    found = [[act(one) for one in worlds] for _ in range(worlds[0].runs)]
    return [sorted(column)[len(column) // 2] for column in zip(*found, strict=True)]


def rolled_back(worlds: list[Grown]) -> Row:
    """To the snapshot before the nodes and back, file check apart."""

    def act(one: Grown) -> float:
        listed = snapshots.index(one.space)
        target = listed[0]["id"] if one.space.generation == one.last else one.newest
        started = time.perf_counter()
        done = one.gov("rollback", target, "--packages-only")
        return time.perf_counter() - started - done["file_check_seconds"]

    small, large = in_turn(worlds, act)
    return Row(f"gov rollback ({small:.2f} s, {large:.2f} s)", large / small, 2)


if __name__ == "__main__":
    sys.exit(main())
