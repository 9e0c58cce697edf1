"""`gov import` of a bundle: it becomes a snapshot of this workspace, and that one transaction.

Nothing is run that came with it before the fence is around it.  Objects, wheels and the snapshot
are kept before the transaction begins, where they are harmless; prod and code move when it is
promoted.
"""

from __future__ import annotations

import os
import platform
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from governance import git
from governance.base import names
from governance.base.errors import GovError, UsageError
from governance.boundaries import process, scratch, store
from governance.bundle import archive, code, contents, portable
from governance.bundle.contents import COMFYUI, Contents, Node, bad
from governance.bundle.outgoing import platform_here
from governance.changes import (
    begin,
    checkouts,
    pipeline,
    provenance,
    rollback,
    steps,
    supply_chain,
)
from governance.changes.draft import Target
from governance.changes.session import Session
from governance.changes.settings import Options, settings_of, version_of
from governance.changes.steps import Step
from governance.changes.work import Work
from governance.code.capture import CLONE, FOLDER, LINK
from governance.environments import wheelhouse
from governance.environments.wheelhouse import name_of
from governance.git.call import Limits
from governance.requirements import group_name, requirement_name
from governance.truth import freshness, lockfile, registry, snapshots
from governance.truth.documents import Plugin, Transaction
from governance.truth.resolution import Project
from governance.truth.workspace import Workspace

REASON = "import"


@dataclass(frozen=True)
class Wish:
    """As typed: an index in the place of a folder of packages, another Python."""

    index: str | None = None
    python: str | None = None
    discard_local: bool = False


@dataclass
class Account:
    """What becomes of the parts of a bundle, in sentences: taken exactly, as a wish, or lost."""

    exact: list[str] = field(default_factory=list)
    wished: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {"exact": self.exact, "wished": self.wished, "lost": self.lost}


@dataclass
class Arrived:
    """A bundle that was unpacked and checked, made into this workspace's truth step by step."""

    name: str
    folder: Path
    contents: Contents
    project: Project
    lock: bytes
    plugins: list[Plugin]
    account: Account
    exact: bool = True
    code: dict[str, Target] = field(default_factory=dict)
    preferences: dict[str, str] = field(default_factory=dict)

    @property
    def nodes(self) -> dict[str, Node]:
        return {node.id: node for node in self.contents.nodes}


def take(session: Session, path: Path, wish: Wish, *, timeout: float | None = None) -> Transaction:
    """Observe a bundle's installation here; the transaction as it ended."""
    return pipeline.run(session, begun(session, path, wish), timeout=timeout)


def begun(session: Session, path: Path, wish: Wish) -> Work:
    """The transaction of an import, before anything is locked or built."""
    freshness.refuse_tampered_lock(session.workspace)
    folder = session.workspace.work / f"import-{secrets.token_hex(4)}"
    try:
        arrived = _arrived(session, path, folder, wish)
        _refuse_blocked(session, arrived)
        _keep(session, arrived)
        return _begun(session, arrived, wish)
    finally:
        store.remove_tree(folder)


def _refuse_blocked(session: Session, arrived: Arrived) -> None:
    """Nodes that policy does not let in, before their code is fetched."""
    here = {(p.id, p.code) for p in registry.parse_or_none(session.workspace)}
    for plugin in arrived.plugins:
        if (plugin.id, plugin.code) not in here:
            supply_chain.require_node(session, plugin.id, plugin.git_url, plugin.registry)


def foresee(session: Session, path: Path, wish: Wish) -> Arrived:
    """What an import would take, and how; nothing is written here, and code and wheels are not
    looked at."""
    with scratch.folder("import") as name:
        return _arrived(session, path, name / "bundle", wish, _is_truth)


def _is_truth(member: str) -> bool:
    return member in contents.TRUTH


