"""What the recorder costs a start of ComfyUI: with it and without it, in turn.

    python benchmarks/recorder.py PYTHON COMFYUI [--runs N] [--nodes NAME...]

PYTHON is an environment's interpreter that can start the checkout COMFYUI, for instance a
workspace's `.venv-prod/bin/python`.  It is started with `--quick-test-for-ci`, so that it ends once
everything is loaded, and counted by processor time, which other work on the machine hardly
changes; wall time is told beside it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from governance import comfyui  # noqa: E402
from governance.observation import recorder  # noqa: E402

LIMIT = 1.10


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("python", type=Path)
    parser.add_argument("comfyui", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--nodes", nargs="*", default=[], help="folders of custom_nodes to load")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gov-bench-") as name:
        folder = Path(name)
        # What the candidate has in its site-packages, without touching the environment.
        recorder.plant(name)
        (folder / "sitecustomize.py").write_text(f"import {recorder.MODULE}\n")
        command = quick_start(given.python, given.comfyui.resolve(), tuple(given.nodes), folder)
        timed(command, surroundings(folder))  # the first start writes bytecode
        pairs = [
            (
                timed(command, surroundings(folder)),
                timed(command, surroundings(folder, given.comfyui)),
            )
            for _ in range(given.runs)
        ]
        events = sum(1 for path in folder.glob("events/*") for _ in path.open("rb"))
    ratio = compared(pairs, "without", "with")
    print(f"median ratio of {given.runs} pairs {ratio:.3f} <= {LIMIT}; {events} events recorded")
    return int(ratio > LIMIT)


def compared(
    pairs: Sequence[tuple[tuple[float, float], tuple[float, float]]], one: str, other: str
) -> float:
    """Print the medians of two kinds of starts that were timed in turn; the median ratio of their
    processor times."""
    for index, what in enumerate(("processor time", "wall time")):
        first, second = (statistics.median(pair[side][index] for pair in pairs) for side in (0, 1))
        print(f"{what:<16} {first:6.2f} s {one}, {second:6.2f} s {other}: {second / first:.3f}")
    return statistics.median(second[0] / first[0] for first, second in pairs)


def quick_start(python: Path, checkout: Path, nodes: tuple[str, ...], folder: Path) -> list[str]:
    start = comfyui.Start(folder / "base", 8188, nodes, quick=True, extra=("--cpu",))
    for name in ("user", "input", "output"):
        (start.base / name).mkdir(parents=True, exist_ok=True)
    arguments, _ = comfyui.arguments(comfyui.read_flags(checkout), start)
    return [str(python), str(comfyui.main_path(checkout)), *arguments]


def surroundings(folder: Path, checkout: Path | None = None) -> dict[str, str]:
    """With a checkout, what its nodes do is recorded."""
    environ = {**os.environ, "PYTHONPATH": str(folder), "PYTHONPYCACHEPREFIX": f"{folder}/pyc"}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a candidate has it written, too
    if checkout is not None:
        (folder / "events").mkdir(exist_ok=True)
        environ[recorder.FOLDER] = str(folder / "events")
        environ[recorder.NODES] = str(comfyui.custom_nodes(checkout.resolve()))
    return environ


def timed(command: list[str], environ: dict[str, str]) -> tuple[float, float]:
    """Processor and wall seconds of one start."""
    began = time.monotonic()
    child = subprocess.Popen(
        command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"ComfyUI ended with exit code {child.returncode}: {' '.join(command)}")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
