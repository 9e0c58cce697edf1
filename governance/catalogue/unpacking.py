"""A zip archive that anybody may have made, unpacked: plain files inside one folder, or nothing.

The whole table of contents is judged before the first file is written, and what is written is
counted, since a table of contents can lie.
"""

from __future__ import annotations

import lzma
import os
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from governance.base.errors import Refused
from governance.boundaries import store

MOST_ENTRIES = 20_000
MOST_BYTES = 2 << 30
# A text compresses to a tenth; a bomb to a thousandth.  Small archives may hold a file of zeros.
_MOST_RATIO = 100
_UNJUDGED_BYTES = 32 << 20
_LONGEST_PART = 200
_LONGEST_PATH = 1000
_DEEPEST = 40
_MOST_DIRECTORY_BYTES = 16 << 20
_CHUNK = 1 << 20

# APPNOTE.TXT 4.3.16 and 4.3.15: the end of the table of contents, and what only zip64 has.
_END = struct.Struct("<4s4H2LH")
_END_MARK, _ZIP64_MARK = b"PK\5\6", b"PK\6\7"
_ZIP64_SIZE = 20
_ENCRYPTED = 0x1
_ZIP_FAULTS = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
)


class Unfit(Exception):
    """Why the archive is not unpacked; the text follows `the archive `."""


class _File(NamedTuple):
    name: str
    info: zipfile.ZipInfo


def unpack(archive: Path, target: Path, name: str) -> tuple[str, ...]:
    """Unpack into the new folder `target`; its entries' names in the archive's order, folders with
    a slash at the end.

    `name` is whose archive it is, for a sentence.  Raises Refused (code `archive_unfit`); what was
    written before that stays for the caller to delete.
    """
    try:
        with archive.open("rb") as stream:
            _check_end(stream)
            with zipfile.ZipFile(stream) as opened:
                return _unpacked(opened, target)
    except Unfit as error:
        raise _refused(name, str(error)) from None
    except _ZIP_FAULTS:
        raise _refused(name, "is broken, or is no zip archive") from None


def _refused(name: str, why: str) -> Refused:
    return Refused(
        f"the archive of {name} {why}",
        hint="nothing of it was kept; ask the node's author, or add its repository by URL",
        code="archive_unfit",
        facts={"archive": name, "why": why},
    )


def _check_end(stream: BinaryIO) -> None:
    """Before zipfile reads the whole table of contents into memory."""
    size = stream.seek(0, os.SEEK_END)
    start = max(0, size - (1 << 16) - _END.size)
    stream.seek(start)
    tail = stream.read()
    at = tail.rfind(_END_MARK)
    if at < 0 or len(tail) - at < _END.size:
        raise zipfile.BadZipFile
    _, _, _, _, count, directory, _, _ = _END.unpack_from(tail, at)
    if tail[max(0, at - _ZIP64_SIZE) : at].startswith(_ZIP64_MARK):
        raise Unfit("is of the kind for more than 65,535 files or 4 GiB")
    if count > MOST_ENTRIES:
        raise Unfit(f"holds {count:,} entries; gov takes {MOST_ENTRIES:,}")
    if directory > _MOST_DIRECTORY_BYTES:
        raise Unfit("has a table of contents that is too large")
    stream.seek(0)


def _unpacked(opened: zipfile.ZipFile, target: Path) -> tuple[str, ...]:
    infos = opened.infolist()
    files = list(_judged(infos))
    _refuse_clashes([entry.filename for entry in infos])
    if not files:
        raise Unfit("holds no file")
    _refuse_bomb(files)
    store.make_folder(target)
    left = MOST_BYTES
    for file in files:
        left -= _write(opened, file, target, min(left, file.info.file_size))
    return tuple(dict.fromkeys(info.filename for info in infos))


def _judged(infos: Sequence[zipfile.ZipInfo]) -> Iterator[_File]:
    """The files; a folder comes with its first file."""
    if len(infos) > MOST_ENTRIES:
        raise Unfit(f"holds {len(infos):,} entries; gov takes {MOST_ENTRIES:,}")
    for info in infos:
        _check_name(info)
        _check_kind(info)
        if not info.is_dir():
            yield _File(info.filename, info)


