"""The Comfy Registry on this machine's loopback: its public API as gov uses it, with archives that
the test makes, statuses, and faults on demand."""

import io
import json
import stat
import threading
import warnings
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


def zipped(files, *, modes=None, method=zipfile.ZIP_DEFLATED):
    """The bytes of an archive; `files` is a mapping or pairs (a name may stand twice), `modes`
    gives the st_mode of some."""
    made = io.BytesIO()
    pairs = files.items() if hasattr(files, "items") else files
    with zipfile.ZipFile(made, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name twice, which some tests want
        for name, content in pairs:
            info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            info.compress_type = method
            info.external_attr = (modes or {}).get(name, stat.S_IFREG | 0o644) << 16
            archive.writestr(info, content)
    return made.getvalue()


class Fault:
    """What answers instead; `drip` sends one byte every so many seconds, `declared` lies about the
    length, `wait` is slept before anything is sent."""

    def __init__(self, status=200, body=b"", *, headers=None, wait=0.0, drip=0.0, declared=None):
        self.status = status
        self.body = body if isinstance(body, bytes) else body.encode()
        self.headers = headers or {}
        self.wait = wait
        self.drip = drip
        self.declared = declared


class Registry:
    """`nodes` and `archives` may change while it serves; `requests` are those that came."""

    def __init__(self):
        self.url = ""
        self.nodes = {}
        self.archives = {}
        self.requests = []
        self.faults = {}
        self.moved = {}
        self.closing = threading.Event()

    def publish(self, node_id, version, files=None, *, archive=None, status="Active", **facts):
        """One more version; the newest is the one that was published last."""
        node = self.add(node_id)
        data = zipped(files or {"__init__.py": "NODE_CLASS_MAPPINGS = {}\n"})
        self.archives[f"{node_id}/{version}"] = data if archive is None else archive
        node["versions"][version] = {
            "id": f"uuid-{node_id}-{version}",
            "node_id": node_id,
            "version": version,
            "status": f"NodeVersionStatus{status}",
            "createdAt": "2026-01-01T00:00:00Z",
            "changelog": "",
            "deprecated": False,
            "dependencies": [],
            "downloadUrl": f"{self.url}/files/{node_id}/{version}/node.zip",
            **facts,
        }

    def add(self, node_id, **facts):
        """A node without a version, or further facts of one."""
        usual = {
            "id": node_id,
            "name": node_id.title(),
            "description": "",
            "repository": "",
            "status": "NodeStatusActive",
            "publisher": {"id": "sample", "name": "Sample"},
            "versions": {},
        }
        node = self.nodes.setdefault(node_id, usual)
        node.update(facts)
        return node

    def fail(self, path, *given, **more):
        """Paths that begin so answer with this Fault."""
        self.faults[path] = Fault(*given, **more)

    def asked(self, word):
        return [line for line in self.requests if word in line]

    # --- answers ------------------------------------------------------------------------------

    def answer(self, method, path, query, body):
        """(status, headers, bytes)"""
        words = path.strip("/").split("/")
        if words[0] == "files":
            data = self.archives.get("/".join(words[1:3]))
            return (404, {}, b"gone") if data is None else (200, {}, data)
        if (method, path) == ("POST", "/bulk/nodes/versions"):
            return _json(200, self._bulk(json.loads(body)))
        if path == "/nodes/search":
            return _json(200, self._search(query))
        if words[0] == "nodes" and len(words) > 1:
            return self._node(words[1], words[2:], query)
        return _json(404, {"message": "no such page"})

    def _node(self, node_id, rest, query):
        if node_id in self.moved:
            return 302, {"Location": f"{self.url}/nodes/{self.moved[node_id]}"}, b""
        node = self.nodes.get(node_id)
        if node is None:
            return _json(404, {"error": "not_found", "message": "Node not found"})
        versions = node["versions"]
        if not rest:
            return _json(200, _shown(node))
        if rest == ["install"]:
            wanted = query.get("version", [list(versions)[-1] if versions else ""])[0]
            return _json(*_found(versions.get(wanted)))
        if rest == ["versions"]:
            wanted = query.get("statuses", [])
            return _json(200, [v for v in versions.values() if not wanted or v["status"] in wanted])
        return _json(*_found(versions.get(rest[1])))

    def _search(self, query):
        word = query.get("search", [""])[0].lower()
        found = [_shown(n) for n in self.nodes.values() if word and word in json.dumps(n).lower()]
        return {"nodes": found, "total": len(found), "page": 1, "limit": 100, "totalPages": 1}

    def _bulk(self, body):
        rows = []
        for wanted in body["node_versions"]:
            known = self.nodes.get(wanted["node_id"], {"versions": {}})["versions"]
            found = known.get(wanted["version"])
            more = {"status": "not_found"} if found is None else {"status": "success"}
            rows.append(
                {"identifier": wanted, **more, **({"node_version": found} if found else {})}
            )
        return {"node_versions": rows}


def _shown(node):
    shown = {name: value for name, value in node.items() if name != "versions"}
    newest = list(node["versions"].values())[-1:]
    return {**shown, **({"latest_version": newest[0]} if newest else {})}


def _found(version):
    return (404, {"message": "Version not found"}) if version is None else (200, version)


def _json(status, value):
    return status, {"Content-Type": "application/json"}, json.dumps(value).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self._do("GET")

    def do_POST(self):
        self._do("POST")

    def _do(self, method):
        registry = self.server.registry
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        registry.requests.append(f"{method} {self.path}")
        fault = next((f for p, f in registry.faults.items() if parts.path.startswith(p)), None)
        if fault is None:
            given = registry.answer(method, parts.path, parse_qs(parts.query), body)
            fault = Fault(given[0], given[2], headers=given[1])
        try:
            self._send(fault)
        except OSError:
            pass  # the client has had enough
        self.close_connection = True

    def _send(self, fault):
        self.server.registry.closing.wait(fault.wait)
        self.send_response(fault.status)
        for name, value in fault.headers.items():
            self.send_header(name, value)
        length = len(fault.body) if fault.declared is None else fault.declared
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if not fault.drip:
            self.wfile.write(fault.body)
            return
        for at in range(len(fault.body)):
            self.wfile.write(fault.body[at : at + 1])
            if self.server.registry.closing.wait(fault.drip):
                return

    def log_message(self, *_):
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # a client that went away


@contextmanager
def serving():
    registry = Registry()
    server = _Server(("127.0.0.1", 0), _Handler)
    server.registry = registry
    registry.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        registry.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
