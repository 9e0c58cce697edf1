"""Whatever answers in the registry's place: a sentence that says what came, and within the time."""

import json
import socket
import threading

import pytest

from governance.base.errors import GovError, UsageError
from governance.catalogue import connection
from governance.catalogue.api import Registry

# http.client leaves the socket of a head that it cannot read to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def asked(registry):
    registry.publish("pack", "1.0.0")
    return Registry(registry.url, 5)


def failing(asked, *, code, says):
    with pytest.raises(GovError) as told:
        asked.node("pack")
    assert told.value.code == code
    assert says in told.value.message
    assert told.value.hint
    return told.value


DENIED, FAILED, UNREACHABLE = "registry_denied", "registry_failed", "registry_unreachable"


@pytest.mark.parametrize(
    ("status", "body", "code", "says"),
    [
        (401, "", DENIED, "is refused (401)"),
        (403, json.dumps({"message": "Node banned"}), DENIED, "is refused (403): Node banned"),
        (403, "<html>no</html>", DENIED, "is refused (403)"),
        (407, "", FAILED, "answers with 407"),
        (429, "", FAILED, "answers with 429"),
        (500, json.dumps({"error": "x", "message": "\x1b[2Jboom"}), FAILED, "500: [2Jboom"),
        (500, "[1]", FAILED, "answers with 500"),
        (502, b"\xff\xfe", FAILED, "answers with 502"),
        (204, "", FAILED, "it is empty"),
        (200, "", FAILED, "it is empty"),
        (200, "  \n", FAILED, "it is empty"),
        (200, "<!DOCTYPE html><form>log in", FAILED, "it is a web page"),
        (200, "{", FAILED, "it is not JSON"),
        (200, b"\x80\x81", FAILED, "it is not JSON"),
        (200, "[" * 100_000, FAILED, "it is not JSON"),
        (200, "[]", FAILED, "it is a list, not an object"),
        (200, "{}", FAILED, "its field id is no id"),
        (200, '{"id": "../x"}', FAILED, "its field id is no id"),
        (
            200,
            '{"id": "a", "latest_version": {"version": "../1"}}',
            FAILED,
            "is no version",
        ),
        (304, "", FAILED, "answers with 304"),
        (302, "", FAILED, "answers with 302"),
    ],
)
def test_an_answer_that_is_none(asked, registry, status, body, code, says):
    registry.fail("/nodes", status, body)
    failing(asked, code=code, says=says)


def test_what_is_not_there_is_no_error(asked):
    assert asked.node("nowhere") is None
    assert asked.version("pack", "9") is None
    assert asked.install("pack", "9") is None


def test_an_answer_of_odd_types_is_read_as_far_as_it_goes(asked, registry):
    body = {"id": "pack", "name": 3, "publisher": [], "downloads": "x", "latest_version": "1"}
    registry.fail("/nodes", 200, json.dumps({**body, "description": "two\nlines \x1b[0m" * 999}))
    found = asked.node("pack")
    assert (found.name, found.latest, found.downloads) == ("pack", None, 0)
    assert found.description.startswith("two lines [0mtwo") and len(found.description) <= 2000


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"wait": 3}, "no whole answer came within 0.5 seconds"),
        ({"drip": 0.1}, "no whole answer came within 0.5 seconds"),
        ({"declared": 10_000}, "it broke off after"),
        ({"declared": connection.LARGEST_ANSWER_BYTES + 1}, "it is larger than 16 MiB"),
    ],
    ids=["slow", "drips", "cut off", "large"],
)
def test_it_takes_no_longer_and_reads_no_more_than_it_says(registry, given, says):
    registry.fail("/nodes", 200, json.dumps({"id": "pack", "name": "x" * 100}), **given)
    with pytest.raises(GovError) as told:
        Registry(registry.url, 0.5).node("pack")
    assert says in told.value.message


