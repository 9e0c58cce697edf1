"""One change to several documents and the prod link, as one redo record.

The intent file holds the new bytes of every document themselves, so that one synced write is the
commit point; before it nothing happened, after it the change is rolled forward, idempotently and
without uv or the network.  Nothing is moved while any file is neither old nor new by its digest.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from governance.base import clock
from governance.base.errors import Damaged, GovError
from governance.base.shape import TEXT_OR_NONE, Shape, mismatch
from governance.boundaries import store
from governance.truth.workspace import Workspace

SCHEMA = 1
# Beside custom_nodes, where ComfyUI's loader does not look: clones in the making, code to delete.
NURSERY = ".gov"

_INTENT: Shape = {
    "verb": str,
    "link": (type(None), {"before": TEXT_OR_NONE, "after": str}),
    "documents": [{"path": str, "before": TEXT_OR_NONE, "after": str, "text": str}],
    "moves": [{"source": str, "target": str}],
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


class Change(NamedTuple):
    """`documents` maps workspace-relative paths to new bytes; `generation` None leaves the link."""

    verb: str
    documents: Mapping[str, bytes]
    generation: str | None = None
    moves: Sequence[Move] = ()


def commit(workspace: Workspace, change: Change) -> None:
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
    moves = [{"source": m["target"], "target": m["source"]} for m in intent["moves"]]
    return {**intent, "link": turned, "moves": moves, "documents": documents}


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


def _intent(workspace: Workspace, change: Change) -> dict[str, Any]:
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
    moves = [{"source": str(m.source), "target": str(m.target)} for m in change.moves]
    return {
        "schema": SCHEMA,
        "verb": change.verb,
        "created_at": clock.stamp(),
        "link": link,
        "moves": moves,
        "documents": documents,
    }


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
    return None


def nurseries(workspace: Workspace) -> tuple[Path, Path]:
    """Where clones are made and removed code waits to be deleted."""
    return workspace.work, _comfyui(workspace) / NURSERY


def _code_folders(workspace: Workspace) -> tuple[Path, ...]:
    return *nurseries(workspace), _comfyui(workspace) / "custom_nodes"


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
    folders = {_replace(workspace, entry) for entry in intent["documents"]}
    for folder in folders:
        store.sync_folder(folder)
    _drop_intent(workspace)


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