def _begun(session: Session, arrived: Arrived, wish: Wish) -> Work:
    snapshot = _snapshot(session.workspace, arrived)
    facts = {
        "snapshot": snapshot,
        "told": [arrived.name],
        "exact": arrived.exact,
        "ran": False,
        "whole": False,
        "packages_only": False,
        "code": {place: target._asdict() for place, target in arrived.code.items()},
    }
    wanted = [Step(steps.RESTORE, None, facts)]
    wanted += [
        Step(steps.BRING, p.id, {"commit": p.commit, "code": p.code})
        for p in arrived.plugins
        if p.enabled
    ]
    work = begin.begin(
        session,
        wanted,
        kind="import",
        preferences=None if arrived.exact else arrived.preferences,
        discard_local=wish.discard_local,
    )
    work.tx.brought = {"file": arrived.name, **arrived.account.to_json()}
    work.save()
    return work


def _snapshot(workspace: Workspace, arrived: Arrived) -> str:
    truth = snapshots.Truth(arrived.project.encoded, arrived.lock, registry.dump(arrived.plugins))
    made = snapshots.take(
        workspace, reason=REASON, generation=None, ref=None, content=truth, ran=False
    )
    return made.id


# --- what came --------------------------------------------------------------------------------


def _arrived(
    session: Session,
    path: Path,
    folder: Path,
    wish: Wish,
    wanted: archive.Wish | None = None,
) -> Arrived:
    """Read and made to fit this machine, step by step; nothing outside `folder` is written."""
    session.say(f"reading {path.name}")
    found = archive.unpack(path, folder, wanted)
    arrived = _parsed(session.workspace, path.name, folder, found)
    _with_index(session.workspace, arrived, wish)
    _with_interpreter(session, arrived, wish)
    _with_nodes(session.workspace, arrived, wish)
    _with_comfyui(session.workspace, arrived)
    _with_packages(arrived)
    return arrived


def _parsed(workspace: Workspace, name: str, folder: Path, found: Contents) -> Arrived:
    try:
        project = Project.read(
            store.read_bytes(folder / contents.PYPROJECT), Path(contents.PYPROJECT)
        )
        lock = store.read_bytes(folder / contents.LOCK)
        lockfile.parse(lock, Path(contents.LOCK))
        rows = store.parse_json(store.read_bytes(folder / contents.PLUGINS), Path(contents.PLUGINS))
        plugins = registry.parse(rows, workspace)
    except GovError as error:
        raise bad(name, error.message.replace(str(workspace.plugins), "plugins.json")) from None
    if {plugin.id for plugin in plugins} != {node.id for node in found.nodes}:
        raise bad(name, "plugins.json and bundle.json name other nodes")
    _refuse_groups(name, project, plugins)
    _refuse_programs(name, project, lock)
    contents.require_commits(project.comfyui, name)
    return Arrived(name, folder, found, project, lock, plugins, Account())


def _refuse_groups(name: str, project: Project, plugins: list[Plugin]) -> None:
    for plugin in plugins:
        if plugin.group != group_name(plugin.id):
            raise bad(name, f"{plugin.id} has the group {plugin.group!a}, which is not its own")
        if plugin.enabled and plugin.group not in project.groups:
            raise bad(name, f"pyproject.toml has no group {plugin.group}")


def _refuse_programs(name: str, project: Project, lock: bytes) -> None:
    """What would start a program of the bundle's choice outside the fence."""
    if not contents.PYTHON_VERSION.fullmatch(project.python):
        raise bad(name, f"its Python is {contents.printable(project.python)!r}, not a version")
    table = project.data.get("tool", {}).get("uv", {})
    if "build-system" in project.data or table.get("package") is not False:
        raise bad(name, "its pyproject.toml would be built as a package")
    try:
        portable.refuse_local(lockfile.parse(lock, Path(contents.LOCK)))
    except GovError as error:
        raise bad(name, error.message) from None


# --- packages ---------------------------------------------------------------------------------


