"""Real nodes on a real ComfyUI: what `gov tx run` says of each, beside a start by hand.

    python benchmarks/real_nodes.py COMFYUI NODE ... [--workspace DIR] [--promoted NODE ...]
                                    [--scratch DIR] [--inside COMMAND] [--together N] [--out FILE]

NODE is a git repository or what `gov node add` takes else; with @FILE a list, one a line.  COMFYUI
is a checkout; nothing in it is changed but custom_nodes.  For each node: `gov node add`, `gov tx
run`, a start by hand, `gov tx abort`, `gov node remove`.

By hand means: the lock that gov staged is installed by `uv sync` into an environment of its own,
with pip in it; the nodes lie in a second checkout of the same commit; the node's install.py is run
as ComfyUI-Manager runs it; then ComfyUI is started there without gov, twice where the first start
installed something, and asked for its classes.  Where the requirements do not lock, uv alone adds
the node's lines to prod's project.  These programs are not fenced in: `--inside` names a command
that is put before each of them.  `--together N` observes N nodes in one transaction and one start
by hand, and judges each of them; those that do not lock together follow one by one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from governance.boundaries.uv import executable  # noqa: E402
from governance.truth.workspace import Workspace  # noqa: E402

GOV = [sys.executable, str(ROOT / "governance/__main__.py")]
ACCEPTED = (
    "--approve-core",
    "--accept-skipped",
    "--accept-findings",
    "--accept-incompatible",
    "--reason",
    "benchmark",
)
RIGHT, WRONG, MISLEADING, NOT_JUDGED = "right", "wrong", "misleading", "not judged"
_FAILED = re.compile(r"Cannot import (\S.*?) module for custom nodes: ?(.*)$")
_SKIPPED = re.compile(r"Skip (\S.*?) module for custom nodes due to (.+)$")
_ENTRY = re.compile(r"(?:Error while calling )?comfy_entrypoint in (\S.*?): (.+)$")
_MARKED = re.compile(r"\((?:IMPORT|PRESTARTUP) FAILED\): (.+)$")
_COMPLAINT = re.compile(r"no module named|cannot import|failed to (?:import|load)|\w+Error\b", re.I)
_SETTLE_SECONDS = 3.0


@dataclass
class Hand:
    """A start by hand.  `classes` by python_module; `failed` are nodes that did not load, with
    what ComfyUI said; `complaints` are lines of the log that no start without the node had."""

    up: bool = False
    starts: int = 0
    exit_code: int | None = None
    classes: dict[str, list[str]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    locks: bool = True
    said: str = ""

    def of(self, node: str) -> list[str]:
        return self.classes.get(f"custom_nodes.{node.removesuffix('.py')}", [])

    def loaded(self, node: str) -> bool:
        return self.up and node not in self.failed


@dataclass
class Row:
    """One node: what gov said, what the hand saw, and whether that is the same."""

    node: str
    status: str = ""
    partial: bool = False
    reason: str = ""
    added: int = 0
    seconds: float = 0.0
    lines: int = 0
    unshown: list[str] = field(default_factory=list)
    hand: Hand = field(default_factory=Hand)
    verdict: str = NOT_JUDGED
    why: str = ""

    def line(self) -> str:
        by_hand = f"{len(self.hand.of(self.node))} classes" if self.hand.up else "does not come up"
        if self.node in self.hand.failed:
            by_hand = f"fails: {self.hand.failed[self.node][:60]}"
        if not self.hand.locks:
            by_hand = "does not lock"
        said = "partial" if self.partial else self.status
        return (
            f"| {self.node} | {by_hand} | {said}: {self.reason[:110]} | {self.added} | "
            f"{self.seconds:.0f} s | {self.lines} | {self.verdict} {self.why} |"
        )


class Gov:
    """The command line, in one workspace."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def screen(self, *words: str) -> tuple[int, str]:
        """What a person sees who does not look at a terminal, both streams."""
        command = [*GOV, "--root", str(self.root), *words]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        return done.returncode, done.stdout

    def data(self, *words: str) -> dict[str, Any]:
        command = [*GOV, "--root", str(self.root), "--json", "-q", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        document: dict[str, Any] = json.loads(done.stdout)
        if document["error"]:
            raise RuntimeError(f"gov {' '.join(words)}: {document['error']['message']}")
        value: dict[str, Any] = document["data"]
        return value


class Bench:
    """A workspace with promoted nodes, and a scratch folder for the starts by hand."""

    def __init__(
        self, comfyui: Path, workspace: Path, scratch: Path, inside: Sequence[str]
    ) -> None:
        self.comfyui, self.scratch, self.inside = comfyui, scratch, list(inside)
        self.gov = Gov(workspace)
        self.copy = scratch / "ComfyUI"
        self.python = scratch / "environment/bin/python"
        self.usual: set[str] = set()

    def make(self, promoted: Sequence[str]) -> None:
        """The workspace, where it is missing, and those of the nodes that prod has not."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        code, said = self.gov.screen("init", str(self.gov.root), "--comfyui-dir", str(self.comfyui))
        if code:
            raise RuntimeError(said)
        there = {row["id"] for row in self._nodes()}
        new = [source for source in promoted if _name(source) not in there]
        if new:
            added = [self.gov.data("node", "add", source)["node"]["id"] for source in new]
            code, said = self.gov.screen("tx", "run", *added)
            print(said)
            self.gov.data("tx", "promote", "last", *ACCEPTED)
        self._lay()

    def _nodes(self) -> list[dict[str, Any]]:
        return list(self.gov.data("node", "list")["nodes"])

    def _lay(self) -> None:
        """The second checkout, with the nodes that prod has."""
        if self.copy.exists():
            shutil.rmtree(self.copy)
        head = _told(["git", "-C", str(self.comfyui), "rev-parse", "HEAD"])
        subprocess.run(["git", "clone", "-q", "-s", self.comfyui, self.copy], check=True)
        subprocess.run(["git", "-C", self.copy, "checkout", "-q", "--detach", head], check=True)
        for row in self._nodes():
            if row["state"] == "promoted":
                self._copy_node(row["id"])

    def _copy_node(self, node: str) -> Path:
        target = self.copy / "custom_nodes" / node
        shutil.copytree(self.comfyui / "custom_nodes" / node, target, symlinks=True)
        return target

    def judge(self, sources: Sequence[str]) -> list[Row]:
        """Nodes in one transaction, from `node add` to `node remove`; those that do not lock
        together one by one."""
        rows = [self._added(source) for source in sources]
        there = [row for row in rows if not row.reason]
        try:
            if there and not self._observed(there, alone=len(sources) == 1):
                for row in there:
                    self._observed([row], alone=True)
        finally:
            for row in there:
                self.gov.data("node", "remove", row.node, "--purge-code")
        return rows

    def _added(self, source: str) -> Row:
        row = Row(_name(source))
        code, said = self.gov.screen("node", "add", source)
        if code:
            row.reason = next(text for text in said.splitlines() if text.startswith("error:"))
        return row

    def _observed(self, rows: Sequence[Row], *, alone: bool) -> bool:
        """Fill the rows; False where several do not lock together."""
        names = [row.node for row in rows]
        started = time.monotonic()
        words = ["tx", "run", *names, "--timeout", "600"]
        _, said = self.gov.screen(*words, *([] if alone else ["--all-or-nothing"]))
        seconds = time.monotonic() - started
        tx = self.gov.data("tx", "inspect", "last")
        (self.scratch / f"{names[0]}.screen").write_text(said)
        (self.scratch / f"{names[0]}.json").write_text(json.dumps(tx, indent=1))
        try:
            if tx["status"] == "needs_resolution" and not alone:
                return False
            hand = self.by_hand(names, tx)
            for row in rows:
                _record(row, tx, said, len(rows))
                row.seconds, row.hand = seconds, hand
                row.verdict, row.why = verdict(row, tx)
        finally:
            self.gov.data("tx", "abort", tx["txid"])
        return True

    def by_hand(self, names: Sequence[str], tx: Mapping[str, Any]) -> Hand:
        staged = self.gov.root / "state/work" / tx["txid"]
        if tx["status"] == "needs_resolution" or not (staged / "uv.lock").is_file():
            return self._lock_by_hand(names[0])
        self._sync(staged)
        places = [self._copy_node(name) for name in names]
        try:
            return self._start_and_ask(places)
        finally:
            for place in places:
                shutil.rmtree(place)

    def usual_start(self) -> None:
        """What the log says without any new node; the log of an earlier call will do."""
        log = self.scratch / "usual.log"
        if not log.is_file():
            self._sync(self.gov.root)
            hand = self._start_and_ask([])
            print(f"prod by hand: {sum(map(len, hand.classes.values()))} classes, {hand.failed}")
        hand = Hand()
        _read_log(hand, log.read_text(errors="replace"), set())
        self.usual = set(hand.complaints)

    def _lock_by_hand(self, node: str) -> Hand:
        """Does uv alone find a set for prod's project with the node's lines?"""
        project = self.scratch / "project"
        shutil.rmtree(project, ignore_errors=True)
        project.mkdir()
        for name in ("pyproject.toml", "uv.lock"):
            shutil.copy(self.gov.root / name, project)
        lines = self.comfyui / "custom_nodes" / node / "requirements.txt"
        words = ["add", "--no-sync", "--group", "by-hand", "-r", str(lines)]
        done = self._uv(*words, "--project", str(project))
        return Hand(locks=done.returncode == 0, said=done.stderr.strip()[-2000:])

    def _sync(self, staged: Path) -> None:
        project = self.scratch / "project"
        shutil.rmtree(project, ignore_errors=True)
        project.mkdir()
        for name in ("pyproject.toml", "uv.lock"):
            shutil.copy(staged / name, project)
        environment = self.python.parent.parent
        shutil.rmtree(environment, ignore_errors=True)
        prod = self.gov.root / ".venv-prod/bin/python"
        for words in (
            ["venv", "--seed", "--python", str(prod.resolve()), str(environment)],
            ["sync", "--locked", "--inexact", "--project", str(project)],
        ):
            done = self._uv(*words)
            if done.returncode:
                raise RuntimeError(done.stderr)

    def _uv(self, *words: str) -> subprocess.CompletedProcess[str]:
        cache = Workspace(self.gov.root).uv_cache
        environ = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(self.python.parent.parent)}
        command = [executable(), "-q", "--cache-dir", str(cache), *words]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    def _start_and_ask(self, places: Sequence[Path]) -> Hand:
        """Twice where the first start installed something, as a person starts again."""
        for place in places:
            if (place / "install.py").is_file():
                self._install(place)
        name = places[0].name if places else "usual"
        before = self._installed()
        hand = self._start(name)
        hand.starts = 1
        if self._installed() != before:
            hand = self._start(name)
            hand.starts = 2
        return hand

    def _install(self, place: Path) -> None:
        with (self.scratch / f"{place.name}.install.log").open("wb") as log:
            subprocess.run(
                [*self.inside, str(self.python), "install.py"],
                cwd=place,
                env={**self._environ(), "COMFYUI_PATH": str(self.copy)},
                stdout=log,
                stderr=log,
                timeout=900,
                check=False,
            )

    def _installed(self) -> list[str]:
        library = self.python.parent.parent / "lib"
        return sorted(path.name for path in library.glob("*/site-packages/*.dist-info"))

    def _environ(self) -> dict[str, str]:
        home = self.scratch / "home"
        home.mkdir(exist_ok=True)
        own = {
            "HOME": str(home),
            "PATH": f"{self.python.parent}:{os.environ['PATH']}",
            # Every environment is new, and most of its files are those of the one before.
            "PYTHONPYCACHEPREFIX": str(self.scratch / "pycache"),
        }
        inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        return inherited | own

    def _start(self, name: str) -> Hand:
        port = _free_port()
        log = self.scratch / f"{name}.log"
        words = ["main.py", "--cpu", "--port", str(port), "--disable-auto-launch"]
        with log.open("wb") as out:
            child = subprocess.Popen(
                [*self.inside, str(self.python), *words],
                cwd=self.copy,
                env=self._environ(),
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
            try:
                hand = _ask(child, port)
            finally:
                _end(child)
        _read_log(hand, log.read_text(errors="replace"), self.usual)
        return hand


def verdict(row: Row, tx: Mapping[str, Any]) -> tuple[str, str]:
    """Is what gov said what the hand saw?  What cannot be told by a rule is left to a person."""
    hand = row.hand
    if row.status == "needs_resolution":
        return (WRONG, "uv locks it") if hand.locks else (RIGHT, "")
    if not tx.get("observation", {}).get("nodes"):
        return NOT_JUDGED, row.reason
    completed = row.status == "completed"
    if completed != hand.loaded(row.node):
        if not completed and row.node not in tx["observation"].get("failed_subjects", {}):
            return NOT_JUDGED, f"by hand {', '.join(hand.failed) or 'nothing'} fails"
        return WRONG, "by hand it loads" if not completed else "by hand it does not load"
    if not completed:
        said = hand.failed.get(row.node, "")
        return (RIGHT, "") if _same_cause(row.reason, said) else (MISLEADING, f"by hand: {said}")
    own = tx["observation"]["nodes"].get(row.node, {}).get("classes", [])
    if sorted(own) != hand.of(row.node):
        return MISLEADING, f"{len(own)} classes, by hand {len(hand.of(row.node))}"
    return RIGHT, f"{len(hand.complaints)} complaints" if hand.complaints else ""


def unshown(node: str, tx: Mapping[str, Any], screen: str) -> list[str]:
    """The node's own facts of which the screen has no word."""
    return [fact for fact in _facts(node, tx) if fact not in screen]


def _facts(node: str, tx: Mapping[str, Any]) -> Iterator[str]:
    seen = tx.get("observation", {})
    for row in seen.get("installs", ()):
        if row.get("node") == node:
            yield from row.get("requested", ())
    for row in seen.get("hosts", ()):
        if row.get("node") == node and row.get("host"):
            yield str(row["host"])
    for row in seen.get("findings", ()):
        if row.get("node") == node and not row.get("known"):
            yield str(row["sentence"])
    for row in tx.get("skipped_requirements", ()):
        yield str(row.get("text") or row.get("raw"))
    for line in tx.get("diff", {}).get("undeclared", ()):
        yield str(line)


def _record(row: Row, tx: Mapping[str, Any], screen: str, together: int) -> None:
    """Of several nodes in one transaction each has the verdict that the record has of it."""
    seen = tx.get("observation", {})
    row.status, row.reason = tx["status"], seen.get("reason") or ""
    if together > 1:
        failed = seen.get("failed_subjects", {})
        loaded = seen.get("nodes", {}).get(row.node, {}).get("loaded")
        row.status = "failed" if row.node in failed or not loaded else "completed"
        row.reason = failed.get(row.node, "")
    row.partial = any(one["node"] == row.node for one in seen.get("partial", ()))
    row.added = len(seen.get("nodes", {}).get(row.node, {}).get("classes", ()))
    row.lines = len(screen.splitlines())
    row.unshown = unshown(row.node, tx, screen)


def _same_cause(reason: str, said: str) -> bool:
    """Some word of the error, a module or a name, is in gov's sentence."""
    words = re.findall(r"'([^']+)'", said) or [said[:60]]
    return bool(said) and any(word.rpartition("/")[2] in reason for word in words)


def _ask(child: subprocess.Popen[bytes], port: int, timeout: float = 600.0) -> Hand:
    hand = Hand()
    end = time.monotonic() + timeout
    while time.monotonic() < end and child.poll() is None:
        if _get(port, "/system_stats") is not None:
            time.sleep(_SETTLE_SECONDS)
            answer = _get(port, "/object_info", seconds=120)
            hand.up = answer is not None
            for name, info in (answer or {}).items():
                hand.classes.setdefault(info.get("python_module", "nodes"), []).append(name)
            break
        time.sleep(0.3)
    hand.exit_code = child.poll()
    hand.classes = {module: sorted(names) for module, names in hand.classes.items()}
    return hand


def _get(port: int, path: str, seconds: float = 5.0) -> dict[str, Any] | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=seconds) as answer:
            value: dict[str, Any] = json.load(answer)
            return value
    except (urllib.error.URLError, OSError, ValueError):
        return None


