"""Lay new code over a folder, file by file: `python -I -S lay.py PLAN.json`.

Run by path inside a candidate's layer, where alone it is seen then; the commit uses the same
functions on the real folders.  Standard library only.  A plan is a list of {place, staging,
moves}; a move is {path, before, after, mode, staged}, see moves.FileMove.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from typing import Any

_CHUNK = 1 << 20

Move = Mapping[str, Any]


def digest(path: str) -> str | None:
    """Of the bytes on the disk; `link:<target>` for a link, `folder` for one, None for nothing."""
    try:
        facts = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISLNK(facts.st_mode):
        return f"link:{os.readlink(path)}"  # noqa: PTH115 - pathlib is slow to import
    if stat.S_ISDIR(facts.st_mode):
        return "folder"
    if not stat.S_ISREG(facts.st_mode):
        return "special"
    hashed = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK):
            hashed.update(chunk)
    return hashed.hexdigest()


def lay(place: str, staging: str, moves: list[Move], *, durable: bool) -> set[str]:
    """Make every file be as it is after its move: removals first, so that a folder can become a
    file.  Nothing to do for what is so already.  Returns the folders that were changed."""
    changed: set[str] = set()
    for move in sorted(moves, key=lambda move: move["after"] is not None):
        target = f"{place}/{move['path']}"
        _refuse_links(place, move["path"])
        if digest(target) == move["after"]:
            _set_mode(target, move)
        elif move["after"] is None:
            os.unlink(target)  # noqa: PTH108
            changed |= set(_without_empty(place, os.path.dirname(target)))  # noqa: PTH120
        else:
            changed |= _put(place, staging, move, target, durable)
        _drop_byte_code(target)
    return changed


def _put(place: str, staging: str, move: Move, target: str, durable: bool) -> set[str]:
    """By one rename from the same folder, so that a crash leaves the old file or the new one."""
    folder = os.path.dirname(target)  # noqa: PTH120
    made = _make(place, folder)
    if digest(target) == "folder":
        for _ in _without_empty(place, target):
            pass
    temporary = _temporary(target)
    source = f"{staging}/{move['staged']}"
    if os.path.islink(source):  # noqa: PTH114
        os.symlink(os.readlink(source), temporary)  # noqa: PTH115, PTH211
    else:
        _copy(source, temporary, move["mode"], durable)
    os.replace(temporary, target)  # noqa: PTH105
    return {folder, *made}


def _temporary(target: str) -> str:
    """The same name each time: what a crash left is replaced when the move is made again."""
    folder, name = os.path.split(target)
    path = f"{folder}/.tmp-gov-{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}"
    if os.path.lexists(path):
        os.unlink(path)  # noqa: PTH108
    return path


def _copy(source: str, target: str, mode: int, durable: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(source, "rb") as old, os.fdopen(os.open(target, flags, mode), "wb") as new:
        while chunk := old.read(_CHUNK):
            new.write(chunk)
        new.flush()
        os.fchmod(new.fileno(), mode)
        if durable:
            os.fsync(new.fileno())


def _make(place: str, folder: str) -> set[str]:
    """Folders on the way that are not there yet; the ones that hold a new entry."""
    changed = set()
    while not os.path.isdir(folder) and folder != os.path.dirname(place):  # noqa: PTH112, PTH120
        changed.add(os.path.dirname(folder))  # noqa: PTH120
        changed.add(folder)
        folder = os.path.dirname(folder)  # noqa: PTH120
    for path in sorted(changed, key=len):
        if not os.path.isdir(path):  # noqa: PTH112
            os.mkdir(path)  # noqa: PTH102
    return changed


def _without_empty(place: str, folder: str) -> Iterator[str]:
    """Delete the folders that hold nothing any more, up to the place itself; where it stopped."""
    while folder != place and folder.startswith(f"{place}/"):
        _drop_folder(f"{folder}/__pycache__")
        try:
            os.rmdir(folder)  # noqa: PTH106
        except OSError:
            break  # something of the user's lies there
        folder = os.path.dirname(folder)  # noqa: PTH120
    yield folder


def _drop_folder(folder: str) -> None:
    """Byte code that nothing compiles any more."""
    try:
        names = os.listdir(folder)  # noqa: PTH208
    except OSError:
        return
    if all(name.endswith((".pyc", ".pyo")) for name in names):
        for name in names:
            os.unlink(f"{folder}/{name}")  # noqa: PTH108
        os.rmdir(folder)  # noqa: PTH106


def _drop_byte_code(target: str) -> None:
    """A module of the same size and time would be taken for the one that was compiled."""
    folder, _, name = target.rpartition("/")
    if not name.endswith(".py"):
        return
    stem = name[:-2]
    cache = f"{folder}/__pycache__"
    for left in os.listdir(cache) if os.path.isdir(cache) else []:  # noqa: PTH112, PTH208
        if left.startswith(stem) and left.endswith((".pyc", ".pyo")):
            os.unlink(f"{cache}/{left}")  # noqa: PTH108


def _set_mode(target: str, move: Move) -> None:
    if move["after"] is None or str(move["after"]).startswith("link:"):
        return
    now = stat.S_IMODE(os.lstat(target).st_mode)
    if bool(now & 0o100) != bool(move["mode"] & 0o100):
        os.chmod(target, move["mode"])  # noqa: PTH101


def _refuse_links(place: str, path: str) -> None:
    """No link on the way: where it leads is not this node's folder."""
    at = place
    for name in path.split("/")[:-1]:
        at = f"{at}/{name}"
        if os.path.islink(at):  # noqa: PTH114
            raise OSError(f"{at} is a link")


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        for row in json.load(file):
            os.makedirs(row["place"], exist_ok=True)  # noqa: PTH103
            lay(row["place"], row["staging"], row["moves"], durable=False)
