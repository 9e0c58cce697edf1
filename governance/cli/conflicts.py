"""What a conflict looks like on a screen: one line a package, then the fixes that were tried.

One form for all that keeps requirements from locking, whoever shows it (`tx run`, `node check`,
`resolve --suggest`, `node update`, `why --if`):

    transformers: PhotoMaker ==4.36.2 against ComfyUI >=4.37.2, LTXVideo >=4.50 and 5 more
    modern: PhotoMaker >=2, but modern needs Python >=3.12, this workspace has 3.11
"""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from governance.cli.outcome import Part
from governance.requirements.grammar import leading_name

# Parties, broken lines and changes that are named before "and 5 more".
_MOST = 3
# Where that has no room, fewer.
_FEWER = (_MOST, 2, 1)
# uv may name a range of a thousand characters.
_LONG_RANGE = 60
_CONFLICT = "conflict"
_SELF = "self-contradiction"

_PYTHON = re.compile(r"needs Python [^,]*>=(3\.\d+)")

Row = Mapping[str, Any]


def screen(report: Row, txid: str | None, *, whole: bool = False, in_full: str = "") -> list[Part]:
    """Packages first, then the fixes, numbered.  `whole`: every line with its file and its chain,
    which otherwise the command `in_full` shows.

    Without a transaction there is nothing to resolve yet, and no command for it is named.
    """
    if not report:
        return ["no conflict report for this transaction"]
    packages = [line for group in _by_package(report) for line in _package(group, whole=whole)]
    packages = packages or _wrapped(f"the requirements do not lock: {report.get('summary', '')}")
    fixes = [line for fix in report.get("suggestions", []) for line in _fix(fix, txid)]
    if txid and not fixes:
        fixes = [f"no tried fix is known; try: gov resolve {txid} --pin package==version"]
    if txid:
        in_full = f"gov resolve {txid} --suggest --all"
    fixes += _other_python(report)
    if txid and report.get("stale"):
        fixes.append(f"prod changed since: `gov resolve {txid} --reset` looks anew")
    return [*packages, *fixes, *_more(report, "" if whole else in_full)]


def _other_python(report: Row) -> list[str]:
    """The oldest Python that a package wants: a change of its own, which no fix here has tried."""
    told = [str(cause.get("what", "")) for cause in report.get("causes", [])]
    found = [match[1] for text in told if (match := _PYTHON.search(text))]
    wanted = list(dict.fromkeys(found))
    return [f"not tried: another Python, `gov python {minor}`" for minor in wanted]


def tried(report: Row, numbers: Sequence[int], txid: str) -> list[Part]:
    """The fixes that were just tried, with what came of each."""
    suggestions = report.get("suggestions", [])
    return [line for number in numbers for line in _fix(suggestions[number - 1], txid)]


def _more(report: Row, in_full: str) -> list[str]:
    """That the search was cut short, and how to see everything."""
    told = []
    if not report.get("complete", True):
        limit = "resolution.explain_seconds" if in_full else "its time limit"
        told = _wrapped(f"there may be more: the search ended after many causes, or at {limit}")
    return [*told, f"every line, with file and chain: {in_full}"] if in_full else told


