"""A node that loaded in part: what its own code registers, or what it had in prod, is not served.

ComfyUI says nothing of it, since the node itself goes on.  What counts as missing: classes that
the source brings under a `try` (see parts.py), classes that prod had and the source still names,
classes that ComfyUI cannot describe, and the node's own words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from governance import comfyui
from governance.observation import alike
from governance.observation.record import Baseline, NodeReport

Row = dict[str, Any]
Absent = Callable[[Sequence[str]], list[str]]

_NAMED = 5
_NOUN = r"(?:custom )?(?:nodes?|modules?|sub-?modules?|node (?:files?|packs?|classes))\b"
_NOT = r"(?:fail(?:ed|ure|s)?|unable|could ?n[o']t|can ?not|can't|skip(?:ped|ping)?)"
_SAYS = re.compile(
    rf"{_NOUN}[^.]{{0,40}}(?:could ?n[o']t|can ?not|can't|failed to) (?:be )?(?:load|import)"
    rf"|{_NOT} (?:to )?(?:import(?:ing)?|load(?:ing)?)[^.]{{0,30}} {_NOUN}"
    rf"|{_NOT} (?:to )?(?:import(?:ing)?|load(?:ing)?) {_NOUN}",
    re.IGNORECASE,
)
# The end of a traceback through a node's file, as comfyui.Log quotes it.
_QUOTE = re.compile(r"(?P<file>[^:]+\.py):\d+: (?P<error>\w*(?:Import|ModuleNotFound|Attribute"
                    r"|Name|Syntax)Error\b.*)")  # fmt: skip


@dataclass(frozen=True)
class Start:
    """What one start showed: `classes` as the API told them, None where it did not, `log`
    ComfyUI's own lines, `source` what the code says; `absent` asks which modules cannot be
    found."""

    classes: Mapping[str, str] | None
    log: comfyui.Log
    reports: Mapping[str, NodeReport]
    source: Mapping[str, Mapping[str, Any]]
    baseline: Baseline | None
    absent: Absent


def find(start: Start, subjects: Sequence[str]) -> list[Row]:
    """Rows {node, of, classes, parts, said, known}, one a node that loaded in part.

    `classes` are missing of `of`; `parts` are {file, at, classes, needs}, `needs` the modules
    that are not there; `said` are lines of the log.  `known`: prod lacks the same.
    """
    loaded = [name for name, report in start.reports.items() if report.loaded]
    rows = (_row(start, name, subjects) for name in loaded)
    return [row for row in rows if row]


def _row(start: Start, name: str, subjects: Sequence[str]) -> Row | None:
    parts: list[Row] = []
    said: list[str] = []
    missing = _lost(start, name)
    if name in subjects:
        parts = _left_out(start, name)
        said = _said(start, name, parts, is_alone=len(subjects) == 1)
        missing |= {one for part in parts for one in part["classes"]} | _undescribed(start, name)
    if not missing and not said:
        return None
    return {
        "node": name,
        "of": len(missing) + len(start.reports[name].classes),
        "classes": sorted(missing),
        "parts": parts,
        "said": said,
        "known": _is_known(start.baseline, name, missing, said),
    }


def _left_out(start: Start, name: str) -> list[Row]:
    """Parts of which nothing is served.  Where the node serves other names than its code writes
    out, its names are computed, and nothing is known."""
    own = start.reports[name].classes
    told = start.source.get(name, {})
    if start.classes is None:
        return []
    if own and not set(own) & set(told.get("classes", ())):
        return []
    found = []
    for part in told.get("parts", ()):
        classes = [one for one in part["names"] if one not in start.classes]
        if classes:
            found.append({"file": part["file"], "at": part["at"], "classes": classes,
                          "needs": part["needs"]})  # fmt: skip
    needs = sorted({module for part in found for module in part["needs"]})
    absent = set(start.absent(needs)) if needs else set()
    for part in found:
        part["needs"] = [module for module in part["needs"] if module in absent]
    return found


def _lost(start: Start, name: str) -> set[str]:
    """What it had in prod; a class that its code does not name any more is given up."""
    if start.baseline is None or name not in start.baseline.loaded or not start.classes:
        return set()
    had = comfyui.classes_of(name, start.baseline.classes)
    told = start.source.get(name, {}).get("classes", ())
    return {one for one in had if one not in start.classes and (not told or one in told)}


def _undescribed(start: Start, name: str) -> set[str]:
    told = start.source.get(name, {}).get("classes", ())
    return {one for one in start.log.unreadable_classes if one in told}


def _said(start: Start, name: str, parts: Sequence[Row], *, is_alone: bool) -> list[str]:
    """Lines of the log in which the node says that it goes on with less.  One that names no node
    is the subject's where there is one alone, and prod does not say it."""
    files = {part["file"] for part in start.source.get(name, {}).get("parts", ())}
    needs = {module for part in parts for module in part["needs"]}
    words = ({_stem(file) for file in files} - _COMMON) | needs
    before = set(map(alike.plain, start.baseline.said if start.baseline else ()))
    others = [other for other in start.reports if other != name]
    found = []
    for line in start.log.said:
        quote = _QUOTE.match(line)
        if quote or _has_word(line, name):
            is_own = not quote or quote["file"].partition("/")[0] == name
            is_own = is_own and bool(quote or _tells(line, words))
        else:
            is_new = is_alone and alike.plain(line) not in before
            is_own = is_new and _tells(line, words) and not any(_has_word(line, o) for o in others)
        if is_own:
            found.append(line)
    return found


