"""The one place that writes files of the workspace.

A document is written whole: temporary file in the same folder, flush, fsync, rename, fsync of the
folder.  A folder of documents is the same, in one: files and folder fsynced, then its rename.
Without any one of these a power loss was seen to leave an empty or a mixed state.
Nothing here follows a link into a write or a delete.

What is written into a private folder (0700: `state/` and `snapshots/`) is private too.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from governance.base.errors import Damaged, GovError, UsageError

MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
TEMPORARY = ".tmp-"
# Folders are opened within folders when a tree is deleted, down to this level.
_DEEPEST = 50
_TAIL_BYTES = 1 << 16
SCHEMA = 1
_PRIVATE = 0o700


def typed_path(text: str | Path) -> Path:
    """A path as a person wrote it: `~` is the home folder, an unknown user's stays as it is."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 (Path.expanduser raises RuntimeError)


def digest(data: bytes) -> str:
    """SHA-256, hexadecimal."""
    import hashlib  # it brings OpenSSL along, which a question rarely needs

    return hashlib.sha256(data).hexdigest()


def file_digest(path: Path) -> str | None:
    """SHA-256 of the file's bytes, None where there is no file."""
    try:
        return digest(read_bytes(path))
    except FileNotFoundError:
        return None


def read_bytes(path: Path) -> bytes:
    """The bytes of a document.  Raises FileNotFoundError, and Damaged for what is no file (nobody
    waits for a pipe) or larger than any document."""
    data = plain_bytes(path, MAX_DOCUMENT_BYTES + 1)
    if data is None:
        raise damaged(path, "it is a folder" if path.is_dir() else "it is no file")
    if len(data) > MAX_DOCUMENT_BYTES:
        raise damaged(path, f"larger than {MAX_DOCUMENT_BYTES} bytes")
    return data


def plain_bytes(path: Path, limit: int) -> bytes | None:
    """At most `limit` bytes of a file; None where a folder, a pipe or a device lies there, which
    would keep a reader waiting or never end.  Raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            return None
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            return stream.read(limit)
    finally:
        os.close(descriptor)


def write(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace `path` by `data`: after any crash it holds the old bytes or the new ones."""
    refuse_link(path.parent)
    mode &= _allowed_in(path.parent)
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{os.urandom(4).hex()}")
    try:
        _create(temporary, data, mode)
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise disk_error(path, error) from error
    finally:
        _drop(temporary)


def append_line(path: Path, entry: Mapping[str, Any]) -> None:
    """Add one JSON object, which has an `id`, as the last line, durably; nothing where it is
    there.  What a crash left of a line that was being written goes first."""
    line = json_line(entry)
    refuse_link(path.parent)
    mode = 0o644 & _allowed_in(path.parent)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "r+b") as stream:
            _drop_torn_line(stream)
            if not _ends_with(stream, line):
                stream.seek(0, os.SEEK_END)
                stream.write(line)
                stream.flush()
            os.fsync(stream.fileno())
        sync_folder(path.parent)
    except OSError as error:
        raise disk_error(path, error) from error


def json_line(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def _drop_torn_line(stream: BinaryIO) -> None:
    size = stream.seek(0, os.SEEK_END)
    while size:
        stream.seek(start := max(0, size - _TAIL_BYTES))
        tail = stream.read(size - start)
        if (end := tail.rfind(b"\n")) >= 0 or start == 0:
            stream.truncate(start + end + 1)
            return
        size = start


def _ends_with(stream: BinaryIO, line: bytes) -> bool:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - len(line)))
    return stream.read() == line


def copy_file(source: Path, target: Path) -> None:
    """Copy one plain file with its permissions; not durable until its filesystem is synced."""
    import shutil

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target, follow_symlinks=False)
    except OSError as error:
        raise disk_error(target, error) from error


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make a folder of files, which are durable in it; it is so itself once it got its name by
    `move`, and before that nobody may look into it."""
    refuse_link(folder.parent)
    allowed = _allowed_in(folder.parent)
    try:
        folder.mkdir(mode=0o755 & allowed)
        for name, data in files.items():
            _create(folder / name, data, 0o644 & allowed)
    except OSError as error:
        raise disk_error(folder, error) from error
    sync_folder(folder)


def _create(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def write_json(path: Path, value: Any) -> None:
    write(path, dump_json(value))


def dump_json(value: Any) -> bytes:
    """What is no Unicode (a file name of other bytes) becomes its own JSON escape, `\\udc80`."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    return text.encode(errors="backslashreplace")


