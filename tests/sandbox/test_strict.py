"""What a program that nobody knows cannot reach: secrets, memory and sockets of others, the kernel;
and what it may take of the machine."""

import contextlib
import ctypes
import json
import os
import socket
import sys
from dataclasses import replace
from multiprocessing import shared_memory

import pytest

from governance import sandbox

from .conftest import give, needs

pytestmark = pytest.mark.privileged


@pytest.fixture
def view(world):
    """Everything readable but two secrets; one writable place."""
    return sandbox.View(
        writable=(world / "place",),
        hidden=(world / "keys", world / "token"),
        strict=True,
    )


@pytest.fixture(autouse=True)
def places(person, world):
    for name in ("place", "keys", "beside"):
        (world / name).mkdir()
    (world / "keys/id").write_text("secret")
    (world / "token").write_text("secret")
    (world / "beside/plain").write_text("plain")
    give(person, world)


def python(person, view, code):
    return person.run(view, person.python, "-I", "-S", "-c", code)


def only_landlock(person):
    """As where a container forbids all mounts."""
    return person.only(layer=False, read_only_mounts=False, pid_namespace=False, private=False)


def test_secrets_look_empty(person, world, view):
    needs(person, "read_only_mounts")
    told = person.shell(view, f"cd '{world}'; ls keys; cat token keys/id; cat beside/plain")
    assert (told.stdout, "secret" in told.stderr) == ("plain", False)
    assert person.shell(replace(view, hidden=()), f"cat '{world}/token'").stdout == "secret"


def test_secrets_are_closed_by_landlock_alone(person, world, view):
    needs(person, "landlock")
    told = only_landlock(person).shell(
        view, f"cd '{world}'; ls keys; cat token keys/id; cat beside/plain; echo x > place/new"
    )
    assert told.stdout == "plain"
    assert told.stderr.count("Permission denied") == 3
    assert (world / "place/new").read_text() == "x\n"


def test_memory_is_its_own(person, view):
    needs(person, "read_only_mounts")
    libc = ctypes.CDLL(None)
    block = shared_memory.SharedMemory(create=True, size=64)
    path = f"/dev/shm/{block.name.lstrip('/')}"
    os.chmod(path, 0o666)
    number = libc.shmget(0x676F76, 64, 0o1666)
    try:
        code = (
            "import ctypes, os; libc = ctypes.CDLL(None)\n"
            f"print(os.path.exists({path!r}), libc.shmget(0x676F76, 64, 0o666) >= 0)\n"
            "from multiprocessing import shared_memory as m\n"
            "print(m.SharedMemory(create=True, size=9, name='gov-inside').size > 0)\n"
        )
        open_view = replace(view, strict=False)
        assert python(person, open_view, code.partition("from")[0]).stdout == "True True\n"
        assert python(person, view, code).stdout == "False False\nTrue\n"
        assert not os.path.exists("/dev/shm/gov-inside")
    finally:
        libc.shmctl(number, 0, None)
        block.close()
        block.unlink()


CALLS = {"ptrace": (101, 117), "keyctl": (250, 219), "bpf": (321, 280), "add_key": (248, 217)}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("cut", [lambda person: person, only_landlock])
def test_calls_that_no_node_needs_are_refused(person, view, name, cut):
    if not person.support.calls:
        pytest.skip(person.support.calls_reason)
    number = CALLS[name][os.uname().machine != "x86_64"]
    code = (
        "import ctypes, errno; libc = ctypes.CDLL(None, use_errno=True)\n"
        f"libc.syscall({number}, 0, 0, 0, 0)\n"
        "ring = libc.syscall(425, 1, 0) < 0 and errno.errorcode[ctypes.get_errno()]\n"
        f"libc.syscall({number}, 0, 0, 0, 0)\n"
        "print(errno.errorcode.get(ctypes.get_errno()), ring)\n"
    )
    assert python(cut(person), view, code).stdout == "EPERM ENOSYS\n"


