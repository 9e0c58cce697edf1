"""The one place that starts programs.

A child gets a session of its own, so that a Ctrl-C on the terminal reaches us first and we decide
how it ends; and it dies with us (PR_SET_PDEATHSIG), so that a killed `gov` leaves no uv behind
that goes on writing.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn, TypeVar

from governance.base.errors import GovError

if TYPE_CHECKING:
    from concurrent.futures import Executor

GRACE_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1
# No answer that we ask for is longer; a line of many megabytes is passed on in parts.
_MAX_OUTPUT_BYTES = 64 << 20
_LONGEST_LINE = 1 << 20
_ENDINGS = (signal.SIGINT, signal.SIGTERM)

OnLine = Callable[[str], None]
_thread = threading.local()
Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Completed:
    """`returncode` is negative for a death by signal, as subprocess reports it."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        return self.returncode == 0


def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    on_line: OnLine | None = None,
    on_start: Callable[[int], None] | None = None,
    input_text: str | None = None,
    watch: Callable[[int], None] | None = None,
) -> Completed:
    """Run to the end and return both outputs; `on_line` sees stderr line by line meanwhile,
    `on_start` gets the process id.  `watch` is called with the pid once a second; what it raises
    ends the child.

    What it says on stderr is shown and stored in many places: secrets are masked here.

    Raises GovError (code `program_missing`, `timed_out`) and lets KeyboardInterrupt pass; in every
    case the child is gone when this returns.
    """
    from governance.base import masking  # its patterns take a moment, and a question starts nothing

    with _started(argv, cwd, env, stdin=input_text is not None) as child:
        stderr = _Reader(child.stderr, on_line, masking.masker())
        stdout = _Reader(child.stdout, None)
        if on_start is not None:
            on_start(child.pid)
        if input_text is not None and child.stdin is not None:
            with suppress(BrokenPipeError):  # it ended before it had read all
                child.stdin.write(input_text.encode())
                child.stdin.close()
        code = _watched(child, watch) if watch is not None else wait(child, timeout)
        if code is None:
            raise GovError(
                f"{Path(argv[0]).name} did not finish within {timeout:.0f} s",
                hint="check the network and the disk, then try again",
                code="timed_out",
                facts={"argv": masking.words(argv)},
            )
        return Completed(tuple(argv), code, stdout.text(), stderr.text())


def spawn(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    own_session: bool = True,
    pass_fds: Sequence[int] = (),
    may_outlive: bool = False,
) -> subprocess.Popen[bytes]:
    """Start and return at once; the caller ends it (see `stop`).

    Signals wait meanwhile: an exception that a handler raises just after the fork is swallowed by
    Python (it runs in the hooks of os.register_at_fork), and Ctrl-C would be lost.
    `may_outlive` is for what ends by itself within moments and changes nothing that lasts: with no
    code of ours in the child, Python starts it without a fork (vfork), four times as fast.
    """
    child = None
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)
    try:
        child = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=own_session,
            pass_fds=tuple(pass_fds),
            preexec_fn=None if may_outlive else partial(_begin, before),
        )
        return child
    except (FileNotFoundError, PermissionError) as error:
        raise _missing(argv, error) from None
    finally:
        _let_signals_in(before, child)


def become(argv: Sequence[str]) -> NoReturn:
    """This process goes on as that program."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(argv[0], list(argv))


def _let_signals_in(mask: Iterable[int], child: subprocess.Popen[bytes] | None) -> None:
    """A signal that waited is raised here; the child, which nobody holds yet, goes first."""
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    except BaseException:
        if child is not None:
            stop(child)
        raise


def poll(child: subprocess.Popen[bytes]) -> int | None:
    """As Popen.poll, which a signal may leave with its lock taken: then every later wait hangs."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)
    try:
        return child.poll()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def wait(child: subprocess.Popen[bytes], seconds: float | None = None) -> int | None:
    """The exit code, None where it still runs after `seconds`.

    On a pidfd: Popen.wait with a limit polls, and so answers up to 50 ms late.
    """
    if poll(child) is None:
        descriptor = os.pidfd_open(child.pid)
        called_off = [_thread.called_off] if hasattr(_thread, "called_off") else []
        try:
            ready = select.select([descriptor, *called_off], [], [], seconds)[0]
        finally:
            os.close(descriptor)
        if called_off and ready == called_off:
            del _thread.called_off  # once: the child is still to be stopped
            raise CalledOff
    return poll(child)


def _watched(child: subprocess.Popen[bytes], watch: Callable[[int], None]) -> int:
    while True:
        code = wait(child, 1.0)
        if code is not None:
            return code
        watch(child.pid)


