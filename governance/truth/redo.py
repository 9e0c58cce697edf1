"""One change to documents, code and the prod link, as one redo record.

The intent file holds the new bytes of every document themselves, and names for every file of code
that changes its digest before and after, so that one synced write is the commit point; before it
nothing happened, after it the change is rolled forward, idempotently and without uv, git's
network or the index.  Nothing is moved while any file is neither old nor new by its digest.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from governance.base import clock
from governance.base.errors import Damaged, GovError
from governance.base.shape import TEXT_OR_NONE, Shape, mismatch
from governance.boundaries import store
from governance.truth import log
from governance.truth.workspace import Workspace

if TYPE_CHECKING:
    from governance.code.moves import FileMove

SCHEMA = 1
# Where ComfyUI's loader does not look: clones in the making, code to delete.  Beside custom_nodes,
# or in it where it is a mount of its own or a link: nothing can be renamed into it from outside.
_NURSERY = ".gov"
_NURSERY_WITHIN = "__pycache__/.gov"

_INTENT: Shape = {
    "verb": str,
    "link": (type(None), {"before": TEXT_OR_NONE, "after": str}),
    "documents": [{"path": str, "before": TEXT_OR_NONE, "after": str, "text": str}],
    "moves": [{"source": str, "target": str}],
    "checkouts?": [
        {
            "place": str,
            "staging": str,
            "head": TEXT_OR_NONE,
            "files": [
                {
                    "path": str,
                    "before": TEXT_OR_NONE,
                    "after": TEXT_OR_NONE,
                    "mode": int,
                    "staged": TEXT_OR_NONE,
                }
            ],
        }
    ],
    "entry?": (type(None), {"id": str}),
}
_DOCUMENT = re.compile(
    r"pyproject\.toml|uv\.lock|state/(plugins|receipt|snapshots_index)\.json"
    r"|state/transactions/[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}\.json"
)
_GENERATION = re.compile(r"\.generations/[A-Za-z0-9][A-Za-z0-9-]*")


class Move(NamedTuple):
    """A rename of node code, both paths absolute and on one filesystem."""

    source: Path
    target: Path


class Checkout(NamedTuple):
    """Files of one node, or of ComfyUI, that change; the new bytes lie in `staging`, durable.

    `head` is the commit that a clone's HEAD is to be, None where it is no clone.
    """

    place: Path
    staging: Path
    files: Sequence[FileMove]
    head: str | None = None


class Record(NamedTuple):
    """What one change writes: `documents` maps workspace-relative paths to new bytes,
    `generation` None leaves the link, `entry` is the line of the history."""

    verb: str
    documents: Mapping[str, bytes]
    generation: str | None = None
    moves: Sequence[Move] = ()
    checkouts: Sequence[Checkout] = ()
    entry: Mapping[str, Any] | None = None


def commit(workspace: Workspace, change: Record) -> None:
    """Make the change durable as a whole.  The caller holds the workspace and has recovered.

    Where the disk fails on the way the change is taken back, and the error raised.
    """
    intent = _intent(workspace, change)
    back = _inverse(workspace, intent)
    with _uninterrupted():
        try:
            store.write_json(workspace.intent, intent)
            _apply(workspace, intent)
        except (OSError, GovError) as error:
            if is_pending(workspace):
                _take_back(workspace, intent, back, error)
            raise


def _inverse(workspace: Workspace, intent: dict[str, Any]) -> dict[str, Any] | None:
    """The intent that leads back; None where something was not there before."""
    link, documents = intent["link"], []
    if intent["checkouts"] or intent["entry"]:
        return None  # the way forward is the one that the staged bytes make possible
    for entry in intent["documents"]:
        try:
            text = store.read_bytes(workspace.root / entry["path"]).decode()
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        sides = {"before": entry["after"], "after": entry["before"]}
        documents.append({**entry, **sides, "text": text})
    if link is not None and link["before"] is None:
        return None
    turned = link and {"before": link["after"], "after": link["before"]}
    renames = [{"source": m["target"], "target": m["source"]} for m in intent["moves"]]
    return {**intent, "link": turned, "moves": renames, "documents": documents}


def _take_back(
    workspace: Workspace, intent: dict[str, Any], back: dict[str, Any] | None, error: Exception
) -> None:
    """Undo what was made of a change, by the same means; raises where the disk fails once more."""
    try:
        if _is_untouched(workspace, intent):
            _drop_intent(workspace)
            return
        if back is not None:
            store.write_json(workspace.intent, back)
            _apply(workspace, back)
            return
    except (OSError, GovError):
        pass  # the first error is the one to tell; the intent on the disk is whole either way
    raise GovError(
        f"the disk failed in the midst of a change: {error}",
        hint="mend the disk; the next gov command brings the change to its end",
        code="disk",
        facts={"intent": str(workspace.intent)},
    ) from error


def _is_untouched(workspace: Workspace, intent: dict[str, Any]) -> bool:
    link = intent["link"]
    if _code_is_begun(intent):
        return False
    return (
        all(
            store.file_digest(workspace.root / entry["path"]) == entry["before"]
            for entry in intent["documents"]
        )
        and (link is None or _link(workspace) == link["before"])
        and not any(os.path.lexists(move["target"]) for move in intent["moves"])
    )


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """A change takes milliseconds: Ctrl-C meets it before or after, and its error means which."""
    import threading  # no question needs it

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        while signal.sigtimedwait((signal.SIGINT, signal.SIGTERM), 0) is not None:
            pass  # the command is over in a moment and tells that it is done
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def is_pending(workspace: Workspace) -> bool:
    """Whether a change is beyond its commit point; asked of a failing disk, so nothing is read."""
    return os.path.lexists(workspace.intent)


def pending(workspace: Workspace) -> dict[str, Any] | None:
    """The intent of a command that was cut off after its commit point, if there is one."""
    try:
        intent = store.read_object(workspace.intent)
    except FileNotFoundError:
        return None
    wrong = mismatch(intent, _INTENT, "it") or _beyond(workspace, intent)
    if wrong:
        raise store.damaged(workspace.intent, wrong)
    return intent


def recover(workspace: Workspace) -> str | None:
    """Roll an interrupted change forward; the verb that it belonged to, or None.

    Raises Damaged, touching nothing, where a file is neither as before nor as intended.
    """
    intent = pending(workspace)
    if intent is None:
        return None
    _check(workspace, intent)
    _apply(workspace, intent)
    return str(intent["verb"])


def read_document(workspace: Workspace, path: Path) -> bytes:
    """The bytes that hold: those of a pending intent, else the file's.  FileNotFoundError."""
    intent = pending(workspace)
    if intent is not None:
        relative = str(path.relative_to(workspace.root))
        for entry in intent["documents"]:
            if entry["path"] == relative:
                return _data(entry)
    return store.read_bytes(path)


