"""The private mount table of one program: its layer, what it may write, what is sealed.

Every function works on the calling process's own mount namespace, which dies with it, so
nothing is ever undone.  Sealing by mount is what stops chmod, utime and xattr on the inodes that
generations share by hardlink.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from governance.sandbox import kernel

# Own filesystems beneath the sealed /dev which programs rightly write.
DEVICE_FOLDERS = ("/dev/shm", "/dev/pts", "/dev/mqueue", "/dev/hugepages")

# Switches of the whole machine: root could name a program for the kernel to start outside.
_MACHINE = ("sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi")

# Daemons that write, or start programs, for whoever reaches their socket.
_DAEMON_SOCKETS = (
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/podman/podman.sock",
    "/run/snapd.socket",
    "/run/systemd/private",
    "/run/dbus/system_bus_socket",
    "/run/user/{uid}/bus",
    "/run/user/{uid}/systemd/private",
    "/run/user/{uid}/docker.sock",
    "/run/user/{uid}/podman/podman.sock",
    # Whoever reaches it types into the operator's shell.
    "/tmp/tmux-{uid}/default",
)

# Character devices that reach a disk, the memory or the person at the machine behind the kernel's
# back.
_RAW_DEVICE = re.compile(
    r"(k?mem|port|sg\d+|nvme\d+|ng\d+n\d+|mtd\d+|raw\d*|loop-control|control"
    # Terminals of others, their keyboards, and what restarts the machine when it is opened.
    r"|console|hvc\d+|tty(S|AMA)?\d+|vcs[au]?\d*|uinput|uhid|kmsg|watchdog\d*)$"
)

_LASTING_FLAGS = {
    "nosuid": kernel.MS_NOSUID,
    "nodev": kernel.MS_NODEV,
    "noexec": kernel.MS_NOEXEC,
}


def make_private() -> None:
    kernel.mount(None, "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)


def mount_processes() -> None:
    """A /proc which shows only the processes of this namespace."""
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    kernel.mount("proc", "/proc", "proc", flags)


class NoLayer(Exception):
    """A layer that could be done without cannot be had; nothing of it is left."""


def mount_layer(
    lower: str,
    upper: str,
    work: str,
    keep: Sequence[str] = (),
    *,
    needed: bool = True,
    user_namespace: bool,
) -> None:
    """Lay `upper` over `lower` at lower's own path; `upper` and `work` are made where missing.

    `keep` stays in sight as it is: it is taken hold of before, and bound to its path afterwards.
    Raises OSError where a link leads to `upper` or `work`: what ran before could have made it, and
    what is written in the layer would go where it leads.  Raises NoLayer instead of any other
    OSError where the layer is not `needed`.
    """
    for folder in (upper, work):
        _refuse_links(folder)
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - pathlib doubles the start-up time
    try:
        _overlay(lower, upper, work, keep, _options(needed, user_namespace))
    except OSError as error:
        if needed:
            raise
        raise NoLayer from error
    # The kernel leaves a folder without any permission there, which its owner could not delete.
    os.chmod(f"{work}/work", 0o700)  # noqa: PTH101


def _options(needed: bool, user_namespace: bool) -> str:
    # Without userxattr, a user namespace can neither replace nor delete a folder of the lower.
    if user_namespace:
        return "userxattr"
    # A program that renames a folder would fail, though it does not without the layer; pip, which
    # alone writes in the layer over an environment, copies then.
    redirect = "off" if needed else "on"
    return f"index=off,metacopy=off,redirect_dir={redirect}"


def _overlay(lower: str, upper: str, work: str, keep: Sequence[str], options: str) -> None:
    places: list[int] = []
    try:
        for path in (lower, upper, work, *keep):
            places.append(os.open(path, os.O_PATH | os.O_CLOEXEC))
        # Named by descriptor, a path may hold any character, commas and colons included.
        names = ("lowerdir", "upperdir", "workdir")
        parts = [f"{name}=/proc/self/fd/{fd}" for name, fd in zip(names, places, strict=False)]
        kernel.mount("overlay", lower, "overlay", 0, ",".join([*parts, options]))
        try:
            _bind_kept(keep, places[3:])
        except OSError:
            kernel.unmount(lower)
            raise
    finally:
        for place in places:
            os.close(place)


def _bind_kept(keep: Sequence[str], places: Sequence[int]) -> None:
    for path, place in zip(keep, places, strict=True):
        _refuse_links(path)  # an earlier program may have put one into the layer
        kernel.mount(f"/proc/self/fd/{place}", path, flags=kernel.MS_BIND | kernel.MS_REC)


def _refuse_links(path: str) -> None:
    if os.path.realpath(path) != path:
        raise OSError(errno.ELOOP, "a link leads elsewhere", path)


class Mounted(NamedTuple):
    """One mount: its number, where, its options, the kind of filesystem."""

    number: int
    path: str
    options: str
    kind: str


class Places(NamedTuple):
    """What `fence` is to do, in real paths.

    `layers` and `kept` are mounts already: layers stay open, what is kept in them is closed.
    """

    writable: Iterable[str] | None
    open: Iterable[str] = ()
    read_only: Iterable[str] = ()
    behind: Iterable[str] = ()
    layers: Iterable[str] = ()
    kept: Iterable[str] = ()


def fence(places: Places) -> None:
    """Make `read_only` and `behind` read-only and, where `writable` is given, everything outside.

    The deepest rule for a path wins, and read-only wins a tie.  All paths exist.
    """
    _mask_roads_out()
    given = [*(places.writable or ()), *places.open]
    sealed = [*places.read_only, *places.behind, *_machine_switches()]
    pinned = _between([*given, *places.layers], [*places.read_only, *places.behind])
    for path in sorted({*given, *sealed, *pinned}, key=len):
        kernel.mount(path, path, flags=kernel.MS_BIND | kernel.MS_REC)
    open_places = (*given, *places.layers, "/proc", *DEVICE_FOLDERS)
    rules = {"/": places.writable is None} | dict.fromkeys(places.kept, False)
    rules |= dict.fromkeys(open_places, True) | dict.fromkeys(sealed, False)
    for number, path, options, _ in list(table()):
        if not rules[_closest(path, rules)]:
            _seal_mount(number, path, options)


def _between(writable: Sequence[str], sealed: Sequence[str]) -> set[str]:
    """The folders that lead from a writable place to a sealed one inside it.

    As mounts of their own they stay where they are: moved away by who may write there, they would
    take the sealed place along, and another could be put where it was.
    """
    found = set()
    for path in sealed:
        for place in writable:
            parent = os.path.dirname(path)  # noqa: PTH120
            while parent != place and _is_within(parent, place):
                found.add(parent)
                parent = os.path.dirname(parent)  # noqa: PTH120
    return found


def _machine_switches() -> list[str]:
    return [path for name in _MACHINE if os.path.exists(path := f"/proc/{name}")]  # noqa: PTH110


def _mask_roads_out() -> None:
    """Put /dev/null in the place of raw disks, of other people's terminals, and of sockets of
    daemons that act for others."""
    sockets = [path.format(uid=os.getuid()) for path in _DAEMON_SOCKETS]
    raw = [entry.path for entry in _devices("/dev") if _is_raw(entry)]
    for path in (*raw, *filter(_is_socket, sockets)):
        kernel.mount("/dev/null", path, flags=kernel.MS_BIND)
    if not _has_terminal():
        _mount_terminals()


def _has_terminal() -> bool:
    """Whether the program is to have the caller's own, as in `gov tx shell`."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _mount_terminals() -> None:
    """A /dev/pts of its own; in the machine's, the operator's terminal takes what is written."""
    flags = kernel.MS_NOSUID | kernel.MS_NOEXEC
    with suppress(OSError):  # a container that forbids it: all else is fenced all the same
        kernel.mount("devpts", "/dev/pts", "devpts", flags, "newinstance,ptmxmode=0666,mode=0620")


