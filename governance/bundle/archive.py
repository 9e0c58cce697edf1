"""The file of a bundle: a tar whose bytes depend on nothing but what it holds.

What comes in was made by anybody.  Its members are plain files with the names that a bundle has,
and nothing counts before its digest was compared.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shlex
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from governance.base import names
from governance.base.errors import UsageError
from governance.boundaries import store
from governance.bundle import contents
from governance.bundle.contents import Contents, bad

_CHUNK = 1 << 20
_MOST_DOCUMENT_BYTES = 64 << 20
_MOST_MEMBERS = 20_000
_WHEEL = re.compile(r"[A-Za-z0-9._+!-]+\.(whl|tar\.gz|zip)")

Member = bytes | Path


def write(path: Path, made: Contents, members: Mapping[str, Member]) -> str:
    """Write the bundle whole or not at all; the SHA-256 of the file.  `made.files` is filled in.

    Raises UsageError where something lies at `path` already.
    """
    refuse_taken(path)
    files = {name: digest(member) for name, member in sorted(members.items())}
    told = Contents(
        made.made_by, made.platform, made.python, made.comfyui, made.nodes, files
    ).to_json()
    with _new_file(path) as stream:
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
            _add(tar, contents.FILE, store.dump_json(told))
            for name in files:
                _add(tar, name, members[name])
        stream.flush()
        stream.seek(0)
        return _hashed(stream)


def refuse_taken(path: Path) -> None:
    if os.path.lexists(path):
        raise UsageError(
            f"{path} is there already",
            hint="name another file, or move that one away: "
            f"mv {shlex.quote(str(path))} {shlex.quote(str(path) + '.old')}",
            code="file_exists",
            facts={"path": str(path)},
        )
    if not path.parent.is_dir():
        raise UsageError(
            f"there is no folder {path.parent}",
            hint=f"make it first: mkdir -p {shlex.quote(str(path.parent))}",
            code="not_found",
            facts={"path": str(path.parent)},
        )


@contextmanager
def _new_file(path: Path) -> Iterator[IO[bytes]]:
    """It gets its name once it is whole and durable."""
    unfinished = path.with_name(f"{store.TEMPORARY}{path.name}-{secrets.token_hex(4)}")
    try:
        with open(unfinished, "x+b") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        store.move(unfinished, path)
    except OSError as error:
        raise store.disk_error(path, error) from error
    finally:
        unfinished.unlink(missing_ok=True)


def _add(tar: tarfile.TarFile, name: str, member: Member) -> None:
    """Times, owners and modes of this machine stay here."""
    info = tarfile.TarInfo(name)
    info.mode = 0o644
    if isinstance(member, bytes):
        import io

        info.size = len(member)
        tar.addfile(info, io.BytesIO(member))
        return
    with open(member, "rb") as stream:
        info.size = os.fstat(stream.fileno()).st_size
        tar.addfile(info, stream)


def digest(member: Member) -> str:
    """SHA-256, hexadecimal."""
    if isinstance(member, bytes):
        return store.digest(member)
    with open(member, "rb") as stream:
        return _hashed(stream)


def _hashed(stream: IO[bytes]) -> str:
    found = hashlib.sha256()
    while chunk := stream.read(_CHUNK):
        found.update(chunk)
    return found.hexdigest()


# --- reading ----------------------------------------------------------------------------------


def is_bundle(path: Path) -> bool:
    """Whether it was meant to be one: a tar, or a file that is called so and was cut."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(512)
    except OSError:
        return False
    return head[257:262] == b"ustar" or path.suffix == ".tar"


Wish = Callable[[str], bool]


def unpack(path: Path, folder: Path, wanted: Wish | None = None) -> Contents:
    """Every member as a file in `folder`, checked; raises GovError (code `bad_bundle`,
    `newer_bundle`) for whatever gov would not have written.

    With `wanted`, only members whose name it takes are read and checked.
    """
    store.make_folder(folder)
    try:
        with tarfile.open(path, "r:") as tar:
            return _unpacked(tar, folder, path.name, wanted or (lambda _: True))
    except (tarfile.TarError, EOFError, ValueError, RecursionError) as error:
        raise bad(path.name, f"it is cut or damaged ({error})") from None


def _unpacked(tar: tarfile.TarFile, folder: Path, name: str, wished: Wish) -> Contents:
    made: Contents | None = None
    seen: set[str] = set()
    for info in tar:
        _refuse_strange(info, seen, name)
        seen.add(info.name)
        source = tar.extractfile(info)
        if source is None:
            raise bad(name, f"{info.name!a} cannot be read")
        if made is None:
            made = _contents(info, source, name)
            continue
        wanted = made.files.get(info.name)
        if wanted is None:
            raise bad(name, f"{info.name} is not named in {contents.FILE}")
        if wished(info.name) and _copied(source, folder / info.name) != wanted:
            raise bad(name, f"{info.name} was cut or changed: its digest is not the one it had")
    if made is None:
        raise bad(name, f"it holds no {contents.FILE}")
    missing = sorted({*made.files, *contents.TRUTH} - seen)
    if missing:
        raise bad(name, f"it was cut: {missing[0]} is missing")
    return made


def _refuse_strange(info: tarfile.TarInfo, seen: set[str], name: str) -> None:
    if not info.isreg() or info.issparse():
        raise bad(name, f"{info.name!a} is a link or a folder, and a bundle holds plain files only")
    if not _is_member(info.name):
        raise bad(name, f"{info.name!a} is no name of a bundle's file")
    if info.name in seen:
        raise bad(name, f"{info.name} stands in it twice")
    if not seen and info.name != contents.FILE:
        raise bad(name, f"it does not begin with {contents.FILE}")
    if len(seen) > _MOST_MEMBERS:
        raise bad(name, f"it holds more than {_MOST_MEMBERS} files")


def _is_member(name: str) -> bool:
    """The names that a bundle can hold: no path leads out of it."""
    if name in (contents.FILE, *contents.TRUTH, contents.STORY):
        return True
    folder, _, rest = name.rpartition("/")
    if folder == contents.NODES:
        return rest.endswith(".bundle") and names.is_node_id(rest.removesuffix(".bundle"))
    if folder == contents.WHEELS:
        return _WHEEL.fullmatch(rest) is not None
    return name == contents.code_of(contents.COMFYUI)


def _contents(info: tarfile.TarInfo, source: IO[bytes], name: str) -> Contents:
    if info.size > _MOST_DOCUMENT_BYTES:
        raise bad(name, f"{contents.FILE} is too large")
    data = source.read()
    if len(data) != info.size:
        raise bad(name, f"it was cut within {contents.FILE}")
    try:
        value = json.loads(data.decode())
    except ValueError as error:
        raise bad(name, f"{contents.FILE} is no JSON ({error})") from None
    return contents.read(value, name)


def _copied(source: IO[bytes], target: Path) -> str:
    store.make_folder(target.parent)
    hashed = hashlib.sha256()
    try:
        with open(target, "xb") as stream:
            while chunk := source.read(_CHUNK):
                hashed.update(chunk)
                stream.write(chunk)
    except tarfile.ReadError:
        return "cut"
    except OSError as error:
        raise store.disk_error(target, error) from error
    return hashed.hexdigest()
