"""Run one program inside a view: `python -I -S enter.py PLAN -- PROGRAM ARGS…` (PLAN is JSON).

Three processes stand in line.  The outer one, which the caller knows, only forwards signals and
repeats the end of the program.  The keeper builds the view, is pid 1 where there is a process
namespace, and outlives the program just long enough to end what it leaves behind.  The third
gives up its privileges and becomes the program.
"""

from __future__ import annotations

import _thread
import fcntl
import json
import os
import resource
import select
import signal
import sys
import types
from typing import TYPE_CHECKING, NoReturn

if not __package__:
    # Run by path.  Stand-ins for the packages leave out what their own __init__ would import,
    # which costs more than all the mounting.
    _here = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120
    for _name, _folder in (("governance", ".."), ("governance.sandbox", ".")):
        _package = types.ModuleType(_name)
        _package.__path__ = [f"{_here}/{_folder}"]
        sys.modules[_name] = _package

from governance.sandbox import (
    calls,
    contacts,
    covers,
    landlock,
    mounts,
    network,
    privileges,
    processes,
    terminal,
)
from governance.sandbox import limits as bounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Set

    from governance.sandbox.wrapping import LayerPlan, Plan

SETUP_FAILED = 125
LIMIT_REACHED = 124


class Program:
    """What to become, and what the caller handed down: folder, signal mask, terminal."""

    def __init__(self, command: list[str], mask: Set[int], folder: str) -> None:
        self.command = command
        self.mask = mask
        self.folder = folder or _current_folder()
        self.terminal = terminal.in_our_hands()
        self.contacts = -1  # a file that was opened before the fence closed it
        self.channel = (-1, -1)


def outer(plan: Plan, command: list[str]) -> int:
    """Start the keeper and wait for it; the program's wait status."""
    # A caller that ignores the ends of its children must not make us miss ours.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    program = Program(
        command, signal.pthread_sigmask(signal.SIG_BLOCK, processes.WATCHED), plan["folder"]
    )
    if plan["contacts"]:
        how = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        program.contacts = os.open(plan["contacts"], how, 0o600)
    gate = network.open_gate(plan["network"]) if plan["network"] is not None else 0
    privileges.enter_namespaces(
        user=plan["user_namespace"],
        mounts=bool(plan["layers"]) or plan["seal"],
        processes=plan["pid_namespace"],
        memory=plan["own_memory"],
        network=plan["network"] is not None,
    )
    read_end, write_end = os.pipe()
    _signal_on_news(read_end)
    keeper = os.fork()
    if keeper == 0:
        os.close(read_end)
        _guarded(keep, plan, program, write_end)
    os.close(write_end)
    job = terminal.Job(program.terminal, keeper) if program.terminal is not None else None
    try:
        return _forward_until_end(keeper, read_end, job)
    finally:
        if gate:
            os.kill(gate, signal.SIGKILL)
        if job is not None:
            job.end()


def keep(plan: Plan, program: Program, report: int) -> NoReturn:
    """Build the view, start the program in it, tell its end, end the rest."""
    is_first = plan["pid_namespace"]
    processes.die_with_parent(signal.SIGKILL if is_first else processes.ORPHANED)
    if _is_abandoned(report):
        os._exit(SETUP_FAILED)
    if not is_first:
        processes.adopt_orphans()
    build(plan)
    served = []
    if plan["network"] is not None:
        network.raise_loopback()
        served = network.open_door(plan["network"])
    if plan["contacts"]:
        program.channel = _pair()
    main = os.fork()
    if main == 0:
        _guarded(become, plan, program)
    network.serve(served)
    if plan["contacts"]:
        os.close(program.channel[1])
        _thread.start_new_thread(contacts.attend, (program.channel[0], program.contacts))
    # Out of the caller's group, whose signals we get from the outer process.
    os.setpgid(0, 0)
    try:
        processes.attend(
            main,
            lambda status: _tell(report, status),
            lambda: terminal.give(program.terminal, main),
            _exceeded(plan),
            bounds.EVERY,
        )
    except processes.Exceeded as error:
        processes.force_namespace() if is_first else processes.force_family()
        os.write(2, os.fsencode(f"{bounds.ENDED}{error}\n"))
        os._exit(LIMIT_REACHED)
    except processes.Abandoned:
        processes.force_family()
        os._exit(SETUP_FAILED)
    processes.end_family(plan["grace"])
    os._exit(0)


def _pair() -> tuple[int, int]:
    import socket

    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


def _exceeded(plan: Plan) -> Callable[[], str] | None:
    if plan["limits"] is None:
        return None
    bounds.go_before()
    me = os.getpid()
    family = processes.everybody if me == 1 else lambda: processes.descendants(me)
    return bounds.Watch(plan["limits"], family).exceeded


def build(plan: Plan) -> None:
    """The mounts of the view, in this process's own mount namespace."""
    layers = plan["layers"]
    if not layers and not plan["seal"] and not plan["pid_namespace"]:
        return
    mounts.make_private()
    if plan["pid_namespace"]:
        mounts.mount_processes()
        if plan["limits"] is not None:
            bounds.restrict_namespace(plan["limits"])
    mounted = [layer for layer in layers if _is_mounted(layer, plan["user_namespace"])]
    if plan["seal"]:
        # Written past the overlay, its upper folder would change under the kernel's hands.
        behind = [folder for layer in layers for folder in (layer["upper"], layer["work"])]
        own = {layer["lower"] for layer in mounted}
        failed = {layer["lower"] for layer in layers} - own
        kept = failed.union(*(layer["keep"] for layer in mounted)) - own
        places = mounts.Places(plan["writable"], plan["open"], plan["read_only"], behind, own, kept)
        mounts.fence(places)
        covers.hide(plan["hidden"])
    if plan["own_memory"]:
        covers.own_memory()
        covers.close_sockets(plan["writable"] or ())


