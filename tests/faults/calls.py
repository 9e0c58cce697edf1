"""The system calls of the gov process itself, by strace: recorded, killed at, or made to fail.

Only the first thread is traced: children and their calls run as they would.
"""

import re
import shutil
import signal
import subprocess
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CHANGING = (
    "openat", "write", "pwrite64", "rename", "renameat", "renameat2", "link", "linkat", "symlink",
    "symlinkat", "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "fsync", "fdatasync", "syncfs",
    "ftruncate", "chmod", "fchmod", "fchmodat", "flock", "wait4",
)  # fmt: skip
_LINE = re.compile(r"^([a-z0-9_]+)\((.*)$")
_WRITES = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")
_THREAD = re.compile(r"clone3?\(.*CLONE_THREAD.* = (\d+)$")
_GIT = re.compile(r'execve\("[^"]*/git", .* = 0$')
_RANDOM = re.compile(r"[0-9]{8}T[0-9]{6}Z-(?:snap-)?[0-9a-f]{6,8}|-[0-9a-f]{8}\b|-[0-9a-f]{4}\b")
SECONDS = 120


@dataclass(frozen=True)
class Call:
    """The `ordinal`th call of `name` (from 1), with the text of its arguments."""

    name: str
    ordinal: int
    text: str

    @property
    def place(self) -> str:
        """Its arguments without what chance put into them."""
        return _RANDOM.sub("-*", self.text.split(" = ")[0])[:200]

    def __str__(self) -> str:
        return f"{self.name}#{self.ordinal} {self.place}"


@dataclass(frozen=True)
class Traced:
    """How the command ended under strace; `code` is negative for a death by signal."""

    code: int
    out: str
    err: str
    trace: str

    @property
    def killed(self) -> bool:
        return self.code in (-signal.SIGKILL, 128 + signal.SIGKILL)


@cache
def missing() -> str | None:
    """Why nothing can be traced here; None where it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    probe = ["strace", "-q", "-e", "trace=openat", "-e", "inject=openat:error=EIO:when=999", "true"]
    done = subprocess.run(probe, capture_output=True, text=True)
    return None if done.returncode == 0 else f"strace cannot trace: {done.stderr.strip()[-200:]}"


def record(command, trace: Path, *, within: Path, **given) -> tuple[list[Call], Traced]:
    """Run to the end; every call that changes something below `within`, in order."""
    done = run(command, trace, "-y", "-s", "256", "-e", f"trace={','.join(CHANGING)}", **given)
    return parse(done.trace, within), done


def parse(text: str, within: Path) -> list[Call]:
    seen: Counter[str] = Counter()
    found = []
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        name, rest = match[1], match[2]
        seen[name] += 1
        if _changes(name, rest, str(within)):
            found.append(Call(name, seen[name], rest))
    return found


def _changes(name: str, rest: str, within: str) -> bool:
    if name == "wait4":
        return "ECHILD" not in rest
    if within not in rest:
        return False
    return name != "openat" or bool(_WRITES.search(rest))


def kill(command, trace: Path, call: Call, **given) -> Traced:
    """SIGKILL at the entry of the call: it is not carried out."""
    return run(command, trace, "-e", f"trace={call.name}", "-e",
               f"inject={call.name}:signal=KILL:when={call.ordinal}", **given)  # fmt: skip


def fail(command, trace: Path, call: Call, error: str, *, ever: bool = False, **given) -> Traced:
    """The call answers `error` and does nothing; with `ever`, so do all later ones."""
    when = f"{call.ordinal}{'+' if ever else ''}"
    return run(command, trace, "-y", "-e", f"trace={call.name}", "-e",
               f"inject={call.name}:error={error}:when={when}", **given)  # fmt: skip


def run(command, trace: Path, *options: str, **given) -> Traced:
    argv = ["strace", "-q", "-e", "signal=none", "-o", str(trace), *options, *command]
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        **given,
    )
    return Traced(done.returncode, done.stdout, done.stderr, trace.read_text(errors="replace"))


def own_and_git(trace: str) -> str:
    """Of a trace with `-f`, execve and clone: the calls of gov's threads and of the gits that it
    starts, each whole, as they ended.  All other children work on layers of their own, where the
    same paths mean other files."""
    wanted, begun, whole = set(), {}, []
    for line in trace.splitlines():
        pid, _, call = line.partition(" ")
        call = call.strip()
        wanted = wanted or {pid}
        if call.endswith("<unfinished ...>"):
            begun[pid] = call.removesuffix("<unfinished ...>")
            continue
        resumed = _RESUMED.match(call)
        if resumed:
            call = begun.pop(pid, "") + resumed[1]
        thread = _THREAD.match(call)
        if thread and pid in wanted:
            wanted.add(thread[1])
        if _GIT.match(call):
            wanted.add(pid)
        if pid in wanted:
            whole.append(call)
    return "\n".join(whole)