def _with_index(workspace: Workspace, arrived: Arrived, wish: Wish) -> None:
    """A folder of packages lies in the bundle, or where the operator says."""
    folders = list(portable.folder_indexes(arrived.project))
    foreign = [folder for folder in folders if folder != contents.FOLDER_INDEX]
    if foreign:
        raise bad(arrived.name, f"its packages come from {foreign[0]}, a folder of another machine")
    if not folders:
        return
    if wish.index is None and not arrived.contents.wheels:
        raise UsageError(
            f"{arrived.name} has no packages and names no index: they came from a folder",
            hint=f"name one: gov import {arrived.name} --index URL (or a folder of wheels)",
            code="no_index",
        )
    named = Options(index=wish.index) if wish.index else None
    if named is not None and str(wish.index).startswith(("http://", "https://")):
        arrived.exact = False
        arrived.account.lost.append("the lock: it names files of a folder, not of that index")
        folder = str(wish.index)
        text = arrived.project.text.replace('format = "flat"\n', "")
        arrived.project = Project(portable.with_folder(text, folder))
        return
    named_folder = store.typed_path(str(wish.index)).resolve() if wish.index else None
    folder = str(named_folder or _own_index(workspace, arrived.contents))
    arrived.project = Project(portable.with_folder(arrived.project.text, folder))
    arrived.lock = portable.with_folder(arrived.lock.decode(), folder).encode()
    arrived.account.wished.append(f"packages come from {folder}, where they came from a folder")


def _own_index(workspace: Workspace, found: Contents) -> Path:
    """A folder of packages of its own: there is no hash by which two of one name are told apart."""
    rows = [f"{name} {found.files[f'{contents.WHEELS}/{name}']}" for name in found.wheels]
    return workspace.wheels / f"index-{store.digest(chr(10).join(rows).encode())[:16]}"


def _with_interpreter(session: Session, arrived: Arrived, wish: Wish) -> None:
    """The lock fits the same platform and the same minor version of Python, byte for byte."""
    found, account = arrived.contents, arrived.account
    reasons = []
    if found.platform != platform_here():
        reasons.append(f"it was locked for {found.platform}, and this is {platform_here()}")
    spec = _interpreter(session, arrived, wish)
    version = version_of(session, spec)
    if _minor(version) != found.minor:
        reasons.append(f"it was locked for Python {found.minor}, and here it is {_minor(version)}")
    elif not session.workspace.config.flag("policy.allow_source_builds") and _builds(arrived):
        reasons.append("it may build packages from source, and policy.allow_source_builds is off")
    elif not _fits(arrived, version):
        reasons.append(f"it was locked for Python {found.python} or newer, and here is {version}")
    if spec != arrived.project.python:
        arrived.project = arrived.project.with_python(spec)
    if not reasons and arrived.exact:
        account.exact.append(_LOCK if account.wished else f"{_LOCK}, byte for byte")
        return
    arrived.exact = False
    arrived.preferences = {
        name: text
        for name, text in lockfile.versions(
            lockfile.parse(arrived.lock, Path(contents.LOCK))
        ).items()
        if not text.startswith("@")
    }
    account.wished.append(f"{len(arrived.preferences)} versions, where they can be kept")
    account.lost += [f"the lock: {reason}" for reason in reasons]
    settings = settings_of(session, Options(python=spec), arrived.project)
    arrived.project = arrived.project.with_settings(settings)


def _interpreter(session: Session, arrived: Arrived, wish: Wish) -> str:
    """What is wished, else the bundle's Python, else the one of this workspace."""
    if wish.python is not None:
        return wish.python
    wanted = arrived.project.python
    try:
        session.uv.find_python(wanted)
        return wanted
    except UsageError:
        path = session.workspace.pyproject
        here = Project.read(store.read_bytes(path), path).python if path.is_file() else None
        return here or ".".join(platform.python_version_tuple()[:2])


_LOCK = "uv.lock: every package at its version"


def _builds(arrived: Arrived) -> bool:
    return arrived.project.data["tool"].get("uv", {}).get("no-build") is not True


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _fits(arrived: Arrived, version: str) -> bool:
    """Whether the lock's own environments take this interpreter."""
    from packaging.markers import InvalidMarker, Marker

    table = arrived.project.data.get("tool", {}).get("uv", {})
    texts = list(table.get("environments", []))
    here = {"python_full_version": version, "python_version": _minor(version)}
    try:
        return not texts or any(Marker(text).evaluate(here) for text in texts)
    except InvalidMarker:
        return False