def read_json(path: Path) -> Any:
    """The value of a document; Damaged where it is none, FileNotFoundError where it is missing."""
    return parse_json(read_bytes(path), path)


def parse_json(data: bytes, path: Path) -> Any:
    try:
        return json.loads(data.decode(), object_pairs_hook=_without_duplicates)
    except RecursionError:
        raise damaged(path, "nested too deeply") from None
    except ValueError as error:
        raise damaged(path, str(error)) from None


def read_object(path: Path) -> dict[str, Any]:
    """As read_json, for documents that are one JSON object."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise damaged(path, f"holds a {type(value).__name__}, not an object")
    check_schema(value, path)
    return value


def check_schema(value: dict[str, Any], path: Path) -> None:
    """Raises Damaged for a document that a newer gov wrote."""
    schema = value.get("schema", SCHEMA)
    if type(schema) is not int or schema > SCHEMA:
        raise damaged(path, f"schema {schema!r} is newer than this gov ({SCHEMA})")


def damaged(path: Path, why: str) -> Damaged:
    return Damaged(
        f"{path} is damaged: {why}",
        hint=f"nothing was changed; look at the file, or {_way_out(path)}",
        facts={"path": str(path), "why": why},
    )


def _way_out(path: Path) -> str:
    """A rollback brings the truth back, and nothing else."""
    if path.name == "snapshots_index.json":
        return "write its entries anew from the meta.json of each folder in snapshots/"
    if path.parent.name == "transactions":
        return "move it away, which forgets that transaction, and `gov tx run` the node again"
    if "snapshots" in (path.parent.name, path.parent.parent.name):
        return "take another snapshot: `gov snapshot list` shows them"
    return "bring back a snapshot with `gov snapshot list` and `gov rollback <snapshot_id>`"


def set_aside(path: Path) -> Path:
    """Keep a damaged file as evidence beside its place, which is free then; its new path."""
    kept = path.with_name(f"{path.name}.damaged-{os.urandom(4).hex()}")
    move(path, kept)
    return kept


def make_folder(path: Path, *, mode: int = 0o755) -> Path:
    """The folder, made durable where it is new; a link in its place is refused."""
    refuse_link(path)
    if not path.is_dir():
        try:
            path.mkdir(mode=mode & _allowed_in(path.parent), parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(path, error) from error
        sync_folder(path.parent)
    return path


def keep_private(folder: Path) -> None:
    """A folder of ours and all that lies in it are for its owner alone, also where an earlier gov
    or another umask made them.  The folder's own mode is the witness, and is set last."""
    if stat.S_IMODE(folder.stat().st_mode) == _PRIVATE:
        return
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(place, name)  # noqa: PTH118 (thousands of them)
            # One of another user's stays as it is: the folder closes it.
            with suppress(FileNotFoundError, PermissionError):
                _close_to_others(path)
    folder.chmod(_PRIVATE)


def _close_to_others(path: str) -> None:
    facts = os.lstat(path)
    if not stat.S_ISLNK(facts.st_mode) and facts.st_mode & 0o077:
        os.chmod(path, stat.S_IMODE(facts.st_mode) & _PRIVATE)  # noqa: PTH101


def _allowed_in(folder: Path) -> int:
    """The bits of a mode that what is made in the folder may have."""
    try:
        is_private = not folder.stat().st_mode & 0o077
    except OSError:
        return 0o777
    return _PRIVATE if is_private else 0o777


def refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise GovError(
            f"{path} is a link, not a folder of this workspace",
            hint="gov does not write or delete through links; put the real folder back",
            code="unexpected_link",
            facts={"path": str(path)},
        )


def sync_folder(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise disk_error(path, error) from error


def sync_filesystem(path: Path) -> None:
    """Make all that was written to the filesystem of `path` durable; uv itself syncs nothing."""
    import ctypes

    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            raise disk_error(path, OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno())))
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def point_link(link: Path, target: str) -> None:
    """Let `link` lead to `target` (as given, relative to the link's folder) by one rename."""
    refuse_other_than_link(link)
    temporary = link.with_name(f"{TEMPORARY}{link.name}-{os.urandom(4).hex()}")
    try:
        temporary.symlink_to(target)
        temporary.replace(link)
        sync_folder(link.parent)
    except OSError as error:
        raise disk_error(link, error) from error
    finally:
        _drop(temporary)