def plain_devices() -> list[str]:
    """Character devices a program may write: terminals, /dev/null, graphics cards."""
    return [entry.path for entry in _devices("/dev") if not _is_raw(entry)]


def _devices(folder: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISBLK(mode) or stat.S_ISCHR(mode):
                yield entry
            elif stat.S_ISDIR(mode) and entry.path not in DEVICE_FOLDERS:
                yield from _devices_if_open(entry.path)


def _devices_if_open(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        yield from _devices(folder)
    except PermissionError:
        return  # what this user cannot list, the program cannot reach either


def _is_raw(entry: os.DirEntry[str]) -> bool:
    is_block = stat.S_ISBLK(entry.stat(follow_symlinks=False).st_mode)
    return is_block or entry.path.startswith("/dev/bsg/") or bool(_RAW_DEVICE.match(entry.name))


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    except OSError:
        return False  # absent, or out of this user's reach


def table() -> Iterator[Mounted]:
    """Every mount, in the order they were made."""
    with open("/proc/self/mountinfo", "rb") as table:
        return parsed(table.read())


def parsed(mountinfo: bytes) -> Iterator[Mounted]:
    for line in mountinfo.splitlines():
        number, _, _, _, point, options, *rest = line.split(b" ")
        plain = re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), point)
        kind = rest[rest.index(b"-") + 1]
        yield Mounted(int(number), os.fsdecode(plain), options.decode(), kind.decode())


def _closest(path: str, rules: Iterable[str]) -> str:
    return max((rule for rule in rules if _is_within(path, rule)), key=len)


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _seal_mount(number: int, path: str, options: str) -> None:
    given = options.split(",")
    if "ro" in given:
        return
    flags = kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY
    if not _is_within(path, "/dev"):
        flags |= kernel.MS_NODEV
    for name in given:
        flags |= _LASTING_FLAGS.get(name, 0)
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    except (FileNotFoundError, PermissionError):
        return  # hidden beneath another mount, or out of this user's reach
    try:
        # A mount that another one hides cannot be reached; the other is on the list itself.
        if _mount_number(place) == number:
            kernel.mount(None, f"/proc/self/fd/{place}", flags=flags)
    finally:
        os.close(place)


def _mount_number(place: int) -> int:
    with open(f"/proc/self/fdinfo/{place}") as facts:
        return next(int(line.split()[1]) for line in facts if line.startswith("mnt_id"))