def test_nobody_outside_listens(person, world, view):
    needs(person, "read_only_mounts")
    path = str(world / "beside/daemon.sock")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as daemon:
        try:
            daemon.bind(path)
        except OSError:
            pytest.skip("the path of this folder is too long for a socket")
        daemon.listen()
        os.chmod(path, 0o777)
        code = f"import socket; socket.socket(socket.AF_UNIX).connect({path!r}); print('in')"
        assert python(person, replace(view, strict=False), code).stdout == "in\n"
        told = python(person, view, code)
        assert (told.stdout, told.returncode) == ("", 1)


def test_the_wire_is_not_read(person, view):
    code = "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)"
    told = python(person, view, code)
    assert "PermissionError" in told.stderr


FORKS = (
    "import os, time\n"
    "for _ in range(60):\n    if not os.fork():\n        time.sleep(30)\n        os._exit(0)\n"
    "time.sleep(30)"
)
EATS = (
    "b = bytearray(400 << 20)\nfor i in range(0, len(b), 4096): b[i] = 1\n"
    "import time; time.sleep(30)"
)
FILLS = (
    "f = open('{place}/big', 'wb')\nfor n in range(400): f.write(b'x' * (1 << 20)); f.flush()\n"
    "import time; time.sleep(30)"
)
MANY = (
    "for n in range(400):\n    with open(f'{place}/{{n}}', 'wb') as f: f.write(b'x' * (1 << 20))\n"
    "import time; time.sleep(30)"
)


@pytest.mark.parametrize(
    ("code", "limits", "says"),
    [
        (FORKS, sandbox.Limits(processes=20), "it ran more than 20 processes"),
        (EATS, sandbox.Limits(memory=200 << 20), "it took more than 200 MiB of memory"),
    ],
)
@pytest.mark.parametrize("cut", [lambda person: person, only_landlock])
def test_who_takes_too_much_is_ended_with_a_sentence(person, view, code, limits, says, cut):
    told = python(cut(person), replace(view, limits=limits), code)
    assert (told.returncode, told.stderr) == (124, f"{sandbox.ENDED}{says}\n")


def test_a_file_that_grows_without_end(person, world, view):
    code = FILLS.format(place=world / "place")
    told = python(person, replace(view, limits=sandbox.Limits(disk=64 << 20)), code)
    assert told.returncode in (1, 124)
    assert "File too large" in told.stderr or "it wrote more than 64 MiB" in told.stderr
    assert (world / "place/big").stat().st_size <= 65 << 20


def test_many_files_that_grow(person, world, view):
    limits = sandbox.Limits(disk=64 << 20)
    told = python(person, replace(view, limits=limits), MANY.format(place=world / "place"))
    assert told.returncode == 124
    assert told.stderr == f"{sandbox.ENDED}it wrote more than 64 MiB to the disk\n"


def test_within_its_limits_nothing_is_felt(person, view):
    limits = sandbox.Limits(processes=50, memory=1 << 30, disk=1 << 30)
    told = python(person, replace(view, limits=limits), "import time; time.sleep(0.7); print('ok')")
    assert (told.returncode, told.stdout) == (0, "ok\n")
    assert sys.platform == "linux"


CONNECTS = """
import socket
for kind, address in ((1, ("192.0.2.1", 81)), (1, ("127.0.0.1", 1)), (2, ("192.0.2.2", 53))):
    one = socket.socket(socket.AF_INET, kind)
    one.settimeout(0.1)
    try:
        one.sendto(b"x", address) if kind == 2 else one.connect(address)
    except OSError:
        pass
with open({file!r}, "a") as record:
    record.write("forged")
"""


@pytest.mark.parametrize("cut", [lambda person: person, only_landlock])
def test_every_address_is_written_down_whatever_connects(person, world, view, cut):
    if not person.support.calls:
        pytest.skip(person.support.calls_reason)
    file = world / "contacts"
    file.touch()
    give(person, world)
    view = replace(view, contacts=file, read_only=(file,))
    told = python(cut(person), view, CONNECTS.format(file=str(file)))
    assert told.returncode == 1, "it wrote into the record"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert {(row["host"], row["port"]) for row in rows} == {("192.0.2.1", 81), ("192.0.2.2", 53)}
    assert rows[0]["argv"][0] == person.python
