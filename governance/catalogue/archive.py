"""The archive of one version of a node: fetched, compared with its digest, laid into a folder.

The registry publishes no digest.  The first download's is kept, and any other bytes under the same
id and version are refused from then on.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from governance.base.errors import GovError, Refused, UsageError
from governance.base.progress import Say, quiet
from governance.boundaries import store
from governance.boundaries.config import Config
from governance.catalogue import connection, ids, unpacking
from governance.catalogue.answers import Release
from governance.catalogue.api import Registry


@dataclass(frozen=True)
class Fetched:
    """`sha256` and `size` (bytes) are the archive's; `files` are the names of its entries, as
    .tracking lists them."""

    node_id: str
    version: str
    sha256: str
    size: int
    files: tuple[str, ...]
    release: Release


def fetch(
    config: Config,
    node_id: str,
    version: str,
    into: Path,
    expected_sha256: str | None = None,
    *,
    counted: bool = True,
    say: Say = quiet,
) -> Fetched:
    """Lay the files of a version into the new folder `into`, with the .tracking that
    ComfyUI-Manager writes; the folder is durable, and gone again where anything fails.

    `counted`: the registry counts it as an installation; for a look only, say False.  Whether the
    version is banned is not judged here (changes/published.py does).
    Raises UsageError (`unknown_version`), Refused (`archive_changed`, `archive_unfit`), and
    GovError where the registry cannot be asked.
    """
    registry = Registry.of(config)
    version = ids.require_version(version)
    found = registry.install(node_id, version) if counted else registry.version(node_id, version)
    if found is None or not found.url:
        raise unknown_version(node_id, version)
    name = f"{node_id}@{version}"
    _check_address(found.url, registry, name)
    packed = into.with_name(f"{into.name}.zip")
    try:
        say(f"downloading {name}")
        sha256, size = _download(config, registry, found.url, packed)
        if expected_sha256 is not None and sha256 != expected_sha256:
            raise _changed(name, sha256, expected_sha256)
        files = unpacking.unpack(packed, into, name)
        _write_tracking(into, files)
        store.sync_filesystem(into)
    except BaseException:
        store.remove_tree(into)
        raise
    finally:
        store.remove_tree(packed)
    return Fetched(node_id, version, sha256, size, files, found)


def unknown_version(node_id: str, version: str) -> UsageError:
    return UsageError(
        f"the registry has no version {version} of {node_id}",
        hint=f"`gov node info {node_id}` lists its versions",
        code="unknown_version",
        facts={"node_id": node_id, "version": version},
    )


def _check_address(url: str, registry: Registry, name: str) -> None:
    if not connection.is_allowed(url, registry.url):
        raise Refused(
            f"the registry names {connection.shown(url)!a} as the archive of {name}, which is no "
            "https address",
            hint="gov fetches archives by https alone; tell the registry's people",
            code="archive_unfit",
            facts={"archive": name},
        )


def _download(config: Config, registry: Registry, url: str, packed: Path) -> tuple[str, int]:
    """Its SHA-256 and its size."""
    hashed, size = hashlib.sha256(), 0
    limit = int(config.number("policy.clone_limit_mb") * (1 << 20))
    total = config.number("policy.clone_timeout_seconds")
    store.make_folder(packed.parent)
    try:
        with packed.open("xb") as new:
            for piece in connection.stream(url, registry.seconds, limit, total=total):
                hashed.update(piece)
                size += len(piece)
                new.write(piece)
    except connection.NotFound:
        raise GovError(
            f"the archive at {connection.shown(url)} is not there (404)",
            hint="the registry names it all the same; try again later, or add the repository",
            code="registry_failed",
        ) from None
    except OSError as error:
        raise store.disk_error(packed, error) from error
    return hashed.hexdigest(), size


def _changed(name: str, sha256: str, expected: str) -> Refused:
    return Refused(
        f"the registry's archive of {name} is not the one it was: its SHA-256 is {sha256[:16]}..., "
        f"and {expected[:16]}... is recorded",
        hint="the same version must never hold other files: ask the node's author what happened, "
        "and take another version meanwhile",
        code="archive_changed",
        facts={"archive": name, "sha256": sha256, "expected": expected},
    )


def _write_tracking(into: Path, files: tuple[str, ...]) -> None:
    """As ComfyUI-Manager 4.3 writes it: the entries' names, one a line."""
    names = [name for name in files if name != ids.TRACKING]
    store.write(into / ids.TRACKING, "\n".join(names).encode())
