"""What no node should do when ComfyUI starts, read from the record of its actions.

A node is there to offer classes.  One that asks the system's package manager, wants to be root,
runs a script straight from the network, changes other nodes, ComfyUI or the system, fetches
programs, updates itself, or leaves a program running, does what only the operator should.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from governance.observation import requests
from governance.observation.events import Deeds

_LIMIT = 200
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ash", "ksh", "fish"})
_READERS = _SHELLS | {"python", "python3", "perl", "ruby", "node"}
_FETCHERS = frozenset({"curl", "wget", "aria2c"})
_ROOT = frozenset({"sudo", "doas", "pkexec", "su"})
_DETACHING = frozenset({"nohup", "setsid", "daemonize", "start-stop-daemon"})
_WRAPPERS = _ROOT | _DETACHING | {"env", "exec", "command", "time", "nice", "ionice", "stdbuf"}
_NICE = frozenset({"nice", "ionice"})
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_ACTING_WORDS = """
install reinstall update upgrade dist-upgrade full-upgrade remove purge autoremove add del
erase tap build-dep source groupinstall localinstall in up refresh
"""
_ACTING = frozenset(_ACTING_WORDS.split())
# What a manager is told by, where it is no word of the list above.
_MANAGERS: dict[str, re.Pattern[str] | None] = {
    **dict.fromkeys(
        ("apt", "apt-get", "aptitude", "dnf", "microdnf", "yum", "zypper", "apk", "brew", "snap")
    ),
    **dict.fromkeys(("flatpak", "port", "choco", "winget", "scoop")),
    "pacman": re.compile(r"-[SUR]|--(sync|upgrade|remove)$"),
    "yay": re.compile(r"-[SUR]"),
    "dpkg": re.compile(r"-[irP]|--(install|remove|purge)$"),
    "rpm": re.compile(r"-[iUeF]|--(install|upgrade|erase)$"),
}
_FROM_NETWORK = re.compile(
    r"\b(?:sh|bash|dash|zsh|eval|source)\b[^;|&]*(?:\$\(|<\(|`)\s*(?:curl|wget)\b"
)
_PROGRAM_FILE = re.compile(r"\.(?:sh|exe|run|appimage|deb|rpm|msi|pkg|dmg|bat|ps1)$", re.IGNORECASE)
_CHANGES_CODE = frozenset(
    {"pull", "reset", "checkout", "switch", "merge", "rebase", "restore", "submodule", "am"}
)
_SOURCE = re.compile(r"://|^[\w.-]+@[\w.-]+:|\.git/?$|^[./]")
_GIT_WITH_VALUE = frozenset({"-C", "-c", "--git-dir", "--work-tree", "--namespace"})
_SYSTEM = ("/etc/", "/usr/", "/bin/", "/sbin/", "/lib/", "/lib64/", "/boot/")
_CODE = (".py", ".js", ".mjs", ".css", ".html")
_DATA = frozenset({"custom_nodes", "models", "input", "output", "user", "temp", ".cache"})


class Finding(NamedTuple):
    """`kind` is stable, `what` the command or the place, `at` the line of the node's code."""

    kind: str
    node: str
    what: str
    at: str | None

    def to_json(self) -> dict[str, Any]:
        return {**self._asdict(), "sentence": f"{self.node} {SENTENCES[self.kind]} {self.what}"}


SENTENCES = {
    "system_packages": "called the system's package manager:",
    "root": "wanted to be root:",
    "network_script": "ran a script straight from the network:",
    "program_download": "fetched a program or code:",
    "self_update": "changed its own code with git:",
    "other_node": "changed the folder of another node:",
    "comfyui": "changed ComfyUI's own code:",
    "system_files": "wrote into the system:",
    "daemon": "left a program running:",
}


