"""Where the tries of one command take place: a folder that is deleted whatever happens."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from governance.base.errors import UsageError
from governance.boundaries import store

if TYPE_CHECKING:
    import filelock


@dataclass(frozen=True)
class Bench:
    """`cache` outlives the command and is shared by all tries; `sources` holds our copies of what
    was named, `runs` the workspaces."""

    cache: Path
    sources: Path
    runs: Path
    is_kept: bool = False

    @property
    def uv_cache(self) -> Path:
        return self.cache / "uv"


def default_cache() -> Path:
    """Raises UsageError where this user has no home."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    if named.startswith("/"):  # the base directory specification ignores relative ones
        return Path(named) / "gov/ci"
    try:
        return Path.home() / ".cache/gov/ci"
    except RuntimeError:
        raise UsageError(
            "this user has no home folder for the cache",
            hint="name a folder for it: `gov ci PATH --cache DIR`",
            code="no_home",
        ) from None


@contextmanager
def opened(cache: Path, keep: Path | None = None) -> Iterator[Bench]:
    """The workspaces lie in `keep` where they are to be kept, else beside the cache: packages are
    linked into an environment only where both are on one filesystem."""
    if keep is not None:
        _refuse_used(keep)
    work = store.make_folder(cache / "work").resolve()
    own, lock = _begun(work)
    try:
        runs = own / "runs" if keep is None else keep.resolve()
        made = Bench(work.parent, own / "sources", runs, keep is not None)
        store.make_folder(made.sources)
        store.make_folder(made.runs)
        yield made
    finally:
        store.remove_tree(own)
        lock.release()


def _begun(work: Path) -> tuple[Path, filelock.BaseFileLock]:
    """A folder of this command's own, which it holds by a lock of the kernel: the process ids of
    another container that shares the cache would tell nothing."""
    import filelock

    with filelock.FileLock(work / ".lock"):
        _sweep(work)
        own = store.make_folder(work / token_hex(4))
        lock = filelock.FileLock(own / ".lock")
        lock.acquire()
    return own, lock


def _sweep(work: Path) -> None:
    """Delete what a command left that was killed: nobody holds it any more."""
    import filelock

    for left in work.iterdir():
        if left.is_dir():
            with suppress(filelock.Timeout), filelock.FileLock(left / ".lock", timeout=0):
                store.remove_tree(left)


def _refuse_used(keep: Path) -> None:
    if os.path.lexists(keep) and not (keep.is_dir() and not any(keep.iterdir())):
        raise UsageError(
            f"{keep} is not an empty folder",
            hint="name another one after --keep, or delete it first",
            code="not_fresh",
            facts={"path": str(keep)},
        )
