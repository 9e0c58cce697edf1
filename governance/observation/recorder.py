"""Records what Python code does, by audit hooks (PEP 578), inside the observed environment only.

This file stands alone: `plant` copies it into the candidate's site-packages, where a `.pth` starts
it in every Python process of that environment.  It must never disturb what it watches: it holds no
descriptor, imports nothing that a program could be half-way through importing, and swallows its own
failures into a line of the record.

One file of JSON lines for each process, bounded, in the folder GOV_OBSERVE_DIR.  A line has `e`
(process, load, thread, program, end, exit, pip, host, write, cut, lost), `t` (monotonic seconds)
and where known `node` and `at` (`file:line` below the nodes' folder) of the code on the stack.
"""

# pathlib and typing would cost 10 ms in every Python process of the candidate:
# ruff: noqa: PTH100, PTH109, PTH115, PTH118, PTH119, PTH208
from __future__ import annotations

import sys
import time
from _thread import get_ident
from itertools import pairwise
from os import (
    O_APPEND,
    O_CLOEXEC,
    O_CREAT,
    O_NOFOLLOW,
    O_RDWR,
    O_TRUNC,
    O_WRONLY,
    close,
    environ,
    fsdecode,
    getcwd,
    getpid,
    getppid,
    listdir,
    pathsep,
    readlink,
    write,
)
from os import open as open_descriptor
from os.path import abspath, basename, join

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import Any

    Act = Callable[[tuple[Any, ...]], None]

FOLDER = "GOV_OBSERVE_DIR"
NODES = "GOV_OBSERVE_NODES"  # folders whose entries are nodes, joined by os.pathsep
OWN = "GOV_OBSERVE_OWN"  # folders whose files may be written without a word
ENVIRONMENT = "GOV_OBSERVE_ENVIRONMENT"  # likewise, but by pip only
MODULE = "_gov_recorder"
FILES = (f"{MODULE}.py", f"{MODULE}.pth")

_MAX_FILES = 1000
_MAX_EVENTS = 4000
_MAX_BYTES = 1 << 20
_MAX_TEXT = 2000
_MAX_WORDS = 200
_MAX_THREADS = 10_000
_WRITING = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND

try:  # the C encoder alone: `import json` would pull in `re`, 5 ms in every process
    from _json import encode_basestring_ascii as _quote
except ImportError:
    from json import dumps as _quote


def encode(value: Any) -> str:
    """JSON of None, numbers, strings, and lists, tuples and dicts of them."""
    if isinstance(value, str):
        return str(_quote(value[:_MAX_TEXT]))
    if isinstance(value, list | tuple):
        return "[" + ",".join(encode(item) for item in value[:_MAX_WORDS]) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{encode(key)}:{encode(item)}" for key, item in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


class Journal:
    """The bounded files of one process and of what it forks."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._token = time.monotonic_ns()
        self._events = 0
        self._bytes = 0
        self._cut = False

    def add(self, kind: str, **facts: Any) -> None:
        if self._cut:
            return
        line = encode({"e": kind, "t": time.monotonic(), **facts}).encode() + b"\n"
        self._events += 1
        self._bytes += len(line)
        if self._events > _MAX_EVENTS or self._bytes > _MAX_BYTES:
            self._cut = True
            line = b'{"e":"cut"}\n'
        # Opened anew for each line: a daemon closes descriptors that it does not know, and the
        # number would then name another file.
        path = f"{self._folder}/{getpid()}-{self._token}.jsonl"
        flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW
        descriptor = open_descriptor(path, flags, 0o600)
        try:
            write(descriptor, line)
        finally:
            close(descriptor)


class Stack:
    """Whose code is running: the innermost frame that lies in a node's folder."""

    def __init__(self, folders: tuple[str, ...]) -> None:
        self._prefixes = _prefixes(folders)
        self._threads: dict[int, tuple[str, str]] = {}

    def origin(self, filename: str, line: int) -> tuple[str, str] | None:
        """Node and `file:line`, where `filename` lies in a node."""
        if not filename.startswith(self._prefixes):
            return None
        prefix = next(prefix for prefix in self._prefixes if filename.startswith(prefix))
        inner = filename[len(prefix) :]
        return inner.partition("/")[0], f"{inner}:{line}"

    def find(self) -> dict[str, str | None]:
        node, at = self._walk() or (None, None)
        return {"node": node, "at": at}

    def follow_threads(self, thread_class: Any, tell: Callable[[str, str], None]) -> None:
        """A thread works for the node that started it, whatever code it runs.

        Before Python 3.12 no audit event tells that a thread starts.
        """
        original = thread_class.start
        if hasattr(original, "_gov"):
            return

        def start(thread: Any) -> None:
            origin = self._remember(id(thread))
            if origin is not None:
                tell(*origin)
            original(thread)

        start._gov = True  # type: ignore[attr-defined]
        thread_class.start = start

    def _remember(self, thread: int) -> tuple[str, str] | None:
        origin = self._walk()
        if len(self._threads) > _MAX_THREADS:
            self._threads.clear()
        if origin is None:
            self._threads.pop(thread, None)
        else:
            self._threads[thread] = origin
        return origin

    def _walk(self) -> tuple[str, str] | None:
        for frame in frames():
            code = frame.f_code
            found = self.origin(code.co_filename, frame.f_lineno)
            if found is None and code.co_name == "_bootstrap":
                found = self._threads.get(id(frame.f_locals.get("self")))
            if found is not None:
                return found
        return None


def frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


class Recorder:
    """The audit hook: one act for each event that tells something, none for all the others."""

    def __init__(
        self,
        journal: Journal,
        stack: Stack,
        own: tuple[str, ...],
        environment: tuple[str, ...],
    ) -> None:
        self._journal = journal
        self._stack = stack
        self._own = _prefixes((*own, "/dev", "/proc"))
        self._environment = _prefixes(environment)
        self._seen: set[tuple[Any, ...]] = set()
        self._busy: set[int] = set()
        self._programs = 0
        self._acts = self._table()

    def _table(self) -> dict[str, Act]:
        acts: dict[str, Act] = {
            "open": self._opened,
            "exec": self._executed,
            "subprocess.Popen": lambda args: self._child(args[1], args[0], args[2]),
            "os.system": lambda args: self._started([args[0]], "sh"),
            "os.exec": lambda args: self._started([args[1]], args[0]),
            "os.posix_spawn": lambda args: self._started([args[1]], args[0]),
            "pty.spawn": lambda args: self._started([args[0]], None),
            "socket.connect": lambda args: self._address(args[1], "connect"),
            "socket.sendto": lambda args: self._address(args[1], "send"),
            "socket.getaddrinfo": lambda args: self._host(args[0], args[1], "look up"),
            "socket.gethostbyname": lambda args: self._host(args[0], None, "look up"),
            "http.client.connect": lambda args: self._host(args[1], args[2], "connect"),
            "sqlite3.connect": lambda args: self._changed("open", args[0]),
            "os.rename": self._renamed,
            "os.chmod": lambda args: self._changed(_chmod(args[1]), args[0], args[-1]),
            "os.link": lambda args: self._changed("link", args[1], args[3]),
            "os.symlink": lambda args: self._changed("symlink", args[1], args[2]),
            "tempfile.mkdtemp": self._pip_inside,
        }
        for name in ("remove", "rmdir", "mkdir", "chown", "utime"):
            acts[f"os.{name}"] = self._change(name, has_folder=True)
        for name in ("truncate", "setxattr", "removexattr"):
            acts[f"os.{name}"] = self._change(name, has_folder=False)
        return acts

    def hook(self, event: str, args: tuple[Any, ...]) -> None:
        act = self._acts.get(event)
        if act is None:
            return
        thread = get_ident()
        if thread in self._busy:
            return
        self._busy.add(thread)
        try:
            act(args)
        except Exception as error:  # ours, and never the program's problem
            self._lose(error)
        finally:
            self._busy.discard(thread)

    def _lose(self, error: Exception) -> None:
        try:
            self._journal.add("lost", why=f"{type(error).__name__}: {error}")
        except Exception:  # the folder is gone or full: nothing left to tell it with
            self._acts.clear()

    def _opened(self, args: tuple[Any, ...]) -> None:
        if args[2] & _WRITING and not isinstance(args[0], int):
            self._changed("write", args[0])

    def _change(self, name: str, *, has_folder: bool) -> Act:
        if has_folder:
            return lambda args: self._changed(name, args[0], args[-1])
        return lambda args: self._changed(name, args[0])

    def _renamed(self, args: tuple[Any, ...]) -> None:
        self._changed("rename", args[0], args[2])
        self._changed("rename", args[1], args[3])

    def _changed(self, how: str, path: Any, folder: Any = None) -> None:
        """`folder` is the descriptor that a relative path starts from, where the event has one."""
        where = _absolute(path, folder)
        if where is None or where.startswith(self._own):
            return
        if where.startswith(self._environment) and _pip_works():
            return
        self._once("write", {"how": how, "path": where, **self._stack.find()})

    def _executed(self, args: tuple[Any, ...]) -> None:
        filename = getattr(args[0], "co_filename", "")
        found = self._stack.origin(filename, 1) if isinstance(filename, str) else None
        if found is None:
            return
        if "threading" in sys.modules:
            self._stack.follow_threads(sys.modules["threading"].__dict__["Thread"], self._thread)
        self._once("load", {"node": found[0], "at": found[1]})

    def _thread(self, node: str, at: str) -> None:
        try:
            self._once("thread", {"node": node, "at": at})
        except Exception as error:  # as in `hook`
            self._lose(error)

    def _address(self, address: Any, how: str) -> None:
        if isinstance(address, tuple) and len(address) >= 2:
            self._host(address[0], address[1], how)
        elif isinstance(address, str | bytes):
            self._host("unix:" + fsdecode(address), None, how)

    def _host(self, host: Any, port: Any, how: str) -> None:
        if host:
            name = fsdecode(host) if isinstance(host, str | bytes) else str(host)
            number = port if isinstance(port, int) else None
            self._once("host", {"host": name, "port": number, "how": how, **self._stack.find()})

    def _once(self, kind: str, facts: dict[str, Any]) -> None:
        key = (kind, *facts.values())
        if key not in self._seen and len(self._seen) < _MAX_EVENTS:
            self._seen.add(key)
            self._journal.add(kind, **facts)

    def _started(self, given: list[Any], program: Any) -> None:
        if _popen_frame() is None:  # else subprocess has told this one already
            self._tell_program(given[0], program, None, detached=False)

    def _child(self, given: Any, program: Any, folder: Any) -> None:
        frame = _popen_frame()
        own = frame.f_locals if frame is not None else {}
        self._tell_program(given, program, folder, detached=_is_detached(own))
        if "self" in own:  # a mark on the Popen object; `_tell_ends` reads it
            own["self"]._gov_number = self._programs
        self._tell_ends(sys.modules["subprocess"].__dict__["Popen"])

    def _tell_program(self, given: Any, program: Any, folder: Any, *, detached: bool) -> None:
        self._programs += 1
        facts = {
            "n": self._programs,
            "argv": _words(given) or _words(program),
            "cwd": _absolute(folder, None) or getcwd(),
            "detached": detached,
            **self._stack.find(),
        }
        self._journal.add("program", **facts)

    def _tell_ends(self, popen: Any) -> None:
        """No audit event tells how a child ended; subprocess does, in one private method."""
        original = getattr(popen, "_handle_exitstatus", None)
        if original is None or hasattr(original, "_gov"):
            return
        journal = self._journal

        def handle(child: Any, *args: Any, **options: Any) -> Any:
            result = original(child, *args, **options)
            number = child.__dict__.pop("_gov_number", None)
            if number is not None and child.returncode is not None:
                try:
                    journal.add("end", n=number, code=child.returncode)
                except OSError:  # told nobody, as in `_lose`
                    return result
            return result

        handle._gov = True  # type: ignore[attr-defined]
        popen._handle_exitstatus = handle

    def _pip_inside(self, _: tuple[Any, ...]) -> None:
        """pip called as a library: no program starts, but its `main(args)` is on the stack."""
        if not _pip_works() or is_pip(sys.orig_argv):
            return
        for frame in frames():
            if frame.f_code.co_filename.endswith("/pip/_internal/cli/main.py"):
                given = frame.f_locals.get("args")
                if isinstance(given, list):
                    self._once("pip", {"argv": tuple(given), **self._stack.find()})

    def process_starts(self) -> None:
        self._journal.add("process", pid=getpid(), up=_ancestors(), argv=list(sys.orig_argv))
        if is_pip(sys.orig_argv):
            self._tell_exit()

    def _tell_exit(self) -> None:
        """pip ends by `sys.exit(code)`; the exit code is nowhere else to be had in a child."""
        original, journal = sys.exit, self._journal

        def leave(status: Any = None, /) -> Any:
            if not isinstance(status, int) and status is not None:
                status = 1
            journal.add("exit", code=status or 0)
            return original(status)

        sys.exit = leave