@dataclass(frozen=True)
class _Ground:
    """Whose folder a path is."""

    custom_nodes: tuple[str, ...]

    def owner(self, path: str, node: str) -> str:
        """`own`, `other_node`, `comfyui` or `elsewhere`."""
        for folder in self.custom_nodes:
            if path.startswith(folder + "/"):
                return "own" if self.entry(path) == node else "other_node"
        inside = any(path.startswith(os.path.dirname(f) + "/") for f in self.custom_nodes)  # noqa: PTH120
        is_top = any(path == os.path.dirname(f) for f in self.custom_nodes)  # noqa: PTH120
        return "comfyui" if inside or is_top else "elsewhere"

    def entry(self, path: str) -> str:
        """The entry of custom_nodes that it lies in, or "" """
        for folder in self.custom_nodes:
            if path.startswith(folder + "/"):
                return path[len(folder) + 1 :].partition("/")[0]
        return ""

    def below(self, path: str) -> str:
        """Seen from ComfyUI's folder."""
        for folder in self.custom_nodes:
            top = folder.rpartition("/")[0]
            if path.startswith(top + "/"):
                return path[len(top) + 1 :]
        return path


def find(done: Deeds, custom_nodes: Path) -> list[dict[str, Any]]:
    """Each thing once, by node, in the order of the record."""
    places = (str(custom_nodes), str(custom_nodes.resolve()))
    ground = _Ground(tuple(dict.fromkeys(places)))
    found: dict[tuple[str, str, str], Finding] = {}
    for one in (*_of_programs(done, ground), *_of_files(done, ground)):
        found.setdefault((one.kind, one.node, one.what), one)
    return [one.to_json() for one in list(found.values())[:_LIMIT]]


def _of_programs(done: Deeds, ground: _Ground) -> Iterator[Finding]:
    for row in done.programs:
        node = row.get("node")
        if not node:
            continue
        argv = list(map(str, row.get("argv", ())))
        kinds = dict.fromkeys(_kinds(argv, str(row.get("cwd") or ""), node, ground))
        if row.get("stays"):
            kinds.setdefault("daemon")
        if "network_script" in kinds:  # which says it better
            kinds.pop("program_download", None)
        for kind in kinds:
            yield Finding(kind, node, _told(argv), row.get("at"))


def _told(argv: list[str]) -> str:
    line = requests.shell_line(argv)
    return " ".join((line or " ".join(argv)).split())[:200]


def _kinds(argv: list[str], cwd: str, node: str, ground: _Ground) -> Iterator[str]:
    line = requests.shell_line(argv)
    if line and _FROM_NETWORK.search(line):
        yield "network_script"
    commands = [_Simple.of(command) for command in requests.commands(argv)]
    for number, one in enumerate(commands):
        yield from one.kinds()
        after = commands[number + 1] if number + 1 < len(commands) else None
        if one.name in _FETCHERS and one.then == "|" and after and after.name in _READERS:
            yield "network_script"
        if one.name == "cd" and one.rest:
            cwd = os.path.normpath(os.path.join(cwd, one.rest[0]))  # noqa: PTH118
        if one.name == "git":
            yield from _of_git(one.rest, cwd, node, ground)


@dataclass(frozen=True)
class _Simple:
    """One command without what only wraps it (`sudo -E`, `FOO=1`, `nohup`)."""

    name: str
    rest: list[str]
    wrappers: frozenset[str]
    then: str

    @classmethod
    def of(cls, command: requests.Command) -> _Simple:
        words, wrappers = list(command.words), set[str]()
        while words and _only_wraps(words[0]):
            word = _base(words.pop(0))
            if word in ("-u", "-g") or (word == "-n" and wrappers & _NICE):
                del words[:1]  # the user, the group, the number
            wrappers.add(word)
        name = _base(words[0]) if words else ""
        return cls(name, words[1:], frozenset(wrappers), command.then)

    def kinds(self) -> Iterator[str]:
        if self.wrappers & _ROOT:
            yield "root"
        if self.name in _MANAGERS and self._acts():
            yield "system_packages"
        if self.then == "&" or self.wrappers & _DETACHING or self._is_service():
            yield "daemon"
        if self.name in _FETCHERS and any(map(_PROGRAM_FILE.search, self._urls())):
            yield "program_download"

    def _acts(self) -> bool:
        option = _MANAGERS[self.name]
        return any(word in _ACTING or (option and option.match(word)) for word in self.rest)

    def _is_service(self) -> bool:
        words = set(self.rest)
        if self.name in ("systemctl", "service", "launchctl", "initctl"):
            return bool(words & {"start", "enable", "restart", "load", "bootstrap"})
        if self.name == "crontab":
            return "-l" not in words
        detached = {"screen": "-dm", "tmux": "-d"}.get(self.name)
        return detached is not None and detached in words

    def _urls(self) -> list[str]:
        return [w.partition("?")[0].rstrip("/") for w in self.rest if "://" in w]


