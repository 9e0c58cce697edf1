"""How one observed program sees the disk, and how all its descendants end.

A program that is observed must be able to do what it likes and change nothing: prod, the
generations and uv's cache share files by hardlink, so one edit in place would reach all of them.
`wrap` turns an argv into one that first enters a `View`; nothing stays mounted and nothing keeps
running afterwards, so that each command enters anew and several in a row share one upper folder.

What is done, in this order (`enter` tells the processes apart):

1. Namespaces (`privileges`): mounts, processes, memory and network where the view wants its own
   and, for who may not mount, users; in the last the caller keeps its own uid, and files of
   everybody else look like nobody's.
2. The layer (`mounts`): an overlay over the generation's own path.  `upper` is then the exact
   list of what was changed: whiteouts are character devices 0:0, a replaced folder carries the
   xattr `trusted.overlay.opaque` (`user.overlay.opaque` in a user namespace).  More layers
   (`disk`) lie over the rest of the disk, so that a program may write wherever its user may.
3. The fence by mounts: every mount outside the writable places becomes read-only, which stops
   chmod, utime and xattr too.  Raw disks and the sockets of daemons that act for others are
   covered; the machine's switches in /proc are read-only.
   For a program that nobody knows (`View.strict`, `View.hidden`; `covers`) places with secrets look
   empty, /dev/shm, message queues and System V's memory are its own, and sockets that somebody
   outside listens at are covered, but for those that names are looked up with.
4. Privileges are given away, so that root cannot mount, make a disk's device, open files by
   handle, read the wire, or enter processes outside.  `calls` refuses what no node needs of the
   kernel: tracing others, keys, io_uring, bpf, modules, mounts.  `limits` bound processes, memory
   and disk; the keeper ends who goes beyond with one line and exit 124.
5. The fence by Landlock, which needs no privilege, holds for root, and denies all mounting.

At the end every descendant gets SIGTERM, after `View.grace` seconds SIGKILL; also when the outer
process is killed.  The exit is the program's own; 125 with one line means it never started.

`probe` tries each of these and says why one does not work.  A missing layer is an error; any
other lack degrades as `isolation` tells: "full" (3 and 5), "mounts", "landlock", "none".
`self_test` shows what the fence stops here and now.

What stays open.  Inside a writable place everything is allowed, also writing through a hardlink
that was there before: nothing that shares inodes with prod may lie in one.  With Landlock alone,
chmod, chown, utime, xattr and inode flags still reach files of the same owner; secrets are closed
by it too, but the folders that lead to them cannot be listed then; memory is shared with the
machine.  Without a process namespace and below Landlock's ABI 6, processes outside can be
signalled, the keeper included.  Without `View.network` the network is open, and with it whatever a
daemon does for its callers; `View.contacts` only writes it down.  Without `strict`, of the sockets
on disk only the well-known are covered and, below kernel 6.2 or with dev.tty.legacy_tiocsti=1, a
program on the operator's terminal may type into it (TIOCSTI).  With `read_only` and no writable
set, Landlock (used where mounts fail) also forbids new entries in the folders that lead to a closed
place.  Two programs in one layer at the same time are undefined by the kernel: enter one after the
other.  A socket on a disk with a layer over it cannot be reached.  In a user namespace no folder
that holds another disk can be covered as a whole.

What a fence breaks on purpose: set-uid programs gain nothing, no device appears (the nvidia-uvm
device must be there before), and what lies neither in a layer nor in a writable place is
read-only.
"""

from __future__ import annotations

from governance.sandbox.canary import READ, Canary, Tried, self_test
from governance.sandbox.disk import scratch
from governance.sandbox.limits import ENDED
from governance.sandbox.network import DOOR, PROXY, PROXY_VARIABLE
from governance.sandbox.support import probe
from governance.sandbox.view import Layer, Limits, Network, Support, View
from governance.sandbox.wrapping import closes_ports, isolation, wrap

__all__ = [
    "DOOR",
    "ENDED",
    "PROXY",
    "PROXY_VARIABLE",
    "READ",
    "Canary",
    "Layer",
    "Limits",
    "Network",
    "Support",
    "Tried",
    "View",
    "closes_ports",
    "isolation",
    "probe",
    "scratch",
    "self_test",
    "wrap",
]