def _popen_frame() -> FrameType | None:
    """Of subprocess, where it is about to start a program."""
    return next((f for f in frames() if f.f_code.co_name == "_execute_child"), None)


def _is_detached(popen: Any) -> bool:
    """In a session of its own, which a Ctrl-C or a closed terminal does not reach; `popen` are
    the local names of _execute_child."""
    before = getattr(popen.get("preexec_fn"), "__name__", "")
    return bool(popen.get("start_new_session")) or before == "setsid"


def _chmod(mode: Any) -> str:
    return "chmod +x" if isinstance(mode, int) and mode & 0o111 else "chmod"


def is_pip(argv: list[str]) -> bool:
    """`python -m pip ...`, or its script, which names the interpreter in its first line."""
    for word, following in pairwise(argv[1:7]):
        if word.startswith("-") and word.endswith("m"):
            return following == "pip"
        if not word.startswith("-"):
            break
    name = basename(argv[1]) if len(argv) > 1 else ""
    # The runner is how pip starts itself, to install what a build asks for.
    return is_pip_name(name) or name == "__pip-runner__.py"


def is_pip_name(name: str) -> bool:
    return name in ("pip", "pip3") or name.startswith("pip3.")


def _pip_works() -> bool:
    return "pip._internal.cli.main" in sys.modules


