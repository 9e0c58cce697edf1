"""What ComfyUI-Manager was told about packages, as proposals of gov's own commands.

Formats as ComfyUI-Manager 3 and 4 read them: config.ini (section `default`), pip_overrides.json,
pip_auto_fix.list and startup-scripts/, in its folder below `user/` or in its own checkout.
"""

from __future__ import annotations

import configparser
import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from governance.base import names
from governance.base.errors import GovError
from governance.boundaries import store
from governance.requirements import requirement_name
from governance.truth.workspace import Workspace

_PLACES = (
    "user/__manager",
    "user/default/ComfyUI-Manager",
    "custom_nodes/ComfyUI-Manager",
    "custom_nodes/comfyui-manager",
)
_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Proposal:
    """`source` is the file that says so, `sentence` what it would mean here, `command` what to
    type for it ("" where nothing can be typed)."""

    source: str
    sentence: str
    command: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def proposals(workspace: Workspace, versions: Mapping[str, str]) -> list[Proposal]:
    """In the order of the files; nothing of it is decided here.  `versions` are the installed
    ones."""
    found: dict[Proposal, None] = {}
    for place in _PLACES:
        folder = workspace.comfyui_dir / place
        if folder.is_dir():
            found |= dict.fromkeys(_in_folder(workspace, versions, folder, place))
    return list(found)


def startup_scripts(workspace: Workspace) -> list[Path]:
    """Files that ComfyUI-Manager would act on at its next start: installs that wait, a snapshot
    that is to be restored."""
    return [path for folder in startup_folders(workspace) for path in _pending(folder)]


def startup_folders(workspace: Workspace) -> list[Path]:
    return [workspace.comfyui_dir / place / "startup-scripts" for place in _PLACES]


def _pending(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("*") if p.is_file() and p.suffix != ".set-aside")


def _in_folder(
    workspace: Workspace, versions: Mapping[str, str], folder: Path, place: str
) -> Iterator[Proposal]:
    yield from _blacklist(workspace, folder, place)
    yield from _overrides(versions, folder, place)
    yield from _auto_fix(versions, folder, place)
    pending = [path.name for path in _pending(folder / "startup-scripts")]
    if pending:
        yield Proposal(
            f"{place}/startup-scripts",
            f"ComfyUI-Manager would run {', '.join(pending)} at its next start: gov does not, and "
            "the old installation was not started with them",
        )


def _blacklist(workspace: Workspace, folder: Path, place: str) -> Iterator[Proposal]:
    """Packages that must not become older: gov asks before it changes a core package."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    try:
        parser.read_string(_text(folder / "config.ini"))
        text = parser.get("default", "downgrade_blacklist", fallback="")
    except configparser.Error:
        return
    known = set(map(names.normalise, workspace.config.texts("policy.core_packages")))
    listed = [names.normalise(word.strip()) for word in text.split(",") if word.strip()]
    new = [name for name in listed if name and name not in known]
    if new:
        yield Proposal(
            f"{place}/config.ini",
            f"downgrade_blacklist names {', '.join(new)}: as policy.core_packages in config.toml "
            "a change of them needs --approve-core",
        )


def _overrides(versions: Mapping[str, str], folder: Path, place: str) -> Iterator[Proposal]:
    """One package is installed wherever another is asked for."""
    try:
        found = json.loads(_text(folder / "pip_overrides.json") or "{}")
    except (ValueError, RecursionError):
        return
    for asked, taken in found.items() if isinstance(found, dict) else ():
        if isinstance(taken, str) and requirement_name(taken) != names.normalise(str(asked)):
            yield Proposal(
                f"{place}/pip_overrides.json",
                f"{taken} is taken where {asked} is asked for",
                f"gov tx run NODE --with {shlex.quote(taken)} --without {asked}",
            )
        elif isinstance(taken, str):
            yield Proposal(
                f"{place}/pip_overrides.json",
                f"{asked} is held as {taken}",
                _pin(taken, versions),
            )


def _auto_fix(versions: Mapping[str, str], folder: Path, place: str) -> Iterator[Proposal]:
    """Lines that ComfyUI-Manager installs again after each of its changes."""
    for line in _text(folder / "pip_auto_fix.list").splitlines():
        text = line.partition("#")[0].strip()
        if text:
            yield Proposal(
                f"{place}/pip_auto_fix.list",
                f"{text} is put back after every change",
                _pin(text, versions),
            )


def _pin(text: str, versions: Mapping[str, str]) -> str:
    """gov holds one version: that of the line, else the installed one."""
    name = requirement_name(text)
    wanted = text if "==" in text else f"{name}=={versions[name]}" if name in versions else ""
    return f"gov pin {shlex.quote(wanted)}" if wanted else ""


def _text(path: Path) -> str:
    try:
        return (store.plain_bytes(path, _MAX_BYTES) or b"").decode(errors="replace")
    except (OSError, GovError):
        return ""
