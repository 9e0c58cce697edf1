"""What belongs to ComfyUI and its nodes, wherever it lies: they may write it under `gov run`, and
every trial gives them a scratch layer over it.

Links of the operator's own making are followed.  Where one leads into the workspace, to what is
not gov's own, it is followed too; a node that makes a link to gov's own folders gains nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from governance.base.errors import Damaged
from governance.boundaries import store
from governance.truth.workspace import Workspace

# Folders of ComfyUI in which people put links to another disk.
_LINKED_IN = ("", "custom_nodes", "models", "user")
_OWN = ("state", "snapshots", "bin")
_MODEL_PATHS = ("extra_model_paths.yaml", "extra_model_paths.yml")
# Every path in that file is one of folders; no more of its grammar is needed here.
_PATH_VALUE = re.compile(r"""^\s*(?:[\w-]+\s*:)?\s*[|>]?\s*["']?([/~][^"'#\n]*?)["']?\s*$""", re.M)


def places(workspace: Workspace, environ: Iterable[str]) -> list[Path]:
    """Real folders, ComfyUI's first; `environ` are the values of variables, perhaps paths."""
    comfyui = workspace.comfyui_dir
    words = [word.rpartition("=")[2] for word in workspace.config.texts("comfyui.args")]
    named = [
        comfyui,
        *(link for name in _LINKED_IN for link in _links(comfyui / name)),
        *_model_paths(comfyui),
        *(Path(word) for word in (*words, *environ) if word.startswith("/") and ":" not in word),
    ]
    found = dict.fromkeys(_existing(path) for path in named)
    return [path for path in found if path is not None and not _is_own(workspace, path)]


def of_data(comfyui: Path) -> Iterator[Path]:
    """What models and workflows lie in, where links or extra_model_paths.yaml lead elsewhere."""
    yield from (link for name in ("models", "user") for link in _links(comfyui / name))
    yield from _model_paths(comfyui)


def inside(workspace: Workspace, environ: Iterable[str]) -> list[Path]:
    """Those of `places` that lie in the workspace."""
    return [path for path in places(workspace, environ) if path.is_relative_to(workspace.root)]


def refuse_own(workspace: Workspace, node_folder: Path) -> None:
    """A node's folder may be a link to a developer's working tree, not to what is gov's own."""
    real = Path(os.path.realpath(node_folder))
    if _is_own(workspace, real) or workspace.root.is_relative_to(real):
        store.refuse_link(node_folder)


def _links(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            yield from (Path(entry.path) for entry in entries if entry.is_symlink())
    except OSError:
        return  # there is no such folder


def _model_paths(comfyui: Path) -> Iterator[Path]:
    yield from (path for name in _MODEL_PATHS for path in _paths_in(comfyui / name))


def _paths_in(file: Path) -> Iterator[Path]:
    try:
        text = store.read_bytes(file).decode(errors="replace")
    except (OSError, Damaged):
        return
    yield from (store.typed_path(path) for path in _PATH_VALUE.findall(text))


def _existing(path: Path) -> Path | None:
    """The real folder; of what is not there yet, the folder in which it would be made."""
    real = os.path.realpath(path)
    while not os.path.isdir(real):  # noqa: PTH112 - False for what is closed to the caller, too
        real = os.path.dirname(real)  # noqa: PTH120
    return Path(real) if real != "/" else None


def _is_own(workspace: Workspace, path: Path) -> bool:
    if not path.is_relative_to(workspace.root):
        return False
    parts = path.relative_to(workspace.root).parts
    is_cache = path.is_relative_to(workspace.uv_cache)
    return not parts or parts[0] in _OWN or parts[0].startswith(".") or is_cache
