"""A clone looked at in a moment, by its files alone: where HEAD is, and whether files look edited.

For questions only, `is_as_seen` apart.  What a change relies on is read by the bytes instead
(code/capture.py): here a clone's own index is believed, as `git status` believes it, and None means
that git must be asked.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

_SIGNATURE = b"DIRC"
_ENTRY = struct.Struct(">10I20sH")
_MAX_INDEX_BYTES = 32 << 20
_HEX = frozenset("0123456789abcdef")
_EXTENDED = 0x4000
_LINK, _SUBMODULE = 0o120000, 0o160000


def head(checkout: Path) -> str | None:
    """HEAD as two small files give it; None where it is not so simple (a worktree, packed refs)."""
    folder = f"{checkout}/.git"
    try:
        text = _line(f"{folder}/HEAD")
        if text.startswith("ref: refs/") and ".." not in text:
            text = _line(f"{folder}/{text.removeprefix('ref: ')}")
    except (OSError, ValueError):
        return None
    return text if len(text) in (40, 64) and set(text) <= _HEX else None


# What ComfyUI's own repository has in custom_nodes.
_SHIPPED = frozenset({"websocket_image_save.py", "example_node.py.example"})


def loadable(comfyui_dir: Path) -> list[str]:
    """Names in custom_nodes that ComfyUI's loader would take, less those that it ships; as
    comfyui.node_folders, whose import costs a question more than all else."""
    try:
        with os.scandir(f"{comfyui_dir}/custom_nodes") as entries:
            found = [
                entry.name for entry in entries if entry.name.endswith(".py") or _is_dir(entry)
            ]
    except OSError:
        return []
    skipped = {"__pycache__", ".disabled", *_SHIPPED}
    return sorted(n for n in found if n not in skipped and not n.endswith(".disabled"))


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def looks_clean(checkout: Path) -> bool | None:
    """Whether every tracked file has the size and time that the index names.

    Format: gitformat-index(5), versions 2 and 3 with SHA-1.
    """
    path = f"{checkout}/.git/index"
    try:
        data = _read(path, _MAX_INDEX_BYTES)
        end = _first_edited(path, checkout, data, _is_same)
        return None if end is None or not _has_tree(data, end) else True
    except (OSError, ValueError, struct.error, IndexError):
        return None


def seen_path(repository: Path, commit: str) -> Path:
    """In a repository of `.code/`: where the list of what git saw of a commit's files is kept, if
    it is."""
    return repository / "seen" / commit


def is_as_seen(seen: Path, checkout: Path) -> bool:
    """Claim: every file of the commit that the list `seen` is of lies there, and nobody has touched
    one since gov read it; see Repository.seen_index.  False where that is not known."""
    try:
        data = _read(str(seen), _MAX_INDEX_BYTES)
        is_whole = _sha1(data[:-20]) == data[-20:]
        return is_whole and _first_edited(str(seen), checkout, data, _is_untouched) is not None
    except (OSError, ValueError, struct.error, IndexError):
        return False


def _sha1(data: bytes) -> bytes:
    from hashlib import sha1  # its import costs what a hundred files do

    return sha1(data, usedforsecurity=False).digest()


_Same = Callable[[os.stat_result, tuple[int, ...]], bool]


def _first_edited(path: str, checkout: Path, data: bytes, is_same: _Same) -> int | None:
    """Where the entries end; None at the first file that is not as it was when it was written."""
    top = os.fsencode(str(checkout))
    written = os.stat(path).st_mtime_ns  # noqa: PTH116 - pathlib is slow to import
    version, count = struct.unpack(">II", data[4:12])
    if data[:4] != _SIGNATURE or version not in (2, 3):
        return None
    at = 12
    for _ in range(count):
        fields = _ENTRY.unpack_from(data, at)
        flags = fields[-1]
        start = at + _ENTRY.size + (2 if flags & _EXTENDED else 0)
        stop = data.index(b"\0", start)
        if not _holds(top + b"/" + data[start:stop], fields, written, is_same):
            return None
        at += (stop - at + 8) & ~7
    return at


def _holds(path: bytes, fields: tuple[int, ...], written: int, is_same: _Same) -> bool:
    if fields[6] & 0o170000 == _SUBMODULE:
        return True
    # A file as new as the index may have been edited since without another time (racy git).
    return fields[2] * 10**9 + fields[3] < written and is_same(os.lstat(path), fields)


def _is_same(facts: os.stat_result, fields: tuple[int, ...]) -> bool:
    is_old = facts.st_mtime_ns == fields[2] * 10**9 + fields[3]
    return is_old and (facts.st_size & 0xFFFFFFFF) == fields[9]


def _is_untouched(facts: os.stat_result, fields: tuple[int, ...]) -> bool:
    """The time of the last change of any kind is the kernel's: no program can forge it."""
    changed = fields[0] * 10**9 + fields[1]
    is_it = (facts.st_ctime_ns, facts.st_ino & 0xFFFFFFFF) == (changed, fields[5])
    return is_it and _is_same(facts, fields)


def _has_tree(data: bytes, at: int) -> bool:
    """The cached root tree is valid: nothing was staged since the last commit or checkout."""
    while at + 8 <= len(data) - 20:
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "big")
        if name == b"TREE":
            return not data[at + 8 : at + 8 + size].lstrip(b"\0").startswith(b"-1")
        at += 8 + size
    return False


def _line(path: str) -> str:
    return _read(path, 1000).decode("ascii").strip()


def _read(path: str, limit: int) -> bytes:
    """Of a plain file: a pipe would keep a reader waiting."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if not os.path.isfile(f"/proc/self/fd/{descriptor}"):  # noqa: PTH113
            raise ValueError(path)
        parts = []
        while limit > 0 and (part := os.read(descriptor, min(limit, 1 << 20))):
            parts.append(part)
            limit -= len(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)