_COMMON = frozenset({"__init__", "core", "main", "node", "nodes", "util", "utils"})


def _tells(line: str, words: set[str]) -> bool:
    return bool(_SAYS.search(line)) or any(_has_word(line, word) for word in words)


def _has_word(line: str, word: str) -> bool:
    return bool(re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", line))


def _stem(file: str) -> str:
    return file.removesuffix("/__init__.py").rpartition("/")[2].removesuffix(".py")


def _is_known(
    baseline: Baseline | None, name: str, missing: set[str], said: Sequence[str]
) -> bool | None:
    if baseline is None:
        return None
    before = set(map(alike.plain, baseline.said))
    return (
        name in baseline.loaded
        and not any(one in baseline.classes for one in missing)
        and all(alike.plain(line) in before for line in said)
    )


# --- in words ---------------------------------------------------------------------------------


def addition(rows: Sequence[Mapping[str, Any]]) -> str:
    """To the reason of a start that is completed all the same."""
    return "".join(f"; {row['node']} in part: {sentence(row)}" for row in rows)


def new(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that prod does not have in the same way."""
    return [row for row in rows if not row.get("known")]


def sentence(row: Mapping[str, Any]) -> str:
    """What is missing, without the node's name."""
    missing, of = row["classes"], row["of"]
    if not missing:
        return f"it says: {row['said'][0]}"
    if len(missing) == of:
        return f"all of its {of} classes are missing" if of > 1 else "its only class is missing"
    verb = "is" if len(missing) == 1 else "are"
    return f"{len(missing)} of its {of} classes {verb} missing"


def lines(row: Mapping[str, Any]) -> Iterator[str]:
    """Part by part: the names, and why where it is known."""
    told: set[str] = set()
    for part in row["parts"]:
        told |= set(part["classes"])
        needs = part["needs"]
        why = f", which needs {', '.join(needs)}" if needs else ""
        at = part["at"] if row["node"].endswith(".py") else f"{row['node']}/{part['at']}"
        yield f"{_few(part['classes'])}: of {part['file']}{why}  [{at}]"
    if rest := [name for name in row["classes"] if name not in told]:
        yield _few(rest)
    for line in row["said"][:_NAMED]:
        yield f"the log says: {line}"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
