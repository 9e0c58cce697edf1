"""`gov run` and `gov stop`: ComfyUI with prod, started by the real path of its generation.

A process started through the link would take late imports from the new environment after a
switch; and its site-packages must not be writable for it, since their files are hardlinks.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from governance import comfyui, git, sandbox
from governance.base import liveness
from governance.base.errors import GovError, UsageError
from governance.boundaries import process, store
from governance.changes import trial_run
from governance.environments import generations
from governance.truth.workspace import Workspace

_STOP_SECONDS = 15.0


@dataclass(frozen=True)
class Start:
    """How prod would be started: `left_out` are node folders that are not loaded."""

    argv: tuple[str, ...]
    environ: dict[str, str]
    generation: str
    left_out: tuple[str, ...]
    limits: tuple[str, ...]


def prepare(workspace: Workspace, arguments: Sequence[str], *, all_nodes: bool) -> Start:
    """The command line and environment; raises GovError where there is no prod."""
    generation = generations.current(workspace)
    if generation is None:
        raise GovError("there is no prod environment", hint="`gov init` builds it", code="no_prod")
    folder = workspace.comfyui_dir
    names = [node.name for node in comfyui.node_folders(folder)]
    wanted = set(trial_run.promoted(workspace)) | git.tracked(folder, "custom_nodes")
    left_out = [] if all_nodes else [name for name in names if name not in wanted]
    limits: list[str] = []
    selection: list[str] = []
    if left_out:
        loaded = tuple(name for name in names if name in wanted)
        selection = comfyui.selection(comfyui.read_flags(folder), loaded, limits)
    python = generations.python_of(generations.path(workspace, generation))
    argv = [
        str(python),
        str(folder / "main.py"),
        *trial_run.start_arguments(workspace),
        *arguments,
        *selection,
    ]
    environ = _environ(workspace, generation)
    return Start(tuple(argv), environ, generation, tuple(left_out), tuple(limits))


def run(workspace: Workspace, start: Start, *, stdout: int | None = None) -> int:
    """Run ComfyUI to its end; its own exit code (128 + n for a death by signal n).

    `stdout`: a descriptor to use instead of our own.
    """
    support = sandbox.probe(workspace.generations)
    own = generations.path(workspace, start.generation)
    view = sandbox.View(read_only=(own,), own_processes=False)
    argv = sandbox.wrap(view, support, start.argv)
    with generations.in_use(workspace, start.generation):
        child = process.spawn(
            argv,
            cwd=workspace.comfyui_dir,
            env=start.environ,
            stdin=None,
            stdout=stdout,
            own_session=False,
        )
        try:
            _remember(workspace, child)
            return process.exit_code(_wait(child))
        finally:
            process.stop(child)
            _run_file(workspace).unlink(missing_ok=True)


def stop(workspace: Workspace) -> int | None:
    """End the ComfyUI that `gov run` of this workspace started; its pid, None where none runs.

    Recognised by pid and start time, since a pid may belong to somebody else by now.
    """
    try:
        row = store.read_object(_run_file(workspace))
    except FileNotFoundError:
        return None
    pid, started = row.get("pid"), row.get("start_time")
    if not isinstance(pid, int) or liveness.start_time(pid) != started:
        return None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        _send(pid, started, number)
        if _ended(pid, started, _STOP_SECONDS):
            return pid
    raise GovError(
        f"ComfyUI (pid {pid}) does not end", hint=f"look at it with `ps -fp {pid}`", code="alive"
    )


def require_idle(workspace: Workspace) -> None:
    """Raises UsageError while a ComfyUI of this workspace runs."""
    try:
        row = store.read_object(_run_file(workspace))
    except FileNotFoundError:
        return
    if liveness.start_time(int(row.get("pid", 0))) == row.get("start_time"):
        raise UsageError(
            f"ComfyUI of this workspace runs already (pid {row['pid']})",
            hint="`gov stop` ends it",
            code="already_running",
        )


def _environ(workspace: Workspace, generation: str) -> dict[str, str]:
    cache = workspace.generations / f"{generation}.pycache"
    own = generations.path(workspace, generation)
    foreign = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "GOV_ROOT")
    kept = {name: value for name, value in os.environ.items() if name not in foreign}
    return {
        **kept,
        "VIRTUAL_ENV": str(own),
        "PATH": f"{own / 'bin'}:{kept.get('PATH', '')}",
        "PYTHONPYCACHEPREFIX": str(cache),
    }


def _wait(child: subprocess.Popen[bytes]) -> int:
    """Ctrl-C reaches ComfyUI too, as it shares our terminal: wait for it to end by itself."""
    while True:
        try:
            return process.reap(child)
        except KeyboardInterrupt:
            if process.poll(child) is None:
                child.send_signal(signal.SIGINT)


def _remember(workspace: Workspace, child: subprocess.Popen[bytes]) -> None:
    row = {"pid": child.pid, "start_time": liveness.start_time(child.pid)}
    store.write_json(_run_file(workspace), row)


def _run_file(workspace: Workspace) -> Path:
    return workspace.state / "run.json"


def _send(pid: int, started: object, number: int) -> None:
    """Through a pidfd, so that a pid that was given away meanwhile is not hit."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if liveness.start_time(pid) == started:
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        pass  # it ended by itself
    finally:
        os.close(descriptor)


def _ended(pid: int, started: object, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if liveness.start_time(pid) != started:
            return True
        time.sleep(0.1)
    return False
