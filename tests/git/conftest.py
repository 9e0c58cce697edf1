"""Real repositories, a real host that serves them, and git as somebody careless would call it."""

import base64
import http.server
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from governance import git

PROTOCOLS = ("https", "ssh", "file")


class Repository:
    """A repository on this machine; `git(...)` is plain git, as its author uses it."""

    def __init__(self, path: Path, *arguments):
        self.path = path
        subprocess.run(["git", "init", "-q", "-b", "main", *arguments, path], check=True)
        self.git("config", "user.name", "author")
        self.git("config", "user.email", "author@example.org")

    def git(self, *arguments, check=True, given=None):
        done = subprocess.run(
            ["git", "-C", self.path, *arguments],
            capture_output=True,
            text=True,
            input=given,
            check=False,
        )
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout.strip()

    def commit(self, **files):
        """Keywords are file names with `__` for the slash; returns the commit's id."""
        for name, text in files.items():
            path = self.path / name.replace("__", "/")
            assert path.is_relative_to(self.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "change")
        return self.git("rev-parse", "HEAD")

    def add_config(self, text):
        with (self.path / ".git" / "config").open("a") as stream:
            stream.write(text)


@pytest.fixture(autouse=True)
def personal(tmp_path_factory, monkeypatch):
    """Nobody's settings but the test's: an empty home, whose path is returned."""
    home = tmp_path_factory.mktemp("home")
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return home


@pytest.fixture
def make(tmp_path):
    def make(name="node", *arguments):
        return Repository(tmp_path / name, *arguments)

    return make


@pytest.fixture
def node(make):
    repository = make()
    repository.commit(**{"nodes.py": "NODE_CLASS_MAPPINGS = {}\n", "requirements.txt": "x\n"})
    return repository


@pytest.fixture
def clone(tmp_path):
    """Our clone, of a path or URL as typed, into tmp_path/clone."""

    def clone(address, ref=None, *, protocols=PROTOCOLS, to="clone", **limits):
        limits = {"timeout": 60, "max_bytes": 50_000_000} | limits
        source = git.source(str(address), protocols=protocols, cwd=tmp_path)
        return git.clone(source, tmp_path / to, ref=ref, protocols=protocols, **limits)

    return clone


@pytest.fixture
def naive(tmp_path):
    """`git ARGUMENTS` as typed, in tmp_path: what the attack does to those who do not look."""

    def naive(*arguments, cwd=tmp_path, **variables):
        return subprocess.run(
            ["git", *arguments],
            cwd=cwd,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return naive


@pytest.fixture
def trap(tmp_path):
    """A program that leaves a trace: `trap.fired()` tells once whether it ran since."""

    class Trap:
        trace = tmp_path / "trace"
        program = tmp_path / "trap.sh"

        def fired(self):
            fired = self.trace.exists()
            self.trace.unlink(missing_ok=True)
            return fired

    trap = Trap()
    trap.program.write_text(f"#!/bin/sh\ntouch {trap.trace}\n")
    trap.program.chmod(0o755)
    return trap


class Host(http.server.BaseHTTPRequestHandler):
    """git http-backend behind a loopback server; knows about logins, redirects and delays."""

    protocol_version = "HTTP/1.0"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.seen.append(self.headers.get("Authorization"))
        if self.server.redirect:
            self.send_response(302)
            self.send_header("Location", self.server.redirect + self.path)
            self.end_headers()
        elif self.server.login and self.headers.get("Authorization") != self.server.login:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()
        else:
            self.server.stall.wait(60)
            time.sleep(self.server.delay)
            self.serve()

    do_POST = do_GET

    def serve(self):
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = subprocess.run(
            ["git", "http-backend"],
            input=body,
            stdout=subprocess.PIPE,
            check=False,
            env={
                **os.environ,
                "GIT_PROJECT_ROOT": str(self.server.root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": self.headers.get("Content-Type") or "",
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "",
                "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol") or "",
            },
        ).stdout
        head, _, rest = answer.partition(b"\r\n\r\n")
        headers = [line.split(": ", 1) for line in head.decode().splitlines()]
        status = dict(headers).get("Status", "200 OK")
        self.send_response(int(status.split()[0]))
        for name, value in headers:
            if name != "Status":
                self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(rest)
        except ConnectionError:  # the client was stopped
            pass


@pytest.fixture
def host(tmp_path):
    """Serves every repository of tmp_path; `host.url("node")`."""
    servers = []

    def start(login=None, redirect=None, delay=0):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Host)
        server.daemon_threads = True
        server.root, server.redirect, server.delay = tmp_path, redirect, delay
        server.seen = []
        server.login = login and "Basic " + base64.b64encode(login.encode()).decode()
        server.stall = threading.Event()
        server.stall.set()
        server.address = f"127.0.0.1:{server.server_port}"
        server.url = lambda name, userinfo="": f"http://{userinfo}{server.address}/{name}/.git"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stall.set()
        server.shutdown()
        server.server_close()
