"""Nodes by their id at the Comfy Registry: looked up, judged, fetched, taken in.

A version's archive is laid and captured as ComfyUI-Manager would have unpacked it.  Where only the
repository is known, or is asked for (`@nightly`), it is cloned as by its URL.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from governance import comfyui, git
from governance.base import names
from governance.base.errors import GovError, Refused, UsageError
from governance.boundaries import store
from governance.boundaries.config import Config
from governance.catalogue import archive, ids
from governance.catalogue.answers import ACTIVE, BANNED, DELETED, Release
from governance.catalogue.api import Registry
from governance.catalogue.archive import Fetched
from governance.catalogue.ids import NIGHTLY, Wanted
from governance.catalogue.offline import Catalogue, Listed
from governance.changes import checkouts, comfyui_fit, nodes, supply_chain
from governance.changes.nodes import Added
from governance.changes.session import Session
from governance.code import capture
from governance.truth import archives, redo, registry
from governance.truth.documents import Plugin
from governance.truth.workspace import Workspace


@dataclass(frozen=True)
class Offer:
    """What an id stands for today: `release` with an archive, or the `repository` alone.

    `id` is the registry's spelling, "" where only Manager's list knows it; `status` that of the
    node as a whole; `notes` say who was asked in vain.
    """

    id: str
    release: Release | None
    repository: str
    status: str = ""
    notes: tuple[str, ...] = ()
    publisher: str = ""

    @property
    def name(self) -> str:
        return f"{self.id}@{self.release.version}" if self.release else self.id


def wanted(workspace: Workspace, text: str, cwd: Path) -> Wanted | None:
    """The id that was typed; None for a URL, a path that is there, or what lies in custom_nodes."""
    found = ids.parse(text)
    if found is None or os.path.lexists(cwd / store.typed_path(text)):
        return None
    return None if nodes.is_entry(workspace, text) else found


# --- what the id stands for -------------------------------------------------------------------


def look_up(config: Config, typed: Wanted, *, elsewhere: bool = True) -> Offer:
    """Ask the registry, and where it does not answer or does not know, ComfyUI-Manager's list
    (unless `elsewhere` is False).

    Raises UsageError for an id or a version that nobody knows, and GovError where nobody answers.
    What a registry refuses (403: a banned node answers so) is not looked for elsewhere.
    """
    try:
        found = Registry.of(config).node(typed.id)
    except GovError as error:
        if not elsewhere or error.code not in ("registry_unreachable", "registry_failed"):
            raise
        return _offline(config, typed, error)
    if found is None and elsewhere:
        return _offline(config, typed, None)
    if found is None:
        raise _unknown(typed.id, listed=False)
    if typed.version == NIGHTLY or (typed.version is None and found.latest is None):
        url = _repository(found.id, found.repository)
        return Offer(found.id, None, url, found.status, publisher=found.publisher_id)
    release = found.latest
    if typed.version is not None and (release is None or release.version != typed.version):
        release = Registry.of(config).version(found.id, typed.version)
    if release is None:
        raise archive.unknown_version(found.id, str(typed.version))
    publisher = found.publisher_id
    return Offer(found.id, release, found.repository, found.status, publisher=publisher)


def _offline(config: Config, typed: Wanted, error: GovError | None) -> Offer:
    """The repository that Manager's list names; `error` is why the registry did not answer."""
    catalogue = Catalogue.of(config)
    listed = catalogue.find(typed.id) if catalogue else []
    by_repository = typed.version in (None, NIGHTLY)
    if error is not None and (not listed or not by_repository):
        raise GovError(
            f"there is no folder {typed.id}, and no answer from the registry: {error.message}",
            hint=_nobody(typed, catalogue is not None, bool(listed)),
            code=error.code,
            facts=error.facts,
        )
    if not listed:
        raise _unknown(typed.id, catalogue is not None)
    if not by_repository:
        raise archive.unknown_version(typed.id, str(typed.version))
    one = _only(typed.id, listed)
    why = f"the registry did not answer ({error.message})" if error else "no id at the registry"
    note = f"{typed.id} is taken from its repository, as ComfyUI-Manager's list names it: {why}"
    return Offer("", None, one.url, notes=(note,))


