"""The governed folder: where everything lies, how it is found, who may write.

One kernel lock per workspace (flock) lets one writer in.  uv and git children inherit nothing of
it; they die with us instead (process.py).  Readers never ask for the lock.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from governance.base import clock, liveness
from governance.base.errors import Busy, Damaged, UsageError
from governance.boundaries import config, ownership, store

if TYPE_CHECKING:
    import filelock

MARKER = "[tool.gov]"
ROOT_VARIABLE = "GOV_ROOT"
# In a candidate that goes with its transaction, see candidate.let_go.
GOES = ".goes"
CHECKOUT = Path(__file__).resolve().parent.parent.parent

# What a verb waits for the kernel to free the lock of a holder that is already gone.
_ORPHAN_PATIENCE_SECONDS = 2.0
_LOOK_AGAIN_SECONDS = 0.02
_held: set[Path] = set()
_BELIEVED = ("config.toml", "state", "dodo.py", "pyproject.toml")


class Workspace:
    """Paths of one workspace; `root` is real (no links in it).

    No dataclass: importing dataclasses costs as much as all else that `gov status` needs.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def config(self) -> config.Config:
        return config.load(self.config_path)

    @property
    def config_path(self) -> Path:
        return self.root / "config.toml"

    @property
    def pyproject(self) -> Path:
        return self.root / "pyproject.toml"

    @property
    def lock(self) -> Path:
        return self.root / "uv.lock"

    @property
    def prod(self) -> Path:
        return self.root / ".venv-prod"

    @property
    def candidates(self) -> Path:
        return self.root / ".venv-candidate"

    @property
    def generations(self) -> Path:
        return self.root / ".generations"

    @property
    def code(self) -> Path:
        return self.root / ".code"

    @property
    def snapshots(self) -> Path:
        return self.root / "snapshots"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def plugins(self) -> Path:
        return self.state / "plugins.json"

    @property
    def archives(self) -> Path:
        return self.state / "archives.json"

    @property
    def snapshots_index(self) -> Path:
        return self.state / "snapshots_index.json"

    @property
    def transactions(self) -> Path:
        return self.state / "transactions"

    @property
    def transactions_index(self) -> Path:
        return self.state / "transactions_index.json"

    @property
    def conflicts(self) -> Path:
        return self.state / "conflicts"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def work(self) -> Path:
        return self.state / "work"

    @property
    def receipt(self) -> Path:
        return self.state / "receipt.json"

    @property
    def intent(self) -> Path:
        return self.state / "intent.json"

    @property
    def history(self) -> Path:
        return self.state / "history.jsonl"

    @property
    def log_head(self) -> Path:
        return self.state / "log_head.json"

    @property
    def freeze(self) -> Path:
        return self.state / "prod.freeze.txt"

    @property
    def verify_report(self) -> Path:
        return self.state / "verify.json"

    @property
    def smoke_report(self) -> Path:
        return self.state / "smoke.json"

    @property
    def uv_cache(self) -> Path:
        return self.root / self.config.text("storage.uv_cache_dir")

    @property
    def wheels(self) -> Path:
        """Packages that came in a bundle."""
        return self.root / ".wheels"

    @property
    def comfyui_dir(self) -> Path:
        """The governed ComfyUI; UsageError where config.toml names none or it has no main.py."""
        named = self.config.text("comfyui_dir")
        if not named:
            raise UsageError(
                f"{self.config_path} names no comfyui_dir",
                hint="run `gov init --comfyui-dir PATH`",
                code="no_comfyui",
            )
        folder = Path(os.path.normpath(self.root / store.typed_path(named)))
        require_comfyui(folder)
        return folder

    @property
    def custom_nodes(self) -> Path:
        return self.comfyui_dir / "custom_nodes"

    @property
    def generation(self) -> str | None:
        """The generation that prod leads to; None where there is no prod, or it leads elsewhere."""
        try:
            target = self.prod.readlink()
        except OSError:
            return None
        found = self.generations / target.name
        leads_there = os.path.normpath(self.root / target) == str(found)
        return found.name if leads_there and found.is_dir() and not found.is_symlink() else None

    @property
    def truth(self) -> tuple[Path, Path, Path]:
        return self.pyproject, self.lock, self.plugins

    @property
    def private(self) -> tuple[Path, Path]:
        """For the operator's eyes alone: logs, records, and what programs said."""
        return self.state, self.snapshots

    def folders(self) -> tuple[Path, ...]:
        return (
            self.state,
            self.transactions,
            self.conflicts,
            self.logs,
            self.work,
            self.snapshots,
            self.generations,
            self.candidates,
            self.code,
        )


def require_comfyui(folder: Path) -> None:
    """Raises UsageError where `folder` is no ComfyUI checkout: its main.py tells; Refused where it
    is another user's."""
    ownership.require_own(folder, "main.py", ".git")
    if not (folder / "main.py").is_file():
        missing = f"{folder} does not exist" if not folder.is_dir() else f"no main.py in {folder}"
        raise UsageError(
            f"no ComfyUI: {missing}",
            hint="name the ComfyUI checkout: `gov init --comfyui-dir PATH`, "
            "or comfyui_dir in config.toml",
            code="no_comfyui",
            facts={"comfyui_dir": str(folder)},
        )


