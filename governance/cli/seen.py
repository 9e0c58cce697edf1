"""What an observation saw, told to a person: first what the node itself did, then all others."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from governance.cli.outcome import Part
from governance.observation import partial

Row = Mapping[str, Any]

_OTHERS = 4  # lines of a kind about nodes that are in prod already
_FILES = 6  # files of one node that are told one by one
_FOLDERS = 6


def parts(seen: Mapping[str, Any]) -> list[Part]:
    """`seen` is the observation of a transaction, as JSON; empty before it ran."""
    own = _Whose(seen)
    told: list[Part] = []
    if seen.get("reason"):
        told.append(f"  {seen.get('verdict', '')}: {seen['reason']}".rstrip())
    if seen.get("isolation") == "none":
        told.append("  NOT ISOLATED: this kernel offers no fence; the node could write anywhere")
    told += _findings(own.rows("findings"))
    told += [
        f"  rewrote its own files: {node}: {', '.join(names[:5])}"
        for node, names in seen.get("rewritten", {}).items()
    ]
    told += [f"  collateral: {text}" for text in map(str, seen.get("collateral", []))]
    mine, others = own.nodes()
    told += [line for name in mine for line in _node(name, seen)]
    warnings = list(dict.fromkeys(map(str, seen.get("warnings", ()))))
    foreign = [text for text in warnings if any(name in text for name in others)]
    told += [f"  warning: {text}" for text in warnings if text not in foreign]
    told += _said(seen)
    told += _actions(own.rows, seen, most=None)
    told += _loads(others, seen)
    told += [f"  warning: {text}" for text in _folded(foreign)]
    told += _others(own, seen)
    told += [f"  note: {text}" for text in seen.get("limits", [])]
    return told


class _Whose:
    """Rows of the record apart: of the nodes that the change is about, and of all others."""

    def __init__(self, seen: Mapping[str, Any]) -> None:
        self._seen = seen
        self.names = frozenset(map(str, seen.get("subjects", ())))

    def is_own(self, row: Row) -> bool:
        """A record of the first version does not say what it is about: all of it counts."""
        return "subjects" not in self._seen or str(row.get("node")) in self.names

    def nodes(self) -> tuple[list[str], list[str]]:
        """Of the change, and all others that were loaded with them."""
        names = list(self._seen.get("nodes", {}))
        mine = [name for name in names if self.is_own({"node": name})]
        return mine, [name for name in names if name not in mine]

    def rows(self, kind: str) -> list[Row]:
        return [row for row in self._seen.get(kind, ()) if row.get("node") and self.is_own(row)]

    def new(self, kind: str) -> list[Row]:
        """What others do that prod's own baseline does not have."""
        return [row for row in self._other(kind) if row.get("known") is False]

    def before(self, kind: str) -> list[Row]:
        return [row for row in self._other(kind) if row.get("known") is not False]

    def _other(self, kind: str) -> list[Row]:
        found = self._seen.get(kind, ())
        return [row for row in found if row.get("node") and not self.is_own(row)]


def _said(seen: Mapping[str, Any]) -> list[Part]:
    """What stands in the log and not in that of prod's start; what a warning quotes is told."""
    warnings = " ".join(map(str, seen.get("warnings", ())))
    if seen.get("verdict") != "completed":
        return []  # the end of the log is shown
    found = [str(line) for line in seen.get("new_lines", ()) if str(line).strip() not in warnings]
    return _at_most([f"  said: {line}" for line in found], "said", _OTHERS)


def _findings(rows: Iterable[Row]) -> list[Part]:
    return [
        f"  FINDING: {row['sentence']}{' (as before)' if row.get('known') else ''}{_at(row)}"
        for row in rows
    ]


# --- what loaded ------------------------------------------------------------------------------


def _loads(names: Sequence[str], seen: Mapping[str, Any]) -> list[Part]:
    """Of the other nodes: in one line, but for those that failed."""
    lacks = {row["node"] for row in seen.get("partial", ())}
    loaded = [n for n in names if seen["nodes"][n].get("loaded") and n not in lacks]
    failed = [n for n in names if n not in loaded and not _is_warned_of(n, seen)]
    failed.sort(key=lambda name: name in lacks)
    told = [line for name in failed[:_OTHERS] for line in _node(name, seen)]
    told += _more("NOT LOADED or in part:", len(failed) - _OTHERS)
    if len(loaded) == 1:
        told += _node(loaded[0], seen)
    elif loaded:
        told.append(f"  loaded {len(loaded)} more nodes: {_few(loaded)}")
    return told


def _is_warned_of(name: str, seen: Mapping[str, Any]) -> bool:
    start = f"{name} did not load either: "
    return any(str(text).startswith(start) for text in seen.get("warnings", ()))


def _node(name: str, seen: Mapping[str, Any]) -> list[Part]:
    node, reason = seen["nodes"][name], str(seen.get("reason", ""))
    if node.get("loaded"):
        lacks = [row for row in seen.get("partial", ()) if row["node"] == name]
        told = [line for row in lacks for line in _in_part(row)]
        return [f"  loaded {name}{_classes(node.get('classes', []))}", *told]
    error = str(node.get("error") or "").strip()
    return [f"  NOT LOADED {name}" + (f": {error}" if error and error not in reason else "")]


def _in_part(row: Row) -> list[Part]:
    known = " (as in prod)" if row.get("known") else ""
    told = [f"  IN PART: {row['node']}: {partial.sentence(row)}{known}"]
    return [*told, *(f"      {line}" for line in partial.lines(row))]


