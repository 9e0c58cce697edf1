"""A network of its own: nothing is reached but what is allowed, and gov still asks the API."""

import http.server
import socket
import threading
from dataclasses import replace

import pytest

from governance import sandbox
from governance.observation import api
from governance.sandbox import landlock

from .conftest import give
from .test_strict import python

pytestmark = pytest.mark.privileged


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"page {self.path}".encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def served():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def view(person, world):
    if not person.support.network:
        pytest.skip(person.support.network_reason)
    (world / "place").mkdir()
    give(person, world)
    return sandbox.View(writable=(world / "place",), strict=True)


def closed(view, *allowed):
    (place,) = view.writable
    return replace(view, network=sandbox.Network(place, allowed))


REACH = "import socket; socket.create_connection(('127.0.0.1', {port}), 2); print('in')"


def test_without_any_network_nobody_is_reached(person, view, served):
    assert python(person, view, REACH.format(port=served)).stdout == "in\n"
    told = python(person, closed(view), REACH.format(port=served))
    assert (told.stdout, "ConnectionRefused" in told.stderr) == ("", True)


FETCH = """
import http.client
for target in ("http://127.0.0.1:{port}/a?b", "http://127.0.0.1:9/", "http://example.org/"):
    one = http.client.HTTPConnection("127.0.0.1", 3128, timeout=20)
    one.request("GET", target)
    print(one.getresponse().status, one.sock is None)
one = http.client.HTTPConnection("127.0.0.1", 3128, timeout=20)
one.set_tunnel("127.0.0.1", {port})
one.request("GET", "/tunnel")
print(one.getresponse().read().decode())
one = http.client.HTTPConnection("127.0.0.1", 3128, timeout=20)
one.set_tunnel("127.0.0.1", 22)
try:
    one.request("GET", "/")
except OSError as error:
    print(error)
"""


def test_the_gate_lets_through_what_is_allowed(person, view, served):
    told = python(person, closed(view, f"127.0.0.1:{served}"), FETCH.format(port=served))
    lines = told.stdout.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["200", "403", "403"], told.stderr
    assert lines[3] == "page /tunnel"
    assert "gov lets nobody reach 127.0.0.1:22" in lines[4]


SERVER = """
import http.server
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"{}")
with http.server.HTTPServer(("127.0.0.1", 8188), Page) as server:
    print("up", flush=True)
    server.serve_forever()
"""


def test_gov_asks_through_the_door(person, view):
    wanted = closed(view)
    door = wanted.network.folder / sandbox.DOOR
    with person.popen(wanted, person.python, "-I", "-S", "-c", SERVER, stdout=-1) as child:
        try:
            assert child.stdout.readline() == "up\n"
            assert api.answers(8188, door)
            assert api.fetch_classes(8188, door) == ({}, None)
            assert not api.answers(8189, door)
            with socket.socket() as outside:
                assert outside.connect_ex(("127.0.0.1", 8188)) != 0
        finally:
            child.terminate()


def test_no_gate_is_left(person, view, served):
    import subprocess

    told = python(person, closed(view, f"127.0.0.1:{served}"), "print('ok')")
    assert told.stdout == "ok\n"
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert str(view.writable[0]) not in listed


# --- where no namespace can be had ----------------------------------------------------------------


@pytest.fixture
def landlocked(person, world):
    """Somebody whose kernel has Landlock with ports, and no network of its own."""
    if person.support.landlock < landlock.KNOWS_PORTS:
        pytest.skip("Landlock of this kernel knows no ports")
    (world / "place").mkdir()
    give(person, world)
    return person.only(network=False), sandbox.View(writable=(world / "place",), strict=True)


CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {REACH!r}])"


@pytest.mark.parametrize("how", [REACH, CHILD], ids=["itself", "its child"])
def test_by_port_alone(landlocked, served, how):
    person, view = landlocked
    script = how.replace("{port}", str(served))
    assert python(person, view, script).stdout == "in\n"
    told = python(person, closed(view), script)
    assert (told.stdout, "PermissionError" in told.stderr) == ("", True)
    assert python(person, closed(view, f"example.org:{served}"), script).stdout == "in\n"
    assert sandbox.closes_ports(closed(view), person.support)
    assert not sandbox.closes_ports(closed(view), person.only(landlock=3).support)
