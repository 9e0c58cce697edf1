"""Is an environment what its index has?  The archives of its lock are fetched once more, compared
with the lock's hashes by uv, laid elsewhere, and compared file by file.

RECORDs and gov's own lists tell what came and stayed; this alone tells that the right thing came.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from governance.base.names import normalise
from governance.boundaries import scratch, store
from governance.boundaries.uv import Uv
from governance.environments import anchors, generations
from governance.environments.owners import Laid
from governance.environments.records import Finding
from governance.truth import resolution
from governance.truth.workspace import Workspace

KIND = "index"


def findings(workspace: Workspace, uv: Uv, name: str) -> list[Finding]:
    """Files of a generation that are not what its lock names; `detail` is the package.

    Needs the network, and as much disk as the environment.  What was built from source is not
    compared: no lock has its hash.  Raises GovError where something cannot be fetched.
    """
    papers = generations.papers(workspace, name)
    made = generations.manifest(workspace, name)
    project = resolution.Project.read(
        store.read_bytes(papers / "pyproject.toml"), papers / "pyproject.toml"
    )
    built = {normalise(str(row["name"])) for row in made.built} if made else set()
    with scratch.folder("fetch", within=workspace.generations, prefix=scratch.PROBE) as place:
        folder = place / "project"
        store.make_folder(folder)
        for file in ("pyproject.toml", "uv.lock"):
            store.write(folder / file, store.read_bytes(papers / file))
        own = replace(uv, cache=place / "cache")
        laid = Laid(workspace, own, folder, place / "environment", project.python, "hardlink")
        laid.lay(offline=False)
        return list(_differing(generations.path(workspace, name), laid.environment, built))


def _differing(environment: Path, twin: Path, built: set[str]) -> Iterator[Finding]:
    owners = anchors.owners(environment) | anchors.owners(twin)
    here, there = anchors.bodies(environment), anchors.bodies(twin)
    for path in sorted(here.keys() | there.keys()):
        owner = owners.get(path, "")
        if here.get(path) != there.get(path) and owner not in built:
            yield Finding(KIND, str(environment / path), owner)
