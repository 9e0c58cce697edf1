"""`gov demo`: a small sample ComfyUI in a fresh folder, and the whole story played on it.

Each command is said as one could type it in that folder, and run as a process of its own.
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TextIO

from governance.base.errors import EXIT_FAILED, EXIT_OK, GovError, UsageError
from governance.boundaries import config, process, store
from governance.cli import story
from governance.cli.outcome import Outcome
from governance.cli.report import printable
from governance.cli.story import Step
from governance.environments import generations
from governance.sample import packages, world
from governance.truth import ledger, registry, snapshots, workspace
from governance.truth.lockfile import changes, frozen_versions
from governance.truth.workspace import Workspace

_DEFAULT = Path("gov-demo")
# What a command that is interrupted gets to leave everything as it was.
_GRACE_SECONDS = 20.0
_STDERR = 2
_MAIN = workspace.CHECKOUT / "governance/__main__.py"


def play(arguments: Namespace) -> Outcome:
    """Raises UsageError for a folder that is not fresh; an interrupted demo leaves nothing."""
    folder = _fresh(arguments.dir or _DEFAULT)
    stage = Stage(folder, sys.stderr if arguments.json else sys.stdout, quiet=arguments.quiet)
    try:
        planned = _build(folder, offline=arguments.offline)
        stage.open(planned)
        for number, step in enumerate(planned, start=1):
            failure = stage.perform(number, step)
            if failure is not None:
                return Outcome(stage.data([]), exit_code=EXIT_FAILED, error=failure)
    except (KeyboardInterrupt, GovError):
        _clear(folder)  # a second try would be refused for what the first one left
        raise
    following = _next(folder, stage.space)
    return Outcome(stage.data([command for command, _ in following]), _told(following))


# --- the folder -------------------------------------------------------------------------------


def _fresh(named: Path) -> Path:
    folder = store.typed_path(named).resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{folder} is not an empty folder",
            hint="name another one: `gov demo DIR`, or delete it first",
            code="not_fresh",
            facts={"path": str(folder)},
        )
    store.make_folder(folder)
    return folder


def _build(folder: Path, *, offline: bool) -> tuple[Step, ...]:
    """ComfyUI, the nodes, tiny packages where wanted, and the workspace's settings."""
    try:
        comfyui = world.write_comfyui(folder / story.COMFYUI)
        nodes = world.demo_nodes(folder / story.NODES)
    except FileNotFoundError as error:
        if error.filename != "git":
            raise
        raise GovError("git is not installed", hint="install it, then try again") from None
    except subprocess.CalledProcessError as error:
        raise GovError(
            f"git could not make the sample repositories: {error.stderr.strip()}",
            hint="see whether `git init` works in another folder there",
            code="git_failed",
        ) from None
    if offline:
        packages.write_packages(folder / story.PACKAGES)
    space = folder / story.WORKSPACE
    store.make_folder(space)
    # Nothing in the sample installs late, so a second of watching is enough.
    settings = config.template(comfyui_dir=str(comfyui), tx__settle_seconds=1)
    store.write(space / "config.toml", settings.encode())
    return story.steps(nodes, offline=offline)


def _clear(folder: Path) -> None:
    """Leave the folder as fresh as it was found."""
    for entry in folder.iterdir():
        # After a second Ctrl-C something may still be ending that writes there.
        with contextlib.suppress(OSError):
            store.remove_tree(entry)


# --- what changed -----------------------------------------------------------------------------


class Sight(NamedTuple):
    """The workspace at one moment.  `transactions`: txid to (node, status)."""

    versions: dict[str, str]
    nodes: tuple[str, ...] = ()
    transactions: Mapping[str, tuple[str, str]] = MappingProxyType({})
    snapshots: tuple[str, ...] = ()


def look(space: Workspace) -> Sight:
    if not workspace.is_workspace(space.root):
        return Sight({})
    prod = generations.prod(space)
    rows = ledger.overview(space).recent
    return Sight(
        frozen_versions(prod.packages if prod else []),
        tuple(str(record.get("id")) for record in registry.records(space)),
        {row["txid"]: (str(row["node_id"]), str(row["status"])) for row in rows},
        tuple(str(row["reason"]) for row in snapshots.index(space)),
    )


def differences(before: Sight, after: Sight) -> list[tuple[str, str]]:
    """What is different, and how: (`prod`, `+ cowsay 6.1`)."""
    versions = [
        _version(c.name, c.before, c.after) for c in changes(before.versions, after.versions)
    ]
    nodes = [f"+ {name}" for name in after.nodes if name not in before.nodes]
    moved = [
        f"{node}: {status}"
        for txid, (node, status) in after.transactions.items()
        if before.transactions.get(txid) != (node, status)
    ]
    taken = [f"+ {reason}" for reason in after.snapshots[len(before.snapshots) :]]
    rows = (("prod", versions), ("nodes", nodes), ("transactions", moved), ("snapshots", taken))
    return [(name, ", ".join(found)) for name, found in rows if found]


def _version(name: str, before: str | None, after: str | None) -> str:
    if before is None:
        return f"+ {name} {after}"
    return f"- {name} {before}" if after is None else f"{name} {before} -> {after}"


# --- the play ---------------------------------------------------------------------------------