def _is_mounted(layer: LayerPlan, user_namespace: bool) -> bool:
    try:
        mounts.mount_layer(**layer, user_namespace=user_namespace)
    except mounts.NoLayer:
        return False  # a disk that the kernel lays nothing over: it is sealed
    return True


def become(plan: Plan, program: Program) -> NoReturn:
    """Give up what could undo the view, then be the program."""
    processes.die_with_parent(signal.SIGKILL)
    # A signal to the caller's group must not reach the program twice.
    os.setpgid(0, 0)
    terminal.give(program.terminal, os.getpgrp())
    _close_all_but_standard(program.channel[1])
    if program.folder is not None:
        os.chdir(program.folder)  # once more, now by way of the new mounts
    if plan["limits"] is not None:
        bounds.restrict(plan["limits"])
    if plan["fence"]:
        privileges.drop()
    if plan["landlock"]:
        hidden = [] if plan["seal"] else plan["hidden"]
        landlock.restrict(plan["landlock"], _landlock_places(plan), hidden, plan["ports"])
    if plan["calls"]:
        calls.refuse()
    if plan["contacts"]:
        contacts.hand_over(contacts.listen(), program.channel[1])
    for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored_by_python, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, program.mask)
    try:
        os.execvpe(program.command[0], program.command, _inherited_environment())
    except OSError as error:
        error.filename = program.command[0]
        raise


def _landlock_places(plan: Plan) -> Iterator[str]:
    if plan["writable"] is None:
        yield from landlock.around(plan["read_only"])
        yield from plan["open"]
        return
    yield from plan["writable"]
    yield from (layer["lower"] for layer in plan["layers"])
    yield from filter(os.path.isdir, mounts.DEVICE_FOLDERS)
    yield from mounts.plain_devices()
    if plan["seal"] or os.geteuid() != 0:
        yield "/proc"  # for root only where the machine's switches in it are sealed


def _forward_until_end(keeper: int, report: int, job: terminal.Job | None) -> int:
    told = None
    while True:
        number = signal.sigwaitinfo(processes.WATCHED).si_signo
        news = _news(report)
        told = told if news is None else news
        if number == signal.SIGCHLD:
            pid, status = os.waitpid(keeper, os.WNOHANG)
            if pid:
                # Without a word of its own it failed, or was killed, before the program ended.
                return status if told is None or os.WIFSTOPPED(told) else told
        elif number == signal.SIGIO:
            if job is not None and told is not None and os.WIFSTOPPED(told):
                told = None
                job.stop()
        elif number == signal.SIGCONT:
            if job is not None:
                job.go_on()
        else:
            os.kill(keeper, number)


def _signal_on_news(report: int) -> None:
    os.set_blocking(report, False)
    fcntl.fcntl(report, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(report, fcntl.F_SETFL, fcntl.fcntl(report, fcntl.F_GETFL) | os.O_ASYNC)


def _tell(report: int, status: int) -> None:
    os.write(report, status.to_bytes(4, "little"))


def _news(report: int) -> int | None:
    """The last wait status that the keeper told since we asked last."""
    try:
        told = os.read(report, 4096)
    except BlockingIOError:
        return None
    return int.from_bytes(told[-4:], "little") if told else None


def _current_folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        return None  # deleted: nothing can be written there


def _close_all_but_standard(kept: int) -> None:
    """An inherited descriptor would lead past every mount."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        if int(name) > 2 and int(name) != kept:
            try:
                os.close(int(name))
            except OSError:
                continue  # the listing's own


def _is_abandoned(report: int) -> bool:
    poll = select.poll()
    poll.register(report, 0)
    return bool(poll.poll(0))


def _inherited_environment() -> dict[bytes, bytes]:
    """Without the LC_CTYPE which Python itself sets in the C locale (PEP 538)."""
    environment = dict(os.environb)
    with open("/proc/self/environ", "rb") as file:
        given = file.read().split(b"\0")
    if not any(item.startswith(b"LC_CTYPE=") for item in given):
        environment.pop(b"LC_CTYPE", None)
    environment.pop(network.PROXY_VARIABLE.encode(), None)
    return environment


def _guarded(step: Callable[..., NoReturn], *arguments: object) -> NoReturn:
    """In a forked process: never return into the parent's code, whatever happens."""
    try:
        step(*arguments)
    except BaseException as error:
        _fail(error)


def _fail(error: BaseException) -> NoReturn:
    """The one line; a bug of ours ends here too, since the program must not run half fenced."""
    what, why = "set-up", repr(error)
    if isinstance(error, OSError):
        what, why = error.filename or what, error.strerror or why
    os.write(2, os.fsencode(f"gov-sandbox: {what}: {why}\n"))
    os._exit(SETUP_FAILED)


def _end_like(status: int) -> NoReturn:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status))


def main(arguments: list[str]) -> NoReturn:
    if arguments[0] == "--probe":
        from governance.sandbox import probing

        sys.stdout.write(json.dumps(probing.results(arguments[1])))
        sys.exit(0)
    try:
        plan: Plan = json.loads(arguments[0])
        status = outer(plan, arguments[2:])
    except Exception as error:
        _fail(error)
    _end_like(status)


if __name__ == "__main__":
    main(sys.argv[1:])