def _check_name(info: zipfile.ZipInfo) -> None:
    # zipfile itself cuts a name at a zero byte, and a reader that does not would see another.
    name, original = info.filename, info.orig_filename
    parts = name.removesuffix("/").split("/")
    if name != original or "\\" in name or not name.isprintable():
        raise Unfit(f"holds a file name with odd characters: {original[:80]!a}")
    if name.startswith("/") or (len(parts[0]) > 1 and parts[0][1] == ":"):
        raise Unfit(f"holds an absolute path: {name[:80]!a}")
    if any(part in ("", ".", "..") for part in parts):
        raise Unfit(f"holds a path that leads elsewhere: {name[:80]!a}")
    if any(part.lower() == ".git" for part in parts):
        raise Unfit(f"holds a folder of git's own: {name[:80]!a}")
    is_long = len(name.encode(errors="replace")) > _LONGEST_PATH or len(parts) > _DEEPEST
    if is_long or any(len(part.encode(errors="replace")) > _LONGEST_PART for part in parts):
        raise Unfit(f"holds a path that is too long: {name[:80]!a}")


def _check_kind(info: zipfile.ZipInfo) -> None:
    """The upper half of the external attributes holds st_mode, where a Unix made the archive."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        raise Unfit(f"holds a link: {info.filename[:80]!a}")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise Unfit(f"holds what is no file: {info.filename[:80]!a}")
    if info.flag_bits & _ENCRYPTED:
        raise Unfit("is encrypted")


def _refuse_clashes(names: Sequence[str]) -> None:
    """Two names that are one where the disk folds case, and a file where a folder is needed."""
    spelled: dict[str, str] = {}
    files: set[str] = set()
    folders: set[str] = set()
    for name in names:
        path = name.removesuffix("/")
        *above, _ = _prefixes(path)
        if path in files and not name.endswith("/"):
            raise Unfit(f"holds {path[:80]!a} twice")
        (folders if name.endswith("/") else files).add(path)
        folders.update(above)
        for one in (*above, path):
            if one in files and one in folders:
                raise Unfit(f"holds {one[:80]!a} as a file and as a folder")
            other = spelled.setdefault(unicodedata.normalize("NFC", one).casefold(), one)
            if other != one:
                raise Unfit(f"holds {other[:80]!a} and {one[:80]!a}, which differ by case alone")


def _prefixes(path: str) -> Iterator[str]:
    """`a/b/c` gives a, a/b and a/b/c."""
    for at, letter in enumerate(path):
        if letter == "/":
            yield path[:at]
    yield path


def _refuse_bomb(files: Sequence[_File]) -> None:
    whole = sum(file.info.file_size for file in files)
    packed = sum(file.info.compress_size for file in files)
    if whole > MOST_BYTES:
        raise Unfit(f"unpacks to {whole >> 20:,} MiB; gov takes {MOST_BYTES >> 20:,}")
    if whole > _UNJUDGED_BYTES and whole > _MOST_RATIO * packed:
        raise Unfit(f"unpacks to {whole >> 20:,} MiB, {whole // max(packed, 1):,} times its size")


def _write(opened: zipfile.ZipFile, file: _File, target: Path, limit: int) -> int:
    """At most `limit` bytes, which is what the table of contents declares."""
    path = target / file.name
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = 0o755 if (file.info.external_attr >> 16) & stat.S_IXUSR else 0o644
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    written = 0
    try:
        with opened.open(file.info) as source, os.fdopen(os.open(path, flags, mode), "wb") as new:
            while piece := source.read(_CHUNK):
                written += len(piece)
                if written > limit:
                    raise Unfit(f"holds more than it declares: {file.name[:80]!a}")
                new.write(piece)
    except OSError as error:
        raise store.disk_error(path, error) from error
    return written
