"""Which form a file has, told by what is in it."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from governance.base.errors import UsageError
from governance.boundaries import store
from governance.bundle.foreign import comfygit, desktop, manager
from governance.bundle.foreign.wanted import Wanted, listed, mapping, unreadable

_MOST_BYTES = 16 << 20
_YAML = (".yaml", ".yml")
_FREEZE = (".txt", ".freeze")


def read(path: Path) -> Wanted:
    """Raises UsageError for a form that gov does not know, GovError for a damaged file."""
    data = store.plain_bytes(path, _MOST_BYTES + 1) or b""
    if comfygit.is_one(data):
        return comfygit.read(path)
    if len(data) > _MOST_BYTES:
        raise unreadable(path.name, "it is larger than any snapshot")
    try:
        text = data.decode("utf-8-sig")
    except ValueError:
        raise _unknown(path) from None
    if path.suffix.lower() in _FREEZE:
        return _freeze(text)
    return _document(_parsed(text, path), path)


def _parsed(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        if path.suffix.lower() in _YAML:
            return _yaml(text, path)
        if text.lstrip().startswith(("{", "[")):
            raise unreadable(path.name, f"it is cut or damaged ({error})") from None
        raise _unknown(path) from None


def _document(value: Any, path: Path) -> Wanted:
    if desktop.is_one(value):
        return desktop.read(value, path.name)
    if manager.is_one(value):
        return manager.read(value, path.name)
    if isinstance(value, list) and value and all(_is_row(row) for row in value):
        return _repositories(value, path.name)
    raise _unknown(path)


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and "repo" in row


def _repositories(rows: list[Any], name: str) -> Wanted:
    """As cog-comfyui keeps them: `[{repo, commit}]`, with the first digits of the commits."""
    made = Wanted("a list of repositories")
    for row in listed(rows, "the list", name):
        facts = mapping(row, "a row", name)
        url = facts["repo"]
        if not isinstance(url, str):
            raise unreadable(name, "a repo is no text")
        made.add_repository(url, facts.get("commit"))
    return made


def _freeze(text: str) -> Wanted:
    made = Wanted("a freeze of pip")
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    made.add_frozen(line.partition(" --hash=")[0] for line in lines)
    return made


def _yaml(text: str, path: Path) -> Any:
    try:
        yaml: Any = importlib.import_module("yaml")
    except ImportError:
        raise UsageError(
            f"{path.name} is YAML, and PyYAML is not installed beside gov",
            hint=f"install it: {sys.executable} -m pip install pyyaml; or save the snapshot as "
            "JSON: cm-cli save-snapshot --output snapshot.json",
            code="no_yaml",
        ) from None
    try:
        # An alias may stand for itself, or a few lines for gigabytes.
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise unreadable(path.name, "it uses aliases (*name), which no snapshot needs")
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        where = str(error).replace("\n", " ")[:200]
        raise unreadable(path.name, f"it is no YAML ({where})") from None


def _unknown(path: Path) -> UsageError:
    return UsageError(
        f"{path.name} has no form that gov knows",
        hint="gov imports: a bundle of `gov export`, a snapshot of ComfyUI-Manager or "
        "Comfy-Desktop (.json, .yaml), comfygit's .tar.gz, a list of repositories (.json), a "
        "freeze of pip (.txt)",
        code="unknown_form",
        facts={"path": str(path)},
    )