def answering(data, hold=False):
    """A port that sends these bytes, whatever is asked; with `hold` it says nothing more."""
    server = socket.create_server(("127.0.0.1", 0))
    release = threading.Event()

    def serve():
        with server, server.accept()[0] as peer:
            peer.recv(4096)
            peer.sendall(data)
            if hold:
                release.wait(5)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return f"http://127.0.0.1:{server.getsockname()[1]}", release, thread


@pytest.mark.parametrize(
    ("data", "hold", "says"),
    [
        (b"SSH-2.0-OpenSSH_9\r\n", False, "is no HTTP"),
        (b"", False, "cannot reach"),
        (b"HTTP/1.1 200 OK\r\nX: ", True, "within 0.5 seconds"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", False, ""),
        (b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 200 + b"\r\n", False, "is no HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", False, ""),
    ],
    ids=["ssh", "closes", "half a head", "a long head", "many heads", "a broken chunk"],
)
def test_what_speaks_no_http(data, hold, says):
    url, release, thread = answering(data, hold)
    with pytest.raises(GovError) as told:
        Registry(url, 0.5).node("pack")
    release.set()
    thread.join()
    assert says in told.value.message


def test_nothing_listens():
    with pytest.raises(GovError, match="Connection refused") as told:
        Registry("http://127.0.0.1:9", 5).node("pack")
    assert told.value.code == UNREACHABLE


def test_a_name_that_is_none():
    with pytest.raises(GovError) as told:
        Registry("http://nowhere.invalid", 5).node("pack")
    assert told.value.code == UNREACHABLE


def test_a_redirect_to_the_registrys_spelling_is_followed(asked, registry):
    registry.moved["Pack_"] = "pack"
    assert asked.node("Pack_").id == "pack"


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "https://u:p@h/"]
)
def test_a_redirect_to_something_else_is_not(asked, registry, target):
    registry.fail("/nodes", 302, headers={"Location": target})
    with pytest.raises(GovError):
        asked.node("pack")
    assert len(registry.requests) == 1


def test_a_redirect_never_leaves_https():
    assert connection.is_allowed("https://h/x", "https://registry")
    assert not connection.is_allowed("http://h/x", "https://registry")


def test_a_circle_of_redirects_ends(asked, registry):
    registry.fail("/nodes", 302, headers={"Location": f"{registry.url}/nodes/pack"})
    failing(asked, code=FAILED, says="answers with 302")
    assert len(registry.requests) < 10


@pytest.mark.parametrize(
    "typed", ["../x", "a/b", "a?b", "a#b", "a b", "", ".", "..", "é", "a%2e", "a\n", "x" * 101]
)
def test_an_id_never_changes_the_path(asked, registry, typed):
    for ask in (asked.node, lambda one: asked.version(one, "1"), asked.versions):
        with pytest.raises(UsageError):
            ask(typed)
    with pytest.raises(UsageError):
        asked.install("pack", typed + "/" if len(typed) > 100 else typed)
    assert registry.requests == []


def test_the_status_of_many_comes_by_one_question_a_hundred(asked, registry):
    wanted = [("pack", "1.0")] + [(f"none{n}", "1.0.0") for n in range(149)]
    found = asked.statuses(wanted)
    assert list(found) == ["pack@1.0.0"]
    assert found["pack@1.0.0"].status == "active"
    assert len(registry.requests) == 2


def test_one_odd_entry_hides_no_other(asked, registry):
    body = {"nodes": [{"id": "a"}, 3, {"id": "b/c"}, {"id": "d"}]}
    registry.fail("/nodes/search", 200, json.dumps(body))
    assert [one.id for one in asked.search("x")] == ["a", "d"]


def test_all_versions_are_asked_for_the_banned_ones_too(asked, registry):
    registry.publish("pack", "1.1.0", status="Banned", status_reason="bad")
    found = {one.version: (one.status, one.reason) for one in asked.versions("pack")}
    assert found == {"1.0.0": ("active", ""), "1.1.0": ("banned", "bad")}
