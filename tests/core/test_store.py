"""The one door to the disk: documents whole, links never followed, errors that name the file."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from support.pipes import talking_pipe

from core.death import dying
from governance.base.errors import Damaged, GovError
from governance.boundaries import store


def test_a_kill_anywhere_leaves_the_old_bytes_or_the_new(tmp_path, monkeypatch):
    path = tmp_path / "document.json"
    with dying(monkeypatch) as clock:
        store.write(path, b"old")
    found = set()
    for at in range(clock.acts + 1):
        path.write_bytes(b"old")
        with dying(monkeypatch, at):
            store.write(path, b"new")
        found.add(path.read_bytes())
    assert found == {b"old", b"new"}


def test_a_document_is_replaced_never_written_in_place(tmp_path):
    """Whoever has the old one open, or a second name for it, keeps all of it."""
    path = tmp_path / "document.json"
    path.write_bytes(b"old")
    os.link(path, tmp_path / "second-name")
    store.write(path, b"new")
    assert (tmp_path / "second-name").read_bytes() == b"old"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_failing_disk_keeps_the_old_bytes_and_leaves_nothing_behind(
    tmp_path, monkeypatch, number
):
    path = tmp_path / "document.json"
    path.write_bytes(b"old")

    def fails(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(GovError) as caught:
        store.write(path, b"new")
    assert caught.value.code == "disk"
    assert str(path) in caught.value.message
    assert [p.name for p in tmp_path.iterdir()] == ["document.json"]
    assert path.read_bytes() == b"old"


def test_nothing_is_written_through_a_folder_that_is_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "state").symlink_to("elsewhere")
    for act in (
        lambda: store.write(tmp_path / "state/x.json", b"x"),
        lambda: store.make_folder(tmp_path / "state"),
        lambda: store.move(tmp_path / "elsewhere", tmp_path / "state/y"),
    ):
        with pytest.raises(GovError, match="is a link") as caught:
            act()
        assert caught.value.code == "unexpected_link"
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_document_that_is_a_link_is_replaced_not_followed(tmp_path):
    (tmp_path / "foreign").write_bytes(b"theirs")
    (tmp_path / "document.json").symlink_to("foreign")
    store.write(tmp_path / "document.json", b"ours")
    assert (tmp_path / "foreign").read_bytes() == b"theirs"
    assert not (tmp_path / "document.json").is_symlink()


def test_deleting_a_link_leaves_what_it_leads_to(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").write_text("kept")
    (tmp_path / "doomed").mkdir()
    (tmp_path / "doomed/link").symlink_to(tmp_path / "kept")
    (tmp_path / "link").symlink_to("kept")
    store.remove_tree(tmp_path / "doomed")
    store.remove_tree(tmp_path / "link")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kept"]
    assert (tmp_path / "kept/file").read_text() == "kept"


def test_a_tree_deeper_than_any_path_is_deleted(tmp_path):
    """As a node may leave one in its candidate; rmtree ended in a RecursionError."""
    (tmp_path / "tree").mkdir()
    here = os.open(tmp_path / "tree", os.O_RDONLY)
    for _ in range(2500):
        os.mkdir("d", dir_fd=here)
        os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=here))
        deeper = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    store.remove_tree(tmp_path / "tree")
    assert not list(tmp_path.iterdir())


def test_a_pipe_in_place_of_a_document_is_not_waited_for(tmp_path):
    talking_pipe(tmp_path / "document.json", "{}")
    for read in (store.read_object, store.read_bytes, store.file_digest):
        with pytest.raises(Damaged, match="no file"):
            read(tmp_path / "document.json")


def test_what_is_no_folder_is_deleted_too(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    store.remove_tree(tmp_path / "pipe")
    store.remove_tree(tmp_path / "missing")
    assert not list(tmp_path.iterdir())


def test_sealed_files_and_folders_are_deleted_by_their_owner(tmp_path, readable_copy):
    if os.geteuid() != 0:
        store.remove_tree(_sealed(tmp_path / "tree"))
        assert not (tmp_path / "tree").exists()
        return
    done = subprocess.run(
        [sys.executable, "-I", "-c", _DELETE_AS_NOBODY, str(readable_copy)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


_DELETE_AS_NOBODY = """
import os, sys, tempfile
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from governance.base import errors
from governance.boundaries import store
os.setgid(65534); os.setuid(65534)
root = Path(tempfile.mkdtemp())
tree = root / "tree"
(tree / "deep/er").mkdir(parents=True)
for folder in (tree, tree / "deep", tree / "deep/er"):
    (folder / "file").write_text("x")
    (folder / "file").chmod(0o444)