def reap(child: subprocess.Popen[bytes]) -> int:
    """Its exit code, however long that takes."""
    while True:
        code = wait(child)
        if code is not None:
            return code


def stop(child: subprocess.Popen[bytes], *, grace: float = GRACE_SECONDS) -> None:
    """End the child and its process group: SIGTERM, then after `grace` seconds SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if poll(child) is None:
            _signal_group(child, number)
            wait(child, grace)
    _signal_group(child, signal.SIGKILL)


def leave_signals_to_main() -> None:
    """Called in every other thread; else a signal reaches Python while `spawn` or `poll` wait."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)


def side_by_side(work: Callable[[Item], Made], items: Iterable[Item], most: int = 8) -> list[Made]:
    """`work` of each item, at most so many at a time: most of it is waiting for programs.

    With the first error, and with Ctrl-C, the programs of the others are stopped; those of work
    that is itself side by side with other work too.
    """
    listed = list(items)
    if len(listed) < 2:
        return [work(item) for item in listed]
    from concurrent.futures import ThreadPoolExecutor

    with _calling_off() as called_off:
        begin = (called_off,)
        with ThreadPoolExecutor(min(most, len(listed)), "", _begin_thread, begin) as pool:
            try:
                return list(_begun(pool, work, listed))
            except BaseException:
                os.eventfd_write(called_off, 1)
                raise


@contextmanager
def _calling_off() -> Iterator[int]:
    """A descriptor that can be read once all is called off."""
    outer = getattr(_thread, "called_off", None)
    if outer is not None:
        yield outer
        return
    own = os.eventfd(0, os.EFD_CLOEXEC)
    try:
        yield own
    finally:
        os.close(own)


def stop_if_called_off() -> None:
    """For a thread of `side_by_side` that waits for no program: raises CalledOff once nobody waits
    for its result."""
    called_off = getattr(_thread, "called_off", None)
    if called_off is not None and select.select([called_off], [], [], 0)[0]:
        raise CalledOff


def _begun(pool: Executor, work: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """Signals wait meanwhile: the pool does not know, and so would not wait for, a thread in whose
    start Ctrl-C came."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)
    try:
        return pool.map(work, items)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_thread(called_off: int) -> None:
    leave_signals_to_main()
    _thread.called_off = called_off


class CalledOff(KeyboardInterrupt):
    """In a thread of `side_by_side` whose result nobody waits for any more."""


def exit_code(returncode: int) -> int:
    """As a shell tells it: 128 + n for a death by signal n."""
    return returncode if returncode >= 0 else 128 - returncode


@contextmanager
def _started(
    argv: Sequence[str], cwd: Path | None, env: Mapping[str, str] | None, *, stdin: bool
) -> Iterator[subprocess.Popen[bytes]]:
    child = spawn(
        argv,
        cwd=cwd,
        env=env,
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield child
    finally:
        stop(child)


class _Reader:
    """Collects one stream in a thread, so that two full pipes cannot block each other.

    What is beyond the limit is read and forgotten: a program in a candidate may be the node's own,
    and print without end.
    """

    def __init__(
        self,
        stream: IO[bytes] | None,
        on_line: OnLine | None,
        shown: Callable[[str], str] = str,
    ) -> None:
        self._shown = shown
        self._lines: list[str] = []
        self._room = _MAX_OUTPUT_BYTES
        self._on_line = on_line
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream: IO[bytes] | None) -> None:
        if stream is None:
            return
        leave_signals_to_main()
        with stream:
            for raw in iter(partial(stream.readline, _LONGEST_LINE), b""):
                line = self._shown(raw.decode(errors="replace"))
                self._room -= len(raw)
                if self._room >= 0:
                    self._lines.append(line)
                if self._on_line is not None:
                    self._on_line(line.rstrip("\n"))

    def text(self) -> str:
        self._thread.join(GRACE_SECONDS)
        return "".join(self._lines)


def _signal_group(child: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(child.pid, number)
    except (ProcessLookupError, PermissionError):
        if poll(child) is None:
            child.send_signal(number)


def _missing(argv: Sequence[str], error: OSError) -> GovError:
    return GovError(
        f"cannot start {argv[0]}: {error.strerror}",
        hint=f"install {Path(argv[0]).name} or put it on PATH",
        code="program_missing",
        facts={"argv": list(argv)},
    )


def _prctl() -> Callable[[int, int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    return ctypes.CDLL(None, use_errno=True).prctl


_call_prctl = _prctl()


def _begin(mask: Iterable[int]) -> None:
    """In the child, before its program."""
    _die_with_parent()
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _die_with_parent() -> None:
    """Also undo an ignored SIGINT, which a gov started with `&` would pass on for good."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if _call_prctl is not None:
        _call_prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