def _prefixes(folders: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(folder.rstrip("/") + "/" for folder in folders)


def _absolute(path: Any, folder: Any) -> str | None:
    if isinstance(path, int) or path is None:
        return None
    text = fsdecode(path)
    if not text or text.startswith((":memory:", "file:")):
        return None
    if isinstance(folder, int) and folder >= 0 and not text.startswith("/"):
        text = join(readlink(f"/proc/self/fd/{folder}"), text)
    return abspath(text)


def _words(given: Any) -> list[str]:
    if given is None:
        return []
    if isinstance(given, str | bytes):
        return [fsdecode(given)]
    if hasattr(given, "__fspath__"):
        return [fsdecode(given)]
    return [fsdecode(word) for word in list(given)[:_MAX_WORDS]]


def _ancestors() -> list[int]:
    """Parent, its parent and so on: what a child does is laid at its ancestor's door."""
    found = [getppid()]
    for _ in range(8):
        try:
            with open(f"/proc/{found[-1]}/stat", "rb") as stream:
                parent = int(stream.read(4096).rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            break
        if parent <= 0:
            break
        found.append(parent)
    return found


def start() -> None:
    folder = environ.get(FOLDER)
    if not folder:
        return
    try:
        if len(listdir(folder)) > _MAX_FILES:
            return
    except OSError:
        return
    stack = Stack(_folders(NODES))
    own = (folder, *_folders(OWN))
    recorder = Recorder(Journal(folder), stack, own, _folders(ENVIRONMENT))
    try:
        recorder.process_starts()
    except OSError:
        return
    sys.addaudithook(recorder.hook)


def plant(site_packages: str) -> None:
    with open(__file__, "rb") as stream:
        text = stream.read()
    for name, data in zip(FILES, (text, f"import {MODULE}\n".encode()), strict=True):
        with open(join(site_packages, name), "wb") as stream:
            stream.write(data)


def _folders(variable: str) -> tuple[str, ...]:
    return tuple(folder for folder in environ.get(variable, "").split(pathsep) if folder)


if __name__ == MODULE:
    start()
