"""One logical line of a requirement file: taken, or skipped with the reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from governance.requirements import grammar, location
from governance.requirements.declaration import Declared, Line, Origin, Policy, Skipped, joined
from governance.requirements.grammar import Malformed

_RAW_LIMIT = 1000
_BLANKS = re.compile(r"[ \t]+")
_HASH = re.compile(r"\s--hash[=\s]\s*\S+")
_TRAILING_OPTION = re.compile(r"\s(--?[A-Za-z][\w-]*)")
_EDITABLE = re.compile(r"-e|--editable")
_OPTION = re.compile(r"--?[\w-]*")


_USERINFO = re.compile(r"(?<=://)[^/\s]*@")
# A variable is no secret, nor is the user of every git host.
_OPEN = re.compile(r"(?:(?:\$\{\w+\}|git):?)+@")


@dataclass(frozen=True)
class Entry:
    """`text` is what is left of `raw` without comment and continuation; `note` what was mended."""

    raw: str
    text: str
    origin: Origin
    note: str = ""


def skip(entry: Entry, kind: str, reason: str) -> Declared:
    # It is stored, shown and logged, and authors do write tokens into their URLs.
    raw = _masked(entry.raw)
    raw = raw if len(raw) <= _RAW_LIMIT else raw[:_RAW_LIMIT] + "…"
    return Declared(skipped=(Skipped(raw, entry.origin, _masked(reason), kind),))


def _masked(text: str) -> str:
    return _USERINFO.sub(lambda found: found[0] if _OPEN.fullmatch(found[0]) else "***@", text)


def judge(entry: Entry, policy: Policy) -> Declared:
    """The first rule that knows the line decides."""
    if not entry.text:
        return Declared()
    # Long runs of blanks make the patterns quadratic.
    entry = _without_hashes(replace(entry, text=_BLANKS.sub(" ", entry.text)))
    try:
        for rule in _RULES:
            verdict = rule(entry, policy)
            if verdict is not None:
                return verdict
        return _requirement(entry, policy)
    except Malformed as error:
        return skip(entry, "malformed", f"it is not a requirement: {error}")


def judge_all(asked: Iterable[tuple[str, str]], *, policy: Policy) -> Declared:
    """Lines from no file, each with the place (`file:line`, or "") that asked for it."""
    parts = []
    for text, place in asked:
        file, _, line = place.rpartition(":")
        origin = Origin(file, int(line) if line.isascii() and line.isdecimal() else 0)
        parts.append(judge(Entry(text, text.strip(), origin), policy))
    return joined(parts, "")


def _without_hashes(entry: Entry) -> Entry:
    text, count = _HASH.subn("", entry.text)
    if not count:
        return entry
    return _noted(entry, text.rstrip(), "hashes left out, the lock has its own")


def _noted(entry: Entry, text: str, note: str) -> Entry:
    notes = f"{entry.note}; {note}" if entry.note else note
    return replace(entry, text=text, note=notes)


def _characters(entry: Entry, policy: Policy) -> Declared | None:
    grammar.check_characters(entry.text)
    return None


def _option(entry: Entry, policy: Policy) -> Declared | None:
    if not entry.text.startswith("-"):
        return None
    if _EDITABLE.match(entry.text):
        return skip(entry, "editable", "an editable install is not part of a lock")
    match = _OPTION.match(entry.text)
    name = match[0] if match else "-"
    return skip(entry, "option", f"{name} is an option for pip, not a requirement")


def _variable(entry: Entry, policy: Policy) -> Declared | None:
    if "${" not in entry.text:
        return None
    return skip(entry, "environment-variable", "environment variables are not filled in")


def _trailing_option(entry: Entry, policy: Policy) -> Declared | None:
    match = _TRAILING_OPTION.search(entry.text.partition(";")[0])
    if match is None:
        return None
    if grammar.leading_name(entry.text) in policy.torch_family:
        return _torch(entry)
    return skip(entry, "option", f"the option {match[1]} cannot be passed on with a requirement")


def _bare(entry: Entry, policy: Policy) -> Declared | None:
    place = location.bare(entry.text)
    return None if place is None else _located(entry, place, policy)


def _named(entry: Entry, policy: Policy) -> Declared | None:
    place = location.named(entry.text)
    return None if place is None else _located(entry, place, policy)


def _located(entry: Entry, place: location.Location, policy: Policy) -> Declared:
    if grammar.leading_name(place.name) in policy.torch_family:
        return _torch(entry)
    refusal = location.refusal(place, policy)
    if refusal is not None:
        return skip(entry, refusal.kind, refusal.reason)
    text = place.requirement()
    return _taken(entry, text, grammar.parse(text).name)


def _requirement(entry: Entry, policy: Policy) -> Declared:
    entry = _comment_cut(entry)
    entry = _commas_added(entry)
    found = grammar.parse(entry.text)
    if grammar.normalised(found.name) not in policy.torch_family:
        return _taken(entry, grammar.spell(entry.text, found), found.name)
    if found.specifier or found.extras:
        return _torch(entry)
    return Declared(notes=(f"{entry.origin}: {found.name} is left out, ComfyUI brings it",))


def _comment_cut(entry: Entry) -> Entry:
    text, mark, _ = entry.text.partition("#")
    return _noted(entry, text.rstrip(), "comment cut off") if mark else entry


def _commas_added(entry: Entry) -> Entry:
    try:
        grammar.parse(entry.text)
    except Malformed:
        text = grammar.with_commas(entry.text)
        return entry if text == entry.text else _noted(entry, text, "comma added")
    return entry


def _torch(entry: Entry) -> Declared:
    reason = "the version and source of torch's packages are ComfyUI's, never a node's"
    return skip(entry, "torch", reason)


def _taken(entry: Entry, text: str, name: str) -> Declared:
    line = Line(
        text, _masked(entry.raw.strip()), entry.origin, grammar.normalised(name), entry.note
    )
    return Declared(lines=(line,))


_RULES: tuple[Callable[[Entry, Policy], Declared | None], ...] = (
    _characters,
    _option,
    _variable,
    _trailing_option,
    _bare,
    _named,
)