def _end(child: subprocess.Popen[bytes]) -> None:
    for number, seconds in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 10.0)):
        if child.poll() is None:
            os.killpg(child.pid, number)
            try:
                child.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _read_log(hand: Hand, text: str, usual: set[str]) -> None:
    for line in text.splitlines():
        if found := _said_failed(line):
            hand.failed[Path(found[1]).name] = found[2]
        elif found := _MARKED.search(line):
            hand.failed.setdefault(Path(found[1].strip()).name, "")
        elif _COMPLAINT.search(line) and line.strip() not in usual:
            hand.complaints.append(line.strip())


def _said_failed(line: str) -> re.Match[str] | None:
    return _FAILED.search(line) or _SKIPPED.search(line) or _ENTRY.search(line)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _name(source: str) -> str:
    return Path(source.rstrip("/")).name.removesuffix(".git")


def _told(argv: Sequence[str]) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(fromfile_prefix_chars="@")
    parser.add_argument("comfyui", type=Path)
    parser.add_argument("nodes", nargs="*")
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--promoted", nargs="*", default=[])
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--inside", default="")
    parser.add_argument("--together", type=int, default=1)
    parser.add_argument("--out", type=Path)
    told = parser.parse_args()
    comfyui = told.comfyui.resolve()
    workspace = told.workspace or comfyui.parent / "comfy_env"
    scratch = told.scratch or comfyui.parent / "by-hand"
    bench = Bench(comfyui, workspace.resolve(), scratch.resolve(), shlex.split(told.inside))
    bench.make(told.promoted)
    bench.usual_start()
    rows: list[Row] = []
    for start in range(0, len(told.nodes), told.together):
        new = bench.judge(told.nodes[start : start + told.together])
        rows += new
        print("\n".join(row.line() for row in new), flush=True)
        if told.out:
            told.out.write_text(json.dumps([asdict(one) for one in rows], indent=1))
    counts = {word: sum(row.verdict == word for row in rows) for word in (RIGHT, WRONG)}
    counts |= {word: sum(row.verdict == word for row in rows) for word in (MISLEADING, NOT_JUDGED)}
    print(", ".join(f"{count} {word}" for word, count in counts.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