def _classes(names: Sequence[str]) -> str:
    """How many, and the first few by name."""
    if not names:
        return ""
    return f": {len(names)} {'class' if len(names) == 1 else 'classes'} ({_few(names)})"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _folded(texts: Sequence[str]) -> list[str]:
    """Of nodes that did not load either, the first few."""
    either = [text for text in texts if " did not load either: " in text]
    left = either[_OTHERS:] if len(either) > _OTHERS + 1 else []
    kept = [text for text in texts if text not in left]
    more = [f"{len(left)} more nodes did not load either (--json has all)"] if left else []
    return [*kept, *more]


# --- what was done ----------------------------------------------------------------------------


def _others(own: _Whose, seen: Mapping[str, Any]) -> list[Part]:
    """What nodes of prod do that they did not do before; what they did before in one line."""
    told = _findings(own.new("findings"))[:_OTHERS]
    told += _more("FINDING:", len(own.new("findings")) - _OTHERS)
    told += _actions(own.new, seen, most=_OTHERS)
    before = [row for kind in _KINDS for row in own.before(kind) if not _is_told(row, seen)]
    if before:
        nodes = len({row["node"] for row in before})
        word = "node" if nodes == 1 else "nodes"
        thing = "action" if len(before) == 1 else "actions"
        as_before = any(row.get("known") for row in before)
        tail = "as in prod" if as_before else "not compared: prod's are not known yet"
        told.append(f"  {len(before)} {thing} of {nodes} other {word}, {tail} (--json has all)")
    return told


_KINDS = ("installs", "programs", "hosts", "writes")


def _actions(
    rows: Callable[[str], list[Row]], seen: Mapping[str, Any], *, most: int | None
) -> list[Part]:
    """One line an action; beyond `most` of a kind they are counted."""
    told = _at_most(_installs(rows("installs")), "by itself:", most)
    for kind, word in _DEEDS:
        found = [row for row in rows(kind) if not _is_told(row, seen)]
        lines = _writes(found) if kind == "writes" else [f"{_subject(r)}{_at(r)}" for r in found]
        lines = list(dict.fromkeys(lines))
        told += _at_most([f"  {word} {line}" for line in lines], word, most)
    return told


def _at_most(lines: list[str], word: str, most: int | None) -> list[Part]:
    if most is None or len(lines) <= most:
        return [*lines]
    return [*lines[:most], *_more(word, len(lines) - most)]


def _more(word: str, count: int) -> list[Part]:
    return [f"  {word} {count} more (--json has all)"] if count > 0 else []


def _installs(rows: Iterable[Row]) -> list[str]:
    """Each request once, though it may be made again at the second start; failed ones first."""
    lines: dict[str, bool] = {}
    for install in rows:
        result = " (failed)" if install.get("outcome") == "failed" else ""
        files = [f"-r {name}" for name in install.get("files", [])]
        asked = " ".join((*install.get("requested", []), *files))
        tool = f"{install.get('tool', '')} {install.get('action', '')}"
        lines[f"  by itself: {tool} {asked}{result}{_at(install)}"] = bool(result)
    return sorted(lines, key=lambda line: not lines[line])


def _writes(rows: Sequence[Row]) -> list[str]:
    """File by file; many of them by their folders, and many folders by where they lie."""
    if len(rows) <= _FILES:
        return [f"{_subject(row)}{_at(row)}" for row in rows]
    by_folder = _grouped(rows, lambda row: _short(str(row.get("path"))).rpartition("/")[0] + "/")
    if len(by_folder) > _FOLDERS:
        by_folder = _grouped(rows, lambda row: str(row.get("where") or "elsewhere"))
    return [_group(where, found) for where, found in by_folder.items()]


def _grouped(rows: Sequence[Row], where: Callable[[Row], str]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(where(row), []).append(row)
    return found


def _group(where: str, rows: Sequence[Row]) -> str:
    if len(rows) == 1:
        return f"{_subject(rows[0])}{_at(rows[0])}"
    names = [str(row.get("path")).rpartition("/")[2] for row in rows]
    return f"{where}: {len(rows)} files ({_few(names)}){_at(rows[0])}"


def _is_told(row: Row, seen: Mapping[str, Any]) -> bool:
    """By another line: a program that is an install or a finding, an address whose name was
    looked up."""
    if row.get("argv") and not row.get("host"):
        installs = seen.get("installs", [])
        line = " ".join(" ".join(map(str, row["argv"])).split())
        return any(row["argv"] == install.get("command") for install in installs) or any(
            finding["what"] in line and finding["at"] == row.get("at")
            for finding in seen.get("findings", [])
        )
    if "look up" in row.get("how", ()) or not _ADDRESS.fullmatch(str(row.get("host", ""))):
        return False
    place = (row.get("at"), row.get("port"))
    return any(
        place == (other.get("at"), other.get("port")) and "look up" in other.get("how", ())
        for other in seen.get("hosts", [])
    )


_ADDRESS = re.compile(r"[0-9.]+|[0-9a-fA-F:.%]*:[0-9a-fA-F:.%\w]*")
_ENVIRONMENT = re.compile(r"/\S*/\.generations/[^/\s]+/")

# The recorder sees attempts; in the fence most of these writes did not succeed.
_DEEDS = (
    ("programs", "started"),
    ("hosts", "contacted or tried to"),
    ("writes", "wrote or tried to"),
)


def _subject(row: Row) -> str:
    if row.get("host"):
        port = f":{row['port']}" if row.get("port") else ""
        by = f" by {str(row['argv'][0]).rpartition('/')[2]}" if row.get("argv") else ""
        return f"{row['host']}{port}{by}"
    if row.get("argv"):
        return _short(" ".join(map(str, row["argv"])))[:160]
    return _short(str(row.get("path", "")))


def _short(text: str) -> str:
    return _ENVIRONMENT.sub(".../", text)


def _at(row: Row) -> str:
    return f"  [{row['at']}]" if row.get("at") else ""
