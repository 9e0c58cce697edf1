"""What a program that nobody knows must not even see: secrets, memory shared with others, sockets.

Like `mounts`, it works on the calling process's own mount namespace, and comes after its fence.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator

from governance.sandbox import kernel

_EMPTY = kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
# Names are looked up there, and graphics cards are kept ready: programs break without them.
_NEEDED = re.compile(
    r"/(?:var/)?run/(?:nscd|systemd/(?:resolve|userdb)|nvidia|sssd?|avahi)"
    r"|/var/lib/sss/|/tmp/nvidia-mps"
)
_LISTENING = 0x1_0000
_OUT_OF_REACH = (errno.ENOENT, errno.EACCES, errno.ENOTDIR)


def hide(paths: Iterable[str]) -> None:
    """Folders look empty, files too.  What this user cannot reach is left as it is."""
    for path in sorted(paths, key=len):
        try:
            mode = os.stat(path).st_mode  # noqa: PTH116
        except OSError as error:
            if error.errno in _OUT_OF_REACH:
                continue
            raise
        if stat.S_ISDIR(mode):
            kernel.mount("tmpfs", path, "tmpfs", _EMPTY, "size=4k,mode=0555")
        else:
            kernel.mount("/dev/null", path, flags=kernel.MS_BIND)


def own_memory() -> None:
    """A /dev/shm and message queues of its own, as in a container.  Raises OSError."""
    flags = kernel.MS_NOSUID | kernel.MS_NODEV
    if os.path.isdir("/dev/shm"):  # noqa: PTH112
        kernel.mount("tmpfs", "/dev/shm", "tmpfs", flags, "mode=1777")
    if os.path.isdir("/dev/mqueue"):  # noqa: PTH112
        kernel.mount("mqueue", "/dev/mqueue", "mqueue", flags | kernel.MS_NOEXEC)


def close_sockets(open_places: Iterable[str]) -> None:
    """Cover every socket on the disk that a program outside listens at, but for the needed ones
    and those in `open_places`."""
    own = tuple(f"{place.rstrip('/')}/" for place in open_places)
    for path in sorted(set(listening())):
        if _NEEDED.match(path) or path.startswith(own):
            continue
        try:
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                kernel.mount("/dev/null", path, flags=kernel.MS_BIND)
        except OSError as error:
            if error.errno not in _OUT_OF_REACH:
                raise


def listening() -> Iterator[str]:
    """Paths of listening sockets of this network namespace (columns: proc_net_unix(5))."""
    try:
        with open("/proc/net/unix", "rb") as table:
            rows = table.read().splitlines()[1:]
    except OSError:
        return
    for row in rows:
        words = row.split(None, 7)
        if len(words) == 8 and words[7].startswith(b"/") and int(words[3], 16) & _LISTENING:
            yield os.fsdecode(words[7])