def _nobody(typed: Wanted, has_list: bool, is_listed: bool) -> str:
    """What to do where the registry does not answer."""
    if is_listed:
        return (
            "ComfyUI-Manager's list knows its repository, but no versions: "
            f"`gov node add {typed.id}` clones it"
        )
    path = f"a folder is named by its path, as ./{typed.id}"
    if has_list:
        return f"ComfyUI-Manager's list does not know it either; {path}"
    return f"try again later, or let [registry] catalogue name ComfyUI-Manager's list; {path}"


def _only(node_id: str, listed: Sequence[Listed]) -> Listed:
    usable = [one for one in listed if one.is_repository]
    if len(usable) == 1:
        return usable[0]
    if not usable:
        raise UsageError(
            f"{node_id} is no repository: ComfyUI-Manager's list gives {listed[0].url}",
            hint="put that file into custom_nodes, then `gov node add` with its name adopts it",
            code="no_repository",
            facts={"url": listed[0].url},
        )
    raise UsageError(
        f"{len(usable)} nodes of ComfyUI-Manager's list are called {node_id}: "
        + ", ".join(one.url for one in usable[:5]),
        hint=f"name the one that is meant: gov node add {usable[0].url}",
        code="ambiguous_id",
        facts={"urls": [one.url for one in usable]},
    )


def _repository(node_id: str, url: str) -> str:
    if not url:
        raise UsageError(
            f"the registry names no repository of {node_id}",
            hint=f"`gov node info {node_id}` shows what it knows",
            code="no_repository",
            facts={"node_id": node_id},
        )
    return url


def _unknown(node_id: str, listed: bool) -> UsageError:
    where = (
        "neither the registry nor ComfyUI-Manager's list knows"
        if listed
        else ("the registry does not know")
    )
    return UsageError(
        f"{where} a node {node_id!r}, and there is no such folder",
        hint=f"`gov node search {node_id}` looks for it; a folder is named by its path, as "
        f"./{node_id}",
        code="unknown_registry_node",
        facts={"node_id": node_id},
    )


# --- whether it may be taken ------------------------------------------------------------------


def require_offered(offer: Offer, accept: str | None = None) -> tuple[str, ...]:
    """Sentences that somebody should read before the code is run.

    Raises Refused: `version_deleted`, and `version_banned` unless `accept` says why all the same.
    """
    release = offer.release
    told = {offer.status, release.status if release else ""}
    because = f" ({release.reason})" if release and release.reason else ""
    if DELETED in told:
        raise Refused(
            f"{offer.name} was deleted at the registry{because}",
            hint=f"`gov node info {offer.id}` lists the versions that can be had",
            code="version_deleted",
            facts={"node": offer.name},
        )
    if BANNED in told and not accept:
        raise Refused(
            f"{offer.name} is banned at the registry{because}",
            hint="the registry often gives no reason; --accept-banned 'WHY' takes it all the same "
            "and records that",
            code="version_banned",
            facts={"node": offer.name, "reason": release.reason if release else ""},
        )
    return tuple(_cautions(offer, because))


def _cautions(offer: Offer, because: str) -> Iterator[str]:
    release = offer.release
    for word in dict.fromkeys([offer.status, release.status if release else ""]):
        if word not in ("", ACTIVE):
            yield f"{offer.name} is {word} at the registry{because}"
    if release is not None and release.deprecated:
        yield f"{offer.name} is deprecated: its author advises against it"


def _unfit_here(workspace: Workspace, offer: Offer, node: str) -> Iterator[str]:
    """A range of ComfyUI's versions that this one is not in, as the registry has it."""
    asked = offer.release.comfyui if offer.release else ""
    sentence = comfyui_fit.unfit(node, asked, comfyui.version(workspace.comfyui_dir))
    if sentence:
        yield sentence


# --- fetching ---------------------------------------------------------------------------------


