"""What was changed beside gov: by ComfyUI-Manager, by hand, by another program.

ComfyUI-Manager installs, updates, disables and removes nodes under a running prod, whose
environment it cannot change.  Each of that is an item here, to be taken in as one observed change
or put back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from governance.adoption import manager, survey
from governance.base import clock, names
from governance.base.errors import UsageError
from governance.changes import audit, batch, begin, checkouts, nodes, rollback, steps
from governance.changes.gates import Approval
from governance.changes.session import Session
from governance.changes.steps import Step
from governance.code.capture import State
from governance.operations import nodes_now
from governance.truth import inventory, redo, registry, snapshots
from governance.truth.documents import Plugin, Transaction
from governance.truth.workspace import Workspace

INSTALLED, UPDATED, SWITCHED_OFF, SWITCHED_ON = "installed", "updated", "disabled", "enabled"
GONE, CORE, STARTUP = "removed", "comfyui", "startup"

# Kinds that a transaction takes in, and the step that does it.
_STEPS = {
    INSTALLED: steps.ADD,
    UPDATED: steps.ADD,
    SWITCHED_OFF: steps.DISABLE,
    SWITCHED_ON: steps.ENABLE,
    GONE: steps.REMOVE,
}


@dataclass(frozen=True)
class Item:
    """`id` is a node's, `ComfyUI`, or the name of a start-up script; `take` is the command that
    takes it in, "" where nothing does."""

    kind: str
    id: str
    path: str
    sentence: str
    take: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class PutBack:
    """What was put back; `snapshot` is the one that was brought back, None where none had to be."""

    items: tuple[Item, ...]
    snapshot: str | None
    warnings: tuple[str, ...] = ()


# --- looking ----------------------------------------------------------------------------------


def items(workspace: Workspace) -> list[Item]:
    """Read only, but that the code of governed nodes is looked at by its bytes."""
    known = registry.load(workspace)
    return [
        *_new(workspace, known),
        *_governed(workspace, known),
        *_comfyui(workspace),
        *_startup(workspace),
    ]


def _new(workspace: Workspace, known: Sequence[Plugin]) -> Iterator[Item]:
    taken = {registry.loader_name(plugin).lower() for plugin in known}
    found, _ = survey.entries(workspace, known)
    for one in found:
        if one.enabled and one.name.lower() not in taken:
            yield Item(
                INSTALLED,
                one.name.removesuffix(".py"),
                str(one.path),
                f"{one.name} lies in custom_nodes and is not governed",
                f"gov inbox --take {one.name.removesuffix('.py')}",
            )


def _governed(workspace: Workspace, known: Sequence[Plugin]) -> Iterator[Item]:
    promoted = [plugin for plugin in known if plugin.last_snapshot is not None]
    states = checkouts.states(workspace, promoted)
    for plugin in promoted:
        found = inventory.locate(workspace, plugin)
        told = _told(plugin, found, states.get(plugin.id))
        if told is not None:
            kind, sentence = told
            yield Item(kind, plugin.id, str(found.path), sentence, f"gov inbox --take {plugin.id}")


def _told(plugin: Plugin, found: inventory.Place, now: State | None) -> tuple[str, str] | None:
    name = plugin.id
    if not plugin.enabled:
        is_on = found.state == inventory.PRESENT
        return (SWITCHED_ON, f"{name} is disabled here, and was enabled") if is_on else None
    if found.state == inventory.MISSING:
        return GONE, f"{name} was removed: {found.path} is not there"
    if found.state == inventory.DISABLED:
        return SWITCHED_OFF, f"{name} was disabled: it lies at {found.path}"
    if now is None or now.code == plugin.code:
        return None
    if now.head and now.head != plugin.commit:
        return UPDATED, f"{name} was moved from {_short(plugin.commit)} to {_short(now.head)}"
    return UPDATED, f"{name} has files that are not those that were promoted"


def _short(commit: str | None) -> str:
    return (commit or "?")[:12]


def _comfyui(workspace: Workspace) -> Iterator[Item]:
    sentence = nodes_now.comfyui_sentence(workspace)
    if sentence is not None:
        folder = str(workspace.comfyui_dir)
        yield Item(CORE, "ComfyUI", folder, sentence.partition(" (")[0], "gov init")


def _startup(workspace: Workspace) -> Iterator[Item]:
    for path in manager.startup_scripts(workspace):
        yield Item(
            STARTUP,
            path.name,
            str(path),
            f"ComfyUI-Manager would run {path} at its next start; it cannot change prod",
        )


def chosen(workspace: Workspace, wanted: Collection[str]) -> list[Item]:
    """The items of these ids, all where none is named.  Raises UsageError for one that is not
    there."""
    found = items(workspace)
    known = {item.id for item in found}
    for name in wanted:
        if name not in known:
            raise UsageError(
                f"there is nothing about {name!r} in the inbox",
                hint="`gov inbox` lists what there is",
                code="not_in_inbox",
            )
    return [item for item in found if not wanted or item.id in wanted]


# --- taking in --------------------------------------------------------------------------------


def take(
    session: Session, wanted: Sequence[str], *, timeout: float | None = None
) -> Transaction | None:
    """One observed change with all of it; None where there is nothing that can be taken in."""
    workspace = session.workspace
    found = [item for item in chosen(workspace, wanted) if item.kind in _STEPS]
    if not found:
        return None
    new = _registered(session, {item.path for item in found if item.kind == INSTALLED})
    named = [new.get(item.path, item.id) for item in found]
    made = [Step(_STEPS[item.kind], node) for item, node in zip(found, named, strict=True)]
    return batch.run(session, begin.begin(session, made, kind="inbox"), timeout=timeout)


def _registered(session: Session, paths: Collection[str]) -> dict[str, str]:
    """The new nodes as they lie there: path to the id that each got."""
    if not paths:
        return {}
    workspace = session.workspace
    found = survey.nodes(workspace)
    wanted = [plugin for plugin in found.enabled if plugin.path in paths]
    nodes.register_all(session, wanted, "inbox")
    return {plugin.path: plugin.id for plugin in wanted}


# --- putting back -----------------------------------------------------------------------------


def put_back(session: Session, wanted: Sequence[str], approval: Approval) -> PutBack:
    """What is new is disabled, nothing of it is deleted; what is governed is as it was promoted.

    Raises UsageError where only a part of what is governed is named: the snapshot that is brought
    back holds all of it.
    """
    workspace = session.workspace
    found = chosen(workspace, wanted)
    governed = [item for item in found if item.kind not in (INSTALLED, STARTUP)]
    if governed and wanted:
        _require_all(workspace, governed)
    aside = [item for item in found if item.kind in (INSTALLED, STARTUP)]
    if aside:
        _set_aside(session, aside)
    if not governed:
        return PutBack(tuple(found), None)
    newest = str(snapshots.index(workspace)[-1]["id"])
    done = rollback.rollback(session, newest, approval, discard_local=True)
    return PutBack(tuple(found), newest, done.warnings)


def _require_all(workspace: Workspace, governed: Sequence[Item]) -> None:
    everything = {item.id for item in items(workspace) if item.kind not in (INSTALLED, STARTUP)}
    left = sorted(everything - {item.id for item in governed})
    if left:
        raise UsageError(
            f"{', '.join(left)} would be put back too: prod's snapshot holds them together",
            hint="`gov inbox --take` those that are to stay first, or put back all of it with "
            "`gov inbox --put-back`",
            code="not_alone",
            facts={"ids": left},
        )


def _set_aside(session: Session, found: Sequence[Item]) -> None:
    """By renames, which ComfyUI's loader and ComfyUI-Manager pass over."""
    workspace = session.workspace
    moves = []
    for item in found:
        path = Path(item.path)
        suffix = ".disabled" if item.kind == INSTALLED else f".{clock.stamp()[:10]}.set-aside"
        moves.append(redo.Move(path, _free(path.with_name(path.name + suffix))))
    entry = audit.entry(
        identity=names.new_txid(clock.now()),
        verb="inbox",
        steps=[f"put back {item.id}" for item in found],
        changes=(),
        code=(),
        who=audit.made(workspace),
        facts={},
    )
    redo.commit(workspace, redo.Record("inbox", {}, moves=tuple(moves), entry=entry))


def _free(path: Path) -> Path:
    number, chosen = 2, path
    while chosen.exists() or chosen.is_symlink():
        chosen, number = path.with_name(f"{path.stem}-{number}{path.suffix}"), number + 1
    return chosen