def _by_package(report: Row) -> list[list[Row]]:
    """Causes that one line can tell: of one package and of one kind."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for cause in report.get("causes", []):
        kind = str(cause.get("kind", _CONFLICT))
        about = kind if kind == _CONFLICT else str(cause.get("what") or cause.get("sentence"))
        groups.setdefault((str(cause.get("package", "")), about), []).append(cause)
    return list(groups.values())


def _package(group: Sequence[Row], *, whole: bool) -> list[str]:
    cause = group[0]
    ours, others = _sides(group)
    name = str(cause.get("package") or "requirements")
    end = _end(cause)
    lines = [f"{name}: {_listed(ours, most)}{_against(others, most)}{end}" for most in _FEWER]
    shown = next((line for line in lines if len(line) <= (_width() or len(line))), lines[-1])
    return [*_wrapped(shown), *(_in_full(group) if whole else [])]


def _end(cause: Row) -> str:
    """What is wrong, where it is not that two ranges exclude each other."""
    kind, what = cause.get("kind", _CONFLICT), cause.get("what") or cause.get("sentence", "")
    return {_CONFLICT: "", _SELF: f"; {what}"}.get(str(kind), f", but {what}")


def _against(parties: Sequence[str], most: int) -> str:
    return f" against {_listed(parties, most)}" if parties else ""


def _listed(parties: Sequence[str], most: int) -> str:
    if len(parties) <= most:
        return _and(parties)
    return f"{', '.join(parties[:most])} and {len(parties) - most} more"


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""


def _sides(group: Sequence[Row]) -> tuple[list[str], list[str]]:
    """Who asks for something new, and whom that is against; the first of them where all are new."""
    package = str(group[0].get("package", ""))
    rows = {
        _party(party, package): bool(party.get("is_new"))
        for cause in group
        for party in _parties(cause)
    }
    if all(len(_parties(cause)) == 1 for cause in group):
        return list(rows), []
    ours = [text for text, is_new in rows.items() if is_new]
    others = [text for text, is_new in rows.items() if not is_new]
    if not ours:
        ours, others = others[:1], others[1:]
    return (ours, others) if others else (ours[:1], ours[1:])


def _parties(cause: Row) -> Sequence[Row]:
    """As the report has them; a report of an earlier gov has only the lines."""
    if cause.get("parties"):
        return list(cause["parties"])
    from governance.conflict.ranges import declared

    lines = cause.get("lines", [])
    return [
        {
            "who": line.get("who") or line.get("owner", ""),
            "name": line.get("name") or cause.get("package"),
            "spec": declared(str(line.get("text"))),
            "is_new": number == 0,
        }
        for number, line in enumerate(lines)
    ]


def _party(party: Row, package: str) -> str:
    """`PhotoMaker ==4.36.2`, `LTXVideo <2 (through rembg 2.0.50 -> onnxruntime 1.17)`."""
    spec = str(party.get("spec") or "any version")
    spec = spec if len(spec) <= _LONG_RANGE else f"{spec[: _LONG_RANGE - 3]}..."
    way = [str(step) for step in party.get("through", ())]
    way = way if len(way) <= _MOST else [way[0], "...", way[-1]]
    through = f" (through {' -> '.join(way)})" if way else ""
    # A line that does not lead to the package at stake says what it is about.
    other = "" if party.get("name") == package else f"{party.get('name')} "
    return f"{party.get('who', '')} {other}{spec}{through}"


def _in_full(group: Sequence[Row]) -> list[str]:
    """Every line once: whose it is, where it stands, and how it leads to the package."""
    rows: dict[tuple[str, str], None] = {}
    for cause in group:
        lines = cause.get("lines", [])
        ways = cause.get("chains") or [()] * len(lines)
        rows |= {_line(line, way): None for line, way in zip(lines, ways, strict=False)}
    width = max((len(place) for place, _ in rows), default=0)
    return [f"    {place:{width}}  {text}" for place, text in rows]


def _line(line: Row, way: Sequence[str]) -> tuple[str, str]:
    """Whose line and where it stands; how it reads, and how it leads to the package at stake."""
    who = str(line.get("who") or line.get("owner", ""))
    place = f" {line['file']}:{line['line']}" if line.get("line") else ""
    text = str(line.get("text"))
    # `numba==0.58.1 -> numba 0.58.1` says nothing twice.
    steps = [step for step in way[1:] if step.replace(" ", "==", 1) != text]
    return f"{who}{place}", " -> ".join((text, *steps))


# --- fixes ------------------------------------------------------------------------------------


def _fix(fix: Row, txid: str | None) -> list[str]:
    """What it does and what it costs; below it the command, whole, so that it can be copied."""
    head = f"  fix {fix.get('number')}: {_remedy(fix)}"
    tries = (_wrapped("; ".join((head, *_price(fix, most)))) for most in _FEWER)
    told = min(tries, key=lambda lines: max(len(lines), 2))
    if fix.get("tried"):
        from governance.changes import tries as seen

        when = " with an earlier prod" if fix["tried"].get("stale") else ""
        told = [*told, f"      tried{when}: {seen.words(fix['tried'])}"]
    if txid:
        return [*told, f"      gov resolve {txid} --accept {fix.get('number')}"]
    return [*told, f"      {fix.get('command', '')}"] if fix.get("ref") else told


def _remedy(fix: Row) -> str:
    parts = []
    if fix.get("typed"):
        parts.append("hold " + _and(fix["typed"]))
    parts += [_edit(row) for row in fix.get("replaced", ())]
    if fix.get("dropped"):
        parts.append("leave out " + ", ".join(line["text"] for line in fix["dropped"]))
    parts += [
        f"do not ask {row['package']} {row['version']} for its range of {row['dependency']}"
        for row in fix.get("scoped", ())
    ]
    parts += [f"take {row['package']} from {row['url']}" for row in fix.get("sources", ())]
    if fix.get("exempt"):
        parts.append("free from the resolution date: " + ", ".join(fix["exempt"]))
    parts += [f"add {text}" for text in fix.get("added", ())]
    if fix.get("ref"):
        parts.append(f"take the node at {str(fix['ref'])[:12]}")
    return ", ".join(parts)


def _edit(row: Row) -> str:
    """A line with another text: without its range, or with the name that is meant."""
    line, to = row["line"], str(row["to"])
    if line.get("name") == leading_name(to):
        return f"give up {line.get('who')}'s {line['text']}"
    return f"take {to} for {line.get('who')}'s {line['text']}"


def _price(fix: Row, most: int) -> Iterator[str]:
    """Whose ranges it breaks, what is lost, and what it changes in prod; what it does besides is
    said already."""
    broken = [str(text) for text in fix.get("violates", ())]
    broken = [text.removeprefix("breaks ") for text in broken if text.startswith("breaks ")]
    if broken:
        yield f"breaks {_listed(broken, most)}"
    if fix.get("losses", ()) and "older" in fix["losses"]:
        yield "an older commit"
    if fix.get("sources"):
        yield "only the node names that index: whoever runs it decides what code it holds"
    if fix.get("lost"):
        yield f"nothing else brings {_and(fix['lost'])}"
    yield f"in prod: {_changes(fix, most)}"
    if fix.get("core"):
        yield f"touches core: {', '.join(fix['core'])}"


def _changes(fix: Row, most: int) -> str:
    """Core packages first: whoever reads no further has read of those."""
    changed = [row for row in fix.get("changes", ()) if row.get("before")]
    added = len(fix.get("changes", ())) - len(changed)
    changed.sort(key=lambda row: row["name"] not in fix.get("core", ()))
    words = [f"{r['name']} {r['before']} -> {r.get('after') or 'gone'}" for r in changed[:most]]
    words += [f"{len(changed) - most} more"] if len(changed) > most else []
    words += [f"{added} added"] if added else []
    return ", ".join(words) or "no change"


# --- the width --------------------------------------------------------------------------------


def _width() -> int:
    """Of the terminal; 0 where there is none, and a program that reads it wants whole lines."""
    return shutil.get_terminal_size((0, 0)).columns


def _wrapped(text: str) -> list[str]:
    """At the terminal's width, what follows indented below."""
    width = _width()
    if not width or len(text) <= width:
        return [text]
    return textwrap.wrap(
        text,
        max(width, 40),
        subsequent_indent="      ",
        break_long_words=False,
        break_on_hyphens=False,
    )