def obtain(
    session: Session,
    node_id: str,
    version: str,
    into: Path,
    expected_sha256: str | None = None,
    *,
    counted: bool = True,
) -> Fetched:
    """As archive.fetch, compared with the digest that this workspace has recorded, and with
    `expected_sha256`, which a bundle or a record names.

    Whoever takes it in calls `remember`; what is refused afterwards leaves no trace.
    """
    workspace = session.workspace
    known = archives.recorded(workspace, node_id, version)
    if known is not None and expected_sha256 not in (None, known):
        archives.note(workspace, node_id, version, str(expected_sha256))  # raises
    wanted_sha256 = known or expected_sha256
    return archive.fetch(
        workspace.config, node_id, version, into, wanted_sha256, counted=counted, say=session.say
    )


def remember(workspace: Workspace, facts: Mapping[str, str]) -> None:
    """Compare later archives of this version with this one; `facts` are a record's `registry`."""
    archives.note(workspace, facts["id"], facts["version"], facts["sha256"])


def facts(offer: Offer, fetched: Fetched | None, code: str | None) -> dict[str, str]:
    """The field `registry` of a node's record."""
    made = {
        "id": offer.id,
        "version": fetched.version if fetched else NIGHTLY,
        "repository": offer.repository,
        "publisher": offer.publisher,
        "sha256": fetched.sha256 if fetched else "",
        "code": code or "" if fetched else "",
    }
    return {name: value for name, value in made.items() if value}


# --- adding -----------------------------------------------------------------------------------


def add(
    session: Session, typed: Wanted, *, ref: str | None, node_id: str | None, accept: str | None
) -> Added:
    """Take in a node by its id; it is loaded once it is promoted."""
    workspace = session.workspace
    if ref is not None:
        raise UsageError(
            f"--ref is for a git repository, and {typed.id} is an id at the registry",
            hint=f"name a version as {typed.id}@1.2.3, or its newest commit as {typed.id}@nightly",
        )
    plugins = registry.load(workspace)
    chosen = names.node_id(node_id or typed.id.lower())
    nodes.refuse_taken(plugins, chosen)
    session.say(f"looking {typed.id} up")
    offer = look_up(workspace.config, typed)
    unfit = _unfit_here(workspace, offer, chosen)
    cautions = (*offer.notes, *require_offered(offer, accept), *unfit)
    require_allowed(session, offer, chosen)
    audited = _audited(offer, accept)
    if offer.release is None:
        added = _cloned(session, plugins, offer, chosen if offer.id else node_id, audited)
    else:
        added = _unpacked(session, plugins, offer, chosen, audited)
    # Its own pyproject.toml may say what the registry says.
    return replace(added, warnings=tuple(dict.fromkeys((*cautions, *added.warnings))))


def require_allowed(session: Session, offer: Offer, node: str) -> None:
    """Raises Refused for a node or a publisher that policy blocks; a clone is asked about by the
    address that it comes from."""
    known = {"id": offer.id, "publisher": offer.publisher, "repository": offer.repository}
    url = "" if offer.release else offer.repository
    supply_chain.require_node(session, node, url, known)


def _audited(offer: Offer, accept: str | None) -> dict[str, str]:
    """What the history tells of it beside the code."""
    told = {"registry": offer.name} if offer.id else {}
    is_banned = BANNED in (offer.status, offer.release.status if offer.release else "")
    return {**told, **({"accepted_banned": str(accept)} if is_banned else {})}


def _cloned(
    session: Session,
    plugins: Sequence[Plugin],
    offer: Offer,
    node_id: str | None,
    audited: dict[str, str],
) -> Added:
    workspace = session.workspace
    protocols = workspace.config.texts("policy.git_protocols")
    source = git.source(offer.repository, protocols=protocols, cwd=Path("/"))
    chosen = node_id or names.node_id_from_url(source.url)
    nodes.refuse_taken(plugins, chosen)
    _refuse_occupied(workspace, chosen)
    known = facts(offer, None, None) if offer.id else {}
    return nodes.clone(session, plugins, source, chosen, None, known=known, audited=audited)


