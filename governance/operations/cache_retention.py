"""What of uv's cache nothing needs any more: packages that no generation, snapshot or pending
transaction holds.

uv's own `cache prune` keeps every wheel that was fetched once, since uv does not know what will be
asked for; gov knows.  The layout below `wheels-v*` and `sdists-v*` is that of uv 0.4 and later:
`<index>/<name>/<version>-<tags>.<kind>`, which lead to folders of `archive-v0`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from packaging.utils import canonicalize_name, canonicalize_version

from governance.boundaries import store
from governance.boundaries.uv import Uv
from governance.environments import builds, generations
from governance.truth import ledger, lockfile, snapshots
from governance.truth.workspace import Workspace

_INDEXES = ("pypi", "index/*", "flat-index/*")

Package = tuple[str, str]


def forget(workspace: Workspace, without: frozenset[str], *, dry_run: bool) -> list[str]:
    """Drop what nothing needs; what was dropped, a sentence each.

    `without`: generations that go in the same clean-up.  A cache outside the workspace may be
    another's, and is left alone.
    """
    return [*_built(workspace, without, dry_run), *_fetched(workspace, without, dry_run)]


def _built(workspace: Workspace, without: frozenset[str], dry_run: bool) -> list[str]:
    """What gov built itself from source."""
    rows = list(builds.kept(workspace))
    needed = _needed(workspace, without) if rows else set()
    spare = [(named, path) for named, path in rows if _package(*named) not in needed]
    if spare and not dry_run:
        for _, path in spare:
            store.remove_tree(path)
        builds.tidy(workspace)
    return [f"{path.relative_to(workspace.root)}" for _, path in spare]


def _fetched(workspace: Workspace, without: frozenset[str], dry_run: bool) -> list[str]:
    cache = workspace.uv_cache
    if not cache.is_dir() or not cache.resolve().is_relative_to(workspace.root.resolve()):
        return []
    needed = _needed(workspace, without)
    spare = [(named, path) for named, path in _entries(cache) if _package(*named) not in needed]
    if spare and not dry_run:
        for _, path in spare:
            store.remove_tree(path)
        Uv(cache).prune()
    gone = sorted({named for named, _ in spare})
    return [f"{cache.relative_to(workspace.root)}: {name} {version}" for name, version in gone]


def _entries(cache: Path) -> Iterator[tuple[Package, Path]]:
    """Wheels and built source distributions that came from an index, as they are named there."""
    for kind in ("wheels-v*", "sdists-v*"):
        for index in _INDEXES:
            for path in sorted(cache.glob(f"{kind}/{index}/*/*")):
                version = path.name.partition("-")[0] if kind == "wheels-v*" else path.name
                yield (path.parent.name, version), path


def _package(name: str, version: str) -> Package:
    return str(canonicalize_name(name)), canonicalize_version(version)


def _needed(workspace: Workspace, without: frozenset[str]) -> set[Package]:
    return {
        _package(name, version)
        for lock in _locks(workspace, without)
        for name, version in _versions(lock).items()
        if not version.startswith("@")
    }


def _locks(workspace: Workspace, without: frozenset[str]) -> Iterator[bytes]:
    """Of everything that may be built again; what cannot be read cannot be built either."""
    paths = [workspace.lock]
    paths += [
        generations.papers(workspace, name) / "uv.lock" for name in _names(workspace, without)
    ]
    paths += [
        workspace.work / row["txid"] / "uv.lock" for row in ledger.overview(workspace).pending
    ]
    for path in paths:
        with suppress(OSError):
            yield path.read_bytes()
    yield from (lock for (lock,) in snapshots.readable(workspace, snapshots.LOCK))


def _names(workspace: Workspace, without: frozenset[str]) -> list[str]:
    return [name for name in generations.names(workspace) if name not in without]


def _versions(lock: bytes) -> dict[str, str]:
    try:
        return lockfile.versions_in(lock.decode())
    except (ValueError, RecursionError, LookupError):
        return {}