def _with_packages(arrived: Arrived) -> None:
    """Wheels count where the lock knows them by this very digest."""
    known = {
        name_of(row): str(row.get("hash", ""))
        for package in lockfile.parse(arrived.lock, Path(contents.LOCK)).get("package", [])
        for row in package.get("wheels", [])
    }
    for name in arrived.contents.wheels:
        digest = arrived.contents.files[f"{contents.WHEELS}/{name}"]
        wanted = known.get(name, "")
        if wanted and wanted != f"sha256:{digest}":
            raise bad(arrived.name, f"{name} is not the file that its uv.lock names")
    if arrived.contents.wheels:
        count = len(arrived.contents.wheels)
        arrived.account.exact.append(f"{count} packages as files: no index is needed for them")


# --- code -------------------------------------------------------------------------------------


def _with_nodes(workspace: Workspace, arrived: Arrived, wish: Wish) -> None:
    """The records as they are here: their place, and their own additions."""
    known = {plugin.id: plugin for plugin in registry.parse_or_none(workspace)}
    for plugin in list(arrived.plugins):
        node = arrived.nodes[plugin.id]
        made = _here(workspace, plugin, node)
        arrived.plugins = registry.replace(arrived.plugins, made)
        if node.code is None:
            raise bad(arrived.name, f"{node.id} has no code")
        _refuse_taken(workspace, made, known, wish)
        arrived.code[made.id] = Target(made.commit if made.kind == CLONE else None, node.code)
        arrived.account.exact.append(_told(made, node))
    gone = sorted(known.keys() - {plugin.id for plugin in arrived.plugins})
    if gone:
        arrived.account.lost.append(
            f"nodes of this workspace that the bundle does not have leave prod, their code stays: "
            f"{', '.join(gone)}"
        )


def _here(workspace: Workspace, plugin: Plugin, node: Node) -> Plugin:
    names.node_id(plugin.id)
    name = registry.loader_name(plugin)
    if name not in (plugin.id, f"{plugin.id}.py"):
        name = plugin.id
    own = [line.text for line in provenance.judged(workspace, _pairs(node.additions)).lines]
    taken = {requirement_name(line) for line in plugin.added_deps}
    own = [line for line in own if requirement_name(line) not in taken]
    return replace(
        plugin,
        kind=FOLDER if node.kind == LINK else node.kind,
        commit=node.commit,
        code=node.code,
        git_url=node.origin or "",
        path=str(workspace.custom_nodes / name),
        added_deps=[*plugin.added_deps, *own],
        last_txid=None,
    )


def _pairs(lines: Sequence[str]) -> list[tuple[str, str]]:
    return [(line, "") for line in lines]


def _told(plugin: Plugin, node: Node) -> str:
    at = f"{plugin.id} at {str(node.commit)[:12]}"
    if node.kind == LINK:
        return f"{at} (a link to a developer's folder there, a folder of its own here)"
    edits = ", with the local edits that it had" if node.code != node.commit else ""
    return f"{at}{edits}" + ("" if plugin.enabled else " (disabled)")


def _refuse_taken(
    workspace: Workspace, plugin: Plugin, known: Mapping[str, Plugin], wish: Wish
) -> None:
    """What lies in its place and is not governed may be somebody's work."""
    place = registry.place(workspace, plugin)
    if plugin.id in known or not os.path.lexists(place) or wish.discard_local:
        return
    origin = git.origin(place) if place.is_dir() and git.is_repository(place) else None
    if plugin.kind == CLONE and origin and git.same_origin(origin, plugin.git_url or origin):
        return
    raise UsageError(
        f"{place} is there already and is not governed: the bundle's {plugin.id} belongs there",
        hint=f"govern it first: `gov node add {shlex.quote(place.name)}`; or move it away: "
        f"mv {shlex.quote(str(place))} {shlex.quote(str(place) + '.old')}",
        code="folder_exists",
        facts={"path": str(place), "origin": origin},
    )