def _of_git(words: list[str], cwd: str, node: str, ground: _Ground) -> Iterator[str]:
    verb, folder = _git_words(words, cwd)
    if verb == "clone":
        owner = ground.owner(_clone_target(words, folder), node)
        yield "other_node" if owner == "other_node" else "program_download"
    elif verb in _CHANGES_CODE and not (verb == "submodule" and words[-1:] == ["status"]):
        owner = ground.owner(folder, node)
        if owner != "elsewhere":
            yield "self_update" if owner == "own" else owner


def _git_words(words: list[str], cwd: str) -> tuple[str, str]:
    """Its verb, and the folder that it works in."""
    rest = iter(words)
    for word in rest:
        if word in _GIT_WITH_VALUE:
            value = next(rest, "")
            if word in ("-C", "--work-tree"):
                cwd = os.path.normpath(os.path.join(cwd, value))  # noqa: PTH118
        elif not word.startswith("-"):
            return word, cwd
    return "", cwd


def _clone_target(words: list[str], folder: str) -> str:
    """Where `git clone` puts it: the word after its source, else a folder of that name."""
    rest = words[words.index("clone") + 1 :]
    at = next((n for n, word in enumerate(rest) if _SOURCE.search(word)), None)
    if at is None:
        return folder
    given = next((word for word in rest[at + 1 :] if not word.startswith("-")), None)
    name = given or _base(rest[at].rstrip("/").replace(":", "/")).removesuffix(".git")
    return os.path.normpath(os.path.join(folder, name))  # noqa: PTH118


def _of_files(done: Deeds, ground: _Ground) -> Iterator[Finding]:
    reached = {row["node"] for row in done.hosts if not _is_near(str(row.get("host")))}
    fetched = {row["node"] for row in done.programs if _fetches(row)}
    for row in done.writes:
        node, path = row.get("node"), str(row.get("path"))
        if not node:
            continue
        for kind, what in _of_file(path, node, ground):
            yield Finding(kind, node, what, row.get("at"))
        came = "write" in row.get("how", ()) or "rename" in row.get("how", ())
        if came and "chmod +x" in row.get("how", ()) and node in reached | fetched:
            yield Finding("program_download", node, path, row.get("at"))
    yield from _made_executable(done.programs, fetched)


def _of_file(path: str, node: str, ground: _Ground) -> Iterator[tuple[str, str]]:
    owner = ground.owner(path, node)
    below = ground.below(path)
    entry = ground.entry(path)
    if owner == "other_node" and (entry.endswith(".py") or not path.endswith(f"/{entry}")):
        yield "other_node", entry
    elif owner == "comfyui" and below.partition("/")[0] not in _DATA and below.endswith(_CODE):
        yield "comfyui", below
    elif owner == "elsewhere" and path.startswith(_SYSTEM):
        yield "system_files", path


def _made_executable(rows: Iterable[Mapping[str, Any]], fetched: set[str]) -> Iterator[Finding]:
    """`chmod +x` by a node that fetched something with a program."""
    for row in rows:
        argv = list(map(str, row.get("argv", ())))
        for command in requests.commands(argv):
            one = _Simple.of(command)
            if one.name == "chmod" and row.get("node") in fetched and _executable(one.rest):
                yield Finding("program_download", str(row["node"]), _told(argv), row.get("at"))


def _executable(words: list[str]) -> bool:
    return any(re.fullmatch(r"[ugoa]*\+r?w?x|[0-7]*[1357][0-7]{2}", word) for word in words)


def _fetches(row: Mapping[str, Any]) -> bool:
    commands = requests.commands(list(map(str, row.get("argv", ()))))
    return bool(row.get("node")) and any(_Simple.of(c).name in _FETCHERS for c in commands)


def _is_near(host: str) -> bool:
    return host in ("localhost", "::1", "0.0.0.0", "") or host.startswith(("127.", "unix:"))


def _only_wraps(word: str) -> bool:
    return _base(word) in _WRAPPERS or word.startswith("-") or bool(_ASSIGNMENT.match(word))


def _base(word: str) -> str:
    return word.rpartition("/")[2]
