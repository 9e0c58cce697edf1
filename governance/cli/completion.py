"""Completion: a script for each shell, and what the scripts ask of `gov _complete -- WORDS`.

The answer is a line for each candidate, `word<TAB>what it is`, or one mark that leaves paths to
the shell.  Nothing is locked or written, and what goes wrong completes nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from governance.base.errors import GovError
from governance.boundaries import store
from governance.cli import parser
from governance.truth import workspace
from governance.truth.workspace import Workspace

FILES = ":files"
FOLDERS = ":folders"

Values = Callable[[Workspace, str], Iterable[str]]


class Cursor(NamedTuple):
    """Where the last word stands: in the parser of a verb, as the value of an option or not."""

    parser: argparse.ArgumentParser
    option: argparse.Action | None
    positionals: int
    root: Path | None


def candidates(words: Sequence[str]) -> list[str]:
    """What can stand in the place of the last word; all of `words` follow `gov`."""
    *before, current = words or [""]
    try:
        if "--" in before:
            return _foreign(before[: before.index("--")], current)
        cursor = _walk(before)
        return _beginning(current, _offered(cursor, current)) if cursor else []
    except (GovError, OSError, ValueError):
        return []  # a half-typed line is no place to complain


def _walk(words: Sequence[str]) -> Cursor | None:
    """None where a word is no verb."""
    at = Cursor(parser.build(list(words)), None, 0, None)
    for word in words:
        if word == "=" and at.option is not None:
            continue  # bash makes three words of --root=DIR
        if at.option is not None:
            root = store.typed_path(word) if at.option.dest == "root" else at.root
            at = at._replace(option=None, root=root)
        elif word.startswith("-"):
            at = at._replace(option=_waiting(at.parser, word))
        elif verbs := _verbs(at.parser):
            if word not in verbs.choices:
                return None
            at = at._replace(parser=verbs.choices[word])
        else:
            at = at._replace(positionals=at.positionals + 1)
    return at


# argparse has no public way to ask a parser for what was added to it: `_actions` has been its
# list of them since the first release.


def _waiting(at: argparse.ArgumentParser, word: str) -> argparse.Action | None:
    """The option that takes the next word as its value."""
    named = (action for action in at._actions if word in action.option_strings)
    return next((action for action in named if action.nargs != 0), None)


def _verbs(at: argparse.ArgumentParser) -> Any:
    return next((a for a in at._actions if isinstance(a, argparse._SubParsersAction)), None)


def _offered(cursor: Cursor, current: str) -> list[str]:
    if cursor.option is not None:
        return _values(cursor, cursor.option, current)
    if current.startswith("-"):
        return _options(cursor.parser)
    verbs = _verbs(cursor.parser)
    if verbs is not None:
        return [_line(action.dest, action.help) for action in verbs._choices_actions]
    places = [action for action in cursor.parser._actions if not action.option_strings]
    if cursor.positionals < len(places):
        return _values(cursor, places[cursor.positionals], current)
    if places and places[-1].nargs in ("*", "+"):
        return _values(cursor, places[-1], current)
    return _options(cursor.parser)


def _options(at: argparse.ArgumentParser) -> list[str]:
    """The long ones: who types a short one needs no help with it."""
    return [
        _line(name, action.help)
        for action in at._actions
        for name in action.option_strings
        if name.startswith("--")
    ]


def _values(cursor: Cursor, action: argparse.Action, current: str) -> list[str]:
    if action.choices is not None:
        return [_line(str(choice)) for choice in action.choices]
    if action.type is Path:
        return [FILES if action.metavar == "FILE" else FOLDERS]
    if action.dest in _PATHS:
        return [FOLDERS]
    known = _KNOWN.get(action.dest)
    if known is None or action.option_strings:
        return []
    # Words for an id are offered to who begins one; an empty line is answered with ids.
    words = [_line(_LAST, "the newest")] if current and action.dest in _IDS else []
    return [*words, *known(workspace.find(cursor.root), str(cursor.parser.get_default("words")))]


def _txids(space: Workspace, verb: str) -> Iterable[str]:
    """Newest first; of a verb that moves a transaction only those that it can move."""
    from governance.truth import ledger

    overview = ledger.overview(space)
    rows = {row["txid"]: row for row in (*overview.pending, *overview.recent)}
    for txid in sorted(rows, reverse=True):
        row = rows[txid]
        if _can_move(str(row["status"]), verb):
            yield _line(txid, f"{row['node_id']} {row['status']}")


def _can_move(status: str, verb: str) -> bool:
    from governance.truth.documents import ABORTED, MOVES, PROMOTED, RESOLVED

    wanted = {"tx promote": PROMOTED, "tx abort": ABORTED, "resolve": RESOLVED}.get(verb)
    needless = {ABORTED} if verb == "tx shell" else set()
    return status not in needless and (wanted is None or wanted in MOVES.get(status, ()))


def _snapshots(space: Workspace, verb: str) -> Iterable[str]:
    from governance.truth import snapshots

    rows = snapshots.index(space)
    yield from (_line(str(row["name"]), row["id"]) for row in rows if row.get("name"))
    for row in reversed(rows):
        yield _line(row["id"], f"{row.get('reason', '')} {row.get('ref') or ''}")


def _nodes(space: Workspace, verb: str) -> Iterable[str]:
    from governance.truth import registry

    for record in registry.records(space):
        yield _line(str(record.get("id")), str(record.get("git_url") or ""))


def _packages(space: Workspace, verb: str) -> Iterable[str]:
    from governance.environments import generations

    prod = generations.prod(space)
    for name, version in sorted(prod.locked.items() if prod else ()):
        yield _line(name, version)


_LAST = "last"
_IDS = frozenset({"txid", "snapshot_id"})
_PATHS = frozenset({"git_url", "index", "what"})
_KNOWN: dict[str, Values] = {
    "txid": _txids,
    "snapshot_id": _snapshots,
    "node_id": _nodes,
    "nodes": _nodes,
    "package": _packages,
}


def _foreign(words: Sequence[str], current: str) -> list[str]:
    """After `--`: ComfyUI's own options for `gov run`, else a command and its files."""
    cursor = _walk(words)
    if cursor is None or cursor.parser.get_default("words") != "run":
        return [FILES]
    from governance import comfyui

    flags = comfyui.read_flags(workspace.find(cursor.root).comfyui_dir)
    return _beginning(current, [_line(flag) for flag in sorted(flags)])


