"""What a command that did not do its work must have left as it was, byte by byte."""

import hashlib
import os
import re
from collections.abc import Collection
from pathlib import Path

# The lock's own files tell who came last, the index of transactions is derived from the records,
# and doit's database is a cache.
_UNMEANT = {
    "state/.lock",
    "state/.lock-owner.json",
    "state/transactions_index.json",
    ".doit.db",
    # A refusal is a line of the audit log.
    "state/history.jsonl",
    "state/log_head.json",
}
_REMOTE = re.compile(r"/\.git/(logs/)?refs/remotes/")
_STORE = re.compile(r"^\.code/|/\.git/objects/")
# What git saw of files, to be read again where it is gone.
_SEEN = re.compile(r"^\.code/[^/]+/seen(/|$)")
_TRUTH = ("pyproject.toml", "uv.lock", "state/plugins.json")


def fingerprint(root: Path, comfyui: Path | None = None) -> dict[str, str]:
    """Path to digest: truth, state, snapshots, link, prod's files, generations, candidates, clones.

    uv's cache is left out: what was fetched may stay.
    """
    found = _of(root, {".uv-cache"})
    found |= _prod(root)
    if comfyui is not None:
        found |= {f"ComfyUI/{name}": digest for name, digest in _of(comfyui).items()}
    meant = (name for name in found if name not in _UNMEANT and not _SEEN.match(name))
    return {name: found[name] for name in meant}


def truth_and_prod(root: Path) -> dict[str, str]:
    """What every command that ends in 1 to 143 leaves alone; it may record what happened."""
    truth = {name: _digest(root / name) for name in _TRUTH}
    return truth | _prod(root) | {".venv-prod": _digest(root / ".venv-prod")}


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What was fetched into a store of git's may stay, as in uv's cache; nothing there may go."""
    names = before.keys() | after.keys()
    changed = sorted(name for name in names if before.get(name) != after.get(name))
    gone_or_other = [name for name in changed if name in before or not _STORE.search(name)]
    return [name for name in gone_or_other if not _REMOTE.search(name)]


def _prod(root: Path) -> dict[str, str]:
    link = root / ".venv-prod"
    if not link.exists():
        return {}
    return {f".venv-prod/{name}": digest for name, digest in _of(link.resolve()).items()}


def _of(folder: Path, skipped: Collection[str] = ()) -> dict[str, str]:
    """Every file, link and folder below; of environments other than prod only the names."""
    found = {}
    for place, folders, files in os.walk(folder):
        here = Path(place)
        folders[:] = [name for name in folders if name not in skipped and name != "__pycache__"]
        if here.name in (".generations", ".venv-candidate"):
            files += folders
            folders[:] = []
        for name in (*folders, *files):
            path = here / name
            found[str(path.relative_to(folder))] = _digest(path)
    return found


def _digest(path: Path) -> str:
    if path.is_symlink():
        return f"-> {os.readlink(path)}"
    if path.is_dir():
        return "folder"
    if not path.exists():
        return "missing"
    return hashlib.sha256(path.read_bytes()).hexdigest()
