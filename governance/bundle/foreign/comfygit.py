"""comfygit's export (`cg export`): a .tar.gz whose pyproject.toml has a table [tool.comfygit].

It holds no uv.lock: every machine locks anew.  Only that one file is read.
"""

from __future__ import annotations

import tarfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from governance.bundle.contents import printable
from governance.bundle.foreign.wanted import Wanted, is_commit, mapping, unreadable

_MAGIC = b"\x1f\x8b"
_FILE = "pyproject.toml"
_MOST_BYTES = 4 << 20
_MOST_MEMBERS = 10_000
# What a bomb of zeros may unpack to before its first member that counts.
_MOST_PASSED_BYTES = 256 << 20


def is_one(data: bytes) -> bool:
    return data.startswith(_MAGIC)


def read(path: Path) -> Wanted:
    try:
        text = _pyproject(path)
        document = tomllib.loads(text)
    except (tarfile.TarError, EOFError, OSError, ValueError, RecursionError) as error:
        raise unreadable(path.name, f"it is no export of comfygit ({error})") from None
    table = document.get("tool", {}).get("comfygit")
    if not isinstance(table, dict):
        raise unreadable(path.name, f"its {_FILE} has no table [tool.comfygit]")
    made = Wanted("an export of comfygit")
    _comfyui(made, table)
    for key, row in mapping(table.get("nodes") or {}, "nodes", path.name).items():
        _node(made, key, mapping(row, printable(key), path.name))
    _rest(made, document, table)
    return made


def _pyproject(path: Path) -> str:
    with tarfile.open(path, "r:gz") as tar:
        passed = 0
        for number, info in enumerate(tar):
            passed += info.size
            if info.name.removeprefix("./") == _FILE and info.isreg() and info.size <= _MOST_BYTES:
                stream = tar.extractfile(info)
                return stream.read().decode() if stream is not None else ""
            if number > _MOST_MEMBERS or passed > _MOST_PASSED_BYTES:
                break
    raise ValueError(f"it holds no {_FILE}")


def _comfyui(made: Wanted, table: Mapping[str, Any]) -> None:
    commit, version = table.get("comfyui_commit_sha"), table.get("comfyui_version")
    if is_commit(commit):
        made.comfyui = commit
    elif isinstance(version, str):
        made.comfyui = version
    else:
        made.lost.append("the commit of ComfyUI: it is not in the file")


def _node(made: Wanted, key: str, row: Mapping[str, Any]) -> None:
    source, url = row.get("source"), row.get("repository")
    commit = row.get("pinned_commit") or row.get("version")
    if source == "registry":
        version = row.get("version")
        registry_id = row.get("registry_id") or key
        made.add_registry(str(registry_id), version if isinstance(version, str) else None)
    elif isinstance(url, str) and source != "development":
        made.add_repository(url, commit if is_commit(commit) else None)
    else:
        made.lost.append(f"{printable(key)}: it was a folder in development there")


def _rest(made: Wanted, document: Mapping[str, Any], table: Mapping[str, Any]) -> None:
    models = table.get("models")
    if isinstance(models, dict) and models:
        made.lost.append(f"{len(models)} models: gov does not manage models")
    bounds = document.get("tool", {}).get("uv", {}).get("constraint-dependencies")
    if isinstance(bounds, list) and bounds:
        made.lost.append(f"{len(bounds)} constraints of packages: `gov pin` sets such")
    python = table.get("python_version")
    if isinstance(python, str):
        made.lost.append(f"Python {printable(python)}: `gov python {printable(python)}` takes it")
