"""No road leads to prod: each is shown to work without the fence, and to fail with it."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from governance import sandbox
from governance.sandbox import landlock

from . import trespasses
from .conftest import give, needs

pytestmark = pytest.mark.privileged

NAMES = sorted(trespasses.ATTACKS)

# What Landlock alone does not know; the mounts do.  Exactly this stays open without mounts.
BEYOND_LANDLOCK = {
    "chmod",
    "chmod_by_descriptor",
    "chown",
    "inode_flags",
    "removexattr",
    "setxattr",
    "utime",
    "utime_by_descriptor",
}
# These open a road without ending on one of prod's files, or need a kernel feature that may be
# switched off; an ordinary user has no right to them anyway.
OPTIONAL = {
    "inode_flags",
    "io_uring",
    "nested_process_namespace",
    "nested_user_namespace",
    "sysrq",
}
FOR_ROOT_ONLY = {
    "bind_mount",
    "chroot",
    "cloned_tree",
    "core_pattern",
    "enter_outside_mounts",
    "file_handle",
    "memory_of_keeper",
    "mount_attributes",
    "new_filesystem_over_prod",
    "own_device_of_disk",
    "raw_disk",
    "remount",
    "root_of_keeper",
}


class Field:
    """One prod per attack, and what became of all of them after one run."""

    def __init__(self, person, folder, variant):
        self.person, self.folder, self.variant = person, folder, variant
        for name in NAMES:
            prod = folder / "prod" / name
            (prod / "package").mkdir(parents=True)
            (prod / "empty").mkdir()
            (prod / "module.py").write_text("original\n")
            (prod / "package/inner.py").write_text("original\n")
            os.setxattr(prod / "module.py", "user.ours", b"1")
            os.utime(prod / "module.py", (1_000_000, 1_000_000))
            (folder / "place" / name).mkdir(parents=True)
        give(person, folder)
        self.before = {name: self.picture(name) for name in NAMES}
        self.results = self.attacked()

    def picture(self, name):
        """Everything about this prod that an attack could change, seen from outside."""
        top = self.folder / "prod" / name
        return {
            str(path.relative_to(top)): (
                (facts := path.lstat()).st_mode,
                facts.st_nlink,
                facts.st_mtime_ns,
                facts.st_ctime_ns,
                facts.st_uid,
                os.listxattr(path, follow_symlinks=False),
                path.read_bytes() if path.is_file() and not path.is_symlink() else b"",
            )
            for path in (top, *top.rglob("*"))
        }

    def is_untouched(self, name):
        return self.picture(name) == self.before[name]

    def attacked(self):
        outside = subprocess.Popen(["sleep", "100"], cwd=self.folder, **self.person.as_user)
        try:
            done = self.run(outside.pid)
        finally:
            outside.kill()
            outside.wait()
        assert done.returncode == 0, done.stderr
        assert "BROKEN" not in done.stdout, done.stderr
        return json.loads(done.stdout)

    def run(self, outside):
        fenced = "no" if self.variant == "none" else "yes"
        argv = [self.person.python, trespasses.__file__, str(self.folder), str(outside), fenced]
        how = {"capture_output": True, "text": True, "cwd": "/", "timeout": 100}
        if self.variant == "none":
            return subprocess.run([*argv, *NAMES], **self.person.as_user, **how)
        view = sandbox.View(writable=(self.folder / "place",), strict="strict" in self.variant)
        person = self.person.only(**VARIANTS[self.variant])
        assert sandbox.isolation(view, person.support) == self.variant.partition(",")[0]
        return person.run(view, *argv, *NAMES, **how)


VARIANTS = {
    "full": {},
    "full, strict": {},
    "mounts": {"landlock": 0},
    "full, shared processes": {"pid_namespace": False},
    "mounts, shared processes": {"landlock": 0, "pid_namespace": False},
    "landlock": {"read_only_mounts": False, "pid_namespace": False, "layer": False},
}


# Harmless to prod; it takes a process namespace or Landlock's ABI 6.
STILL_POSSIBLE = {("mounts, shared processes", "signal_to_outside_process")}


@pytest.fixture(scope="module", params=["me", "nobody"])
def attacker(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def fields(attacker):
    """A field per variant, attacked on first use."""
    made = {}
    top = Path(tempfile.mkdtemp(prefix="gov fence "))
    top.chmod(0o755)

    def field(variant):
        if variant not in made:
            folder = top / variant
            folder.mkdir()
            made[variant] = Field(attacker, folder, variant)
        return made[variant]

    yield field
    shutil.rmtree(top)


@pytest.mark.parametrize("name", NAMES)
def test_works_without_the_fence(fields, attacker, name):
    field = fields("none")
    error = field.results[name]
    is_root = os.geteuid() == 0 and attacker.uid is None
    if error and (name in OPTIONAL or (name in FOR_ROOT_ONLY and not is_root)):
        pytest.skip(f"not possible here even without the fence: {error}")
    assert error is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "landlock"])
def test_fails_inside_the_fence(fields, attacker, variant, name):
    needs(attacker, "read_only_mounts", "pid_namespace")
    if variant.startswith("full"):
        needs(attacker, "landlock")
    field = fields(variant)
    assert field.is_untouched(name)
    if (variant, name) in STILL_POSSIBLE:
        assert field.results[name] is None
    else:
        assert field.results[name] is not None


@pytest.mark.parametrize("name", NAMES)
def test_landlock_alone_leaves_open_what_the_docs_say(fields, attacker, name):
    if attacker.support.landlock < 6:
        pytest.skip("signals are Landlock's business from ABI 6 on")
    field = fields("landlock")
    if name in BEYOND_LANDLOCK:
        assert fields("none").results[name] == field.results[name]
    else:
        assert field.results[name] is not None
        assert field.is_untouched(name)


def test_inherited_descriptors_do_not_lead_out(person, world):
    needs(person, "read_only_mounts")
    (world / "prod").mkdir()
    give(person, world)
    folder = os.open(world / "prod", os.O_RDONLY)
    try:
        done = person.shell(
            sandbox.View(writable=()), f"echo evil > /proc/self/fd/{folder}/x", pass_fds=(folder,)
        )
    finally:
        os.close(folder)
    assert done.returncode != 0
    assert "No such file" in done.stderr or "nonexistent" in done.stderr
    assert list((world / "prod").iterdir()) == []


def test_a_read_only_place_inside_a_writable_one_stays_closed(person, world):
    needs(person, "read_only_mounts")
    (world / "open/closed/open").mkdir(parents=True)
    give(person, world)
    place = world / "open"
    view = sandbox.View(writable=(place, place / "closed/open"), read_only=(place / "closed",))
    script = "touch open/a; touch open/closed/b; touch open/closed/open/c; touch d"
    person.shell(view, script, cwd=world)
    made = sorted(path.name for path in world.rglob("*") if path.is_file())
    assert made == ["a", "c"]


@pytest.mark.parametrize("variant", [{}, {"read_only_mounts": False, "pid_namespace": False}])
def test_without_a_writable_set_only_the_named_place_is_closed(person, world, variant):
    needs(person, "read_only_mounts", "landlock")
    (world / "prod/site-packages").mkdir(parents=True)
    (world / "comfyui/models").mkdir(parents=True)
    (world / "link").symlink_to(world / "prod/site-packages")
    give(person, world)
    view = sandbox.View(read_only=(world / "prod/site-packages",))
    script = "touch prod/site-packages/a; touch link/b; touch comfyui/models/c; echo > /dev/null"
    done = person.only(**variant).shell(view, script, cwd=world)
    assert done.stderr.count("cannot touch") == 2
    assert sorted(path.name for path in world.rglob("?")) == ["c"]


def test_the_operators_terminal_cannot_be_written_to(person):
    """Past the pipes: escape sequences of a node would be obeyed there."""
    needs(person, "read_only_mounts")
    ours, theirs = os.openpty()
    if person.uid is not None:
        os.fchown(theirs, person.uid, person.uid)
    how = {"start_new_session": True, "stdin": subprocess.DEVNULL}
    script = f"echo evil > {os.ttyname(theirs)}"
    person.shell(sandbox.View(writable=()), script, **how)
    os.set_blocking(ours, False)
    with pytest.raises(BlockingIOError):
        os.read(ours, 100)
    os.close(ours)
    os.close(theirs)


def test_the_operators_tmux_cannot_be_reached(person):
    """Many run ComfyUI under one, and its socket types into their shells."""
    needs(person, "read_only_mounts")
    folder = Path(f"/tmp/tmux-{os.geteuid() if person.uid is None else person.uid}")
    if folder.exists():
        pytest.skip("there is a tmux of this user's")
    folder.mkdir()
    server = socket.socket(socket.AF_UNIX)
    try:
        server.bind(str(folder / "default"))
        server.listen()
        give(person, folder)
        where = str(folder / "default")
        code = f"import socket; socket.socket(socket.AF_UNIX).connect({where!r})"
        argv = (person.python, "-c", code)
        assert person.run(sandbox.View(writable=()), *argv).returncode != 0
        # Without a fence it works.
        bare = person.only(read_only_mounts=False, landlock=0, pid_namespace=False)
        assert bare.run(sandbox.View(own_processes=False), *argv).returncode == 0
    finally:
        server.close()
        shutil.rmtree(folder)


def test_what_every_program_writes_still_works(person, world):
    needs(person, "read_only_mounts")
    (world / "place").mkdir()
    give(person, world)
    script = """
        set -e
        echo x > /dev/null; head -c 1 /dev/urandom > /dev/full 2> /dev/null || true
        echo x > /dev/shm/gov-$$; rm /dev/shm/gov-$$
        echo gov > /proc/self/comm
        sh -c 'echo to-stdout > /dev/stdout' | cat
        python3 -c 'import os, pty; os.write(pty.openpty()[0], b"x")'
        cd place; echo x > a; mv a b; mkdir c; mv b c/b; ln c/b d; chmod 700 d; rm -r c
        """
    done = person.shell(sandbox.View(writable=(world / "place",)), script, cwd=world)
    assert (done.returncode, done.stdout, done.stderr) == (0, "to-stdout\n", "")


def test_a_missing_writable_place_starts_nothing(person, world):
    needs(person, "read_only_mounts")
    done = person.shell(sandbox.View(writable=(world / "missing",)), "echo ran")
    assert done.returncode == 125
    assert done.stdout == ""
    assert done.stderr == f"gov-sandbox: {world}/missing: No such file or directory\n"


def test_a_place_that_vanished_since_it_was_listed_keeps_nobody_from_starting(tmp_path):
    """Temporary files of others come and go in /tmp."""
    landlock._allow(-1, str(tmp_path / "gone"), 0)
    with pytest.raises(OSError):
        landlock._allow(-1, str(tmp_path), 0)
