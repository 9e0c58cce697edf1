"""What a node is, as it lies on the disk: its tracked files as a commit of our repository.

The working state counts, not HEAD alone, and it is read by the bytes: a clone's own index, with
its flags and times, is never trusted.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from governance.base.errors import GovError
from governance.boundaries import store
from governance.catalogue.ids import TRACKING
from governance.code import glance
from governance.code.repository import Repository
from governance.git import checkout

CLONE, REGISTRY, FOLDER, FILE, LINK = "clone", "registry", "folder", "file", "link"
LARGEST_FILE_BYTES = 50 << 20

_BYTE_CODE = ("--exclude=__pycache__/", "--exclude=*.pyc", "--exclude=*.pyo")
# Where git keeps no times of a file, `diff` reads it, which `diff-files` does not.
_BY_BYTES = ("--no-ext-diff", "--no-textconv", "--no-renames", "--ignore-submodules=all")
_MAX_TRACKING_BYTES = 4 << 20


@dataclass(frozen=True)
class State:
    """`kind`: clone, registry (unpacked by ComfyUI-Manager), folder, file, or link (a developer's
    folder elsewhere).  `head` is a clone's commit, `code` the commit that holds its tracked files
    as they lie there now, `modified` the tracked paths that differ from HEAD (or from what was
    recorded before)."""

    kind: str
    head: str | None
    code: str
    modified: tuple[str, ...] = ()


def capture(repository: Repository, place: Path, *, since: str | None = None) -> State:
    """Take what lies at `place` into the repository.  Raises GovError (code `code_unreadable`)."""
    real = place.resolve()
    kind = _kind(place, real)
    if kind in (CLONE, LINK) and (head := checkout.head(real)) is not None:
        found = _of_clone(repository, real, head)
        return found if kind == CLONE else State(LINK, None, found.code, found.modified)
    code = _of_files(repository, real, _names(repository, kind, real))
    changed = since is not None and since != code and repository.has(since)
    modified = tuple(repository.differing(str(since), code)) if changed else ()
    return State(kind, None, code, modified)


def untracked(
    repository: Repository, place: Path, code: str, *, ignored: bool = True
) -> tuple[str, ...]:
    """Files that are there and in no commit, `ignored` ones too; byte code is left out."""
    if not place.is_dir() or place.is_symlink():
        return ()
    with repository.index(place) as env:
        repository.ask(env, "read-tree", code)
        left_out = () if ignored else ("--exclude-standard",)
        listed = repository.ask(env, "ls-files", "-o", "-z", *left_out, *_BYTE_CODE)
    return tuple(name for name in listed.text().split("\0") if name)


def _kind(place: Path, real: Path) -> str:
    if place.is_symlink():
        return LINK
    if real.is_file():
        return FILE
    if not real.is_dir():
        raise GovError(
            f"there is no code at {place}",
            hint="`gov node list` shows what is missing",
            code="code_unreadable",
            facts={"path": str(place)},
        )
    if (real / ".git").exists() and checkout.head(real) is not None:
        return CLONE
    return REGISTRY if (real / TRACKING).is_file() else FOLDER


def _of_clone(repository: Repository, place: Path, head: str) -> State:
    repository.take(place, head)
    if glance.is_as_seen(glance.seen_path(repository.path, head), place):
        return State(CLONE, head, head)
    with repository.seen_index(place, head) as env:
        listed = repository.ask(env, "diff", *_BY_BYTES, "-z", "--name-only")
        modified = _not_behind_links(place, listed.text().split("\0"))
        if not modified:
            return State(CLONE, head, head)
        _add(repository, env, modified)
        code = _committed(repository, env, head)
    return State(CLONE, head, code, modified)


def _not_behind_links(place: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Without what git cannot look at: a tracked folder (models, custom_nodes) that the operator
    keeps elsewhere, with a link in its place, is an arrangement of theirs and no edit."""
    links: dict[str, bool] = {}

    def is_link(folder: str) -> bool:
        if folder not in links:
            above = os.path.dirname(folder)  # noqa: PTH120
            links[folder] = bool(folder) and ((place / folder).is_symlink() or is_link(above))
        return links[folder]

    return tuple(name for name in names if name and not is_link(os.path.dirname(name)))  # noqa: PTH120


def _of_files(repository: Repository, real: Path, names: Sequence[str]) -> str:
    top = real.parent if real.is_file() else real
    with repository.index(top) as env:
        _add(repository, env, names)
        return _committed(repository, env, None)


def _add(repository: Repository, env: Mapping[str, str], names: Sequence[str]) -> None:
    given = "".join(f"{name}\0" for name in names).encode(errors="surrogateescape")
    repository.ask(env, "update-index", "--add", "--remove", "-z", "--stdin", given=given)


def _committed(repository: Repository, env: Mapping[str, str], parent: str | None) -> str:
    tree = repository.ask(env, "write-tree").text().strip()
    code = repository.commit_tree(tree, parent, env)
    repository.take_from(code)
    return code


def _names(repository: Repository, kind: str, real: Path) -> list[str]:
    """The files that belong to what is no clone."""
    repository.make("")
    if kind == FILE:
        return [real.name]
    if kind == REGISTRY:
        return _tracked_by_manager(real)
    with repository.index(real) as env:
        listed = repository.ask(env, "ls-files", "-o", "-z", "--exclude-standard", *_BYTE_CODE)
    names = [name for name in listed.text().split("\0") if name]
    # A repository inside it is shown as a folder: what lies in there is another's.
    return [name for name in names if not name.endswith("/") and _is_code(real / name)]


def _tracked_by_manager(real: Path) -> list[str]:
    """.tracking names one relative path a line: the files of that version."""
    data = store.plain_bytes(real / TRACKING, _MAX_TRACKING_BYTES) or b""
    lines = [line.strip() for line in data.decode(errors="surrogateescape").splitlines()]
    inside = [n for n in lines if n and not n.startswith("/") and ".." not in n.split("/")]
    found = [n for n in inside if _is_code(real / n) and ".git" not in n.split("/")]
    return list(dict.fromkeys([*found, TRACKING]))


def _is_code(path: Path) -> bool:
    """A plain file or a link; a file of weights is no code."""
    if path.is_symlink():
        return True
    try:
        return path.is_file() and os.stat(path).st_size <= LARGEST_FILE_BYTES  # noqa: PTH116
    except OSError:
        return False
