"""Whom a program and all that it starts connect to, in whatever language they are written.

The kernel asks the keeper before each connect() and each datagram with an address
(seccomp_unotify(2)); the keeper writes a line and lets it go on.  It is a record and no fence: what
was read may be changed before the kernel reads it again.  Left out are the machine itself, and
datagrams sent by sendmsg() to an address that was not connected before.
"""

from __future__ import annotations

import array
import errno
import fcntl
import json
import os
import struct
import sys
import time

from governance.sandbox import calls, processes
from governance.sandbox.calls import ALLOW, EQUAL, LOAD, RETURN, argument

_CALLS = {"x86_64": (42, 44), "aarch64": (203, 206)}  # connect, sendto
_ASK = 0x7FC0_0000
_NEW_LISTENER = 1 << 3
_GO_ON = 1
_ADDRESS = 4  # sendto's argument
_RECEIVE, _SEND = 0xC050_2100, 0xC018_2101
_NOTICE = struct.Struct("=QIIiIQ6Q")
_ANSWER = struct.Struct("=QqiI")
_INET, _INET6 = 2, 10
_MOST = 5_000


def listen() -> int:
    """From here on this process and its children are asked about; the listener's descriptor.

    Needs no_new_privs.  Raises OSError.
    """
    connect, sendto = _CALLS[os.uname().machine]
    rows = [
        *calls.foreign_refused(),
        (EQUAL, 6, 0, connect),
        (EQUAL, 0, 4, sendto),
        (LOAD, 0, 0, argument(_ADDRESS)),
        (EQUAL, 0, 3, 0),
        (LOAD, 0, 0, argument(_ADDRESS) + 4),
        (EQUAL, 0, 1, 0),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, _ASK),
    ]
    return calls.install(rows, _NEW_LISTENER)


def hand_over(listener: int, to: int) -> None:
    """Through a socket, to the keeper."""
    import socket

    with socket.socket(fileno=to) as channel:
        rights = array.array("i", [listener])
        channel.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    os.close(listener)


def take_over(channel: int) -> int:
    """The listener; -1 where the program's process ended before it handed one over."""
    import socket

    with socket.socket(fileno=channel) as taken:
        _, rights, _, _ = taken.recvmsg(1, socket.CMSG_SPACE(4))
    return array.array("i", rights[0][2])[0] if rights else -1


def attend(channel: int, report: int) -> None:
    """Answer until nobody is left to ask; a line of JSON in `report` for each new contact."""
    listener = take_over(channel)
    known: set[tuple[str, ...]] = set()
    while listener >= 0:
        notice = bytearray(_NOTICE.size)
        try:
            fcntl.ioctl(listener, _RECEIVE, notice)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):
                continue  # ended meanwhile
            return
        number, pid, _, call, _, _, *arguments = _NOTICE.unpack(notice)
        try:
            if len(known) < _MOST:
                _note(pid, call, arguments, known, report)
        except (OSError, ValueError):
            pass  # ended meanwhile, or an address that is none
        answer = bytearray(_ANSWER.pack(number, 0, 0, _GO_ON))
        try:
            fcntl.ioctl(listener, _SEND, answer)
        except OSError:
            continue


def _note(
    pid: int, call: int, arguments: list[int], known: set[tuple[str, ...]], report: int
) -> None:
    connect, _ = _CALLS[os.uname().machine]
    at = arguments[1] if call == connect else arguments[_ADDRESS]
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(at)
        address = memory.read(28)
    found = _told(address)
    if found is None:
        return
    argv = processes.command_line(pid)
    key = (found[0], str(found[1]), *argv[:3])
    if key not in known:
        known.add(key)
        row = {"t": time.time(), "pid": pid, "argv": argv[:20], "host": found[0], "port": found[1]}
        os.write(report, json.dumps(row).encode() + b"\n")


def _told(address: bytes) -> tuple[str, int] | None:
    """Host and port of a sockaddr; None for the machine itself and what is no address."""
    import ipaddress

    family = int.from_bytes(address[:2], sys.byteorder)
    if family == _INET:
        host: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.IPv4Address(address[4:8])
    elif family == _INET6:
        six = ipaddress.IPv6Address(address[8:24])
        host = six.ipv4_mapped or six
    else:
        return None
    if host.is_loopback or host.is_unspecified:
        return None
    return str(host), int.from_bytes(address[2:4], "big")
