"""What `tx run` and `tx promote` cost beside ComfyUI itself: `python benchmarks/starts.py [ENV]`.

ENV is a workspace with nodes in prod; without it one is made, for the ComfyUI that
GOV_TEST_COMFYUI names or for the sample.  A node that asks for one small package is added, observed
and promoted, then taken back; ComfyUI is started by hand in prod's environment before and after,
with warm byte code.  Printed as ratios; wall times, on whatever else the machine does.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from speed import GOV, Row  # noqa: E402

from governance.boundaries import config, uv  # noqa: E402
from governance.environments import generations, records  # noqa: E402
from governance.operations import runtime  # noqa: E402
from governance.sample import packages, world  # noqa: E402
from governance.truth.workspace import Workspace  # noqa: E402

NODE = "class Adds: pass\nNODE_CLASS_MAPPINGS = {'AddsOne': Adds}\n"
PACKAGE = "cowsay"
BY_HAND = 3


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="gov-starts-") as name:
        given = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else made(Path(name))
        rows = Starts(Workspace(given), Path(name)).rows()
    print(f"\n{'ratio, or seconds where it says so':<66} {'found':>6}     limit")
    for row in rows:
        print(row.line())
    return 0


def made(folder: Path) -> Path:
    """A new workspace: of a real ComfyUI with packages from its index, or of the sample."""
    real = os.environ.get("GOV_TEST_COMFYUI")
    comfyui, words = folder / "ComfyUI", ["--comfyui-dir", str(folder / "ComfyUI")]
    if real:
        shutil.copytree(real, comfyui, symlinks=True)
        words += ["--torch-backend", "cpu"]
    else:
        packages.write_packages(folder / "wheels")
        world.write_comfyui(comfyui)
        words += ["--index", str(folder / "wheels"), "--resolution-date", "none"]
    subprocess.run([*GOV, "init", str(folder / "env"), *words, "-q"], check=True)
    settings = config.template(comfyui_dir=str(comfyui))
    (folder / "env/config.toml").write_text(settings)
    return folder / "env"


class Starts:
    """The figures of one change of one package, in a workspace that is as before afterwards."""

    def __init__(self, space: Workspace, folder: Path) -> None:
        self.space, self.folder = space, folder
        self.environ = {**os.environ, "GOV_ROOT": str(space.root)}
        self.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        self.warm = folder / "pycache"

    def rows(self) -> list[Row]:
        by_hand = [self.by_hand() for _ in range(BY_HAND + 1)][1:]
        up, whole = (statistics.median(column) for column in zip(*by_hand, strict=True))
        before = set(generations.names(self.space))
        self.gov("node", "add", str(self.node()))
        try:
            return self.change(up, whole)
        finally:
            self.gov("node", "remove", "adds-one", "--purge-code")
            for name in set(generations.names(self.space)) - before - {self.space.generation}:
                generations.discard(self.space, name)

    def change(self, up: float, whole: float) -> list[Row]:
        started = time.perf_counter()
        ran = self.gov("tx", "run", "adds-one")
        took = time.perf_counter() - started
        times = ran["observation"]["times"]
        sync, check = self.bare_sync(ran["observation"]["generation"]), self.whole_check()
        started = time.perf_counter()
        self.gov("tx", "promote", ran["txid"])
        promoted = time.perf_counter() - started
        waited = self.gov("tx", "inspect", ran["txid"])["promotion"]["times"]
        print(
            f"by hand: up after {up:.1f} s, whole with its end {whole:.1f} s; tx run {took:.1f} s "
            f"{times}; bare sync {sync:.1f} s; tx promote {promoted:.1f} s {waited}"
        )
        return [
            Row("build and check of one added package / bare uv sync",
                (times["build"]) / sync, 1.3),
            Row("the check in it / a check of every file", times["file_check"] / check, 0.25),
            Row("first start of the candidate / warm start by hand", times["ready"] / up, 1.25),
            Row("tx run, settling apart / whole start by hand",
                (took - times["settle"]) / whole, 2),
            Row("tx promote as observed, file check apart, seconds",
                promoted - waited["file_check"], 1),
        ]  # fmt: skip

    # --- parts --------------------------------------------------------------------------------

    def gov(self, *words: str) -> dict:
        done = subprocess.run(
            [*GOV, *words, "--json", "-q"], env=self.environ, capture_output=True, text=True
        )
        document = json.loads(done.stdout)
        if not document["ok"]:
            raise SystemExit(f"gov {' '.join(words)}: {document['error']}")
        return document["data"]

    def node(self) -> Path:
        files = {"__init__.py": NODE, "requirements.txt": f"{PACKAGE}\n"}
        return world.write_node(self.folder / "repos", "adds-one", files)

    def by_hand(self) -> tuple[float, float]:
        """Seconds until it answers, and until it has ended after a Ctrl-C."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        start = runtime.prepare(self.space, ["--cpu", "--port", str(port)], all_nodes=False)
        environ = {**start.environ, **self.environ, "PYTHONPYCACHEPREFIX": str(self.warm)}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        quiet = subprocess.DEVNULL
        started = time.perf_counter()
        child = subprocess.Popen(
            start.argv, env=environ, cwd=self.space.comfyui_dir, stdout=quiet, stderr=quiet
        )
        while not answers(port):
            if child.poll() is not None:
                raise SystemExit("ComfyUI does not come up by hand")
            time.sleep(0.1)
        up = time.perf_counter() - started
        child.send_signal(2)
        child.wait(60)
        return up, time.perf_counter() - started

    def bare_sync(self, generation: str) -> float:
        """Of the candidate's lock into a new folder, with the same cache and link mode."""
        papers = generations.papers(self.space, generation)
        folder, found = self.folder / "bare", []
        environ = {**self.environ, "UV_CACHE_DIR": str(self.space.uv_cache)}
        place = self.space.root / ".generations/.probe-bare"
        environ["UV_PROJECT_ENVIRONMENT"] = str(place)
        mode = generations.link_mode(self.space)
        words = ["sync", "--frozen", "--exact", "--link-mode", mode, "-q"]
        for _ in range(BY_HAND):
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(place, ignore_errors=True)
            folder.mkdir()
            for name in ("pyproject.toml", "uv.lock"):
                shutil.copy(papers / name, folder)
            started = time.perf_counter()
            argv = [uv.executable(), *words, "--project", str(folder)]
            subprocess.run(argv, env=environ, check=True)
            found.append(time.perf_counter() - started)
        shutil.rmtree(place)
        return statistics.median(found)

    def whole_check(self) -> float:
        environment = self.space.prod.resolve()
        started = time.perf_counter()
        records.check_records(environment)
        return time.perf_counter() - started


def answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/system_stats", timeout=1).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
