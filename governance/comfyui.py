"""The vocabulary of ComfyUI: its folders, its flags, the lines of its log, its API's answers.

Versions differ, so nothing is assumed: flags are looked up in the checkout's own text, and a log
line is read by what all known versions have in common.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from governance.base.errors import GovError

OWN_HOST = "127.0.0.1"
READY_PATH = "/system_stats"
CLASSES_PATH = "/object_info"
INSTALL_SCRIPT = "install.py"
MANAGER_REQUIREMENTS = "manager_requirements.txt"

_FLAG = re.compile(r"""["'](--[a-z][a-z0-9-]*)["']""")
_FLAG_SOURCES = ("main.py", "comfy/cli_args.py")
_VERSION = re.compile(r"""^(?:__version__|version)\s*=\s*["']([^"']{1,64})["']""", re.MULTILINE)
_MAX_SOURCE_BYTES = 1 << 20

_TRACEBACK_LINES = 40
_QUOTED_LINES = 50
_CAUSES = 4
_LINE_CHARACTERS = 400


@dataclass(frozen=True)
class NodeFolder:
    """One entry of custom_nodes; `path` may be a single file `name.py`."""

    name: str
    path: Path
    enabled: bool


@dataclass(frozen=True)
class Start:
    """How ComfyUI is to be started: its folders under `base`, its port, the nodes it may load."""

    base: Path
    port: int
    nodes: tuple[str, ...]
    quick: bool = False
    extra: tuple[str, ...] = ()


@dataclass(frozen=True)
class NodeImport:
    """One line of the list `Import times for custom nodes:`."""

    seconds: float
    failed: bool


def main_path(comfyui_dir: Path) -> Path:
    return comfyui_dir / "main.py"


def custom_nodes(comfyui_dir: Path) -> Path:
    return comfyui_dir / "custom_nodes"


def class_sources(comfyui_dir: Path) -> list[Path]:
    """Where ComfyUI registers its own node classes."""
    wanted = (comfyui_dir / name for name in ("nodes.py", "comfy_extras", "comfy_api_nodes"))
    return [path for path in wanted if path.exists()]


def requirements_path(comfyui_dir: Path) -> Path | None:
    path = comfyui_dir / "requirements.txt"
    return path if path.is_file() else None


def manager_requirements_path(comfyui_dir: Path) -> Path | None:
    """What `--enable-manager` needs (ComfyUI since 0.4)."""
    path = comfyui_dir / MANAGER_REQUIREMENTS
    return path if path.is_file() else None


def version(comfyui_dir: Path) -> str | None:
    return version_in(lambda name: _text(comfyui_dir / name))


def version_in(text_of: Callable[[str], str]) -> str | None:
    """The version that files say, whose text "" stands for a file that is not there."""
    for name in ("comfyui_version.py", "pyproject.toml"):
        found = _VERSION.search(text_of(name))
        if found:
            return found[1]
    return None


def node_folders(comfyui_dir: Path) -> list[NodeFolder]:
    """What ComfyUI's loader would take from custom_nodes, and what is switched off, by name.

    The loader takes links and hidden folders too; it skips `__pycache__`, names that end in
    `.disabled` and files that are not Python.  ComfyUI-Manager keeps disabled nodes in
    `.disabled/<id>@<version>`.
    """
    folder = custom_nodes(comfyui_dir)
    found = [entry for entry in _entries(folder) if entry.path.name != ".disabled"]
    found += [
        NodeFolder(entry.name.partition("@")[0], entry.path, enabled=False)
        for entry in _entries(folder / ".disabled")
    ]
    return sorted(found, key=lambda entry: (entry.name, str(entry.path)))


def disabled_place(comfyui_dir: Path, name: str) -> Path | None:
    """Where the code of a node lies that somebody switched off."""
    wanted = name.removesuffix(".py").lower()
    off = (entry for entry in node_folders(comfyui_dir) if not entry.enabled)
    return next((e.path for e in off if e.name.removesuffix(".py").lower() == wanted), None)


def read_flags(comfyui_dir: Path) -> frozenset[str]:
    """The options this checkout knows, by reading its text; nothing is run."""
    texts = (_text(comfyui_dir / name) for name in _FLAG_SOURCES)
    return frozenset(flag for text in texts for flag in _FLAG.findall(text))


def is_server(flags: Collection[str]) -> bool:
    """A main.py that takes a port is a server; any other program is judged by how it ends."""
    return "--port" in flags


def arguments(flags: Collection[str], start: Start) -> tuple[list[str], list[str]]:
    """Arguments for main.py, and in words what this version makes impossible."""
    if not is_server(flags):
        return list(start.extra), []
    given: list[str] = []
    limits: list[str] = []
    for flag, value, without in _wanted(start):
        if flag in flags:
            given += [flag, value] if value else [flag]
        elif without:
            limits.append(f"this ComfyUI has no {flag}: {without}")
    return [*given, *start.extra, *selection(flags, start.nodes, limits)], limits


def _wanted(start: Start) -> Iterator[tuple[str, str, str]]:
    """Flag, value, and what is lost without the flag ("" where nothing is)."""
    base = start.base
    yield "--listen", OWN_HOST, "it listens where it likes"
    yield "--port", str(start.port), ""
    yield "--user-directory", str(base / "user"), "its user folder is the live one"
    yield "--output-directory", str(base / "output"), "its output folder is the live one"
    yield "--input-directory", str(base / "input"), "its input folder is the live one"
    yield "--temp-directory", str(base), "its temp folder is the live one"
    yield "--database-url", f"sqlite:///{base / 'user' / 'comfyui.db'}", ""
    yield "--disable-auto-launch", "", ""
    if start.quick:
        yield "--quick-test-for-ci", "", "it was started in full"


def selection(flags: Collection[str], nodes: tuple[str, ...], limits: list[str]) -> list[str]:
    """The list of names comes last in argv, since it takes every word that follows."""
    if "--disable-all-custom-nodes" in flags and not nodes:
        return ["--disable-all-custom-nodes"]
    if {"--disable-all-custom-nodes", "--whitelist-custom-nodes"} <= set(flags):
        return ["--disable-all-custom-nodes", "--whitelist-custom-nodes", *nodes]
    limits.append(
        "this ComfyUI has no --whitelist-custom-nodes: everything in custom_nodes was loaded"
    )
    return []


def read_classes(body: bytes) -> dict[str, str]:
    """The answer of /object_info, class -> python_module.  Raises GovError."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise GovError(
            f"{CLASSES_PATH} of ComfyUI is not JSON: {error}",
            hint="read the log of the run",
            code="bad_answer",
        ) from None
    items = document.items() if isinstance(document, dict) else ()
    return {
        name: str(info.get("python_module", "nodes"))
        for name, info in items
        if isinstance(info, dict)
    }


def classes_of(folder: str, classes: Mapping[str, str]) -> list[str]:
    """Classes that the node in custom_nodes/<folder> registered."""
    modules = {f"custom_nodes.{folder}", f"custom_nodes.{folder.removesuffix('.py')}"}
    return sorted(name for name, module in classes.items() if module in modules)


# One line for each node that gov leaves out of a start, dozens of them.
LEFT_OUT = "due to disable_all_custom_nodes and whitelist_custom_nodes"
_IMPORT_LIST = "Import times for custom nodes:"
_TRACEBACK = "Traceback (most recent call last):"
_TIMED = re.compile(r"(\d+\.\d+) seconds( \(IMPORT FAILED\))?: (.*/.+)$")
_CANNOT_IMPORT = re.compile(r"Cannot import (.+?) module for custom nodes: ?(.*)$")
_SKIPPED = re.compile(r"Skip (.+?) module for custom nodes due to (.+)$")
_ENTRYPOINT = re.compile(r"comfy_entrypoint in (.+?)(?:: | is not callable| did not return)")
_LEVEL = re.compile(r"^\[[A-Z]+\] ")
_STARTUP_SCRIPT = re.compile(r"Failed to execute startup-script: (.+?) / (.*)$")
_UNREADABLE_CLASS = re.compile(
    r"An error occurred while retrieving information for the '(.+)' node"
)
_NODE_FILE = re.compile(r'\s+File ".*/custom_nodes/([^"]+)", line (\d+)')
_CHAINED = ("During handling of the above exception", "The above exception was the direct cause")
_CORE_IMPORT_FAILED = re.compile(r"^(?:\[[A-Z]+\] )?\W*IMPORT FAILED: (\S+)")
_GUI = re.compile(r"To see the GUI go to: (https?)://(\[[^\]]+\]|[^:/\s]+):(\d+)")
_PORT_TAKEN = re.compile(r"address already in use|Errno 98\b", re.IGNORECASE)
# Words in which nodes and ComfyUI itself say that they go on with less.
_PIP_SKIPS = re.compile(r"WARNING: Skipping \S+ as it is not installed")
_LOADED_IN_PART = re.compile(
    r"no module named|cannot import name"
    r"|(?:failed|unable|could ?n[o']t|can ?not) (?:to |be )?(?:import|load)(?:ed|ing)?\b"
    r"|\b(?:(?:is|are) not|un|not )available\b|missing (?:optional )?(?:dependenc|package|module)"
    r"|not installed|\b(?:will be|is|are|been) (?:disabled|dropped|skipped)\b"
    r"|did not import correctly",
    re.IGNORECASE,
)


@dataclass
class Log:
    """What ComfyUI's own lines say, read one by one as they come, from both streams.

    Names are names of entries of custom_nodes.  `causes` are the errors that a traceback follows
    from.  `said` are lines in which something goes on with
    less, and the ends of tracebacks through a node's file that no other line explains.
    `unreadable_classes` come with their error.  Once it is `stopping`, what it complains of is our
    own doing.
    """

    imports: dict[str, NodeImport] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    tracebacks: dict[str, list[str]] = field(default_factory=dict)
    causes: dict[str, list[str]] = field(default_factory=dict)
    startup_script_errors: dict[str, str] = field(default_factory=dict)
    unreadable_classes: dict[str, str] = field(default_factory=dict)
    core_failures: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    last_traceback: list[str] = field(default_factory=list)
    gui_port: int | None = None
    port_taken: bool = False
    listed: bool = False
    stopping: bool = False
    _open: dict[str, deque[str]] = field(default_factory=dict)
    _quoted: dict[str, list[str]] = field(default_factory=dict)
    _chained: set[str] = field(default_factory=set)
    _causes: dict[str, list[str]] = field(default_factory=dict)
    _unreadable: dict[str, str] = field(default_factory=dict)
    _after: dict[str, list[str]] = field(default_factory=dict)
    _again: dict[str, set[str]] = field(default_factory=dict)

    def feed(self, stream: str, line: str) -> None:
        """Take one line without its end."""
        if self._in_list(line) or self._in_traceback(stream, line):
            return
        if line.strip()[:_LINE_CHARACTERS] in self._again.get(stream, ()):
            return
        if not self._about_node(stream, line):
            self._about_start(stream, line)
            if line.strip():
                _add(self._after.setdefault(stream, []), line.strip()[:_LINE_CHARACTERS])
        if line.startswith(_CHAINED):
            self._chained.add(stream)
        elif line.strip():
            self._quoted.pop(stream, None)

    def _in_list(self, line: str) -> bool:
        if line.rstrip().endswith(_IMPORT_LIST):
            self.listed = True
            return True
        timed = _TIMED.search(line) if self.listed else None
        if timed is None:
            return False
        self.imports[_name(timed[3])] = NodeImport(float(timed[1]), bool(timed[2]))
        return True

    def _in_traceback(self, stream: str, line: str) -> bool:
        """Collect the lines of a traceback: its head, what is indented, and its last line."""
        _, head, rest = line.partition(_TRACEBACK)
        if head:  # what stands before it is a logger's own, such as the level
            self._begin_traceback(stream)
            self._open[stream] = deque([head + rest], maxlen=_TRACEBACK_LINES)
            return True
        lines = self._open.get(stream)
        if lines is None or (lines[-1] and not lines[-1].startswith((" ", "Traceback"))):
            return False
        lines.append(line[:_LINE_CHARACTERS])
        self.last_traceback = list(lines)
        if line and not line.startswith((" ", "Traceback")):
            self._end_traceback(stream, self.last_traceback)
        return True

    def _begin_traceback(self, stream: str) -> None:
        """One that follows from another keeps that one's error."""
        if stream in self._chained:
            before = list(self._open.get(stream, ()))[-1:]
            self._causes[stream] = [*self._causes.get(stream, ()), *before][-_CAUSES:]
        else:
            self._quoted.pop(stream, None)
            self._causes.pop(stream, None)
        self._chained.discard(stream)

    def _end_traceback(self, stream: str, lines: list[str]) -> None:
        error = lines[-1].strip()
        self._after.pop(stream, None)
        self._again.pop(stream, None)
        name = self._unreadable.pop(stream, None)
        places = [found for text in lines if (found := _NODE_FILE.match(text))]
        if name is not None:
            self.unreadable_classes[name] = error
        elif places:
            quote = f"{places[-1][1]}:{places[-1][2]}: {error}"
            if self._say(quote):
                self._quoted.setdefault(stream, []).append(quote)

    def _explained(self, stream: str) -> None:
        """The line after a traceback tells whose it is."""
        for quote in self._quoted.pop(stream, ()):
            self.said.remove(quote)

    def _say(self, text: str) -> bool:
        return not self.stopping and _add(self.said, text[:_LINE_CHARACTERS])

    def _about_node(self, stream: str, line: str) -> bool:
        if found := _CANNOT_IMPORT.search(line):
            name = _name(found[1])
            more = self._rest_of(stream, found[2])
            message = " ".join([found[2], *more])
            self.errors[name] = message[:_LINE_CHARACTERS] or "no message"
            lines = [*self._open.get(stream, ()), *more]
            self.tracebacks[name] = [text for text in lines if text.strip()]
            self.causes[name] = self._causes.get(stream, [])
        elif found := _SKIPPED.search(line):
            self.errors[_name(found[1])] = f"skipped by ComfyUI due to {found[2]}"
        elif found := _ENTRYPOINT.search(line):
            text = _LEVEL.sub("", line.strip())
            self.errors[_name(found[1])] = text[:_LINE_CHARACTERS]
        elif found := _STARTUP_SCRIPT.search(line):
            script = PurePosixPath(found[1])
            self.startup_script_errors[script.parent.name] = found[2] or "no message"
        else:
            return False
        self._explained(stream)
        return True

    def _rest_of(self, stream: str, message: str) -> list[str]:
        """The further lines of a message, from the traceback before it; they follow once more."""
        error = next(reversed(self._open.get(stream, ())), "")
        more = self._after.pop(stream, [])
        if not more or not error.endswith(message):
            return []
        told = (error, *more)
        self.said[:] = [text for text in self.said if not text.endswith(told)]
        self._again[stream] = set(more)
        return more

    def _about_start(self, stream: str, line: str) -> None:
        if found := _UNREADABLE_CLASS.search(line):
            if len(self.unreadable_classes) < _QUOTED_LINES:
                self.unreadable_classes.setdefault(found[1], "")
                self._unreadable[stream] = found[1]
        elif found := _CORE_IMPORT_FAILED.search(line):
            _add(self.core_failures, found[1])
        elif found := _GUI.search(line):
            self.gui_port = int(found[3])
        elif _PORT_TAKEN.search(line):
            self.port_taken = True
        elif _LOADED_IN_PART.search(line) and not _PIP_SKIPS.match(line):
            self._say(line.strip())


def _add(lines: list[str], text: str) -> bool:
    if text in lines or len(lines) >= _QUOTED_LINES:
        return False
    lines.append(text)
    return True


def _name(path: str) -> str:
    return PurePosixPath(path.strip()).name


def _entries(folder: Path) -> list[NodeFolder]:
    try:
        paths = list(folder.iterdir())
    except OSError:
        return []
    return [
        NodeFolder(path.name.removesuffix(".disabled"), path, not path.name.endswith(".disabled"))
        for path in paths
        if path.name != "__pycache__"
        and (path.is_dir() or path.name.endswith((".py", ".py.disabled")))
    ]


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(_MAX_SOURCE_BYTES).decode(errors="replace")
    except OSError:
        return ""
