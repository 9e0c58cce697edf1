"""How long the verbs take, as ratios measured side by side in one run.

    python benchmarks/speed.py [--quick]

Every row compares whole commands, run in turn (A B A B ...), by their median wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from governance.boundaries import config, uv  # noqa: E402
from governance.environments import generations  # noqa: E402
from governance.sample import packages, wheels, world  # noqa: E402
from governance.truth import ledger  # noqa: E402
from governance.truth.documents import Transaction  # noqa: E402
from governance.truth.workspace import Workspace  # noqa: E402

PYTHON = sys.executable
GOV = [PYTHON, str(ROOT / "governance/__main__.py")]
BARE = [PYTHON, "-c", "pass"]
IMPORT_DOIT = [PYTHON, "-c", "import doit.doit_cmd"]
BIG_FILES = 25_000
_EXTRAS: list[list[str]] = [[], ["cowsay"], ["humanize"]]
_BIG_NODE = "class Big: pass\nNODE_CLASS_MAPPINGS = {'Big': Big}\n"


@dataclass(order=True)
class Row:
    """Ordered by what was measured."""

    what: str = field(compare=False)
    measured: float
    limit: float

    def line(self) -> str:
        verdict = "ok" if self.measured <= self.limit else "OVER"
        return f"{self.what:<66} {self.measured:6.2f}  <= {self.limit:<5g} {verdict}"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    quick = parser.parse_args().quick
    runs = 5 if quick else 15
    with tempfile.TemporaryDirectory(prefix="gov-bench-") as name:
        bench = Bench(Path(name), runs)
        rows = bench.questions() + bench.graph() + bench.transactions() + bench.rollback()
        rows += bench.switch()
    print(f"\n{'ratio, or seconds where it says so':<66} {'found':>6}     limit")
    for row in rows:
        print(row.line())
    return 0


class Bench:
    """One world with a workspace, and what is measured in it."""

    def __init__(self, folder: Path, runs: int) -> None:
        self.folder = folder
        self.runs = runs
        self.environ = {**os.environ, "HOME": str(folder), "GOV_ROOT": str(folder / "env")}
        packages.write_packages(folder / "wheels")
        big = {f"big/m{n // 100:03}/f{n:05}.py": f"x = {n}\n" for n in range(BIG_FILES)}
        wheels.build(wheels.Wheel("big", "1.0", modules=big), folder / "wheels")
        world.write_comfyui(folder / "ComfyUI")
        self.gov(
            "init",
            str(folder / "env"),
            "--comfyui-dir",
            str(folder / "ComfyUI"),
            "--index",
            str(folder / "wheels"),
            "--resolution-date",
            "none",
        )
        self.space = Workspace((folder / "env").resolve())
        self.settings()

    def settings(self) -> None:
        text = config.template(
            comfyui_dir=str(self.folder / "ComfyUI"),
            tx__smoke_test_cmd="true",
            tx__settle_seconds=0.01,
            storage__snapshots_keep=5000,
        )
        (self.folder / "env/config.toml").write_text(text)

    # --- measuring ----------------------------------------------------------------------------

    def gov(self, *words: str) -> dict:
        done = subprocess.run(
            [*GOV, *words, "--json", "-q"],
            env=self.environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        document = json.loads(done.stdout)
        if not document["ok"]:
            raise SystemExit(f"gov {' '.join(words)}: {document['error']}")
        return document["data"]

    def once(self, command: list[str]) -> float:
        started = time.perf_counter()
        subprocess.run(
            command,
            env=self.environ,
            cwd=self.folder,
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return time.perf_counter() - started

    def medians(self, *commands: list[str]) -> list[float]:
        for command in commands:
            self.once(command)
        times = [[self.once(command) for command in commands] for _ in range(self.runs)]
        return [statistics.median(column) for column in zip(*times, strict=True)]

    # --- rows ---------------------------------------------------------------------------------

    def questions(self) -> list[Row]:
        status = [*GOV, "status"]
        helped, asked, bare = self.medians([*GOV, "--help"], status, BARE)
        rows = [
            Row("gov --help / python -c pass", helped / bare, 5),
            Row("gov status / python -c pass", asked / bare, 5),
        ]
        self.fill(10)
        few = self.medians(status, BARE)
        self.fill(10_000)
        many = self.medians(status, BARE)
        rows.append(
            Row("gov status: 10,000 / 10 transactions", many[0] / many[1] / (few[0] / few[1]), 2)
        )
        shutil.rmtree(self.space.transactions)
        self.space.transactions.mkdir()
        ledger.rebuild(self.space)
        return rows

    def fill(self, number: int) -> None:
        """So many records that are over, written as gov writes them."""
        for n in range(number):
            txid = f"20260101T{n // 3600:02}{n // 60 % 60:02}{n % 60:02}Z-{n:08x}"
            tx = Transaction(txid=txid, node_id="node", status="promoted" if n % 9 else "aborted")
            (self.space.root / ledger.path(self.space, txid)).write_bytes(ledger.dump(tx))
        ledger.rebuild(self.space)

    def graph(self) -> list[Row]:
        doit = [PYTHON, str(ROOT / "tasks/__main__.py")]
        self.once(doit)
        nothing, bare = self.medians(doit, IMPORT_DOIT)
        return [Row("doit with nothing to do / import doit", nothing / bare, 1.5)]

    def transactions(self) -> list[Row]:
        """Three nodes, run and promoted one after the other; the median of each figure."""
        ran, promoted = zip(
            *(self.transaction(f"big-{n}", extra) for n, extra in enumerate(_EXTRAS)), strict=True
        )
        return [statistics.median_low(ran), statistics.median_low(promoted)]

    def transaction(self, name: str, extra: list[str]) -> tuple[Row, Row]:
        lines = ["big", *extra]
        files = {"__init__.py": _BIG_NODE, "requirements.txt": "\n".join(lines) + "\n"}
        self.gov("node", "add", str(world.write_node(self.folder / "repos", name, files)))
        bare_lock, bare_sync = self.bare(lines)
        os.sync()  # what the bare runs left to be written is not the next one's to wait for
        ran = self.gov("tx", "run", name)
        times = ran["observation"]["times"]
        status, doit = self.medians([*GOV, "status"], IMPORT_DOIT)
        started = time.perf_counter()
        self.gov("tx", "promote", ran["txid"])
        whole = time.perf_counter() - started
        waited = self.gov("tx", "inspect", ran["txid"])["promotion"]["times"]
        own = whole - waited["smoke"] - waited["file_check"]
        return (
            Row(
                f"tx run up to ComfyUI ({times['environment']:.2f} s) / bare lock + sync",
                (times["environment"] - times["file_check"]) / (bare_lock + bare_sync),
                1.3,
            ),
            Row(
                f"tx promote as observed, smoke {waited['smoke']:.2f} s and file check "
                f"{waited['file_check']:.2f} s apart",
                own / (doit + 4 * status),
                1,
            ),
        )

    def bare(self, more: list[str]) -> tuple[float, float]:
        """One bare `uv lock` and one bare `uv sync` of the same set, same link mode, warm."""
        folder = self.folder / "bare"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        text = self.space.pyproject.read_text()
        lines = ", ".join(f'"{line}"' for line in more)
        text = text.replace("[dependency-groups]", f"[dependency-groups]\nnode-x = [{lines}]")
        environ = {**self.environ, "UV_CACHE_DIR": str(self.space.uv_cache)}
        environ["UV_PROJECT_ENVIRONMENT"] = str(folder / "venv")
        mode = generations.link_mode(self.space)
        best = (1e9, 1e9)
        for _ in range(3):
            (folder / "pyproject.toml").write_text(text)
            (folder / "uv.lock").unlink(missing_ok=True)
            shutil.rmtree(folder / "venv", ignore_errors=True)
            shutil.copy(self.space.lock, folder)
            lock = self.timed(["lock"], folder, environ)
            sync = self.timed(["sync", "--locked", "--exact", "--link-mode", mode], folder, environ)
            best = min(best, (lock, sync), key=sum)
        return best

    def timed(self, words: list[str], folder: Path, environ: dict[str, str]) -> float:
        started = time.perf_counter()
        subprocess.run(
            [uv.executable(), *words, "--project", str(folder), "-q"], env=environ, check=True
        )
        return time.perf_counter() - started

    def rollback(self) -> list[Row]:
        snapshots = self.gov("snapshot", "list")["snapshots"]
        old, new = snapshots[0]["id"], snapshots[-1]["id"]
        status, doit = self.medians([*GOV, "status"], IMPORT_DOIT)
        wholes, checks = [], []
        for n in range(self.runs):
            target = new if n % 2 else old
            started = time.perf_counter()
            done = self.gov("rollback", target)
            if target == new:
                wholes.append(time.perf_counter() - started)
                checks.append(done["file_check_seconds"])
        own = statistics.median(wholes) - statistics.median(checks)
        return [
            Row(
                f"rollback to {BIG_FILES:,} files, file check {statistics.median(checks):.2f} s "
                "apart",
                own / (doit + 3 * status),
                1,
            )
        ]

    def switch(self) -> list[Row]:
        """A reader imports through the link all the while; a miss is a moment without prod."""
        reader = subprocess.Popen(
            [PYTHON, "-c", _READER, str(self.space.prod)], stdout=subprocess.PIPE, text=True
        )
        snapshots = self.gov("snapshot", "list")["snapshots"]
        for n in range(6):
            self.gov("rollback", snapshots[0 if n % 2 else -1]["id"])
        reader.terminate()
        told = json.loads((reader.communicate()[0] or "{}").strip() or "{}")
        print(f"reader: {told.get('reads')} reads, {told.get('targets')} environments seen")
        return [Row("reads that found no prod, of all while it was switched", told["misses"], 0)]


_READER = """
import json, os, signal, sys, time
link = sys.argv[1]
reads = misses = 0
targets = set()
def end(*_):
    print(json.dumps({"reads": reads, "misses": misses, "targets": len(targets)}), flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, end)
while True:
    try:
        targets.add(os.readlink(link))
        open(link + "/pyvenv.cfg").close()
    except OSError:
        misses += 1
    reads += 1
"""


if __name__ == "__main__":
    sys.exit(main())
