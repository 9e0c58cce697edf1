"""A service that answers as https://api.osv.dev does, on this machine's loopback."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_DAY = "2024-01-01T00:00:00Z"


@dataclass
class Osv:
    """`known` maps `(package, version)` to the ids of its vulnerabilities; with a `status` other
    than 200 nothing is answered but that."""

    url: str = ""
    known: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    status: int = 200
    asked: list[str] = field(default_factory=list)


@contextmanager
def serve() -> Iterator[Osv]:
    service = Osv()

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """The service keeps its own record."""

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            named = [(q["package"]["name"], q["version"]) for q in body["queries"]]
            service.asked += [name for name, _ in named]
            self._send({"results": [_vulns(service.known.get(one, [])) for one in named]})

        def do_GET(self) -> None:
            self._send(_vulnerability(service, self.path.rpartition("/")[2]))

        def _send(self, document: object) -> None:
            body = json.dumps(document).encode() if service.status == 200 else b"out of order"
            self.send_response(service.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    service.url = f"http://127.0.0.1:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _vulns(ids: list[str]) -> dict[str, object]:
    return {"vulns": [{"id": one, "modified": _DAY} for one in ids]} if ids else {}


def _vulnerability(service: Osv, identity: str) -> dict[str, object]:
    names = [name for (name, _), ids in service.known.items() if identity in ids]
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.0"}]}]
    affected = [{"package": {"name": n, "ecosystem": "PyPI"}, "ranges": ranges} for n in names]
    return {
        "schema_version": "1.6.0",
        "id": identity,
        "modified": _DAY,
        "published": _DAY,
        "summary": "reads what it should not",
        "details": "More about it.",
        "affected": affected,
        "references": [{"type": "WEB", "url": "https://example.com/advisory"}],
    }
