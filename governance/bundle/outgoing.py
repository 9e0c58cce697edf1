"""`gov export`: the truth, or that of a snapshot, with its story, its code and its packages."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import governance
from governance import git
from governance.base.errors import GovError, Refused
from governance.boundaries import process, scratch, store
from governance.bundle import archive, code, contents, portable, wheels
from governance.bundle.archive import Member
from governance.bundle.contents import COMFYUI, Contents, Node
from governance.bundle.portable import Portable
from governance.changes import begin, checkouts
from governance.changes.session import Session
from governance.environments import generations
from governance.truth import freshness, history, registry, snapshots
from governance.truth.documents import Plugin, Snapshot
from governance.truth.resolution import Project
from governance.truth.snapshots import Truth
from governance.truth.workspace import Workspace


@dataclass(frozen=True)
class Source:
    """What is exported: a truth, and the snapshot that holds it (None where none does)."""

    truth: Truth
    snapshot: Snapshot | None
    project: Project
    plugins: tuple[Plugin, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Exported:
    """`notes` are sentences on what is not in the file as it is here."""

    path: Path
    sha256: str
    size: int
    contents: Contents
    notes: tuple[str, ...]


def export(
    session: Session,
    path: Path,
    *,
    snapshot_id: str | None = None,
    with_code: bool = False,
    with_wheels: bool = False,
) -> Exported:
    """Write the bundle; nothing of the workspace changes.

    Raises Refused (code `code_needed`) where code would not be found by who imports it, UsageError
    where something lies at `path`.
    """
    archive.refuse_taken(path)
    workspace = session.workspace
    found = source(workspace, snapshot_id)
    made = portable.of(found.truth, found.plugins, version(workspace, found))
    if not with_code:
        _refuse_unreachable(workspace, found)
    notes = [*made.notes, *found.left_out]
    if made.folders and not with_wheels:
        notes.append(
            "the packages of that folder are not in the bundle: name an index when it is "
            "imported (`gov import FILE --index URL`), or export it --with-wheels"
        )
    scratch.sweep(path.parent, store.TEMPORARY)
    with scratch.folder("export", within=path.parent, prefix=store.TEMPORARY) as folder:
        members = _members(found, made, _story(workspace, found))
        if with_code:
            members |= _code(session, found, folder)
        if with_wheels:
            taken = wheels.collect(session, found.project, found.truth.lock, folder)
            members |= {f"{contents.WHEELS}/{p.name}": p for p in taken.files}
            notes += taken.notes
        told = _contents(workspace, found, members)
        session.say(f"writing {path.name}")
        digest = archive.write(path, told, members)
    return Exported(path, digest, path.stat().st_size, told, tuple(notes))


# --- what is exported -------------------------------------------------------------------------


def source(workspace: Workspace, snapshot_id: str | None) -> Source:
    """Raises GovError where the lock is not that of the project."""
    snapshot = _snapshot(workspace, snapshot_id)
    if snapshot_id is None:
        truth = snapshots.truth(workspace)
        if not freshness.lock_is_current(workspace):
            raise GovError(
                "pyproject.toml or uv.lock was changed since gov wrote it",
                hint="take the change in with `bin/doit`, or export a snapshot: "
                "`gov export FILE last`",
                code="edited",
            )
    else:
        assert snapshot is not None
        truth = snapshots.content(workspace, snapshot)
    project = Project.read(truth.pyproject, workspace.pyproject)
    every = registry.parse(store.parse_json(truth.plugins, workspace.plugins), workspace)
    taken = tuple(plugin for plugin in every if plugin.last_snapshot is not None)
    left = tuple(
        f"{plugin.id} is left out: it was never promoted"
        for plugin in every
        if plugin.last_snapshot is None
    )
    return Source(truth, snapshot, project, taken, left)


def _snapshot(workspace: Workspace, snapshot_id: str | None) -> Snapshot | None:
    """The one that is named, else the newest that holds the truth of today."""
    if snapshot_id is not None:
        return snapshots.load(workspace, snapshot_id)
    now = snapshots.truth_as_it_is(workspace).digests()
    for row in reversed(snapshots.index(workspace)):
        found = snapshots.load(workspace, row["id"])
        if all(found.digests.get(name) == now[name] for name in _LOCKED):
            return found
    return None


_LOCKED = ("pyproject_sha256", "lock_sha256")


def version(workspace: Workspace, found: Source) -> str:
    """The full version of the interpreter of its environment, else of the environment of today."""
    named = found.snapshot.generation if found.snapshot else None
    made = generations.usable(workspace, named) if named else None
    made = made or generations.usable_prod(workspace)
    return made.python if made else platform.python_version()


def _contents(workspace: Workspace, found: Source, members: dict[str, Member]) -> Contents:
    return Contents(
        made_by=f"gov {governance.__version__}",
        platform=platform_here(),
        python=version(workspace, found),
        comfyui={"origin": comfyui_origin(workspace), **found.project.comfyui},
        nodes=tuple(_node(workspace, plugin) for plugin in found.plugins),
        files=dict.fromkeys(members, ""),
    )


def platform_here() -> str:
    return f"{platform.system()}-{platform.machine()}"


def _node(workspace: Workspace, plugin: Plugin) -> Node:
    return Node(
        id=plugin.id,
        kind=plugin.kind,
        origin=portable.origin_of(plugin),
        commit=plugin.commit,
        ref=plugin.ref,
        code=plugin.code or plugin.commit,
        enabled=plugin.enabled,
        additions=sorted(begin.known_additions(workspace, plugin)),
    )


def comfyui_origin(workspace: Workspace) -> str | None:
    folder = workspace.comfyui_dir
    url = git.origin(folder) if git.is_repository(folder) else None
    return None if url is None or portable.is_local(url) else url


def _members(found: Source, made: Portable, story: dict[str, Any]) -> dict[str, Member]:
    return {
        contents.PYPROJECT: made.pyproject.encode(),
        contents.LOCK: made.lock.encode(),
        contents.PLUGINS: registry.dump(made.plugins),
        contents.STORY: store.dump_json(story),
    }


def _story(workspace: Workspace, found: Source) -> dict[str, Any]:
    """The snapshot's own record and the changes that led to it; who made them and on which
    machine stays here."""
    snapshot = found.snapshot
    if snapshot is None:
        return {"snapshot": None, "changes": []}
    rows = [_told(row) for row in _until(workspace, snapshot.id)]
    kept = ("id", "created_at", "reason", "generation", "nodes", "ran")
    made = snapshot.to_json()
    return {"snapshot": {name: made.get(name) for name in kept}, "changes": rows}


def _until(workspace: Workspace, snapshot_id: str) -> Iterator[dict[str, Any]]:
    rows = history.rows(workspace)
    named = [n for n, row in enumerate(rows) if snapshot_id in (row["id"], row.get("pre"))]
    last = rows[named[0]] if named else None
    end = (named[0] + (last is not None and last["id"] == snapshot_id)) if named else 0
    yield from rows[:end]


_TOLD = ("id", "at", "verb", "steps", "packages", "code", "verdict")


def _told(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in _TOLD if name in row}


# --- code -------------------------------------------------------------------------------------


def _refuse_unreachable(workspace: Workspace, found: Source) -> None:
    """Who gets a bundle without code fetches it: what no remote has must be in it."""
    wrong = [why for plugin in found.plugins if (why := _unreachable(workspace, plugin))]
    wrong += _comfyui_unreachable(workspace, found)
    if not wrong:
        return
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    raise Refused(
        f"{wrong[0]}{more}",
        hint="put the code into the bundle: `gov export FILE --with-code`",
        code="code_needed",
        facts={"reasons": wrong},
    )


def _unreachable(workspace: Workspace, plugin: Plugin) -> str | None:
    if plugin.kind != "clone":
        return f"{plugin.id} is no git clone ({plugin.kind}): nobody could fetch its files"
    if plugin.code not in (None, plugin.commit):
        return f"{plugin.id} was promoted with local edits, which its remote does not have"
    if portable.origin_of(plugin) is None:
        return f"{plugin.id} comes from a folder of this machine"
    return _not_pushed(workspace, plugin.id, plugin.git_url, plugin)


def _not_pushed(workspace: Workspace, name: str, url: str, plugin: Plugin) -> str | None:
    place = checkouts.whereabouts(workspace, plugin)
    commit = str(plugin.commit)
    if place is not None and code.is_on_remote(place, commit):
        return None
    if _is_a_tip(workspace, url, commit):
        return None
    return f"{name} is at {commit[:12]}, which no branch of its remote is known to hold"


def _is_a_tip(workspace: Workspace, url: str, commit: str) -> bool:
    """The clone does not tell, as one that gov brought back itself: the remote is asked."""
    protocols = workspace.config.texts("policy.git_protocols")
    try:
        found = git.list_refs(
            git.source(url, protocols=protocols, cwd=Path("/")), protocols=protocols
        )
    except GovError:
        return False
    return commit in found.by_full_name.values() or commit == found.head


def _comfyui_unreachable(workspace: Workspace, found: Source) -> list[str]:
    """ComfyUI may be there already, so only edits of it are a reason."""
    named = found.project.comfyui
    if named.get("code") and named.get("code") != named.get("commit"):
        return ["ComfyUI was promoted with local edits, which its remote does not have"]
    return []


def _code(session: Session, found: Source, folder: Path) -> dict[str, Member]:
    """One git bundle for each node and for ComfyUI."""
    session.say("collecting the code")
    wanted = {plugin.id: _commits(plugin) for plugin in found.plugins}
    named = found.project.comfyui
    if named.get("code"):
        wanted[COMFYUI] = _named(named.get("commit"), named["code"])
    store.make_folder(folder / contents.NODES)

    def written(row: tuple[str, dict[str, str]]) -> tuple[str, Member]:
        place, commits = row
        name = contents.code_of(place)
        _require(session.workspace, place, commits)
        code.write(checkouts.repository(session.workspace, place), commits, folder / name)
        return name, folder / name

    rows = [(place, commits) for place, commits in wanted.items() if commits]
    return dict(process.side_by_side(written, rows))


def _commits(plugin: Plugin) -> dict[str, str]:
    head = plugin.commit if plugin.kind == "clone" else None
    return _named(head, plugin.code or plugin.commit)


def _named(commit: str | None, held: str | None) -> dict[str, str]:
    return {name: one for name, one in (("code", held), ("commit", commit)) if one}


def _require(workspace: Workspace, place: str, commits: dict[str, str]) -> None:
    for commit in commits.values():
        if not checkouts.repository(workspace, place).has(commit):
            raise GovError(
                f"the code of {place.lstrip('@')} at {commit[:12]} is not in the workspace",
                hint="export it without --with-code, or another snapshot: `gov snapshot list`",
                code="code_unknown",
                facts={"place": place, "code": commit},
            )
