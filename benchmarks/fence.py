"""What the fence of a candidate costs a start of ComfyUI: inside it and without it, in turn.

    python benchmarks/fence.py WORKSPACE TXID [--runs N] [--nodes NAME...]

TXID is a transaction whose candidate is there.  ComfyUI is started with `--quick-test-for-ci` by
the candidate's own interpreter, bare, and as `gov tx shell TXID -- ...` does it: the whole fence,
and the whole of gov before it.  Counted by processor time, which other work on the machine hardly
changes; wall time is told beside it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "benchmarks"))

import recorder as bare  # noqa: E402

from governance.environments import generations  # noqa: E402
from governance.truth import ledger, registry  # noqa: E402
from governance.truth.workspace import Workspace  # noqa: E402

LIMIT = 1.10


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("workspace", type=Path)
    parser.add_argument("txid")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--nodes", nargs="*", help="those of prod where it is not given")
    given = parser.parse_args()
    workspace = Workspace(given.workspace.resolve())
    # The one place that a candidate may write to.
    folder = workspace.candidates / given.txid / "benchmark"
    nodes = given.nodes if given.nodes is not None else _promoted(workspace)
    python = _python(workspace, given.txid)
    command = bare.quick_start(python, workspace.comfyui_dir, tuple(nodes), folder)
    gov = [sys.executable, "-I", str(ROOT / "governance/__main__.py"), "tx", "shell"]
    fenced = [*gov, "--root", str(workspace.root), given.txid, "--", *command]
    environ = bare.surroundings(folder)
    pairs = [
        (bare.timed(command, environ), bare.timed(fenced, environ)) for _ in range(given.runs + 1)
    ]
    del pairs[0]  # byte code was written
    ratio = bare.compared(pairs, "bare", "fenced")
    print(f"median ratio of {given.runs} pairs with {len(nodes)} nodes {ratio:.3f} <= {LIMIT}")
    return int(ratio > LIMIT)


def _promoted(workspace: Workspace) -> list[str]:
    return [registry.loader_name(plugin) for plugin in registry.promoted(workspace)]


def _python(workspace: Workspace, txid: str) -> Path:
    generation = ledger.load(workspace, txid).observation["generation"]
    return generations.path(workspace, generation) / "bin/python"


if __name__ == "__main__":
    sys.exit(main())
