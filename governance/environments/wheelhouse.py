"""Wheels that came in a bundle: an environment is built from them where the network is not there.

uv gets a copy of the lock in which every file that lies in `.wheels/` has an address on this
machine's own loopback, and builds from it as from any index.  Measured: from paths uv leaves a
file with times (uv_cache.json) in every package, and `uv pip install --find-links` does so too;
from an address the environment is, file by file, the one that it is elsewhere.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from governance.boundaries import store
from governance.boundaries.uv import Uv
from governance.truth import lockfile
from governance.truth.workspace import Workspace

_CHUNK = 1 << 20
_PORTS = range(20000, 40000)
_REGISTRY = re.compile(r'(source = \{ registry = )"[^"]*"')


def sync(
    workspace: Workspace,
    uv: Uv,
    folder: Path,
    environment: Path,
    *,
    python: str,
    link_mode: str,
    offline: bool,
) -> None:
    """Build `environment` from the lock in `folder`: from wheels at hand where they are all
    there, else as uv finds them."""
    data = store.read_bytes(folder / "uv.lock")
    known = _at_hand(workspace, data, folder / "uv.lock")
    if not known:
        uv.sync(folder, environment, python=python, link_mode=link_mode, offline=offline)
        return
    with (
        _served(workspace, known) as address,
        tempfile.TemporaryDirectory(prefix="gov-lock-") as name,
    ):
        staged = Path(name)
        text = _addressed(data.decode(), known, address)
        store.write(staged / "pyproject.toml", store.read_bytes(folder / "pyproject.toml"))
        store.write(staged / "uv.lock", text.encode())
        uv.sync(staged, environment, python=python, link_mode=link_mode, offline=False, frozen=True)


def _at_hand(workspace: Workspace, data: bytes, path: Path) -> dict[str, list[tuple[str, Path]]]:
    """By package, the files of the lock that lie here: (as the lock names it, where).  Empty where
    a package has none: then the network is needed anyway, and uv asks the index for all."""
    if not workspace.wheels.is_dir():
        return {}
    here = {entry.name: entry for entry in workspace.wheels.iterdir()}
    found = {}
    for package in lockfile.parse(data, path).get("package", []):
        source = package.get("source", {})
        if "virtual" in source:
            continue
        rows = _rows(package, here) if str(source.get("registry", "")).startswith("http") else []
        if not rows:
            return {}
        found[str(package["name"])] = rows
    return found


def _rows(package: Mapping[str, Any], here: Mapping[str, Path]) -> list[tuple[str, Path]]:
    files = [row for row in package.get("wheels", []) if name_of(row) in here]
    return [(_named(row), here[name_of(row)]) for row in files] or _built(package, here)


def _built(package: Mapping[str, Any], here: Mapping[str, Path]) -> list[tuple[str, Path]]:
    """A wheel that was built from the package's source elsewhere, on the same platform."""
    start = f"{str(package['name']).replace('-', '_')}-{package.get('version')}-"
    sdist = package.get("sdist", {})
    return [(_named(sdist), path) for name, path in here.items() if name.startswith(start)][:1]


def _named(row: Mapping[str, Any]) -> str:
    return str(row.get("url") or row.get("path") or "")


def name_of(row: Mapping[str, Any]) -> str:
    """The file's name, of a row of the lock."""
    return unquote(urlsplit(_named(row)).path).rpartition("/")[2]


def _addressed(text: str, known: Mapping[str, list[tuple[str, Path]]], address: str) -> str:
    """The lock with nothing but the files at hand, at our address."""
    blocks = re.split(r"(?m)^(?=\[\[package\]\]\n)", text)
    return blocks[0] + "".join(_block(block, known, address) for block in blocks[1:])


def _block(block: str, known: Mapping[str, list[tuple[str, Path]]], address: str) -> str:
    name = re.search(r'^name = "([^"]+)"$', block, re.M)
    rows = known.get(name[1], []) if name else []
    if not rows:
        return block
    block = _REGISTRY.sub(rf'\1"{address}"', block, count=1)
    block = re.sub(r"(?m)^sdist = \{.*\}\n", "", block)
    entries = [_entry(block, named, path, address) for named, path in rows]
    wheels = "wheels = [\n" + "".join(entries) + "]\n"
    if re.search(r"(?m)^wheels = \[", block):
        return re.sub(r"(?ms)^wheels = \[\n.*?^\]\n", lambda _: wheels, block, count=1)
    return re.sub(r"(?m)^source = .*\n", lambda found: found[0] + wheels, block, count=1)


def _entry(block: str, named: str, path: Path, address: str) -> str:
    """With the hash that the lock names, which uv checks; one that was built here has none."""
    given = re.search(rf'url = "{re.escape(named)}", hash = "([^"]+)"', block)
    is_same = given is not None and named.endswith(path.name)
    hashed = f', hash = "{given[1]}"' if given is not None and is_same else ""
    return f'    {{ url = "{address}{path.name}"{hashed} }},\n'


@contextmanager
def _served(workspace: Workspace, known: Mapping[str, list[tuple[str, Path]]]) -> Iterator[str]:
    """The address of the files, while the block runs.  The same each time, where that port is
    free: uv keeps what it unpacked by the address."""
    from http.server import ThreadingHTTPServer

    files = {path.name: path for rows in known.values() for _, path in rows}
    wanted = hashlib.sha256(str(workspace.root).encode()).digest()
    port = _PORTS[int.from_bytes(wanted[:4], "big") % len(_PORTS)]
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), _answering(files))
    except OSError:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _answering(files))
    server.daemon_threads = True
    thread = threading.Thread(target=_serve, args=(server,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _serve(server: Any) -> None:
    from governance.boundaries import process

    process.leave_signals_to_main()
    server.serve_forever(0.05)


def _answering(files: Mapping[str, Path]) -> Any:
    from http.server import BaseHTTPRequestHandler

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads along."""

        def do_GET(self) -> None:
            path = files.get(unquote(self.path).lstrip("/"))
            if path is None:
                self.send_error(404)
                return
            self._send(path)

        def _send(self, path: Path) -> None:
            with open(path, "rb") as stream:
                self.send_response(200)
                self.send_header("Content-Type", "application/octet-stream")
                self.send_header("Content-Length", str(path.stat().st_size))
                self.send_header("Cache-Control", "max-age=365000000, immutable")
                self.end_headers()
                try:
                    while chunk := stream.read(_CHUNK):
                        self.wfile.write(chunk)
                except (TimeoutError, BrokenPipeError, ConnectionResetError):
                    self.close_connection = True  # uv has hung up: it tells why

    return Answer
