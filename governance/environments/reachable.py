"""What a program may reach: which hosts stand for the package index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from governance import sandbox
from governance.boundaries import store
from governance.truth import lockfile
from governance.truth.workspace import Workspace

_DEFAULT = "https://pypi.org/simple"
_FILES_OF = {
    "pypi.org": ("files.pythonhosted.org",),
    "download.pytorch.org": ("download-r2.pytorch.org",),
}
_PORTS = {"http": 80, "https": 443}


def network(
    workspace: Workspace, policy: str, folder: Path, indexes: Sequence[Mapping[str, Any]]
) -> sandbox.Network | None:
    """What `sandbox.network` or `sandbox.build_network` lets a program reach, whose sockets are to
    lie in `folder`; None for the machine's own network."""
    if policy not in ("index", "none"):
        return None
    return sandbox.Network(folder, tuple(places(workspace, indexes) if policy == "index" else ()))


def places(workspace: Workspace, indexes: Sequence[Mapping[str, Any]]) -> list[str]:
    """`host:port`, without repeats: of the indexes, of the files in prod's lock, of the config."""
    urls = [str(index["url"]) for index in indexes]
    if not any(index.get("default") for index in indexes):
        urls.append(_DEFAULT)
    found = [place for url in (*urls, *_files(workspace)) for place in _of(url)]
    return list(dict.fromkeys([*found, *workspace.config.texts("sandbox.network_hosts")]))


def _of(url: str) -> Iterator[str]:
    parts = urlsplit(url)
    port = parts.port or _PORTS.get(parts.scheme)
    if parts.hostname and port:
        yield f"{parts.hostname}:{port}"
        yield from (f"{host}:{port}" for host in _FILES_OF.get(parts.hostname, ()))


def _files(workspace: Workspace) -> Iterable[str]:
    """Addresses in the lock; one host of each is enough."""
    try:
        data = store.read_bytes(workspace.lock)
    except FileNotFoundError:
        return []
    found: dict[str, str] = {}
    for package in lockfile.parse(data, workspace.lock).get("package", []):
        for file in lockfile.package_files(package):
            url = str(file.get("url", ""))
            found.setdefault(urlsplit(url).netloc, url)
    return found.values()