def _code_is_begun(intent: dict[str, Any]) -> bool:
    from governance.code import moves  # git is paid for only where code moves

    return any(moves.is_begun(place, files) for place, _, files, _ in _checkouts(intent))


def _intent(workspace: Workspace, change: Record) -> dict[str, Any]:
    documents = [
        {
            "path": path,
            "before": store.file_digest(workspace.root / path),
            "after": store.digest(data),
            "text": data.decode(),
        }
        for path, data in change.documents.items()
    ]
    link = None
    if change.generation is not None:
        link = {"before": _link(workspace), "after": f".generations/{change.generation}"}
    renames = [{"source": str(m.source), "target": str(m.target)} for m in change.moves]
    return {
        "schema": SCHEMA,
        "verb": change.verb,
        "created_at": clock.stamp(),
        "link": link,
        "moves": renames,
        "checkouts": [_as_json(checkout) for checkout in change.checkouts],
        "documents": documents,
        "entry": change.entry and log.placed(workspace, change.entry, change.documents),
    }


def _as_json(checkout: Checkout) -> dict[str, Any]:
    return {
        "place": str(checkout.place),
        "staging": str(checkout.staging),
        "head": checkout.head,
        "files": [move._asdict() for move in checkout.files],
    }


def _checkouts(intent: dict[str, Any]) -> Iterator[Checkout]:
    """In the order in which they are made; a record of an earlier version has none."""
    from governance.code.moves import FileMove

    for row in intent.get("checkouts", ()):
        files = [
            FileMove(**{name: move[name] for name in FileMove._fields}) for move in row["files"]
        ]
        yield Checkout(Path(row["place"]), Path(row["staging"]), files, row["head"])


def _beyond(workspace: Workspace, intent: dict[str, Any]) -> str | None:
    """What in an intent leads to where no change of ours would."""
    for path in (entry["path"] for entry in intent["documents"]):
        if not _DOCUMENT.fullmatch(path):
            return f"{path!a} is no document of a change"
    link = intent["link"]
    if link is not None and not _GENERATION.fullmatch(link["after"]):
        return f"prod cannot lead to {link['after']!a}"
    folders = _code_folders(workspace)
    for path in (Path(end) for move in intent["moves"] for end in move.values()):
        if path.name in ("", "..") or path.parent not in folders:
            return f"{str(path)!a} is no place for the code of a node"
    for checkout in _checkouts(intent):
        if not _is_place(workspace, checkout, folders):
            return f"{str(checkout.place)!a} is no place for code"
    return None


def _is_place(workspace: Workspace, checkout: Checkout, folders: Sequence[Path]) -> bool:
    """ComfyUI's folder or one of a node, filled from below `state/work`."""
    place, staging = checkout.place, checkout.staging
    known = place == _comfyui(workspace) or (place.name != ".." and place.parent in folders)
    names = [name for move in checkout.files for name in (move.path, move.staged or "x")]
    plain = all(not name.startswith("/") and ".." not in name.split("/") for name in names)
    return known and plain and staging.is_relative_to(workspace.work) and ".." not in staging.parts