for folder in (tree / "deep/er", tree / "deep", tree):
    folder.chmod(0o555)
store.remove_tree(tree)
assert not tree.exists()
root.rmdir()
"""


@pytest.fixture
def readable_copy():
    """The modules that are needed, where everybody may read them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        source = Path(store.__file__).parent.parent
        for module in (
            "__init__.py",
            "base/__init__.py",
            "base/errors.py",
            "boundaries/__init__.py",
            "boundaries/store.py",
        ):
            target = folder / "governance" / module
            target.parent.mkdir(mode=0o755, exist_ok=True)
            shutil.copy(source / module, target)
        yield folder


def _sealed(tree):
    (tree / "deep/er").mkdir(parents=True)
    for folder in (tree / "deep/er", tree / "deep", tree):
        (folder / "file").write_text("x")
        (folder / "file").chmod(0o444)
        folder.chmod(0o555)
    return tree


def test_the_prod_link_never_takes_the_place_of_a_folder(tmp_path):
    (tmp_path / "link").mkdir()
    (tmp_path / "link/file").write_text("theirs")
    with pytest.raises(GovError, match="not the link") as caught:
        store.point_link(tmp_path / "link", "new")
    assert caught.value.code == "unexpected_file"
    assert (tmp_path / "link/file").read_text() == "theirs"


READER = """
import pathlib, sys
link, ready = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
seen = {"old": 0, "new": 0}
ready.touch()
while not (ready.parent / "stop").exists():
    names = {}
    exec((link / "module.py").read_bytes(), names)
    seen[names["NAME"]] += 1
print(seen)
"""


def test_a_reader_that_imports_through_the_link_sees_old_or_new_never_nothing(bare, tmp_path):
    """A reader polls all the while; any moment without prod makes it end in an error."""
    ready = tmp_path / "ready"
    argv = [sys.executable, "-I", "-c", READER, str(bare.prod), str(ready)]
    reader = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not ready.exists() and reader.poll() is None:
        time.sleep(0.01)
    for turn in range(400):
        store.point_link(bare.prod, f".generations/{('new', 'old')[turn % 2]}")
    (tmp_path / "stop").touch()
    out, err = reader.communicate(timeout=20)
    assert reader.returncode == 0, err
    seen = eval(out)
    assert seen["old"] and seen["new"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting"),
        (b'{"a": 1, "a": 2}', "'a' stands twice"),
        (b'{"deep": {"b": 1, "b": 1}}', "'b' stands twice"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a": ' * 200_000, "nested too deeply"),
        (b"\xff\xfe{}", "utf-8"),
        (b"[1]", "holds a list"),
    ],
)
def test_a_damaged_document_is_named_and_left_alone(tmp_path, text, why):
    path = tmp_path / "document.json"
    path.write_bytes(text)
    with pytest.raises(Damaged) as caught:
        store.read_object(path)
    assert str(path) in caught.value.message
    assert why in caught.value.message
    assert "rollback" in caught.value.hint
    assert path.read_bytes() == text


def test_a_document_of_absurd_size_is_not_read(tmp_path):
    path = tmp_path / "document.json"
    with open(path, "wb") as stream:
        stream.truncate(store.MAX_DOCUMENT_BYTES + 1)
    with pytest.raises(Damaged, match="larger than"):
        store.read_json(path)


def test_no_place_for_temporary_files_is_the_machines_trouble(monkeypatch):
    def fails(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(os, "open", fails)
    with pytest.raises(FileNotFoundError) as caught:
        tempfile.mkdtemp()
    told = store.machine_error(caught.value)
    assert told is not None
    assert told.code == "disk"
    assert "temporary" in told.message
    assert "TMPDIR" in told.hint