def refuse_other_than_link(link: Path) -> None:
    if link.exists() and not link.is_symlink():
        raise GovError(
            f"{link} is not the link that gov made",
            hint="move it away; `gov repair` makes the link again",
            code="unexpected_file",
            facts={"path": str(link)},
        )


def _drop(temporary: Path) -> None:
    """Recovery deletes what a failing disk does not let go now."""
    with suppress(OSError):
        temporary.unlink(missing_ok=True)


def move(source: Path, target: Path) -> None:
    """Rename within one filesystem, durably."""
    refuse_link(target.parent)
    try:
        source.rename(target)
        sync_folder(target.parent)
        if source.parent != target.parent:
            sync_folder(source.parent)
    except OSError as error:
        raise disk_error(target, error) from error


def mount_of(folder: Path) -> int:
    """The number of its mount: only within one can be renamed.  Its filesystem does not tell: a
    folder of the same disk may be mounted once more, as volumes of containers are."""
    descriptor = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    try:
        facts = Path(f"/proc/self/fdinfo/{descriptor}").read_text()
        return next(int(line.split()[1]) for line in facts.splitlines() if "mnt_id" in line)
    finally:
        os.close(descriptor)


def remove_file(path: Path) -> None:
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def remove_tree(path: Path) -> None:
    """Delete a folder of ours, its read-only files too; a link is unlinked, never followed."""
    try:
        is_folder = stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_folder:
        path.unlink()
        return
    empty_folder(path)
    path.rmdir()
    sync_folder(path.parent)


def empty_folder(path: Path) -> None:
    """Delete all that lies in a folder, however deep.

    What is deeper than a few levels is moved up first: a program that was observed may have made
    more levels than a path, the stack or the open files of a process can hold.
    """
    top = _opened(str(path), None)
    try:
        while _delete_below(top, top, 0):
            pass
    except OSError as error:
        if error.filename is not None and not os.path.isabs(error.filename):  # noqa: PTH117
            error.filename = str(path)
        raise
    finally:
        os.close(top)


def _delete_below(folder: int, top: int, depth: int) -> bool:
    """Whether anything lay in the folder; what was moved up to `top` is left for the next time."""
    with os.scandir(folder) as entries:
        listed = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in listed:
        if is_folder:
            _delete_folder(name, folder, top, depth)
        else:
            os.unlink(name, dir_fd=folder)
    return bool(listed)


def _delete_folder(name: str, parent: int, top: int, depth: int) -> None:
    opened = _opened(name, parent)
    try:
        if depth < _DEEPEST:
            _delete_below(opened, top, depth + 1)
    finally:
        os.close(opened)
    if depth < _DEEPEST:
        os.rmdir(name, dir_fd=parent)
    else:
        os.rename(name, f"{TEMPORARY}{os.urandom(8).hex()}", src_dir_fd=parent, dst_dir_fd=top)


def _opened(name: str, parent: int | None) -> int:
    """A folder whose entries can be deleted: without write permission it would keep them."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=parent)
    except PermissionError:
        os.chmod(name, stat.S_IRWXU, dir_fd=parent)
        descriptor = os.open(name, flags, dir_fd=parent)
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    if mode & stat.S_IRWXU != stat.S_IRWXU:
        os.fchmod(descriptor, mode | stat.S_IRWXU)
    return descriptor


_OF_THE_MACHINE = (
    errno.ENOSPC,
    errno.EROFS,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.EXDEV,
    errno.EFBIG,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
)


def machine_error(error: OSError) -> GovError | None:
    """A full, failing or read-only disk is the machine's trouble wherever it strikes; None for
    what is a bug of ours."""
    if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
        return UsageError(
            f"{str(error.filename)[:100]!r}... cannot be a path: {error.strerror}",
            hint="name a shorter one, whose links do not lead in a circle",
        )
    if str(error.strerror).startswith("No usable temporary directory"):  # tempfile's own words
        return GovError(
            f"cannot write temporary files: {error.strerror}",
            hint="free some space or mend the permissions there, or set TMPDIR to a folder",
            code="disk",
        )
    if error.errno not in _OF_THE_MACHINE:
        return None
    return disk_error(Path(str(error.filename or "a file of the workspace")), error)


def disk_error(path: Path, error: OSError) -> GovError:
    """One clear error for a full, read-only or failing disk."""
    return GovError(
        f"cannot write {path}: {error.strerror or error}",
        hint="free some space or mend the permissions, then run the same command again",
        code="disk",
        facts={"path": str(path), "errno": error.errno},
    )


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {double!r} stands twice")
    return result