def nursery(workspace: Workspace) -> Path:
    """A folder in the mount of custom_nodes that ComfyUI's loader does not read."""
    nodes = workspace.custom_nodes
    if not nodes.is_dir():
        store.make_folder(nodes)
    work, beside, within = nurseries(workspace)
    wanted = store.mount_of(nodes)
    if store.mount_of(work) == wanted:
        return work
    if store.mount_of(beside.parent) == wanted:
        return store.make_folder(beside)
    store.make_folder(within.parent)
    return store.make_folder(within)


def nurseries(workspace: Workspace) -> tuple[Path, Path, Path]:
    """Where clones are made and removed code waits to be deleted, the preferred ones first; one of
    them can be renamed from and to the folder of nodes."""
    beside = _comfyui(workspace) / _NURSERY
    return workspace.work, beside, real_custom_nodes(workspace) / _NURSERY_WITHIN


def real_custom_nodes(workspace: Workspace) -> Path:
    """custom_nodes as it is on the disk: the operator may have made it a link."""
    return Path(os.path.realpath(_comfyui(workspace) / "custom_nodes"))


def _code_folders(workspace: Workspace) -> tuple[Path, ...]:
    nodes = _comfyui(workspace) / "custom_nodes"
    return *nurseries(workspace), nodes, real_custom_nodes(workspace)


def _comfyui(workspace: Workspace) -> Path:
    """As it is configured, be it there or not."""
    named = store.typed_path(workspace.config.text("comfyui_dir"))
    return Path(os.path.normpath(workspace.root / named))


def _data(entry: dict[str, Any]) -> bytes:
    """What a lone surrogate becomes is nothing that we wrote, and no digest of ours fits it."""
    return str(entry["text"]).encode(errors="surrogatepass")


def _check(workspace: Workspace, intent: dict[str, Any]) -> None:
    for entry in intent["documents"]:
        path = workspace.root / entry["path"]
        if store.digest(_data(entry)) != entry["after"]:
            raise _stop(workspace, f"{workspace.intent} does not hold what it says")
        if store.file_digest(path) not in (entry["before"], entry["after"]):
            raise _stop(workspace, f"{path} was changed since")
    link = intent["link"]
    if link is not None and _link(workspace) not in (link["before"], link["after"]):
        raise _stop(workspace, f"{workspace.prod} was changed since")
    for move in intent["moves"]:
        if not os.path.lexists(move["source"]) and not os.path.lexists(move["target"]):
            raise _stop(workspace, f"neither {move['source']} nor {move['target']} is there")
    from governance.code import moves

    for checkout in _checkouts(intent):
        wrong = moves.blocked(checkout.place, checkout.files, checkout.staging)
        if wrong is not None:
            raise _stop(workspace, wrong)


def _stop(workspace: Workspace, why: str) -> Damaged:
    return Damaged(
        f"an interrupted change cannot be finished: {why}",
        hint=f"nothing was touched; compare the file with {workspace.intent}, put one of the two "
        "versions in place, then run the command again",
        code="recovery_blocked",
    )


def _apply(workspace: Workspace, intent: dict[str, Any]) -> None:
    """Link, code, documents; every folder is synced before the intent goes."""
    if intent["link"] is not None:
        store.point_link(workspace.prod, intent["link"]["after"])
    for move in intent["moves"]:
        if os.path.lexists(move["source"]):
            store.move(Path(move["source"]), Path(move["target"]))
    if intent.get("checkouts"):
        _check_out(intent)
    folders = {_replace(workspace, entry) for entry in intent["documents"]}
    for folder in folders:
        store.sync_folder(folder)
    if intent.get("entry"):
        log.append(workspace, intent["entry"])
    _drop_intent(workspace)


def _check_out(intent: dict[str, Any]) -> None:
    from governance.boundaries import process
    from governance.code import head, moves

    found = list(_checkouts(intent))
    for checkout in found:
        moves.apply(checkout.place, checkout.files, checkout.staging)
    clones = [(checkout.place, checkout.head) for checkout in found if checkout.head is not None]
    process.side_by_side(lambda clone: head.move_head(*clone), clones)


def _drop_intent(workspace: Workspace) -> None:
    """The last act of a change.  Once the intent is gone the change is made, or taken back, and
    durable: where only this folder cannot be synced, nothing failed that is worth an error."""
    workspace.intent.unlink(missing_ok=True)
    with suppress(OSError, GovError):
        store.sync_folder(workspace.state)


def _replace(workspace: Workspace, entry: dict[str, Any]) -> Path:
    path: Path = workspace.root / str(entry["path"])
    if store.file_digest(path) != entry["after"]:
        store.write(path, _data(entry))
    return path.parent


def _link(workspace: Workspace) -> str | None:
    try:
        return str(workspace.prod.readlink())
    except OSError:
        return None
