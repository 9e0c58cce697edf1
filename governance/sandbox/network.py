"""A network of its own for one program: only its loopback, a door for gov, a road to the index.

The program lives in a network namespace.  gov asks ComfyUI's API through the door, a socket on the
disk that the keeper relays to the port asked for.  Where an index is allowed, the keeper listens at
PROXY inside, and the gate, a process that stayed outside, lets through what names an allowed host
and port (HTTP's CONNECT and absolute-form, RFC 9110).
"""

from __future__ import annotations

import _thread
import fcntl
import os
import signal
import struct
from typing import TYPE_CHECKING, TypedDict

from governance.sandbox import processes

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    Served = tuple[socket.socket, Callable[[socket.socket], None]]

PROXY = ("127.0.0.1", 3128)
DOOR, _GATE = "door", "gate"
# For the gate alone; the program does not get it.
PROXY_VARIABLE = "GOV_GATE_PROXY"
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1
_LONGEST_HEAD = 1 << 16
_SECONDS = 60.0


class Network(TypedDict):
    """`folder` is where the sockets lie; `allowed` are `host:port`, none for no network at all."""

    folder: str
    allowed: list[str]


def raise_loopback() -> None:
    """Of this network namespace.  Raises OSError."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14s", b"lo", 0, b"")
        flags = struct.unpack_from("16sH", fcntl.ioctl(any_socket, _GET_FLAGS, request))[1]
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sH14s", b"lo", flags | _UP, b""))


def open_gate(network: Network) -> int:
    """Start the gate, still outside; its pid, 0 where nothing is allowed."""
    if not network["allowed"]:
        return 0
    listener = _listen_on_disk(network["folder"], _GATE)
    child = os.fork()
    if child == 0:
        processes.die_with_parent(signal.SIGKILL)
        allowed = frozenset(network["allowed"])
        _serve(listener, lambda one: _let_through(one, allowed))
        os._exit(0)
    listener.close()
    return child


def open_door(network: Network) -> list[Served]:
    """In the keeper, in the new namespace, before the program begins: the door and the road."""
    import socket

    folder = network["folder"]
    found: list[Served] = [(_listen_on_disk(folder, DOOR), _through_door)]
    if network["allowed"]:
        found.append((socket.create_server(PROXY), lambda one: _to_gate(one, folder)))
    return found


def serve(all_served: list[Served]) -> None:
    for served in all_served:
        _thread.start_new_thread(_serve, served)


def _listen_on_disk(folder: str, name: str) -> socket.socket:
    """By its name alone: a path may be longer than a socket's may be."""
    import socket

    before = os.open(".", os.O_PATH | os.O_CLOEXEC)
    try:
        os.chdir(folder)
        if os.path.lexists(name):
            os.unlink(name)  # noqa: PTH108
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(name)
        listener.listen(64)
        return listener
    finally:
        os.fchdir(before)
        os.close(before)


def _serve(listener: socket.socket, answer: Callable[[socket.socket], None]) -> None:
    while True:
        try:
            one, _ = listener.accept()
        except OSError:
            return
        _thread.start_new_thread(_answered, (answer, one))


def _answered(answer: Callable[[socket.socket], None], one: socket.socket) -> None:
    try:
        answer(one)
    except OSError:
        pass  # one of the two has gone
    finally:
        one.close()


def _through_door(one: socket.socket) -> None:
    """The first two bytes are the port."""
    import socket

    port = int.from_bytes(one.recv(2, socket.MSG_WAITALL), "big")
    with socket.create_connection(("127.0.0.1", port), _SECONDS) as inside:
        _relay(one, inside)


def _to_gate(one: socket.socket, folder: str) -> None:
    import socket

    place = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX) as gate:
            gate.connect(f"/proc/self/fd/{place}/{_GATE}")
            _relay(one, gate)
    finally:
        os.close(place)


def _relay(one: socket.socket, other: socket.socket) -> None:
    """Both ways, until both have ended."""
    done = _thread.allocate_lock()
    done.acquire()
    _thread.start_new_thread(_copy, (other, one, done.release))
    _copy(one, other, lambda: None)
    done.acquire()


def _copy(source: socket.socket, target: socket.socket, then: Callable[[], None]) -> None:
    import socket

    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # one of the two has gone
    finally:
        then()


# --- the gate: outside ------------------------------------------------------------------------


def _let_through(one: socket.socket, allowed: frozenset[str]) -> None:
    import socket

    one.settimeout(_SECONDS)
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _LONGEST_HEAD:
        data = one.recv(1 << 16)
        if not data:
            return
        head += data
    method, target, version = head.partition(b"\r\n")[0].decode("latin-1").split(" ", 2)
    host, port, path = _wanted(method, target)
    if f"{host}:{port}" not in allowed:
        one.sendall(f"HTTP/1.1 403 gov lets nobody reach {host}:{port}\r\n\r\n".encode("latin-1"))
        return
    one.settimeout(None)
    with _connected(host, port) as other:
        if method == "CONNECT":
            one.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            other.sendall(head.partition(b"\r\n\r\n")[2])
        else:
            rest = head.partition(b"\r\n")[2]
            first = f"{method} {path} {version}\r\nConnection: close\r\n".encode("latin-1")
            other.sendall(first + rest)
        other.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _relay(one, other)


def _wanted(method: str, target: str) -> tuple[str, int, str]:
    """Host, port and path; ("", 0, "") of what is neither form."""
    if method == "CONNECT":
        host, _, port = target.rpartition(":")
        return host.strip("[]").lower(), int(port) if port.isdigit() else 0, ""
    scheme, found, rest = target.partition("://")
    if not found or scheme.lower() != "http":
        return "", 0, ""
    place, slash, path = rest.partition("/")
    host, colon, port = place.rpartition("@")[2].rpartition(":")
    if not colon or not port.isdigit():
        host, port = place.rpartition("@")[2], "80"
    return host.strip("[]").lower(), int(port), slash + path or "/"


def _connected(host: str, port: int) -> socket.socket:
    """Through the operator's own proxy, where PROXY_VARIABLE names one."""
    import socket

    url = os.environ.get(PROXY_VARIABLE, "")
    if not url or host == "localhost" or host.startswith("127."):
        return socket.create_connection((host, port), _SECONDS)
    return _by_proxy(url, host, port)


def _by_proxy(url: str, host: str, port: int) -> socket.socket:
    import base64
    import socket
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(url)
    found = socket.create_connection((parts.hostname or "", parts.port or 3128), _SECONDS)
    head = f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n"
    if parts.username:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        head += f"Proxy-Authorization: Basic {base64.b64encode(user.encode()).decode()}\r\n"
    found.sendall(f"{head}\r\n".encode("latin-1"))
    answer = b""
    while b"\r\n\r\n" not in answer and (data := found.recv(1)):
        answer += data
    if b" 200 " not in answer.partition(b"\r\n")[0]:
        found.close()
        raise OSError(f"the proxy {parts.hostname} refused {host}:{port}")
    found.settimeout(None)
    return found
