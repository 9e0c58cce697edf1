"""The audit log, state/history.jsonl: a line cannot be changed or taken out without a trace.

Each line holds its number `n` and in `prev` the digest of the line before it, so that a change of
one does not fit the next.  The first line that has them, after those of an earlier gov, holds the
digest of all that is before it.  What nothing follows is held by `state/log_head.json` and by the
snapshots that were made later: each names how many lines there were, and the digest of the last.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from governance.base.errors import GovError
from governance.boundaries import store
from governance.truth.workspace import Workspace

Row = dict[str, Any]
REFUSED = "refused"
_TRUTH = ("pyproject.toml", "uv.lock", "state/plugins.json")


class Head(NamedTuple):
    """The log as it was: its number of lines, and the digest of the last ("" for none)."""

    lines: int
    digest: str
    told_by: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"lines": self.lines, "sha256": self.digest}


class Problem(NamedTuple):
    line: int
    what: str

    @property
    def sentence(self) -> str:
        return f"line {self.line} {self.what}"


# --- writing ----------------------------------------------------------------------------------


def head(workspace: Workspace) -> Head:
    return head_of(read(workspace.history))


def placed(workspace: Workspace, entry: Mapping[str, Any], new: Mapping[str, bytes]) -> Row:
    """The entry as it is to be written: masked, with its place in the log, where it was made, the
    digests of the truth before and after (`new` are the documents that change), and signed where
    a key is named.  The caller holds the workspace and has recovered."""
    from governance.base import masking

    before = {path: store.file_digest(workspace.root / path) for path in _TRUTH}
    changed = {path: store.digest(new[path]) for path in _TRUTH if path in new}
    lines, digest, _ = head(workspace)
    row = {
        **masking.tree(entry),
        "where": str(workspace.root),
        "truth": {"before": before, "after": {**before, **changed}},
        "n": lines + 1,
        "prev": digest,
    }
    signature = _signature(workspace, row)
    return row if signature is None else {**row, "signature": signature}


def _signature(workspace: Workspace, row: Row) -> str | None:
    """Nobody can be made to sign a refusal."""
    from governance.truth import signing

    if row.get("outcome") == REFUSED:
        return None
    signing.require(workspace)
    return signing.sign(workspace, signed_part(row), str(row.get("at", "")))


def append(workspace: Workspace, row: Mapping[str, Any]) -> None:
    """Write a placed entry, and note the new head; done twice, it is there once."""
    store.append_line(workspace.history, row)
    written = Head(int(row.get("n", 0)), store.digest(_text(row)))
    if written.lines:  # a redo record of an earlier gov has none
        store.write_json(workspace.log_head, written.to_json())


def read(path: Path) -> bytes:
    """The bytes of a log; none where nothing was logged yet."""
    try:
        return store.read_bytes(path)
    except FileNotFoundError:
        return b""


def head_of(data: bytes) -> Head:
    """What a crash left of a line does not count: the next write drops that."""
    data = data[: data.rfind(b"\n") + 1]
    lines = data.split(b"\n")[:-1]
    if not lines:
        return Head(0, "")
    is_chained = "prev" in (_parsed(lines[-1]) or {})
    return Head(len(lines), store.digest(lines[-1] if is_chained else data))


def _text(row: Mapping[str, Any]) -> bytes:
    return store.json_line(row).removesuffix(b"\n")


def signed_part(row: Mapping[str, Any]) -> bytes:
    return _text({name: value for name, value in row.items() if name != "signature"})


# --- reading ----------------------------------------------------------------------------------


def rows(data: bytes) -> Iterator[tuple[int, Row]]:
    """Each line that can be read, with its number."""
    for number, line in enumerate(data.splitlines(), 1):
        row = _parsed(line)
        if row is not None:
            yield number, row


def heads(workspace: Workspace) -> list[Head]:
    """What was noted of the log elsewhere; what cannot be read is told by `gov verify`."""
    found = [_noted(workspace.log_head)]
    for path in sorted(workspace.snapshots.glob("*/meta.json")):
        found.append(_noted(path, "log"))
    return [one for one in found if one is not None]


def _noted(path: Path, field: str | None = None) -> Head | None:
    with suppress(OSError, GovError):
        value = store.read_object(path)
        told = value.get(field) if field else value
        if isinstance(told, dict) and isinstance(told.get("lines"), int):
            name = f"snapshot {path.parent.name}" if field else path.name
            return Head(told["lines"], str(told.get("sha256")), name)
    return None


def problems(data: bytes, noted: Iterable[Head] = ()) -> list[Problem]:
    """Where the chain is broken, by line; empty where it is whole."""
    lines = data.split(b"\n")
    torn = lines.pop()
    found = list(_broken(lines))
    if torn:
        found.append(Problem(len(lines) + 1, "is cut off in its midst"))
    first = min((problem.line for problem in found), default=len(lines) + 2)
    for one in sorted(noted):
        if more := _against(one, lines, first):
            found.append(more)
            first = min(first, more.line)
    return sorted(found)


def _broken(lines: list[bytes]) -> Iterator[Problem]:
    began, gone = False, 0
    for number, line in enumerate(lines, 1):
        row = _parsed(line)
        if row is None or "prev" not in row:
            if began or row is None:
                yield Problem(number, "is none that gov wrote")
            continue
        own = row.get("n")
        shift = own - number if isinstance(own, int) else 0
        if row["prev"] != _head_of_first(lines, number - 1):
            yield _misfit(number, shift - gone)
        elif shift != gone or _text(row) != line:
            yield Problem(number, "is not as gov writes it")
        began, gone = True, shift


def _until(lines: list[bytes], count: int) -> bytes:
    """Enough of the first `count` lines to tell the digest of their head."""
    if count and "prev" in (_parsed(lines[count - 1]) or {}):
        return lines[count - 1] + b"\n"
    return b"".join(line + b"\n" for line in lines[:count])


def _misfit(number: int, gone: int) -> Problem:
    if gone > 0:
        were = "a line was" if gone == 1 else f"{gone} lines were"
        return Problem(number, f"does not follow the one before it: {were} taken out between them")
    if number == 1:
        return Problem(1, "does not begin the log: what stood before it is gone")
    return Problem(number - 1, f"was changed after line {number} was written")


def _against(noted: Head, lines: list[bytes], first: int) -> Problem | None:
    """`first` is the first line that is known to be wrong: what follows it would be told twice."""
    if first <= min(noted.lines, len(lines) + 1):
        return None
    if noted.lines > len(lines):
        return Problem(len(lines) + 1, f"is missing: {noted.told_by} saw {noted.lines} lines")
    if noted.lines and _head_of_first(lines, noted.lines) != noted.digest:
        return Problem(noted.lines, f"is not as {noted.told_by} saw it")
    return None


def _head_of_first(lines: list[bytes], count: int) -> str:
    return head_of(_until(lines, count)).digest


def unchained(data: bytes) -> int:
    """How many lines of an earlier gov the log begins with."""
    return next((number - 1 for number, row in rows(data) if "prev" in row), data.count(b"\n"))


def notes(data: bytes) -> list[str]:
    """Where the truth was changed between two lines: by hand, or by something else than gov."""
    found, after = [], None
    for number, row in rows(data):
        truth = row.get("truth")
        if not isinstance(truth, dict):
            continue
        before = truth.get("before", {})
        if after is not None and before != after:
            names = [path for path in _TRUTH if before.get(path) != after.get(path)]
            found.append(f"before line {number}, {' and '.join(names)} changed without gov")
        after = truth.get("after", {})
    return found


def _parsed(line: bytes) -> Row | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


# --- signatures -------------------------------------------------------------------------------


class Signed(NamedTuple):
    """`by_line` names who signed which line."""

    by_line: dict[str, str]
    unsigned: list[int]
    problems: list[Problem]

    @property
    def sentences(self) -> list[str]:
        names = sorted(set(self.by_line.values()))
        found = [f"{counted(len(self.by_line), 'signed line')}, by {', '.join(names)}"]
        if self.unsigned:
            found.append(f"{counted(len(self.unsigned), 'line')} without a signature before that")
        return found


def counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def signatures(data: bytes, allowed: Path) -> Signed:
    """Who signed.  From the first signed line on every change has to be; a refusal need not."""
    from governance.boundaries import process

    found = list(rows(data))
    signers = process.side_by_side(lambda pair: _signer(pair[1], allowed), found)
    by_line: dict[str, str] = {}
    unsigned, wrong = [], []
    for (number, row), name in zip(found, signers, strict=True):
        if name is not None:
            by_line[str(number)] = name
        elif row.get("signature"):
            wrong.append(Problem(number, f"is signed by nobody whom {allowed} allows"))
        elif not by_line:
            unsigned.append(number)
        elif row.get("outcome") != REFUSED:
            wrong.append(Problem(number, "carries no signature, though earlier lines do"))
    if not by_line and not wrong:
        wrong.append(Problem(1, "and all after it carry no signature"))
    return Signed(by_line, unsigned, wrong)


def _signer(row: Row, allowed: Path) -> str | None:
    from governance.truth import signing

    signature = row.get("signature")
    if not isinstance(signature, str):
        return None
    return signing.signer(signed_part(row), signature, allowed, str(row.get("at", "")))