def _with_comfyui(workspace: Workspace, arrived: Arrived) -> None:
    """A clone moves to the bundle's commit; what is no clone stays as it is, and is told."""
    named = arrived.project.comfyui
    if not named.get("code"):
        return
    now = checkouts.state_of_comfyui(workspace)
    commit = named.get("commit")
    at = f"ComfyUI at {str(commit or named['code'])[:12]}"
    if now is None:
        arrived.project = arrived.project.without_comfyui()
        arrived.account.lost.append(f"{at}: ComfyUI here is no git clone and stays as it is")
        return
    if (now.head, now.code) == (commit, named["code"]):
        arrived.account.exact.append(f"{at}, as it is here")
        return
    arrived.code[COMFYUI] = Target(commit, named["code"])
    arrived.account.exact.append(f"{at} (here it is at {str(now.head)[:12]})")


def _keep(session: Session, arrived: Arrived) -> None:
    """Objects and wheels go where the workspace keeps its own."""
    _take_code(session, arrived)
    for name, target in _wheel_places(session.workspace, arrived).items():
        store.make_folder(target.parent.parent)
        store.make_folder(target.parent)
        wanted = arrived.contents.files[f"{contents.WHEELS}/{name}"]
        if not target.is_file() or archive.digest(target) != wanted:
            store.move(arrived.folder / contents.WHEELS / name, target)
    if arrived.contents.wheels:
        store.sync_filesystem(session.workspace.wheels)


def _wheel_places(workspace: Workspace, arrived: Arrived) -> dict[str, Path]:
    """Those that a lock names by their hash can serve any lock, the others only this one."""
    hashed = {
        name_of(row)
        for package in lockfile.parse(arrived.lock, Path(contents.LOCK)).get("package", [])
        for row in package.get("wheels", [])
        if row.get("hash")
    }
    is_folder = any(portable.folder_indexes(arrived.project))
    own = wheelhouse.built(workspace, arrived.lock)
    other = _own_index(workspace, arrived.contents) if is_folder else own
    return {
        name: (workspace.wheels if name in hashed and not is_folder else other) / name
        for name in arrived.contents.wheels
    }


def _take_code(session: Session, arrived: Arrived) -> None:
    missing = {
        place: target
        for place, target in arrived.code.items()
        if not _has(session.workspace, place, target)
    }
    if missing:
        session.say(f"taking the code of {len(missing)} places")

    def taken(place: str) -> None:
        _take_one(session, arrived, place, missing[place])

    process.side_by_side(taken, missing)


def _has(workspace: Workspace, place: str, target: Target) -> bool:
    """Here already, or in the clone that lies here."""
    commit = target.commit
    both = commit is None or rollback.is_known(workspace, place, Target(None, commit))
    return both and rollback.is_known(workspace, place, target)


def _take_one(session: Session, arrived: Arrived, place: str, target: Target) -> None:
    workspace = session.workspace
    repository = checkouts.repository(workspace, place)
    quarantine = arrived.folder / "quarantine" / place
    limits = Limits(
        workspace.config.number("policy.clone_timeout_seconds"),
        int(workspace.config.number("policy.clone_limit_mb") * 1024 * 1024),
    )
    member = contents.code_of(place)
    commits = list(dict.fromkeys(one for one in (target.code, target.commit) if one))
    if member in arrived.contents.files:
        code.take(repository, arrived.folder / member, commits, quarantine, limits, arrived.name)
        return
    url = _origin(workspace, arrived, place)
    if url is None or target.code != (target.commit or target.code):
        raise GovError(
            f"{arrived.name} does not hold the code of {place.lstrip('@')}, and names no place "
            "to fetch it from",
            hint="export it once more where it is, with its code: `gov export FILE --with-code`",
            code="code_unknown",
            facts={"place": place.lstrip("@")},
        )
    session.say(f"fetching {place.lstrip('@')}")
    protocols = workspace.config.texts("policy.git_protocols")
    origin = git.source(url, protocols=protocols, cwd=Path("/"))
    code.fetch(repository, origin, target.code, quarantine, protocols=protocols, limits=limits)


def _origin(workspace: Workspace, arrived: Arrived, place: str) -> str | None:
    if place != COMFYUI:
        return arrived.nodes[place].origin
    return git.origin(workspace.comfyui_dir) or arrived.contents.comfyui.get("origin")
