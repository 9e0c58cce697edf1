"""The tests' own way back: what they begin with is as it was, whatever the one before did."""

import os
import shutil

import pytest
from support.rewound import Beginnings, Rewound


def facts(folder):
    found = {}
    for path in sorted(folder.rglob("*")):
        now = path.lstat()
        kept = (now.st_mode, now.st_mtime_ns)
        if not path.is_dir():
            kept += (now.st_ino, now.st_size)
        found[path] = (*kept, path.read_bytes() if path.is_file() else b"")
    return found


@pytest.fixture
def live(tmp_path):
    folder = tmp_path / "live"
    (folder / "below/deeper").mkdir(parents=True)
    (folder / "below/one.py").write_text("one")
    (folder / "below/deeper/two.py").write_text("two")
    (folder / "again.py").hardlink_to(folder / "below/one.py")
    (folder / "link").symlink_to("below")
    return folder


def write_in_place(folder):
    """Of the same size, at the same time."""
    path = folder / "below/one.py"
    times = path.stat()
    path.write_text("two")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def replace(folder):
    (folder / "new").write_text("one")
    (folder / "new").replace(folder / "below/one.py")


def make_a_link_a_folder(folder):
    (folder / "link").unlink()
    (folder / "link").mkdir()


@pytest.mark.parametrize(
    "harm",
    [
        write_in_place,
        replace,
        make_a_link_a_folder,
        lambda folder: (folder / "below/one.py").chmod(0o600),
        lambda folder: (folder / "below/more").mkdir(),
        lambda folder: (folder / "again.py").unlink(),
        lambda folder: shutil.rmtree(folder / "below"),
    ],
)
def test_it_is_as_it_was(live, tmp_path, harm):
    before = facts(live)
    rewound = Rewound(live, tmp_path / "kept")
    for _ in range(2):
        harm(live)
        assert facts(live) != before
        rewound.rewind()
        assert facts(live) == before


def test_a_beginning_is_made_once_for_each_way_to_make_it(tmp_path):
    made = []

    def make(folder, text):
        made.append(text)
        (folder / "file").write_text(text)
        return folder

    places = iter([tmp_path / "a", tmp_path / "b"])
    beginnings = Beginnings(lambda: next(places))
    first = beginnings(make, "one")
    assert beginnings(make, "two") != first
    (first / "file").unlink()
    assert beginnings(make, "one") == first
    assert (first / "file").read_text() == "one"
    assert made == ["one", "two"]
