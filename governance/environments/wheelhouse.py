"""Wheels that came in a bundle: an environment is built from them, without any index.

uv gets a copy of the lock in which every file lies in `.wheels/`, and builds from it offline.
Measured: the environment is then, file by file, the one that it is elsewhere, but for a
uv_cache.json with times in every package (`uv pip install --find-links` leaves one too), which is
taken out.  An address on the loopback would leave none, but a machine without network may have no
loopback either (`unshare -n`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from governance.base.errors import GovError
from governance.boundaries import scratch, store
from governance.boundaries.uv import Uv, lacks_a_wheel
from governance.environments.archives import Wheel, name_of, named
from governance.truth import lockfile
from governance.truth.workspace import Workspace

_SOURCE = re.compile(r'source = \{ (?:registry|git) = "[^"]*"')
_LEFT_BY_UV = "uv_cache.json"

_Known = Mapping[str, Sequence[Wheel]]


def sync(
    workspace: Workspace,
    uv: Uv,
    folder: Path,
    environment: Path,
    *,
    python: str,
    link_mode: str,
    offline: bool,
    again: str = "",
) -> None:
    """Build `environment` from the lock in `folder`: from wheels at hand where they are all
    there, else as uv finds them.  `again` is as in Uv.sync."""
    data = store.read_bytes(folder / "uv.lock")
    known = _at_hand(workspace, data, folder / "uv.lock")

    def lay(known: _Known, offline: bool) -> None:
        with _beside(workspace, folder, data, known) as place:
            uv.sync(
                place,
                environment,
                python=python,
                link_mode=link_mode,
                offline=offline,
                frozen=bool(known),
                again=again,
            )
        if known:
            _take_out_times(environment)

    # What has to be built, and was: uv would find out that there is no wheel, each time anew.
    made: _Known = {}
    if not known and uv.builds is not None:
        made = uv.builds.kept(folder, data, uv.find_python(python))
    try:
        lay(known or made, offline or bool(known))
    except GovError as error:
        if known or made or uv.builds is None or not lacks_a_wheel(error):
            raise
        found = uv.builds.wheels(uv, folder, data, uv.find_python(python))
        if not again:
            store.remove_tree(environment)
        lay(found, offline)


@contextmanager
def _beside(workspace: Workspace, folder: Path, data: bytes, known: _Known) -> Iterator[Path]:
    """A folder with the lock in which what is `known` lies here; `folder` itself for nothing."""
    if not known:
        yield folder
        return
    with scratch.folder("lock") as staged:
        store.write(staged / "pyproject.toml", store.read_bytes(folder / "pyproject.toml"))
        store.write(staged / "uv.lock", _placed(data.decode(), known).encode())
        yield staged


def _at_hand(workspace: Workspace, data: bytes, path: Path) -> _Known:
    """The files of the lock that lie here.  Empty where a package has none: then the network is
    needed anyway, and uv asks the index for all."""
    if not workspace.wheels.is_dir():
        return {}
    here = {entry.name: entry for entry in workspace.wheels.iterdir() if entry.is_file()}
    own = built(workspace, data)
    here_only = {entry.name: entry for entry in own.iterdir()} if own.is_dir() else {}
    found = {}
    for package in lockfile.parse(data, path).get("package", []):
        source = package.get("source", {})
        if "virtual" in source:
            continue
        is_index = str(source.get("registry", "")).startswith("http")
        rows = _rows(package, here, here_only) if is_index else []
        if not rows:
            return {}
        found[str(package["name"])] = rows
    return found


def built(workspace: Workspace, lock: bytes) -> Path:
    """Where wheels lie that this very lock came with and names no hash of: what was built from
    source elsewhere.  For another lock they do not count."""
    return workspace.wheels / f"lock-{store.digest(lock)[:16]}"


def _rows(
    package: Mapping[str, Any], here: Mapping[str, Path], own: Mapping[str, Path]
) -> list[Wheel]:
    hashed = [row for row in package.get("wheels", []) if row.get("hash")]
    files = [
        Wheel(named(row), here[name_of(row)], str(row["hash"]))
        for row in hashed
        if name_of(row) in here
    ]
    return files or _unhashed(package, own)


def _unhashed(package: Mapping[str, Any], here: Mapping[str, Path]) -> list[Wheel]:
    start = f"{str(package['name']).replace('-', '_')}-{package.get('version')}-"
    sdist = package.get("sdist", {})
    return [Wheel(named(sdist), path) for name, path in here.items() if name.startswith(start)][:1]


def _placed(text: str, known: _Known) -> str:
    """The lock with nothing but the files at hand, by their paths."""
    blocks = re.split(r"(?m)^(?=\[\[package\]\]\n)", text)
    return blocks[0] + "".join(_block(block, known) for block in blocks[1:])


def _block(block: str, known: _Known) -> str:
    name = re.search(r'^name = "([^"]+)"$', block, re.M)
    rows = known.get(name[1], []) if name else []
    if not rows:
        return block
    place = _escaped(rows[0].path.parent)
    block = _SOURCE.sub(lambda _: f'source = {{ registry = "{place}"', block, count=1)
    block = re.sub(r"(?m)^sdist = \{.*\}\n", "", block)
    made = f"wheels = [\n{''.join(map(_entry, rows))}]\n"
    if re.search(r"(?m)^wheels = \[", block):
        return re.sub(r"(?ms)^wheels = \[\n.*?^\]\n", lambda _: made, block, count=1)
    return re.sub(r"(?m)^source = .*\n", lambda found: found[0] + made, block, count=1)


def _entry(row: Wheel) -> str:
    """uv checks the hash; one that was built elsewhere has none."""
    hashed = f', hash = "{row.hashed}"' if row.hashed else ""
    return f'    {{ path = "{_escaped(row.path)}"{hashed} }},\n'


def _escaped(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')


def _take_out_times(environment: Path) -> None:
    """uv notes when it took a file from a folder; an environment from an index has no such note.

    RECORD is written anew, never in place: with hardlinks it may be the cache's own.
    """
    for path in environment.glob(f"lib/python3*/site-packages/*.dist-info/{_LEFT_BY_UV}"):
        record = path.with_name("RECORD")
        lines = record.read_bytes().splitlines(keepends=True)
        path.unlink()
        record.unlink()
        own = f"{path.parent.name}/{_LEFT_BY_UV},".encode()
        record.write_bytes(b"".join(line for line in lines if not line.startswith(own)))
