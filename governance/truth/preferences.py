"""Versions that uv is to prefer, told as it reads them: a uv.lock that names them and no more.

uv takes the versions of the lock that lies beside a project for preferences and resolves anew
where that lock does not fit the project, as this one never does.  So the versions of another
environment cost one `uv lock`, and only what has to move moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from governance.truth.resolution import Project

_PUBLIC = "https://pypi.org/simple"


def lock_of(project: Project, versions: Mapping[str, str]) -> bytes:
    """`versions` is name to version; what is no version of an index (`@ url`) is left out."""
    import tomlkit

    document = tomlkit.document()
    document["version"] = 1
    document["requires-python"] = str(project.data["project"]["requires-python"])
    document["package"] = [
        {"name": name, "version": version, "source": _source(project, name)}
        for name, version in sorted(versions.items())
        if version and not version.startswith("@")
    ]
    return tomlkit.dumps(document).encode()


def _source(project: Project, name: str) -> dict[str, Any]:
    """The index that the project takes the package from."""
    named = project.data.get("tool", {}).get("uv", {}).get("sources", {}).get(name, {})
    wanted = named.get("index") if isinstance(named, dict) else None
    for index in project.indexes:
        if index.get("name") == wanted or (wanted is None and index.get("default")):
            return {"registry": str(index["url"])}
    return {"registry": _PUBLIC}
