"""The packages of a lock as files: the wheel that fits this platform, with the lock's hash.

uv keeps what it unpacked and not the file that it came in, so a file of an index is fetched; one
of a folder of packages is copied, and of what was built here from source gov keeps the wheel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance.boundaries import process, store
from governance.boundaries.uv_progress import size_of
from governance.bundle.contents import WHEELS
from governance.catalogue.index_page import credentials
from governance.changes.session import Session
from governance.environments import archives, builds, generations
from governance.environments.archives import Wanted, choose, ranking
from governance.truth import lockfile
from governance.truth.resolution import Project
from governance.truth.workspace import Workspace

_SIDE_BY_SIDE = 4


@dataclass(frozen=True)
class Collected:
    files: tuple[Path, ...]
    notes: tuple[str, ...]


def collect(session: Session, project: Project, lock: bytes, folder: Path) -> Collected:
    """Every file of the lock for this platform, in `folder`.

    Raises GovError (code `bad_download`) where a file is not the one that the lock names.
    """
    workspace = session.workspace
    made = generations.usable_prod(workspace)
    version = made.python if made else ""
    ranks = ranking(version)
    target = store.make_folder(folder / WHEELS)
    wanted: list[Wanted] = []
    files: list[Path] = []
    notes: list[str] = []
    for package in lockfile.parse(lock, workspace.lock).get("package", []):
        source = package.get("source", {})
        if "virtual" in source:
            continue
        found = choose(package, ranks)
        built = None if found else _built(workspace, package)
        if found is not None:
            wanted.append(found)
        elif built is not None:
            files.append(built)
            notes.append(f"{package['name']} has no wheel: the one that was built here goes along")
        else:
            notes.append(_left_out(package))
    fetch = _Fetch(project, target, len(wanted), session.uv.patience.stall_seconds)
    with session.step(f"fetching {len(wanted)} packages", fetch.words):
        files += process.side_by_side(fetch.one, wanted, _SIDE_BY_SIDE)
    return Collected(tuple(sorted(files)), tuple(notes))


def _left_out(package: Mapping[str, Any]) -> str:
    where = next(iter(package.get("source", {})), "source")
    return (
        f"{package['name']} {package.get('version', '')} is not among the wheels (it comes as "
        f"{where}, and no wheel of it is here): the import needs the network for all packages"
    )


def _built(workspace: Workspace, package: Mapping[str, Any]) -> Path | None:
    """One that was made here; by an earlier gov, which let uv build, it lies in uv's cache."""
    name, version = str(package["name"]), str(package.get("version"))
    places = [path for named, path in builds.kept(workspace) if named == (name, version)]
    found = [wheel for path in places for wheel in sorted(path.glob("*/*.whl"))]
    pattern = f"sdists-v*/**/{name.replace('-', '_')}-{version}-*.whl"
    found += sorted(path for path in workspace.uv_cache.glob(pattern) if path.is_file())
    return next(iter(found), None)


# --- getting it -------------------------------------------------------------------------------


class _Fetch:
    """Files into a folder, several at a time, each once it is what the lock names."""

    def __init__(self, project: Project, folder: Path, count: int, stall: float) -> None:
        self.folder = folder
        self.count = count
        self.done = 0
        self.stall = stall
        self.credentials = credentials(project.indexes)

    def one(self, wanted: Wanted) -> Path:
        target = self.folder / wanted.name
        archives.fetch(wanted, target, self.credentials, self.stall)
        self.done += 1
        return target

    def words(self) -> str:
        written = sum(path.stat().st_size for path in self.folder.iterdir())
        return f"fetching packages: {self.done} of {self.count}, {size_of(written)}"
