"""A package index on this machine's own loopback, over a folder of wheels.

It speaks the simple API in HTML (PEP 503) and JSON (PEP 691, with sizes, hashes, upload times and
yanked files), serves metadata by itself (PEP 658) and byte ranges, remembers what was asked, and
fails on demand.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import struct
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Literal
from urllib.parse import unquote

from governance.sample.listing import (
    JSON_TYPE,
    Told,
    distributions,
    normalised,
    page,
    project_html,
    project_json,
)

FaultKind = Literal[
    "truncated", "reset", "hang", "drip", "slow", "status", "redirect", "rubbish", "empty",
    "garbage", "wrong-hash", "no-hashes", "no-times", "other-bytes",
]  # fmt: skip
# These are the whole answer, or come before it; the others change what is served.
_INSTEAD: tuple[FaultKind, ...] = (
    "reset", "hang", "slow", "status", "redirect", "rubbish", "empty", "garbage", "drip",
)  # fmt: skip
_LOGIN = b"""<!DOCTYPE html><html><head><title>Sign in</title></head><body><h1>Please log in to this
network.</h1><form method="post" action="/login"><input name="user"></form></body></html>"""


@dataclass
class Fault:
    """What goes wrong for paths that contain `match` (`$` is their end), `times` times (None:
    always).

    `seconds` is the delay of `slow`, and that between two bytes of `drip`; `hang` answers nothing
    until the index closes.  `rubbish` is the log-in page of a network, `redirect` leads to it.
    """

    match: str
    kind: FaultKind
    times: int | None = None
    status: int = 503
    seconds: float = 0.2


@dataclass
class Index:
    """`requests` holds `"GET /simple/numpy/"`, in order; `faults` may change while it runs."""

    folder: Path
    url: str = ""
    metadata: bool = True
    requests: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(
        self,
        match: str,
        kind: FaultKind,
        *,
        times: int | None = None,
        status: int = 503,
        seconds: float = 0.2,
    ) -> Fault:
        fault = Fault(match, kind, times, status, seconds)
        self.faults.append(fault)
        return fault

    def heal(self) -> None:
        self.faults.clear()

    def count(self, part: str = "") -> int:
        return sum(part in request for request in self.requests)

    def due(self, path: str, kinds: Sequence[FaultKind]) -> Fault | None:
        """The first fault that applies to this path, counted down."""
        with self.lock:
            for fault in self.faults:
                if fault.kind in kinds and fault.match in f"{path}$" and fault.times != 0:
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None


@contextmanager
def serve(folder: Path, *, port: int = 0, metadata: bool = True) -> Iterator[Index]:
    """Serve until the block ends; `index.url` is the simple API's root, for `--index-url`.

    Without `metadata` no PEP 658 files are offered, so that uv reads byte ranges of the wheels.
    """
    index = Index(folder, metadata=metadata)
    server = _Server(index, port)
    index.url = f"http://127.0.0.1:{server.server_address[1]}/simple/"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield index
    finally:
        index.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, index: Index, port: int) -> None:
        self.index = index
        super().__init__(("127.0.0.1", port), _Answer)

    def server_bind(self) -> None:
        # Not HTTPServer's own, which would look up the host's name.
        TCPServer.server_bind(self)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what the faults are for: say nothing."""


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """The index keeps its own record."""

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        index = self.server.index
        path = unquote(self.path.partition("?")[0])
        index.requests.append(f"{self.command} {path}")
        fault = index.due(path, _INSTEAD)
        if fault is None or not self._fails(fault):
            self._serve(path)

    def _fails(self, fault: Fault) -> bool:
        """Whether the fault was the whole answer."""
        if fault.kind == "slow":
            self.server.index.closing.wait(fault.seconds)
            return False
        if fault.kind == "hang":
            self.server.index.closing.wait()
            self.close_connection = True
        elif fault.kind == "reset":
            self._reset()
        elif fault.kind == "status":
            self._send(fault.status, b"the sample index was told to fail", "text/plain")
        elif fault.kind == "redirect":
            self.send_response(302)
            self.send_header("Location", "/login")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif fault.kind == "drip":
            self._drip(fault.seconds)
        else:
            body = {"empty": b"", "garbage": bytes(range(256)) * 4}.get(fault.kind, _LOGIN)
            self._send(200, body, "text/html")
        return True

    def _drip(self, seconds: float) -> None:
        """An answer that never stalls and never ends."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(1 << 20))
        self.end_headers()
        while not self.server.index.closing.wait(seconds):
            self.wfile.write(b" ")

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def _serve(self, path: str) -> None:
        if path in ("/simple/", "/simple"):
            self._send_projects()
        elif path == "/login":
            # A portal that wants to be remembered, as some do.
            self._send(200, _LOGIN, "text/html", keep="max-age=600")
        elif match := re.fullmatch(r"/simple/([^/]+)/?", path):
            self._send_project(normalised(match[1]), path)
        elif match := re.fullmatch(r"/files/([^/]+)", path):
            self._send_file(match[1], path)
        else:
            self._send(404, b"not here", "text/plain")

    def _wants_json(self) -> bool:
        return JSON_TYPE in self.headers.get("Accept", "")

    def _send_projects(self) -> None:
        projects = sorted({file.project for file in distributions(self.server.index.folder)})
        if self._wants_json():
            entries = [{"name": project} for project in projects]
            document = {"meta": {"api-version": "1.1"}, "projects": entries}
            self._send(200, json.dumps(document).encode(), JSON_TYPE)
        else:
            anchors = "".join(f'<a href="/simple/{name}/">{name}</a>\n' for name in projects)
            self._send(200, page("Simple index", anchors), "text/html")

    def _send_project(self, project: str, path: str) -> None:
        index = self.server.index
        files = [file for file in distributions(index.folder) if file.project == project]
        if not files:
            self._send(404, b"no such project", "text/plain")
            return
        wrong, without, undated = (
            index.due(path, (kind,)) is not None for kind in ("wrong-hash", "no-hashes", "no-times")
        )
        told = Told(index.metadata, wrong, not without, not undated)
        if self._wants_json():
            self._send(200, project_json(project, files, told), JSON_TYPE)
        else:
            self._send(200, project_html(project, files, told), "text/html")

    def _send_file(self, name: str, path: str) -> None:
        index = self.server.index
        by_name = {file.path.name: file for file in distributions(index.folder)}
        file = by_name.get(name.removesuffix(".metadata"))
        if file is None:
            self._send(404, b"no such file", "text/plain")
        elif not name.endswith(".metadata"):
            data = file.path.read_bytes()
            data += b"!" if index.due(path, ("other-bytes",)) else b""
            self._send(200, data, "application/octet-stream", path=path)
        elif file.metadata is not None and index.metadata:
            self._send(200, file.metadata, "text/plain", path=path)
        else:
            self._send(404, b"no metadata for this one", "text/plain")

    def _send(
        self, status: int, body: bytes, kind: str, *, path: str = "", keep: str = "no-cache"
    ) -> None:
        wanted = _range(self.headers.get("Range"), len(body)) if status == 200 and path else None
        self.send_response(206 if wanted else status)
        if wanted:
            self.send_header("Content-Range", f"bytes {wanted[0]}-{wanted[1]}/{len(body)}")
            body = body[wanted[0] : wanted[1] + 1]
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Accept-Ranges", "bytes")
        # A test changes the folder behind a shared cache and wants the new answer.
        self.send_header("Cache-Control", keep)
        self.end_headers()
        if self.command == "HEAD":
            return
        if path and self.server.index.due(path, ("truncated",)):
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
        else:
            self.wfile.write(body)


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte, both inclusive; None where the whole body is wanted."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        return max(0, size - int(match[2])), size - 1
    return int(match[1]), min(int(match[2] or size - 1), size - 1)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Serve a folder of wheels as a package index.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args(arguments)
    with serve(options.folder, port=options.port) as index:
        sys.stdout.write(f"{index.url}\n")
        sys.stdout.flush()
        try:
            index.closing.wait()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
