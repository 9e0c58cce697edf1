"""What the recorder wrote, read as the work of nodes: installs, programs, hosts, writes.

The lines come from inside the candidate, where a node could have written them too: they are
read as claims of bounded size, never trusted as paths to open.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from governance.base import masking
from governance.observation import requests
from governance.observation.recorder import is_pip

_MAX_FILE_BYTES = 2 << 20
_MAX_TOTAL_BYTES = 64 << 20
_MAX_ENTRIES = 500
_MAX_DEPTH = 32

Event = dict[str, Any]
Alive = tuple[tuple[str, ...], ...]


@dataclass
class Process:
    """One Python process.  `up`: parent, its parent, and so on; empty for a fork."""

    pid: int
    started: float = 0.0
    up: list[int] = field(default_factory=list)
    argv: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    exit_code: int | None = None

    @property
    def runs_pip(self) -> bool:
        return is_pip(self.argv)

    def of_kind(self, *kinds: str) -> list[Event]:
        return [event for event in self.events if event["e"] in kinds]


@dataclass
class Deeds:
    """What nodes did, each a list of JSON objects; `cut` where something was left out."""

    installs: list[dict[str, Any]] = field(default_factory=list)
    programs: list[dict[str, Any]] = field(default_factory=list)
    hosts: list[dict[str, Any]] = field(default_factory=list)
    writes: list[dict[str, Any]] = field(default_factory=list)
    cut: bool = False


@dataclass(frozen=True)
class Phase:
    """The processes of one start (or of install.py), and what they did; `alive` are the command
    lines of programs that still ran at its end."""

    name: str
    processes: tuple[Process, ...]
    cut: bool
    alive: Alive = ()

    def last_loaded(self) -> str | None:
        """The node whose file was the last to be executed."""
        loads = [event for process in self.processes for event in process.of_kind("load")]
        last = max(loads, key=lambda event: event["t"], default=None)
        return None if last is None else _text(last.get("node"))


@dataclass(frozen=True)
class Places:
    """To tell where a written file lies, seen from the node that wrote it."""

    custom_nodes: Path
    environment: Path

    def describe(self, path: str, node: str | None) -> str:
        candidates = [
            ("its own folder", f"{self.custom_nodes}/{node}/") if node else ("", "\0"),
            ("custom_nodes", f"{self.custom_nodes}/"),
            ("ComfyUI", f"{self.custom_nodes.parent}/"),
            ("the environment", f"{self.environment}/"),
        ]
        found = (name for name, prefix in candidates if path.startswith(prefix))
        return next(found, "elsewhere")


def read(folder: Path, name: str) -> Phase:
    """All files of one folder of events, in order of their names; what is too much is cut."""
    processes: list[Process] = []
    room, cut = _MAX_TOTAL_BYTES, False
    for path in sorted(folder.glob("*.jsonl")) if folder.is_dir() else []:
        data = _bytes(path)
        room -= len(data)
        if room < 0:
            cut = True
            break
        process = _process(path, data)
        if process is not None:
            cut = cut or bool(process.of_kind("cut"))
            processes.append(process)
    return Phase(name, tuple(processes), cut)


def begun(folder: Path, names: Collection[str]) -> list[str]:
    """Of a start that goes on: those of `names` whose own file has been executed, in that order.

    A start-up script runs long before its node is loaded.
    """
    lines = (line for path in folder.glob("*.jsonl") for line in _bytes(path).splitlines())
    loads = [event for line in lines if b'"load"' in line and (event := _event(line))]
    loads.sort(key=lambda event: float(event["t"]))
    found = [str(e.get("node")) for e in loads if not _is_startup_script(_text(e.get("at")))]
    return [name for name in dict.fromkeys(found) if name in names]


def unfinished(folder: Path, names: Collection[str]) -> bool:
    """Of a start that goes on: one of these nodes has started a thread, or a program of which no
    end is told; or nobody tells anything."""
    read = (_process(path, _bytes(path)) for path in sorted(folder.glob("*.jsonl")))
    found = [process for process in read if process is not None]
    for process in found:
        ended = {event.get("n") for event in process.of_kind("end")}
        for event in process.of_kind("thread", "program"):
            if event.get("node") in names and event.get("n") not in ended - {None}:
                return True
    return not found


def _is_startup_script(at: str | None) -> bool:
    return at is not None and at.partition(":")[0].endswith("/prestartup_script.py")


def deeds(phases: Iterable[Phase], places: Places) -> Deeds:
    found = Deeds()
    for phase in phases:
        family = _Family(phase)
        found.installs += family.installs()
        found.programs += family.programs()
        found.hosts += family.hosts()
        found.writes += family.writes()
        found.cut = found.cut or phase.cut
    found.programs = _merged(found.programs, ("node", "argv"))
    found.hosts = _merged(found.hosts, ("node", "host", "port"))
    found.writes = _merged(found.writes, ("node", "path"))
    for entry in found.writes:
        entry["where"] = places.describe(entry["path"], entry["node"])
    for entries in (found.installs, found.programs, found.hosts, found.writes):
        found.cut = found.cut or len(entries) > _MAX_ENTRIES
        del entries[_MAX_ENTRIES:]
    return found


class _Family:
    """The processes of one phase, each with the program event that started it."""

    def __init__(self, phase: Phase) -> None:
        self._phase = phase
        self._by_pid: dict[int, list[Process]] = {}
        for process in phase.processes:
            self._by_pid.setdefault(process.pid, []).append(process)

    def installs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        known: dict[int, list[dict[str, Any]]] = {}
        for process, event in self._events("program", "pip"):
            argv = _words(event.get("argv"))
            asked = requests.parse(["pip", *argv] if event["e"] == "pip" else argv)
            made = [
                self._install(process, event, request, _code(process, event)) for request in asked
            ]
            known[id(event)] = made
            found += made
        for process in self._phase.processes:
            found += self._late(process, known)
        return sorted(found, key=lambda entry: float(entry.pop("t")))

    def _late(
        self, process: Process, known: dict[int, list[dict[str, Any]]]
    ) -> list[dict[str, Any]]:
        """A pip that runs tells its exit code, and itself where a script hid its start."""
        if not process.runs_pip or process.exit_code is None:
            return []
        starter = self._starter(process)
        made = known.get(id(starter[1]), []) if starter else []
        for entry in made:
            if entry["exit_code"] is None:
                entry.update(_result(process.exit_code))
        if made:
            return []
        asked = requests.parse(process.argv)
        event = {"t": process.started, "argv": process.argv}
        return [self._install(process, event, request, process.exit_code) for request in asked]

    def _install(
        self, process: Process, event: Event, request: requests.Request, code: int | None
    ) -> dict[str, Any]:
        return {
            **self._whose(process, event),
            "tool": request.tool,
            "action": request.action,
            "requested": list(request.requested),
            "files": list(request.files),
            "command": masking.words(_words(event.get("argv"))),
            **_result(code),
            "t": event["t"],
        }

    def programs(self) -> list[dict[str, Any]]:
        return [
            {
                **self._whose(process, event),
                "argv": masking.words(_words(event.get("argv"))),
                "cwd": _text(event.get("cwd")),
                "exit_code": _code(process, event),
                "stays": self._stays(process, event),
            }
            for process, event in self._events("program")
            if not process.runs_pip
        ]

    def _stays(self, process: Process, event: Event) -> bool:
        """Nobody waited for its end, and it was detached or still there in the end."""
        if _code(process, event) is not None:
            return False
        argv = _words(event.get("argv"))
        return event.get("detached") is True or any(_is_of(argv, a) for a in self._phase.alive)

    def hosts(self) -> list[dict[str, Any]]:
        return [
            {
                **self._whose(process, event),
                "host": _text(event.get("host")),
                "port": event.get("port") if isinstance(event.get("port"), int) else None,
                "how": [_text(event.get("how"))],
            }
            for process, event in self._events("host")
        ]

    def writes(self) -> list[dict[str, Any]]:
        return [
            {
                **self._whose(process, event),
                "path": _text(event.get("path")) or "",
                "how": [_text(event.get("how"))],
            }
            for process, event in self._events("write")
        ]

    def _events(self, *kinds: str) -> Iterator[tuple[Process, Event]]:
        for process in self._phase.processes:
            for event in process.of_kind(*kinds):
                yield process, event

    def _whose(self, process: Process, event: Event) -> dict[str, Any]:
        """The event's own node, else that of whoever started its process."""
        for _ in range(_MAX_DEPTH):
            if event.get("node"):
                break
            starter = self._starter(process)
            if starter is None:
                break
            process, event = starter
        node, at = _text(event.get("node")), _text(event.get("at"))
        return {"node": node, "at": at, "phase": self._phase.name}

    def _starter(self, process: Process) -> tuple[Process, Event] | None:
        """The program event that began `process`: the same words, else the last one before."""
        for pid in process.up:
            for parent in self._by_pid.get(pid, ()):
                if parent is process:
                    continue
                before = [e for e in parent.of_kind("program") if e["t"] <= process.started]
                same = [e for e in before if _words(e.get("argv"))[1:] == process.argv[1:]]
                if same or before:
                    return parent, (same or before)[-1]
        return None


