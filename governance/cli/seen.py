"""What an observation saw, told to a person: first what the node itself did, then all others."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from governance.cli.outcome import Part
from governance.observation import partial, record

Row = Mapping[str, Any]

_OTHERS = 4  # lines of a kind about nodes that are in prod already
_ALL_OTHERS = 8
_SAID = 3
_FILES = 3  # files of one node that are told one by one
_FOLDERS = 6
_PLACES = 3
_NAMES = 6


def parts(seen: Mapping[str, Any], *, is_news: bool = False) -> list[Part]:
    """`seen` is the observation of a transaction, as JSON; empty before it ran.  Right after the
    run (`is_news`) the notes that say the same of every run are left out, where it completed."""
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
    told += _others(own, others, foreign, seen)
    left_out = record.STANDING if is_news and seen.get("verdict") == record.COMPLETED else ()
    notes = [str(text) for text in seen.get("limits", [])]
    told += [f"  note: {text}" for text in notes if not text.startswith(left_out)]
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
    return _at_most([f"  said: {line}" for line in found], "said", _SAID)


def _findings(rows: Iterable[Row]) -> list[Part]:
    return [
        f"  FINDING: {row['sentence']}{' (as before)' if row.get('known') else ''}{_at(row)}"
        for row in rows
    ]


# --- what loaded ------------------------------------------------------------------------------


def _not_loaded(names: Sequence[str], seen: Mapping[str, Any]) -> list[Part]:
    """Other nodes that failed, the first few."""
    failed = [n for n in names if not _is_loaded(n, seen) and not _is_warned_of(n, seen)]
    lacks = {row["node"] for row in seen.get("partial", ())}
    failed.sort(key=lambda name: name in lacks)
    told = [line for name in failed[:_OTHERS] for line in _node(name, seen)]
    return told + _more("NOT LOADED or in part:", len(failed) - _OTHERS)


def _loaded(names: Sequence[str], seen: Mapping[str, Any]) -> list[Part]:
    """The other nodes in one line."""
    loaded = [name for name in names if _is_loaded(name, seen)]
    if len(loaded) == 1:
        return _node(loaded[0], seen)
    return [f"  loaded {len(loaded)} more nodes: {_few(loaded)}"] if loaded else []


def _is_loaded(name: str, seen: Mapping[str, Any]) -> bool:
    lacks = any(row["node"] == name for row in seen.get("partial", ()))
    return bool(seen["nodes"][name].get("loaded")) and not lacks


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
    if f"{name} failed to import: {error}" in reason:
        return []
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


def _others(
    own: _Whose, names: Sequence[str], warnings: Sequence[str], seen: Mapping[str, Any]
) -> list[Part]:
    """Of prod's nodes: what they did not do before, in a few lines; all else in two."""
    told = _findings(own.new("findings"))[:_OTHERS]
    told += _more("FINDING:", len(own.new("findings")) - _OTHERS)
    told += _not_loaded(names, seen)
    told += [f"  warning: {text}" for text in _folded(warnings)]
    told += _actions(own.new, seen, most=_OTHERS)
    left = len(told) - _ALL_OTHERS
    if left > 1:
        told = [*told[:_ALL_OTHERS], f"  {left} more lines about other nodes (--json has all)"]
    return [*told, *_loaded(names, seen), *_as_before(own, seen)]


def _as_before(own: _Whose, seen: Mapping[str, Any]) -> list[Part]:
    before = [row for kind in _KINDS for row in own.before(kind) if not _is_told(row, seen)]
    if not before:
        return []
    nodes = len({row["node"] for row in before})
    word = "node" if nodes == 1 else "nodes"
    thing = "action" if len(before) == 1 else "actions"
    as_before = any(row.get("known") for row in before)
    tail = "as in prod" if as_before else "not compared: prod's are not known yet"
    return [f"  {len(before)} {thing} of {nodes} other {word}, {tail} (--json has all)"]


_KINDS = ("installs", "programs", "hosts", "writes")


def _actions(
    rows: Callable[[str], list[Row]], seen: Mapping[str, Any], *, most: int | None
) -> list[Part]:
    """One line an action; beyond `most` of a kind they are counted."""
    told = _at_most(_installs(rows("installs")), "by itself:", most)
    for kind, word in _DEEDS:
        found = [row for row in rows(kind) if not _is_told(row, seen)]
        lines = _writes(found) if kind == "writes" else _at_places(found)
        told += _at_most([f"  {word} {line}" for line in lines], word, most)
    return told


def _at_places(rows: Sequence[Row]) -> list[str]:
    """Each action once, with the places that it was done from."""
    return [
        subject + _places([str(row["at"]) for row in found if row.get("at")])
        for subject, found in _grouped(rows, _subject).items()
    ]


def _places(found: Sequence[str]) -> str:
    places = list(dict.fromkeys(found))
    more = len(places) - _PLACES
    tail = f" and {more} more" if more > 0 else ""
    return f"  [{', '.join(places[:_PLACES])}{tail}]" if places else ""


def _at_most(lines: list[str], word: str, most: int | None) -> list[Part]:
    if most is None or len(lines) <= most:
        return [*lines]
    return [*lines[:most], *_more(word, len(lines) - most)]


def _more(word: str, count: int) -> list[Part]:
    return [f"  {word} {count} more (--json has all)"] if count > 0 else []


def _installs(rows: Iterable[Row]) -> list[str]:
    """Each request once, though it may be made again at the second start; failed ones first.
    Many calls of one place in one line."""
    asked: dict[tuple[bool, str, str], list[str]] = {}
    for row in rows:
        place = (row.get("outcome") != "failed", f"{row.get('tool')} {row.get('action')}", _at(row))
        words = (*row.get("requested", []), *(f"-r {name}" for name in row.get("files", [])))
        asked.setdefault(place, []).append(" ".join(map(str, words)))
    return [
        f"  by itself: {call} {words}{'' if went_well else ' (failed)'}{at}"
        for (went_well, call, at), found in sorted(asked.items(), key=lambda item: item[0][0])
        for words in _calls(list(dict.fromkeys(found)))
    ]


def _calls(asked: list[str]) -> list[str]:
    if len(asked) <= _PLACES:
        return asked
    return [f"in {len(asked)} calls: {'; '.join(asked)}"]


def _writes(rows: Sequence[Row]) -> list[str]:
    """File by file; many of them by their folders, and many folders by where they lie."""
    if len(rows) <= _FILES:
        return _at_places(rows)
    by_folder = _grouped(rows, lambda row: _subject(row).rpartition("/")[0] + "/")
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
    shown = ", ".join(names) if len(names) <= _NAMES else _few(names)
    return f"{where}: {len(rows)} files ({shown}){_places([str(row.get('at')) for row in rows])}"


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
_NODES = re.compile(r"^/.*?/custom_nodes/")
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
    return _short(_NODES.sub("custom_nodes/", str(row.get("path", ""))))


def _short(text: str) -> str:
    return _ENVIRONMENT.sub(".../", text)


def _at(row: Row) -> str:
    return f"  [{row['at']}]" if row.get("at") else ""