def _unpacked(
    session: Session,
    plugins: Sequence[Plugin],
    offer: Offer,
    chosen: str,
    audited: dict[str, str],
) -> Added:
    """Beside custom_nodes first, since its loader takes whatever lies inside."""
    workspace = session.workspace
    assert offer.release is not None
    _refuse_occupied(workspace, chosen)
    unfinished = redo.nursery(workspace) / f"add-{secrets.token_hex(4)}"
    target = redo.real_custom_nodes(workspace) / chosen
    try:
        fetched = obtain(session, offer.id, offer.release.version, unfinished)
        found = capture.capture(checkouts.repository(workspace, chosen), unfinished)
        plugin = replace(
            nodes.new_record(workspace, "", chosen, None),
            kind=found.kind,
            commit=found.code,
            code=found.code,
            registry=facts(offer, fetched, found.code),
        )
        remember(workspace, plugin.registry)
        move = redo.Move(unfinished, target)
        nodes.register(session, plugins, plugin, (move,), audited)
    except BaseException:
        # Beyond the commit point the folder belongs to the change, which recovery finishes.
        if not redo.is_pending(workspace):
            store.remove_tree(unfinished)
        raise
    return Added(plugin, False, tuple(nodes.warnings(workspace, plugin)))


def _refuse_occupied(workspace: Workspace, chosen: str) -> None:
    """A folder of that name, in any spelling: ComfyUI would load the node twice."""
    found = comfyui.node_folders(workspace.comfyui_dir)
    there = next((entry for entry in found if names.same(entry.name, chosen)), None)
    if there is None and not os.path.lexists(workspace.custom_nodes / chosen):
        return
    path = there.path if there else workspace.custom_nodes / chosen
    raise UsageError(
        f"{path} is there already, and gov does not govern it",
        hint=f"`gov node add {path.name}` adopts it as it is; or choose another name with --id, "
        "or move it away",
        code="folder_exists",
        facts={"path": str(path)},
    )


# --- another version --------------------------------------------------------------------------


@dataclass(frozen=True)
class Newer:
    """Another version of an installed node: `code` holds its files in the workspace's store."""

    version: str
    code: str
    registry: dict[str, str]
    changelog: str
    notes: tuple[str, ...]


def newer(
    session: Session, plugin: Plugin, to: str | None, accept: str | None, *, counted: bool
) -> Newer | None:
    """The version `to`, or the newest; None where it is the one that is installed."""
    workspace = session.workspace
    known = plugin.registry
    asked = Wanted(known["id"], ids.require_version(to) if to else None)
    offer = look_up(workspace.config, asked, elsewhere=False)
    if offer.release is None:
        raise UsageError(
            f"the registry has no archive of {known['id']} at {to or 'its newest version'}",
            hint=f"`gov node remove {plugin.id}`, then `gov node add {known['id']}@nightly` clones "
            "its repository",
            code="unknown_version",
        )
    if offer.release.version == known.get("version"):
        return None
    require_allowed(session, offer, plugin.id)
    notes = (*require_offered(offer, accept), *_unfit_here(workspace, offer, plugin.id))
    folder = workspace.work / f"fetch-{secrets.token_hex(4)}"
    try:
        fetched = obtain(session, offer.id, offer.release.version, folder, counted=counted)
        _require_capturable(folder, fetched)
        found = capture.capture(checkouts.repository(workspace, plugin.id), folder)
    finally:
        store.remove_tree(folder)
    made = facts(offer, fetched, found.code)
    return Newer(fetched.version, found.code, made, fetched.release.changelog, notes)


def _require_capturable(folder: Path, fetched: Fetched) -> None:
    """What is laid in place of the old version comes from the store of code, which takes no
    weights."""
    large = [
        name
        for name in fetched.files
        if not name.endswith("/") and (folder / name).stat().st_size > capture.LARGEST_FILE_BYTES
    ]
    if large:
        raise Refused(
            f"{fetched.node_id}@{fetched.version} holds files that gov keeps no copies of "
            f"(over {capture.LARGEST_FILE_BYTES >> 20} MiB): {', '.join(large[:3])}",
            hint=f"remove the node with --purge-code, then add {fetched.node_id}@{fetched.version}",
            code="archive_unfit",
            facts={"files": large[:20]},
        )
