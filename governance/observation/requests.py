"""What a command line asks pip or uv to do, as far as its words tell."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from governance.base import masking
from governance.observation.recorder import is_pip_name

_ACTIONS = ("install", "uninstall", "sync")
_SEPARATORS = frozenset({";", "&&", "||", "|", "&", "(", ")", "\n"})
_REDIRECTION = frozenset("<>&|")
_FILE_OPTIONS = frozenset({"-r", "--requirement", "--requirements"})
_EDITABLE_OPTIONS = frozenset({"-e", "--editable"})
# Options of pip and `uv pip` that take the next word.
_WITH_VALUE = """
-c --constraint --constraints -b --build-constraint --override -t --target -i --index-url
--extra-index-url --index --default-index -f --find-links --prefix --root --platform
--python-version --python-platform --implementation --abi --upgrade-strategy --progress-bar
--src -C --config-settings --config-setting --global-option --no-binary --only-binary
--report --log --proxy --retries --timeout --exists-action --trusted-host --cert
--client-cert --cache-dir --keyring-provider -p --python --index-strategy --link-mode
--resolution --prerelease --exclude-newer --torch-backend --group --extra -P
--upgrade-package --reinstall-package --color --directory --project --config-file
--allow-insecure-host --use-feature --use-deprecated --root-user-action
"""
_VALUE_OPTIONS = frozenset(_WITH_VALUE.split())


@dataclass(frozen=True)
class Request:
    """`requested` holds requirements as they were typed, `files` what `-r` named."""

    tool: str
    action: str
    requested: tuple[str, ...]
    files: tuple[str, ...]


class Command(NamedTuple):
    """One simple command, and the separator that follows it ("" at the end)."""

    words: list[str]
    then: str = ""


def parse(argv: Sequence[str]) -> list[Request]:
    """All requests in a command line; a shell's line may hold several."""
    found = (_request(command.words) for command in commands(argv))
    return [request for request in found if request is not None]


def commands(argv: Sequence[str]) -> Iterator[Command]:
    """A program's words as they are, a shell's line taken apart."""
    words = list(argv)
    line = shell_line(words)
    if line is None:
        yield Command(words)
        return
    command: list[str] = []
    rest = iter(_split(line))
    for word in rest:
        if set(word) <= _REDIRECTION and set(word) & set("<>"):
            next(rest, None)
            if command and command[-1].isdecimal():  # the 2 of `2>&1`
                command.pop()
        elif word in _SEPARATORS:
            yield Command(command, word)
            command = []
        else:
            command.append(word)
    yield Command(command)


def shell_line(words: Sequence[str]) -> str | None:
    """`os.system` gives one word with blanks; a shell has its line after `-c`."""
    if len(words) == 1 and " " in words[0]:
        return words[0]
    shell = bool(words) and words[0].rpartition("/")[2] in ("sh", "bash", "dash", "zsh", "ash")
    for option, line in pairwise(words):
        if shell and option.startswith("-") and option.endswith("c"):
            return line
    return None


def _split(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|()<>\n")
    lexer.whitespace = " \t\r"
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        return list(lexer)
    except ValueError:  # an open quote
        return line.split()


def _request(words: list[str]) -> Request | None:
    tool, rest = _after_tool(words)
    action = next((word for word in rest if word in _ACTIONS), None)
    if action is None:
        return None
    requested, files = _asked(rest[rest.index(action) + 1 :])
    files += requested if action == "sync" else []
    named = [] if action == "sync" else requested
    return Request(tool, action, _clean(named), _clean(files))


def _after_tool(words: list[str]) -> tuple[str, list[str]]:
    for index, word in enumerate(words):
        name = word.rpartition("/")[2]
        if is_pip_name(name):
            return "pip", words[index + 1 :]
        if name == "uv":
            rest = words[index + 1 :]
            return "uv", rest[rest.index("pip") + 1 :] if "pip" in rest else []
    return "", []


def _asked(words: list[str]) -> tuple[list[str], list[str]]:
    requested: list[str] = []
    files: list[str] = []
    rest = iter(words)
    for word in rest:
        if word in _FILE_OPTIONS:
            files += [value for value in (next(rest, None),) if value]
        elif word in _EDITABLE_OPTIONS:
            requested.append(f"-e {next(rest, '')}")
        elif word in _VALUE_OPTIONS:
            next(rest, None)
        elif word.startswith("-r") and not word.startswith("--"):
            files.append(word[2:])
        elif word.startswith(("--requirement=", "--requirements=")):
            files.append(word.partition("=")[2])
        elif not word.startswith("-"):
            requested.append(word)
    return requested, files


def _clean(words: list[str]) -> tuple[str, ...]:
    return tuple(masking.text(word) for word in words if word)
