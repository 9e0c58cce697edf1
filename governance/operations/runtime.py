"""`gov run` and `gov stop`: ComfyUI with prod, started by the real path of its generation.

A process started through the link would take late imports from the new environment after a
switch.  All of the workspace is read-only for it: environments are hardlinks, and what gov or a
later start trusts (the truth, byte code, uv's cache, scripts) nobody else may write.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import governance
from governance import comfyui, git, sandbox
from governance.base import liveness
from governance.base.errors import GovError, UsageError
from governance.boundaries import ownership, process, store
from governance.changes import checkouts, trial_run
from governance.environments import (
    compiled,
    generations,
    interpreter,
    node_code,
    start_files,
    surroundings,
)
from governance.operations import data_places, left_behind
from governance.truth import registry
from governance.truth.workspace import CHECKOUT, Workspace

_STOP_SECONDS = 15.0
# In state/: the byte code of what runs now.
_BYTE_CODE = "run-pycache"


@dataclass(frozen=True)
class Start:
    """How prod would be started: `left_out` are node folders that are not loaded."""

    argv: tuple[str, ...]
    environ: dict[str, str]
    generation: str
    left_out: tuple[str, ...]
    limits: tuple[str, ...]
    support: sandbox.Support
    data: data_places.Data | None
    lying: tuple[node_code.Place, ...]


def prepare(workspace: Workspace, arguments: Sequence[str], *, all_nodes: bool) -> Start:
    """The command line and environment; raises GovError where there is no prod."""
    generation = generations.current(workspace)
    if generation is None:
        raise GovError("there is no prod environment", hint="`gov init` builds it", code="no_prod")
    interpreter.require(workspace, generation)
    folder = workspace.comfyui_dir
    names = [node.name for node in comfyui.node_folders(folder)]
    wanted = set(trial_run.loaded_now(workspace).governed) | git.tracked(folder, "custom_nodes")
    left_out = [] if all_nodes else [name for name in names if name not in wanted]
    for name in set(names) - set(left_out):
        ownership.require_own(folder / "custom_nodes" / name)
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
    environ = _environ(generations.path(workspace, generation))
    support = sandbox.probe(workspace.generations)
    data = None
    if workspace.config.text("run.writes") == "data":
        _require_fence(support)
        data = data_places.of(workspace, arguments)
    return Start(
        argv=tuple(argv),
        environ=environ,
        generation=generation,
        left_out=tuple(left_out),
        limits=tuple(limits),
        support=support,
        data=data,
        lying=_lying(workspace),
    )


def _lying(workspace: Workspace) -> tuple[node_code.Place, ...]:
    """For byte code alone: where code cannot be read, the start is only slower."""
    plugins = registry.promoted(workspace)
    try:
        return tuple(checkouts.lying(workspace, plugins, checkouts.states(workspace, plugins)))
    except (OSError, GovError):
        return ()


def _require_fence(support: sandbox.Support) -> None:
    if support.read_only_mounts or support.landlock:
        return
    raise GovError(
        'config.toml: run.writes is "data", and nothing here can hold a program to it: '
        f"{support.read_only_reason}, and the kernel has no Landlock",
        hint='`writes = "all"` in its table [run] runs ComfyUI without',
        code="no_fence",
    )


def run(workspace: Workspace, start: Start, *, stdout: int | None = None) -> int:
    """Run ComfyUI to its end; its own exit code (128 + n for a death by signal n).

    `stdout`: a descriptor to use instead of our own.
    """
    name = start.generation
    with generations.in_use(workspace, name), _byte_code(workspace, start) as cache:
        argv = sandbox.wrap(_view(workspace, start, cache), start.support, start.argv)
        left_behind.begin(workspace)
        child = process.spawn(
            argv,
            cwd=workspace.comfyui_dir,
            env={**start.environ, "PYTHONPYCACHEPREFIX": str(cache)},
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
            left_behind.settle(workspace)


def _view(workspace: Workspace, start: Start, byte_code: Path) -> sandbox.View:
    """The workspace and the tool itself are closed; what is ComfyUI's in them is open.

    So is what a home is started with, by mounts only: for Landlock the whole home would be.
    """
    own = [path for path in (workspace.root, workspace.uv_cache, *_tool()) if path.exists()]
    if start.data is not None:
        return sandbox.View(
            writable=(*start.data.open, byte_code),
            read_only=(*own, *start.data.closed),
            own_processes=False,
        )
    home = start_files.closed() if start.support.read_only_mounts else []
    return sandbox.View(
        read_only=(*own, *home),
        open=(byte_code, *surroundings.inside(workspace, os.environ.values())),
        own_processes=False,
    )


def _tool() -> Iterator[Path]:
    """gov's code, its start script and its own environment."""
    yield Path(governance.__file__).parent
    if (CHECKOUT / "dodo.py").is_file():
        yield from (CHECKOUT / name for name in ("bin", "tasks", "dodo.py"))
    if sys.prefix != sys.base_prefix:
        yield Path(sys.prefix)