class Stage:
    """Says a step, runs it, shows what it changed, remembers how it went."""

    def __init__(self, folder: Path, stream: TextIO, *, quiet: bool) -> None:
        self.folder = folder
        self.space = Workspace(folder / story.WORKSPACE)
        self._teller = Teller(stream, quiet=quiet)
        self._stderr = subprocess.DEVNULL if quiet else None
        self._stdout = _STDERR if stream is sys.stderr and not quiet else self._stderr
        self._done: list[dict[str, Any]] = []
        self._total = 0

    def open(self, planned: Sequence[Step]) -> None:
        self._total = len(planned)
        self._teller.line(f"The demo lies in {self.folder}: a sample ComfyUI, three nodes as git")
        self._teller.line("repositories, and a workspace. Type along, or go on with it later:")
        self._teller.command(f"cd {shlex.quote(str(self.folder))}")

    def perform(self, number: int, step: Step) -> GovError | None:
        """The error where the step ended otherwise than it should."""
        before = look(self.space)
        words = self._filled(step)
        command = shlex.join(words)
        self._teller.heading(f"{number}/{self._total}  {step.title}", step.says)
        self._teller.command(command)
        started = time.monotonic()
        done: dict[str, Any] = {"command": command, "exit_code": self._run(words)}
        done |= {"expected": step.expected, "seconds": round(time.monotonic() - started, 1)}
        self._done.append(done)
        if done["exit_code"] != step.expected:
            return self._failure(step, done)
        changed = differences(before, look(self.space))
        self._teller.outcome(done["exit_code"], done["seconds"], changed)
        return None

    def data(self, following: list[str]) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "root": str(self.space.root),
            "comfyui_dir": str(self.folder / story.COMFYUI),
            "steps": self._done,
            "next": following,
        }

    def _filled(self, step: Step) -> list[str]:
        known = {"gov": own_name()}
        rows = ledger.overview(self.space).recent
        if rows:
            newest = ledger.load(self.space, rows[-1]["txid"])
            known |= {"txid": newest.txid, "snapshot": str(newest.promotion.get("pre_snapshot"))}
        return [word.format(**known) for word in step.words]

    def _run(self, words: Sequence[str]) -> int:
        own = words[0] == own_name()
        argv = [sys.executable, str(_MAIN), *words[1:]] if own else words
        child = process.spawn(argv, cwd=self.folder, stdout=self._stdout, stderr=self._stderr)
        try:
            return process.exit_code(child.wait())
        finally:
            process.stop(child, grace=_GRACE_SECONDS)

    def _failure(self, step: Step, done: Mapping[str, Any]) -> GovError:
        by_hand = f"cd {shlex.quote(str(self.folder))} && {done['command']}"
        is_offline = (self.folder / story.PACKAGES).is_dir()
        without = "" if is_offline else "; without a package index: gov demo --offline"
        return GovError(
            f"step {len(self._done)}, {step.title}, ended with exit code {done['exit_code']} "
            f"instead of {done['expected']}",
            hint=f"look at it by hand: {by_hand}{without}",
            code="demo_step",
            facts=done,
        )


def own_name() -> str:
    """The gov that runs this, as one would type it from anywhere."""
    launcher = workspace.CHECKOUT / "bin/gov"
    return str(launcher) if launcher.is_file() else "gov"


def _next(folder: Path, space: Workspace) -> list[tuple[str, str]]:
    """Commands to go on with, and what each is good for."""
    newest = snapshots.index(space)[-1]["id"]
    own = shlex.quote(own_name())
    return [
        (f"cd {shlex.quote(str(folder))}", "go on in the demo"),
        (f"{story.GOV} status", "what the workspace looks like now"),
        (f"{story.GOV} rollback {newest}", "undo the rollback"),
        (f"{story.GOV} run -- --port 8188", "start the sample ComfyUI with prod; Ctrl-C ends it"),
        (f"{own} init ~/comfy_env --comfyui-dir ~/ComfyUI", "govern your own ComfyUI"),
        (f"rm -rf {shlex.quote(str(folder))}", "delete the demo"),
    ]


def _told(following: Sequence[tuple[str, str]]) -> list[str]:
    told = ["", "The end. From here:"]
    for command, what in following:
        told += [f"  # {what}", f"  {command}"]
    return told


class Teller:
    """Rules and colours on a terminal, plain lines elsewhere."""

    def __init__(self, stream: TextIO, *, quiet: bool) -> None:
        self._stream = stream
        self._quiet = quiet
        self._is_terminal = stream.isatty()

    def heading(self, title: str, says: str) -> None:
        if self._is_terminal:
            self.line("")
            self._rule(title)
        else:
            self.line(f"\n== {title} ==")
        self.line(says)

    def command(self, text: str) -> None:
        self.line(self._styled(f"$ {text}", "1;36"))

    def outcome(self, code: int, seconds: float, rows: Sequence[tuple[str, str]]) -> None:
        """How it ended, and what is different now."""
        meaning = "" if code == EXIT_OK else ", as it should"
        word = "what changed:" if rows else "nothing changed"
        self.line(self._styled(f"= exit {code}{meaning}, {seconds} s; {word}", "2"))
        for name, what in rows:
            self.line(self._styled(f"    {name:13} {what}", "32"))

    def line(self, text: str) -> None:
        if not self._quiet:
            self._stream.write(f"{text}\n")
            self._stream.flush()

    def _rule(self, title: str) -> None:
        from rich.console import Console
        from rich.text import Text

        if not self._quiet:
            Console(file=self._stream).rule(Text(title, style="bold"), align="left")

    def _styled(self, text: str, codes: str) -> str:
        shown = printable(text)
        return f"\x1b[{codes}m{shown}\x1b[0m" if self._is_terminal else shown
