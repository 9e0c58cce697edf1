"""Try what this machine supports, each thing in a child process of its own (see `support`)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from governance.sandbox import calls, covers, kernel, landlock, mounts, network, privileges


class Unfit(Exception):
    """A call succeeded and still did not do what it should."""


def results(folder: str) -> dict[str, object]:
    """The fields of `view.Support`; what is made in the empty `folder` is left to the caller."""
    os.umask(0o077)
    plain = attempt(lambda: privileges.enter_namespaces(user=False, mounts=True, processes=False))
    user = bool(plain) and not attempt(
        lambda: privileges.enter_namespaces(user=True, mounts=True, processes=False)
    )
    layer = attempt(lambda: _use_layer(folder, user)) or attempt(lambda: _see_lower(folder))
    read_only = attempt(lambda: _use_seal(folder, user))
    processes = attempt(lambda: _use_process_namespace(user))
    private = attempt(lambda: _use_private(folder, user))
    filtered = attempt(_use_calls)
    network_ = attempt(lambda: _use_network(user))
    version = landlock.abi()
    return {
        "layer": not layer,
        "layer_reason": layer,
        "read_only_mounts": not read_only,
        "read_only_reason": read_only,
        "landlock": 0 if version and attempt(lambda: _use_landlock(folder, version)) else version,
        "pid_namespace": not processes,
        "pid_reason": processes,
        "user_namespace": user,
        "private": not private,
        "private_reason": private,
        "calls": not filtered,
        "calls_reason": filtered,
        "network": not network_,
        "network_reason": network_,
    }


def attempt(step: Callable[[], None]) -> str:
    """Run `step` in a forked child; why it failed, or ""."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write_end, _reason(step).encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as answer:
        reason = answer.read().decode()
    _, status = os.waitpid(child, 0)
    return reason or ("" if status == 0 else f"the trial ended with status {status}")


def _reason(step: Callable[[], None]) -> str:
    try:
        step()
    except OSError as error:
        return f"{error.filename or 'set-up'}: {error.strerror}"
    except Unfit as error:
        return str(error)
    return ""


def _use_layer(folder: str, user: bool) -> None:
    """What an upgrade by pip does: edit in place, delete and recreate a folder."""
    lower = f"{folder}/lower"
    os.makedirs(f"{lower}/package")  # noqa: PTH103
    for path in (f"{lower}/package/old", f"{lower}/shared"):
        _write(path, "old")
    os.link(f"{lower}/shared", f"{folder}/twin")
    privileges.enter_namespaces(user=user, mounts=True, processes=False)
    mounts.make_private()
    mounts.mount_layer(lower, f"{folder}/upper", f"{folder}/work", user_namespace=user)
    _write(f"{lower}/shared", "new")
    os.unlink(f"{lower}/package/old")  # noqa: PTH108
    os.rmdir(f"{lower}/package")  # noqa: PTH106
    os.mkdir(f"{lower}/package")  # noqa: PTH102
    _write(f"{lower}/package/new", "new")
    if os.listdir(f"{lower}/package") != ["new"]:  # noqa: PTH208
        raise Unfit("a folder recreated in the layer shows old files")


def _see_lower(folder: str) -> None:
    kept = [f"{folder}/lower/package/old", f"{folder}/lower/shared", f"{folder}/twin"]
    if [_read(path) for path in kept] != ["old"] * 3:
        raise Unfit("what was written in the layer reached the files beneath it")


def _use_seal(folder: str, user: bool) -> None:
    inside = f"{folder}/inside"
    os.makedirs(inside)  # noqa: PTH103
    privileges.enter_namespaces(user=user, mounts=True, processes=False)
    mounts.make_private()
    mounts.fence(mounts.Places([inside]))
    _write(f"{inside}/file", "")
    _write("/dev/null", "anything")
    _expect_refusal(lambda: _write(f"{folder}/stray", ""), errno.EROFS)
    _expect_refusal(lambda: os.utime(folder), errno.EROFS)


def _use_process_namespace(user: bool) -> None:
    privileges.enter_namespaces(user=user, mounts=True, processes=True)
    reason = attempt(_use_own_processes)
    if reason:
        raise Unfit(reason)


def _use_own_processes() -> None:
    mounts.make_private()
    mounts.mount_processes()
    if os.readlink("/proc/self") != "1":  # noqa: PTH115
        raise Unfit("the process list is not the namespace's own")


def _use_private(folder: str, user: bool) -> None:
    secret = f"{folder}/secret"
    os.makedirs(f"{secret}/key")  # noqa: PTH103
    privileges.enter_namespaces(user=user, mounts=True, processes=False, memory=True)
    mounts.make_private()
    covers.own_memory()
    covers.hide([secret])
    if os.listdir(secret):  # noqa: PTH208
        raise Unfit("a folder that was covered can be seen")


def _use_network(user: bool) -> None:
    privileges.enter_namespaces(user=user, mounts=True, processes=False, network=True)
    network.raise_loopback()


def _use_calls() -> None:
    if not calls.is_known():
        raise Unfit("the numbers of this machine's system calls are not known to gov")
    privileges.drop()
    calls.refuse()
    _expect_refusal(lambda: kernel.unmount("/"), errno.EPERM)


def _use_landlock(folder: str, version: int) -> None:
    inside = f"{folder}/allowed"
    os.makedirs(inside)  # noqa: PTH103
    privileges.drop()
    landlock.restrict(version, [inside])
    _write(f"{inside}/file", "")
    _expect_refusal(lambda: _write(f"{folder}/stray", ""), errno.EACCES)


def _expect_refusal(step: Callable[[], None], number: int) -> None:
    try:
        step()
    except OSError as error:
        if error.errno == number:
            return
        raise
    raise Unfit("a write that must be refused went through")


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()