@contextmanager
def _byte_code(workspace: Workspace, start: Start) -> Iterator[Path]:
    """A folder of this run alone: from a lasting one, a later start would take what nodes put
    there for what their neighbours' sources say.

    It begins with what gov compiled itself; what is missing there it compiles meanwhile, since
    torch alone takes seconds at every start otherwise.
    """
    folder = workspace.state / _BYTE_CODE
    own = compiled.sound(workspace, start.generation)
    store.remove_tree(folder)  # of a run that was killed
    store.make_folder(own)
    shutil.copytree(own, folder)
    environment = generations.path(workspace, start.generation)
    python = generations.python_of(environment)
    node_code.begin(start.lying, python, folder)
    words = [compiled.SCRIPT, "after", folder, own, environment]
    quiet = subprocess.DEVNULL
    argv = [str(python), "-I", "-S", *map(str, words)]
    with compiled.writing(own):
        compiler = process.spawn(argv, env={}, stdout=quiet, stderr=quiet)
        try:
            yield folder
        finally:
            process.stop(compiler)
            node_code.note(start.lying, folder)
            store.remove_tree(folder)


def stop(workspace: Workspace) -> int | None:
    """End the ComfyUI that `gov run` of this workspace started; its pid, None where none runs."""
    found = _running(workspace)
    if found is None:
        return None
    pid, started = found
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        _send(pid, started, number)
        if _ended(pid, started, _STOP_SECONDS):
            return pid
    raise GovError(
        f"ComfyUI (pid {pid}) does not end", hint=f"look at it with `ps -fp {pid}`", code="alive"
    )


def require_idle(workspace: Workspace) -> None:
    """Raises UsageError while a ComfyUI of this workspace runs."""
    if (pid := running(workspace)) is not None:
        raise UsageError(
            f"ComfyUI of this workspace runs already (pid {pid})",
            hint="`gov stop` ends it",
            code="already_running",
        )


def running(workspace: Workspace) -> int | None:
    """The pid of the ComfyUI of this workspace; None where none runs."""
    found = _running(workspace)
    return found[0] if found is not None else None


def _running(workspace: Workspace) -> tuple[int, int] | None:
    """Its pid and start time: the pid alone may belong to somebody else by now."""
    try:
        row = store.read_object(_run_file(workspace))
    except FileNotFoundError:
        return None
    pid = row.get("pid")
    if not isinstance(pid, int):
        return None
    started = liveness.start_time(pid)
    return (pid, started) if started is not None and started == row.get("start_time") else None


def _environ(own: Path) -> dict[str, str]:
    foreign = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "GOV_ROOT")
    kept = {name: value for name, value in os.environ.items() if name not in foreign}
    return {**kept, "VIRTUAL_ENV": str(own), "PATH": f"{own / 'bin'}:{kept.get('PATH', '')}"}


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
