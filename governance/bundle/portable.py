"""The truth as it can travel: nothing in it leads to a folder of the machine that made it, and no
URL holds a password."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from governance import git
from governance.base.errors import GovError
from governance.bundle.contents import FOLDER_INDEX, PYTHON_VERSION
from governance.truth import lockfile, registry
from governance.truth.documents import Plugin
from governance.truth.resolution import Project
from governance.truth.snapshots import Truth

_LOCAL_SOURCES = ("path", "directory", "editable")


@dataclass(frozen=True)
class Portable:
    """`folders` are the indexes that were folders, as the truth named them; `notes` sentences."""

    pyproject: str
    lock: str
    plugins: tuple[Plugin, ...]
    folders: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


def of(truth: Truth, plugins: Sequence[Plugin], version: str) -> Portable:
    """`version` is the interpreter's full version, in the place of a path that names it.

    Raises GovError (code `local_source`) for a package that comes from a folder.
    """
    notes: list[str] = []
    project = Project(truth.pyproject.decode())
    folders = tuple(folder_indexes(project))
    refuse_local(lockfile.parse(truth.lock, Path("uv.lock")))
    made = _without_interpreter(project, version, notes)
    text, lock = made.text, truth.lock.decode()
    for folder in folders:
        text = text.replace(f'"{folder}"', f'"{FOLDER_INDEX}"')
        lock = _without_folder(lock, folder)
        notes.append(f"packages come from the folder {folder}: the bundle calls it {FOLDER_INDEX}/")
    if git.stripped(text) != text or git.stripped(lock) != lock:
        text, lock = git.stripped(text), git.stripped(lock)
        notes.append("credentials stood in a URL: they were left out")
    _refuse_paths(text)
    return Portable(text, lock, tuple(map(_portable, plugins)), folders, tuple(notes))


def folder_indexes(project: Project) -> Iterator[str]:
    for index in project.indexes:
        url = str(index.get("url", ""))
        if urlsplit(url).scheme not in ("http", "https"):
            yield url


def _without_folder(lock: str, folder: str) -> str:
    lock = lock.replace(f'registry = "{folder}"', f'registry = "{FOLDER_INDEX}"')
    return lock.replace(f'path = "{folder}/', f'path = "{FOLDER_INDEX}/')


def with_folder(text: str, folder: str) -> str:
    """The other way round, on the machine that the bundle came to; of pyproject.toml or uv.lock."""
    text = text.replace(f'url = "{FOLDER_INDEX}"', f'url = "{folder}"')
    text = text.replace(f'registry = "{FOLDER_INDEX}"', f'registry = "{folder}"')
    return text.replace(f'path = "{FOLDER_INDEX}/', f'path = "{folder}/')


def _without_interpreter(project: Project, version: str, notes: list[str]) -> Project:
    """An interpreter that was named by its path, or in other words, is another machine's."""
    if PYTHON_VERSION.fullmatch(project.python):
        return project
    minor = ".".join(version.split(".")[:2])
    notes.append(f"Python was named as {project.python}: the bundle says {minor}")
    return project.with_python(minor)


def refuse_local(lock: Mapping[str, Any]) -> None:
    """Raises GovError (code `local_source`) for a package that comes from a folder."""
    for package in lock.get("package", []):
        source = package.get("source", {})
        for kind in _LOCAL_SOURCES:
            if kind in source:
                raise _local(f"{package.get('name')} comes from {source[kind]}")
        if str(source.get("git", source.get("url", ""))).startswith(("file:", "/")):
            raise _local(f"{package.get('name')} comes from a folder")


def _refuse_paths(pyproject: str) -> None:
    found = re.search(r"file:///?[^\s\"']*", pyproject)
    if found is not None:
        raise _local(f"pyproject.toml names {found[0]}")


def _local(what: str) -> GovError:
    return GovError(
        f"the installation cannot travel: {what}, which is on this machine only",
        hint="let the package come from an index or from git, then export again",
        code="local_source",
    )


def _portable(plugin: Plugin) -> Plugin:
    return replace(
        plugin,
        git_url=origin_of(plugin) or "",
        path=f"custom_nodes/{registry.loader_name(plugin)}",
        last_txid=None,
    )


def origin_of(plugin: Plugin) -> str | None:
    """The URL that the node was cloned from, without credentials; None for a folder."""
    if is_local(plugin.git_url):
        return None
    return git.stripped(plugin.git_url) or None


def is_local(url: str) -> bool:
    return url.startswith(("/", ".", "~", "file:"))
