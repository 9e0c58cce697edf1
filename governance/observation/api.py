"""ComfyUI's HTTP API on a port of this machine: does it answer, which classes does it have."""

from __future__ import annotations

import http.client
import os
import socket
import time
from pathlib import Path

from governance import comfyui
from governance.base.errors import GovError

_ANSWER_SECONDS = 5.0
_CLASSES_SECONDS = 60.0
_MAX_ANSWER_BYTES = 1 << 20
_MAX_CLASSES_BYTES = 128 << 20
_SERVER_ERROR = 500
_LIST = comfyui.CLASSES_PATH
BROKEN = f"{_LIST} answered {_SERVER_ERROR}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((comfyui.OWN_HOST, 0))
        return int(probe.getsockname()[1])


def has_loopback() -> bool:
    """Whether programs of this machine reach each other: in a bare network namespace (`unshare
    -n`) the loopback interface is down."""
    with socket.socket() as server, socket.socket() as client:
        server.bind((comfyui.OWN_HOST, 0))
        server.listen()
        client.settimeout(_ANSWER_SECONDS)
        try:
            client.connect(server.getsockname())
        except OSError:
            return False
    return True


def answers(port: int, door: Path | None = None) -> bool:
    """Does ComfyUI's API answer?  Anything but 200 means not yet.  `door` is a socket that leads
    into its network, where that is one of its own (see sandbox.network)."""
    try:
        status, _ = _get(port, comfyui.READY_PATH, _ANSWER_SECONDS, _MAX_ANSWER_BYTES, door)
    except (OSError, http.client.HTTPException):
        return False
    return status == 200


def fetch_classes(port: int, door: Path | None = None) -> tuple[dict[str, str], str | None]:
    """Class -> python_module, and what went wrong where it could not be had."""
    try:
        status, body = _get(port, _LIST, _CLASSES_SECONDS, _MAX_CLASSES_BYTES, door)
        if status != 200:
            return {}, BROKEN if status == _SERVER_ERROR else f"{_LIST} answered {status}"
        if len(body) > _MAX_CLASSES_BYTES:
            return {}, f"{_LIST} answered more than {_MAX_CLASSES_BYTES >> 20} MB"
        return comfyui.read_classes(body), None
    except GovError as error:
        return {}, error.message
    except (OSError, http.client.HTTPException) as error:
        return {}, f"{_LIST} gave no answer: {error or type(error).__name__}"


class _ThroughDoor(http.client.HTTPConnection):
    """The door takes the port as its first two bytes."""

    def __init__(self, door: Path, port: int, seconds: float) -> None:
        super().__init__(comfyui.OWN_HOST, port, timeout=seconds)
        self._door = door

    def connect(self) -> None:
        # By descriptor: a path may be longer than that of a socket may be.
        folder = os.open(self._door.parent, os.O_PATH | os.O_CLOEXEC)
        try:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.timeout)
            self.sock.connect(f"/proc/self/fd/{folder}/{self._door.name}")
            self.sock.sendall(int(self.port or 0).to_bytes(2, "big"))
        finally:
            os.close(folder)


def _get(port: int, path: str, seconds: float, limit: int, door: Path | None) -> tuple[int, bytes]:
    """At most `limit` bytes and a few, within about `seconds` even from a server that trickles."""
    deadline = time.monotonic() + seconds
    if door is None:
        connection = http.client.HTTPConnection(comfyui.OWN_HOST, port, timeout=seconds)
    else:
        connection = _ThroughDoor(door, port, seconds)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        parts: list[bytes] = []
        size = 0
        while size <= limit and (part := answer.read1(1 << 16)):
            parts.append(part)
            size += len(part)
            if time.monotonic() > deadline:
                raise TimeoutError(f"not complete after {seconds:.0f} s")
        return answer.status, b"".join(parts)
    finally:
        connection.close()