def _process(path: Path, data: bytes) -> Process | None:
    pid = path.name.partition("-")[0]
    if not pid.isascii() or not pid.isdecimal():
        return None
    process = Process(int(pid))
    for line in data.splitlines():
        event = _event(line)
        if event is None:
            continue
        process.events.append(event)
        if event["e"] == "process":
            process.started = event["t"]
            process.argv = _words(event.get("argv"))
            process.up = [pid for pid in event.get("up") or () if isinstance(pid, int)]
        elif event["e"] == "exit" and isinstance(event.get("code"), int):
            process.exit_code = event["code"]
    return process


def _event(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or not isinstance(event.get("e"), str):
        return None
    if not isinstance(event.setdefault("t", 0.0), int | float):
        return None
    return event


def _bytes(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return b""
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read(_MAX_FILE_BYTES)


def _code(process: Process, event: Event) -> int | None:
    """How the program ended, where its starter waited for it."""
    for end in process.of_kind("end"):
        if end.get("n") == event.get("n") and isinstance(end.get("code"), int):
            return int(end["code"])
    return None


def _is_of(argv: list[str], running: tuple[str, ...]) -> bool:
    """Was `running` started as `argv`?  A script's own interpreter stands before its words."""
    if len(argv) > 1:
        return list(running[-len(argv) + 1 :]) == argv[1:]
    names = {word.rpartition("/")[2] for word in (running[:1] + running[-1:])}
    return bool(argv) and argv[0].rpartition("/")[2] in names


def _result(code: int | None) -> dict[str, Any]:
    outcome = "unknown" if code is None else "succeeded" if code == 0 else "failed"
    return {"exit_code": code, "outcome": outcome}


def _merged(entries: list[dict[str, Any]], key: tuple[str, ...]) -> list[dict[str, Any]]:
    """One entry for each key, the first; ways (`how`) are put together, repeats counted."""
    first: dict[str, dict[str, Any]] = {}
    for entry in entries:
        kept = first.setdefault(json.dumps([entry[name] for name in key]), entry)
        kept["times"] = kept.get("times", 0) + 1
        if kept is not entry and "how" in kept:
            kept["how"] += [way for way in entry["how"] if way not in kept["how"]]
        if entry.get("stays"):
            kept["stays"] = True
    return list(first.values())


def _words(value: object) -> list[str]:
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
