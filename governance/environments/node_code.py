"""Byte code of ComfyUI's and of the nodes' own files, compiled by gov from the commits that hold
them, so that a candidate does not compile again what prod has run for weeks.

A run names the files that it imported, it never hands over byte code.  What is kept lies beside the
commit in `.code/`, where nothing that is observed can write; a candidate gets a copy that has the
time and size of the file which lies there, as Python asks for.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from governance.base.errors import GovError
from governance.boundaries import scratch, store
from governance.code.repository import Repository
from governance.environments import compiled

_FOLDER = "compiled"
_MOST = 20_000
# Of byte code (PEP 552): magic, flags, time and size of the source; flags 0 is "by its time".
_HEADER = struct.Struct("<4sIII")
_32_BITS = 0xFFFFFFFF


class Place(NamedTuple):
    """`folder` is where the files lie that `commit` of the repository at `store` holds; of what
    lies `within` it another place tells."""

    store: Path
    folder: Path
    commit: str
    within: tuple[Path, ...] = ()

    @property
    def kept(self) -> Path:
        return self.store / _FOLDER / self.commit

    @property
    def names(self) -> Path:
        return self.store / _FOLDER / compiled.IMPORTED


def note(places: Sequence[Place], seen: Path) -> None:
    """Keep which files of each a run imported; `seen` is its byte code.  What cannot be kept costs
    a later start a second, no more."""
    for place in places:
        top = f"{seen}{place.folder}"
        skipped = tuple(f"{seen}{folder}/" for folder in place.within)
        found = (name for name in compiled.all_files(Path(top)) if not name.startswith(skipped))
        rows = sorted(os.path.relpath(name, top) for name in found)[:_MOST]
        if rows and place.store.is_dir():
            with suppress(OSError):
                store.make_folder(place.names.parent)
                place.names.write_text(json.dumps(rows))


def begin(places: Sequence[Place], python: Path, target: Path) -> None:
    """Compile what is known to be imported and was not yet, and copy all of it into `target`."""
    for place in places:
        with suppress(OSError, GovError):
            _complete(place, python)
            _copy(place, target)


def _complete(place: Place, python: Path) -> None:
    compiled.empty_if_torn(place.kept)
    missing = [name for name in _imported(place) if not (place.kept / name).exists()]
    if not missing:
        return
    for other in place.kept.parent.iterdir():
        if other.is_dir() and other != place.kept:
            store.remove_tree(other)
    repository = Repository(place.store)
    known = repository.files(place.commit)
    sources = {name: compiled.source_of(name) for name in missing}
    there = {name: source for name, source in sources.items() if source in known}
    if not there:
        return  # files that no commit has, as nodes write some: Python compiles them
    with scratch.folder("code") as folder, compiled.writing(place.kept):
        repository.export(place.commit, folder, list(there.values()))
        rows = [
            (str(folder / source), str(place.kept / name), str(place.folder / source))
            for name, source in there.items()
        ]
        compiled.compile_all(python, rows)


def _imported(place: Place) -> list[str]:
    return [name for name in compiled.noted(place.names)[:_MOST] if _is_inside(name)]


def _is_inside(name: str) -> bool:
    return name.endswith(".pyc") and not name.startswith("/") and ".." not in name.split("/")


def _copy(place: Place, target: Path) -> None:
    for name, data in _fitting(place):
        copy = Path(f"{target}{place.folder}/{name}")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(data)


def _fitting(place: Place) -> Iterator[tuple[str, bytes]]:
    """Byte code of files whose size is that of the commit, with their time in its head."""
    for path in compiled.all_files(place.kept):
        name = os.path.relpath(path, place.kept)
        try:
            facts = os.stat(place.folder / compiled.source_of(name))  # noqa: PTH116
            data = store.read_bytes(Path(path))
        except OSError:
            continue
        magic, flags, _, size = _HEADER.unpack_from(data)
        if flags == 0 and size == facts.st_size & _32_BITS:
            head = _HEADER.pack(magic, flags, int(facts.st_mtime) & _32_BITS, size)
            yield name, head + data[_HEADER.size :]