def is_workspace(folder: Path) -> bool:
    """A workspace has its own state folder and a pyproject.toml or registry that gov wrote."""
    if not (folder / "state").is_dir() or not (folder / "config.toml").is_file():
        return False
    return (folder / "state/plugins.json").is_file() or carries_marker(folder / "pyproject.toml")


def carries_marker(pyproject: Path) -> bool:
    try:
        return MARKER in pyproject.read_text(errors="replace")
    except OSError:
        return False


def find(named: Path | None = None) -> Workspace:
    """--root, else GOV_ROOT, else the current folder and its parents, else the checkout's own.

    Raises UsageError (code `no_workspace`).
    """
    explicit = named or _from_environment()
    if explicit is not None:
        return _required(explicit)
    for folder in _with_parents(Path.cwd()):
        if is_workspace(folder):
            return _trusted(folder)
    if (CHECKOUT / "dodo.py").is_file():
        own = default_folder()
        if is_workspace(own):
            return _trusted(own)
    raise UsageError(
        f"no workspace in {Path.cwd()} or above",
        hint="make one with `gov init DIR --comfyui-dir PATH`, or name one with --root",
        code="no_workspace",
    )


def default_folder() -> Path:
    """Where `gov init` without DIR makes a workspace when it runs from the tool's checkout."""
    return CHECKOUT / config.load(CHECKOUT / "config.toml").text("workspace")


@contextmanager
def writing(workspace: Workspace, verb: str) -> Iterator[bool]:
    """Hold the workspace alone; re-entrant within one process, and yields whether it was taken
    just now.  Raises Busy at once."""
    if workspace.root in _held:
        yield False
        return
    lock = _acquire(workspace, verb)
    _held.add(workspace.root)
    # What we and uv write, prod above all, is not for everybody to change, whatever the shell says.
    given = os.umask(0o022)
    os.umask(given | 0o022)
    try:
        for folder in workspace.private:
            store.keep_private(store.make_folder(folder))
        yield True
    finally:
        os.umask(given)
        _held.discard(workspace.root)
        # `gov run` lives on without the lock: nobody may read that it is held.
        with suppress(OSError):  # what is left names a process that is gone
            _owner_path(workspace).unlink(missing_ok=True)
        lock.release()


def holder(workspace: Workspace) -> dict[str, object] | None:
    """Who holds the lock: {pid, verb, since}; None when nobody alive does."""
    try:
        owner = store.read_object(_owner_path(workspace))
    except (OSError, Damaged):
        return None
    pid = owner.get("pid")
    alive = isinstance(pid, int) and liveness.start_time(pid) == owner.get("start_time")
    return {key: owner.get(key) for key in ("pid", "verb", "since")} if alive else None


def _acquire(workspace: Workspace, verb: str) -> filelock.BaseFileLock:
    import filelock

    store.make_folder(workspace.state)
    lock = filelock.FileLock(workspace.state / ".lock", timeout=0, mode=0o600)
    try:
        _taken(workspace, lock)
    except filelock.Timeout:
        raise _busy(workspace) from None
    except OSError as error:
        raise store.disk_error(workspace.state / ".lock", error) from error
    owner = {
        "pid": os.getpid(),
        "start_time": liveness.start_time(os.getpid()),
        "verb": verb,
        "since": clock.stamp(),
    }
    # Not durable on purpose: after a power loss nobody holds the lock.
    store.remove_tree(_owner_path(workspace))  # whatever else lies there: a pipe, a link
    _owner_path(workspace).write_bytes(store.dump_json(owner))
    _owner_path(workspace).chmod(0o600)
    return lock


def _taken(workspace: Workspace, lock: filelock.BaseFileLock) -> None:
    """At once, or not at all where a holder is named.  One without a name has just begun, and
    names itself in a moment, or is gone, and the kernel frees its lock in a moment."""
    import filelock

    until = time.monotonic() + _ORPHAN_PATIENCE_SECONDS
    while True:
        try:
            lock.acquire()
            return
        except filelock.Timeout:
            if holder(workspace) is not None or time.monotonic() > until:
                raise
        time.sleep(_LOOK_AGAIN_SECONDS)


def _busy(workspace: Workspace) -> Busy:
    owner = holder(workspace)
    if owner is None:
        return Busy(
            f"{workspace.root} is held by another command that is ending",
            hint="try again in a moment",
        )
    return Busy(
        f"{workspace.root} is held by `gov {owner['verb']}` (pid {owner['pid']}, "
        f"since {owner['since']})",
        hint="wait for it to end, or stop it, then try again",
        facts=owner,
    )


def _owner_path(workspace: Workspace) -> Path:
    return workspace.state / ".lock-owner.json"


def _from_environment() -> Path | None:
    value = os.environ.get(ROOT_VARIABLE)
    return Path(value) if value else None


def _required(folder: Path) -> Workspace:
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is not a folder",
            hint="name the workspace's folder, or make one with `gov init DIR`",
            code="no_workspace",
        )
    if not is_workspace(folder):
        raise UsageError(
            f"{folder} is not a workspace of gov",
            hint=f"make it one with `gov init {folder}`",
            code="no_workspace",
        )
    return _trusted(folder)


def _trusted(folder: Path) -> Workspace:
    """Before a word in it is believed.  In a folder that many may write to (/tmp) its parts may be
    another user's than the folder itself."""
    space = Workspace(folder.resolve())
    ownership.require_own(space.root, *_BELIEVED, take_part=True)
    return space


def _with_parents(folder: Path) -> tuple[Path, ...]:
    return (folder, *folder.parents)
