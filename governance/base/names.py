"""Identifiers that become file names, checked before any path is made of them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from governance.base.errors import UsageError

MAX_NODE_ID = 100

_NODE_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_TXID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
_TXID_FILE = re.compile(_TXID.pattern + r"\.json")
_SNAPSHOT_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-snap-[0-9a-f]{6}")
_SEPARATORS = re.compile(r"[-_.]+")

# Folders of these names cannot be checked out on Windows, whatever follows the first dot.
_DEVICES = frozenset(
    ["con", "prn", "aux", "nul"] + [f"{port}{n}" for port in ("com", "lpt") for n in range(10)]
)


def node_id(text: str) -> str:
    """`text`, if it can be a folder in custom_nodes and a dependency group; else UsageError."""
    problem = _problem(text)
    if problem:
        raise UsageError(
            f"{_shown(text)} cannot be a node id: {problem}",
            hint="choose another with --id: letters, digits, `-`, `_` and `.`",
            code="bad_node_id",
            facts={"node_id": _shown(text)},
        )
    return text


def node_id_from_url(url: str) -> str:
    """The repository's name: the last part of the path, without `.git`."""
    last = re.split(r"[/:]", url.rstrip("/"))[-1]
    return node_id(last.removesuffix(".git"))


def normalise(text: str) -> str:
    """PEP 503, and no separator at the ends, where a group name may not have one (PEP 735)."""
    return _SEPARATORS.sub("-", text).lower().strip("-")


def same(one: str, other: str) -> bool:
    """Two ids that would share a group, or a folder where the file system folds case."""
    return normalise(one) == normalise(other)


def txid(text: str) -> str:
    """`text`, if it has the form YYYYMMDDThhmmssZ-xxxxxxxx; else UsageError."""
    return _matching(_TXID, text, "transaction id", "`gov status` lists the transactions")


def snapshot_id(text: str) -> str:
    """`text`, if it has the form YYYYMMDDThhmmssZ-snap-xxxxxx; else UsageError."""
    return _matching(_SNAPSHOT_ID, text, "snapshot id", "`gov snapshot list` lists the snapshots")


def is_node_id(text: str) -> bool:
    return _problem(text) is None


def is_snapshot_id(text: str) -> bool:
    return _SNAPSHOT_ID.fullmatch(text) is not None


def is_id(text: str) -> bool:
    """Of a transaction or a snapshot."""
    return is_snapshot_id(text) or is_txid(text)


def is_txid(text: str) -> bool:
    return _TXID.fullmatch(text) is not None


def is_txid_file(name: str) -> bool:
    """Whether `name` is `<txid>.json`."""
    return _TXID_FILE.fullmatch(name) is not None


def new_txid(now: datetime) -> str:
    return f"{_moment(now)}-{_hexadecimal(4)}"


def new_snapshot_id(now: datetime) -> str:
    return f"{_moment(now)}-snap-{_hexadecimal(3)}"


def _problem(text: str) -> str | None:
    """Why `text` is no node id; the loader's own rules are those of ComfyUI's nodes.py."""
    stem, _, _ = text.lower().partition(".")
    if not text:
        return "it is empty"
    if len(text) > MAX_NODE_ID:
        return f"it is longer than {MAX_NODE_ID} characters"
    if not _NODE_ID.fullmatch(text):
        return "only letters, digits, `-`, `_` and `.` are taken, with neither `-` nor `.` first"
    if text.endswith("."):
        return "it ends in a dot"
    if text.lower().endswith((".disabled", ".py")) or text == "__pycache__":
        return "ComfyUI's loader treats this name specially"
    if stem in _DEVICES:
        return f"{stem} is a device on Windows"
    if not normalise(text):
        return "it has neither a letter nor a digit"
    return None


def _matching(pattern: re.Pattern[str], text: str, what: str, hint: str) -> str:
    if not pattern.fullmatch(text):
        raise UsageError(
            f"{_shown(text)} is not a {what}", hint=hint, code="bad_id", facts={"id": _shown(text)}
        )
    return text


def _shown(text: str) -> str:
    """Quoted, in ASCII (an id may hold escape sequences), and not longer than a line."""
    short = text if len(text) <= MAX_NODE_ID else text[:MAX_NODE_ID] + "..."
    return ascii(short)


def _moment(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _hexadecimal(size: int) -> str:
    from secrets import token_hex

    return token_hex(size)
