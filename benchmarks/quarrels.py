"""Quarrels of real packages, installed and imported: does ComfyUI come up after the first fix?

    python benchmarks/quarrels.py [NAME ...] [--cache DIR] [--keep DIR]

Every quarrel is a workspace of its own with the sample ComfyUI, nodes that are promoted, and a
newcomer that quarrels with them; each node imports what it asks for.  All goes through the command
line: `tx run`, `resolve --accept 1`, `tx promote`.  Where the first fix does not come up, the
others are tried, each in its turn.  The packages come from the public index, as of the sample
ComfyUI's own date, so that the figures stay comparable.
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
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from governance.boundaries import config  # noqa: E402
from governance.sample import world  # noqa: E402

GOV = [sys.executable, str(ROOT / "governance/__main__.py")]
APPROVED = ("--approve-core", "--accept-findings", "--reason", "benchmark")
_CODE = """\
{imports}

class {name}:
    INPUT_TYPES = classmethod(lambda cls: {{"required": {{}}}})
    RETURN_TYPES, FUNCTION, CATEGORY = (), "run", "quarrels"

    def run(self):
        return ()


NODE_CLASS_MAPPINGS = {{"{name}": {name}}}
"""


@dataclass(frozen=True)
class Node:
    """`asks` are requirement lines, `uses` what it imports, both split at blanks."""

    asks: str
    uses: str


@dataclass(frozen=True)
class Quarrel:
    """`there` are promoted, then comes `new`; `is_hopeless`: what it imports cannot be had here."""

    name: str
    there: tuple[Node, ...]
    new: Node
    is_hopeless: bool = False


@dataclass
class Row:
    """What happened; `came_up` is None where there was nothing to observe."""

    quarrel: Quarrel
    fix: str = ""
    fixes: int = 0
    runs: int = 0
    seconds: float = 0.0
    came_up: bool | None = None
    other: int = 0
    trouble: str = ""
    check: list[str] = field(default_factory=list)


_OLD_NUMPY = Node("numpy<2", "numpy")
_NEW_NUMPY = Node("numpy>=2.1", "numpy")
_NONE = Node("pyyaml", "yaml")
_ABI = Node("opencv-python-headless==4.9.0.80 numpy<2", "cv2")

QUARRELS = (
    Quarrel("numpy", (_OLD_NUMPY,), _NEW_NUMPY),
    Quarrel("numpy-three", (_OLD_NUMPY, Node("numpy<2.0", "numpy"), _OLD_NUMPY), _NEW_NUMPY),
    Quarrel("numpy-newest", (_NONE,), Node("numpy>=2.4", "numpy")),
    Quarrel("numpy-scipy", (_NEW_NUMPY,), Node("scipy==1.10.1", "scipy.signal")),
    Quarrel("scipy-numpy", (Node("scipy==1.10.1", "scipy.signal"),), _NEW_NUMPY),
    Quarrel("numba", (_NEW_NUMPY,), Node("numba==0.58.1", "numba")),
    Quarrel("skimage-numpy", (Node("scikit-image>=0.25", "skimage"),), Node("numpy<1.24", "numpy")),
    Quarrel("opencv", (_NEW_NUMPY,), _ABI),
    Quarrel("opencv-there", (_ABI,), _NEW_NUMPY),
    Quarrel("pandas", (Node("pandas>=2.2", "pandas"),), Node("pandas<2 numpy<2", "pandas")),
    Quarrel("pandas-numpy", (_NEW_NUMPY,), Node("pandas<2 numpy<2", "pandas")),
    Quarrel("pillow", (Node("Pillow<10", "PIL.Image"),), Node("Pillow>=10", "PIL.Image")),
    Quarrel("pydantic", (Node("pydantic<2", "pydantic"),), Node("pydantic>=2.5", "pydantic")),
    Quarrel("thinc", (Node("thinc==8.1.10", "thinc"),), Node("pydantic>=2.5", "pydantic")),
    Quarrel("pydantic-thinc", (Node("pydantic>=2.5", "pydantic"),), Node("thinc==8.1.10", "thinc")),
    Quarrel(
        "protobuf",
        (Node("protobuf<4", "google.protobuf"),),
        Node("grpcio-status>=1.67", "grpc_status.rpc_status"),
    ),
    Quarrel(
        "tokenizers",
        (Node("tokenizers>=0.20", "tokenizers"),),
        Node("transformers==4.36.2", "transformers"),
    ),
    Quarrel(
        "transformers",
        (Node("transformers==4.36.2", "transformers"),),
        Node("tokenizers>=0.20 huggingface-hub>=0.30", "tokenizers huggingface_hub"),
    ),
    Quarrel(
        "huggingface-hub",
        (Node("huggingface-hub<0.20", "huggingface_hub"),),
        Node("huggingface-hub>=0.30", "huggingface_hub"),
    ),
    Quarrel("httpx", (Node("httpx>=0.27", "httpx"),), Node("googletrans==4.0.0rc1", "googletrans")),
    Quarrel("pyctcdecode", (_NEW_NUMPY,), Node("pyctcdecode", "pyctcdecode")),
    Quarrel("unidic", (Node("wasabi>=1", "wasabi"),), Node("unidic>=1.1", "unidic")),
    Quarrel(
        "several",
        (_NEW_NUMPY, Node("pydantic>=2.5 Pillow>=10", "pydantic PIL.Image")),
        Node("numpy<2 pydantic<2 Pillow<10 einops==0.8.0", "numpy pydantic PIL.Image einops"),
    ),
    Quarrel("opencv-misspelt", (_NONE,), Node("opencv-pyhton-headless", "cv2")),
    Quarrel("skimage", (_NONE,), Node("skimage", "skimage")),
    Quarrel("pil", (_NONE,), Node("PIL", "PIL.Image")),
    Quarrel("sklearn", (_NONE,), Node("sklearn", "sklearn")),
    Quarrel("audioop", (_NONE,), Node("audioop-lts pydub", "pydub")),
    Quarrel("windows", (_NONE,), Node("pywin32", "win32api"), is_hopeless=True),
)


def main() -> int:
    options = _options()
    chosen = [one for one in QUARRELS if one.name in options.names or not options.names]
    with tempfile.TemporaryDirectory(prefix="gov-quarrels-") as name:
        scratch = Path(name)
        cache = (options.cache or scratch / "cache").resolve()
        rows = []
        for quarrel in chosen:
            rows.append(_played(Stage(quarrel, (options.keep or scratch) / quarrel.name, cache)))
            _print(rows[-1])
            if options.keep is None:
                shutil.rmtree(scratch / quarrel.name, ignore_errors=True)
    return _sums(rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("names", nargs="*", help="only these quarrels")
    parser.add_argument("--cache", type=Path, default=None, help="uv's cache (default: a new one)")
    parser.add_argument("--keep", type=Path, default=None, help="leave the workspaces there")
    return parser.parse_args()


class Failed(Exception):
    """A command failed that should not."""


class Stage:
    """One workspace and its nodes."""

    def __init__(self, quarrel: Quarrel, folder: Path, cache: Path) -> None:
        self.quarrel = quarrel
        self.folder = folder.resolve()
        self.space = self.folder / "env"
        self.comfyui = self.folder / "ComfyUI"
        self._environ = {**os.environ, "HOME": str(self.folder), "GOV_ROOT": str(self.space)}
        shutil.rmtree(self.folder, ignore_errors=True)
        self.space.mkdir(parents=True)
        settings = config.template(
            storage__uv_cache_dir=str(cache), tx__settle_seconds=0.01, tx__smoke_test="always"
        )
        (self.space / "config.toml").write_text(settings)
        world.write_comfyui(self.comfyui)
        self.must("init", str(self.space), "--comfyui-dir", str(self.comfyui))

    def gov(self, *words: str) -> dict[str, Any]:
        done = self._called(*GOV, *words, "--json", "-q")
        try:
            return dict(json.loads(done.stdout))
        except ValueError:
            raise Failed(f"gov {words[0]}: {done.stderr[-300:]}") from None

    def must(self, *words: str) -> dict[str, Any]:
        document = self.gov(*words)
        if not document["ok"]:
            raise Failed(f"gov {' '.join(words[:2])}: {document['error']['message']}")
        return dict(document["data"])

    def add(self, name: str, node: Node) -> None:
        files = {
            "requirements.txt": "\n".join(node.asks.split()) + "\n",
            "__init__.py": _CODE.format(
                name=name, imports="\n".join(f"import {module}" for module in node.uses.split())
            ),
        }
        self.must("node", "add", str(world.write_node(self.folder / "repos", name, files)))

    def starts(self) -> str:
        """What goes wrong when ComfyUI is started with prod, by its own words; "" for nothing."""
        command = [self.python, "main.py", "--quick-test-for-ci", "--cpu"]
        done = self._called(*command, cwd=self.comfyui)
        said = (done.stdout + done.stderr).splitlines()
        failed = [line for line in said if "IMPORT FAILED" in line]
        if failed or done.returncode:
            errors = [line for line in said if "Error" in line]
            return (errors or failed or said or ["failed"])[-1].strip()
        return ""

    def check(self) -> list[str]:
        """What `uv pip check` has to say of prod."""
        done = self._called(*_uv(), "pip", "check", "--python", self.python)
        lines = [line.strip() for line in done.stderr.splitlines()]
        return [line for line in lines if line.startswith("The package")] if done.returncode else []

    @property
    def python(self) -> str:
        return str(self.space / ".venv-prod/bin/python")

    def _called(self, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=self._environ,
            cwd=cwd or self.folder,
            capture_output=True,
            text=True,
            check=False,
        )


def _uv() -> tuple[str, ...]:
    return sys.executable, "-m", "uv"


def _played(stage: Stage) -> Row:
    row = Row(stage.quarrel)
    try:
        _play(stage, row)
    except Failed as error:
        row.trouble = f"{error}"
    return row


def _play(stage: Stage, row: Row) -> None:
    there = [f"there{number}" for number, _ in enumerate(stage.quarrel.there, 1)]
    for name, node in zip(there, stage.quarrel.there, strict=True):
        stage.add(name, node)
    stage.must("tx", "promote", stage.must("tx", "run", *there)["txid"], *APPROVED)
    stage.add("newcomer", stage.quarrel.new)
    started = time.monotonic()
    txid, report = _conflict(stage)
    row.seconds = time.monotonic() - started
    row.runs, row.fixes = report["resolver_runs"], len(report["suggestions"])
    if not row.fixes:
        raise Failed("no fix")
    row.fix = _words(report["suggestions"][0])
    row.trouble = _comes_up(stage, txid, 1)
    row.came_up = not row.trouble
    if row.trouble:
        row.other = _first_that_comes_up(stage, row.fixes)
    if row.came_up or row.other:
        row.check = stage.check()


def _conflict(stage: Stage) -> tuple[str, dict[str, Any]]:
    """A run of the newcomer that conflicts: its transaction and its report."""
    document = stage.gov("tx", "run", "newcomer")
    error = document["error"] or {}
    if error.get("code") != "lock_conflict":
        raise Failed(f"no quarrel: {error.get('message', 'it locks')}")
    facts = error["facts"]
    return facts["txid"], json.loads((stage.space / facts["conflict_report"]).read_text())


def _first_that_comes_up(stage: Stage, fixes: int) -> int:
    """The number of another fix with which ComfyUI comes up; 0 for none."""
    for number in range(2, fixes + 1):
        txid, _ = _conflict(stage)
        if not _comes_up(stage, txid, number):
            return number
    return 0


def _comes_up(stage: Stage, txid: str, number: int) -> str:
    """What goes wrong with that fix; "" where ComfyUI came up with all nodes."""
    for command in (
        ("resolve", txid, "--accept", str(number)),
        ("tx", "promote", txid, *APPROVED),
    ):
        document = stage.gov(*command)
        if not document["ok"]:
            return f"gov {' '.join(command[:2])}: {document['error']['message']}"
    return stage.starts()


def _words(fix: dict[str, Any]) -> str:
    ways = (*fix["violates"], *(f"exempt {name}" for name in fix["exempt"]))
    return f"{fix['kind']}: {'; '.join(ways) or 'breaks nothing known'}"


def _print(row: Row) -> None:
    verdict = {True: "came up", False: "FAILED", None: "-"}[row.came_up]
    if row.came_up is False and row.quarrel.is_hopeless:
        verdict = "hopeless"
    cost = f"{row.runs:3d} runs {row.seconds:6.1f} s {row.fixes} fixes"
    print(f"{row.quarrel.name:16} {verdict:9} {cost}  {row.fix}", flush=True)
    if row.trouble:
        print(f"    {row.trouble}")
    if row.other:
        print(f"    fix {row.other} comes up")
    for line in row.check:
        print(f"    pip check: {line}")


def _sums(rows: Sequence[Row]) -> int:
    quarrels = [row for row in rows if row.came_up is not None]
    savable = [row for row in quarrels if not row.quarrel.is_hopeless]
    print()
    print(f"quarrels: {len(quarrels)} of {len(rows)}; not played: {_names(rows, None)}")
    if quarrels:
        runs = [row.runs for row in quarrels]
        seconds = [row.seconds for row in quarrels]
        print(f"resolver runs: median {statistics.median(runs)}, most {max(runs)}")
        print(
            f"seconds of tx run: median {statistics.median(seconds):.1f}, most {max(seconds):.1f}"
        )
    up = [row for row in savable if row.came_up]
    print(f"came up after the first fix: {len(up)} of {len(savable)} that could be saved")
    print(f"    not: {_names(savable, False)}")
    better = [row.quarrel.name for row in savable if row.other]
    print(f"    of these another fix comes up: {', '.join(better) or '-'}")
    checked = [row.quarrel.name for row in quarrels if row.check]
    print(f"prod not consistent by pip check: {len(checked)} ({', '.join(checked) or '-'})")
    return (
        0 if len(up) == len(savable) == len([r for r in rows if not r.quarrel.is_hopeless]) else 1
    )


def _names(rows: Sequence[Row], came_up: bool | None) -> str:
    return ", ".join(row.quarrel.name for row in rows if row.came_up is came_up) or "-"


if __name__ == "__main__":
    started_at = time.monotonic()
    code = main()
    print(f"{time.monotonic() - started_at:.0f} s in all")
    sys.exit(code)