def _beginning(current: str, lines: Iterable[str]) -> list[str]:
    """Those that go on from what is typed; `=` is all that bash gives of `--option=`."""
    typed = "" if current == "=" else current
    return [line for line in lines if line in (FILES, FOLDERS) or line.startswith(typed)]


def _line(word: str, what: str | None = None) -> str:
    return f"{word}\t{' '.join((what or '').split())}"


def script(shell: str) -> str:
    """The text to be sourced by `shell`: bash, zsh or fish."""
    return _SCRIPTS[shell]


# The command is asked as it was typed, so that a workspace's own bin/gov tells of its workspace.

_BASH = r"""# Completion of gov for bash.  Now:      source <(gov completion bash)
# For good:  gov completion bash > ~/.local/share/bash-completion/completions/gov
_gov() {
    local gov=${COMP_WORDS[0]//[\'\"\\]/} word what
    [[ $gov == "~/"* ]] && gov=$HOME/${gov:2}
    type -P -- "$gov" >/dev/null || gov=gov
    COMPREPLY=()
    while IFS=$'\t' read -r word what; do
        case $word in
            :files) compopt -o default 2>/dev/null ;;
            :folders) compopt -o dirnames 2>/dev/null ;;
            *) COMPREPLY+=("$word") ;;
        esac
    done < <("$gov" _complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _gov gov
"""

_ZSH = r"""#compdef gov
# Completion of gov for zsh.  Now:   source <(gov completion zsh)
# For good:  gov completion zsh > DIR/_gov, where DIR is one of $fpath
_gov() {
    local gov=${(Q)words[1]} word what
    local -a found
    [[ $gov == "~/"* ]] && gov=$HOME/${gov[3,-1]}
    whence -p -- $gov >/dev/null || gov=gov
    while IFS=$'\t' read -r word what; do
        case $word in
            :files) _files; return ;;
            :folders) _files -/; return ;;
            *) found+=("${word//:/\\:}:$what") ;;
        esac
    done < <($gov _complete -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)
    _describe -V gov found
}
if [[ $funcstack[1] == _gov ]]; then
    _gov "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
    compdef _gov gov
fi
"""

_FISH = r"""# Completion of gov for fish.  Now:  gov completion fish | source
# For good:  gov completion fish > ~/.config/fish/completions/gov.fish
function __gov_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l gov (string replace -r '^~/' "$HOME/" -- $words[1])
    type -q -- $gov; or set gov gov
    set -e words[1]
    for line in ($gov _complete -- $words "$current" 2>/dev/null)
        switch $line
            case :files
                __fish_complete_path "$current"
            case :folders
                __fish_complete_directories "$current" ''
            case '*'
                echo -- $line
        end
    end
end
complete -c gov -f -k -a '(__gov_complete)'
"""

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
