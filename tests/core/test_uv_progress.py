"""How far uv is, in words."""

import os
import random
import sys
import time
from contextlib import contextmanager

import pytest

from governance.base.errors import GovError
from governance.boundaries import uv_progress
from governance.boundaries.uv import Uv
from governance.boundaries.uv_progress import Fetching, size_of
from governance.sample.index import serve
from governance.sample.wheels import Wheel, build_all
from governance.truth import resolution

# As uv 0.13.9 writes them without a terminal.
BEGUN = [
    "Using CPython 3.11.7 interpreter at: /usr/bin/python3",
    "Resolved 17 packages in 1ms",
    "Downloading opencv-python-headless (58.4MiB)",
    "Downloading nvidia-nccl-cu12 (1.5GiB)",
    "Downloading pillow (976.6KiB)",
]


@pytest.fixture
def cache(tmp_path):
    (tmp_path / "archive-v0/before").mkdir(parents=True)
    return tmp_path


def heard(shown, lines):
    for line in lines:
        shown.hear(line)
    return shown.words()


def unpack(cache, *names):
    for name in names:
        (cache / "archive-v0" / name).mkdir()


def test_downloads_are_told_by_bytes_and_packages(cache):
    shown = Fetching("building the environment", cache)
    assert shown.words() == "building the environment"
    told = heard(shown, BEGUN)
    assert told == "downloading nvidia-nccl-cu12 and 2 more: 0 MB of 1.7 GB"
    unpack(cache, "one", "two")
    told = heard(shown, [" Downloaded nvidia-nccl-cu12", " Downloaded pillow"])
    assert told == "downloading opencv-python-headless: 1.6 GB of 1.7 GB, 2 packages"
    told = heard(shown, [" Downloaded opencv-python-headless", "Prepared 14 packages in 6.52s"])
    assert told == "building the environment: laying out 14 packages"


def test_small_packages_are_counted_and_builds_named(cache):
    shown = Fetching("locking", cache)
    unpack(cache, "one")
    assert shown.words() == "locking: 1 package"
    assert heard(shown, ["   Building insightface==0.7.3"]) == (
        "building insightface==0.7.3; 1 package"
    )
    assert heard(shown, ["      Built insightface==0.7.3"]) == "locking: 1 package"


def test_how_many_are_to_come_is_asked_once_and_late(cache, monkeypatch):
    asked = []

    def dry_run():
        asked.append(1)
        return "Would download 3 packages\nWould install 14 packages\n"

    shown = Fetching("building", cache, dry_run)
    unpack(cache, "one")
    assert (shown.words(), asked) == ("building: 1 package", [])
    monkeypatch.setattr(uv_progress, "_COUNTING_SECONDS", 0.0)
    assert shown.words() == "building: 1 of 4 packages"
    unpack(cache, "two", "three", "four", "of another uv")
    assert shown.words() == "building: 4 of 4 packages"
    assert asked == [1]


@pytest.mark.parametrize("said", ["Would make no changes", GovError("uv", hint="")])
def test_where_that_is_not_known_there_is_no_end(cache, monkeypatch, said):
    def dry_run():
        if isinstance(said, GovError):
            raise said
        return said

    monkeypatch.setattr(uv_progress, "_COUNTING_SECONDS", 0.0)
    shown = Fetching("building", cache, dry_run)
    unpack(cache, "one")
    assert shown.words() == "building: 1 package"


def test_what_it_writes_tells_that_it_moves(cache, tmp_path):
    shown = Fetching("building", cache)
    shown.begins(os.getpid())
    assert "unpacked" in heard(shown, BEGUN)
    (tmp_path / "file").write_bytes(bytes(50_000_000))
    time.sleep(0.05)
    told = shown.words()
    rate = int(told.split(" MB/s unpacked")[0].rpartition(" ")[2])
    assert rate > 0, told


def test_a_program_that_is_gone_has_no_rate(cache):
    shown = Fetching("building", cache)
    shown.begins(2**22 + 1)
    assert "unpacked" not in heard(shown, BEGUN)


def test_sizes():
    assert [size_of(n) for n in (0, 1_600_000, 999_400_000, 2_140_000_000)] == [
        "0 MB", "2 MB", "999 MB", "2.1 GB",
    ]  # fmt: skip


def test_the_real_uv_says_what_is_read_here(tmp_path):
    """Should another version of uv use other words, this is what tells."""
    text = f"DATA = '{random.Random(1).randbytes(2_000_000).hex()}'\n"
    folder = tmp_path / "wheels"
    folder.mkdir()
    build_all(
        [Wheel("big", "1.0", ("small",), modules={"big.py": text}), Wheel("small", "1")], folder
    )
    seen, foreseen = [], []

    @contextmanager
    def during(words):
        shown = words.__self__
        foreseen.append(shown._dry_run() if shown._dry_run else "")
        yield
        seen.append(shown)

    uv = Uv(tmp_path / "cache", os.environ, during=during)
    version = ".".join(map(str, sys.version_info[:3]))
    place = tmp_path / "project"
    with serve(folder) as index:
        indexes = [resolution.Index(index.url)]
        settings = resolution.Settings(sys.executable, version, indexes=indexes)
        project = resolution.Project(resolution.new_project(settings, ["big"]))
        resolution.stage(place, project, None)
        assert resolution.lock(uv, place, project).ok
        environment = tmp_path / "env"
        uv.sync(place, environment, python=version, link_mode="copy", offline=False)
    assert "Would download 2 packages" in foreseen[1].splitlines()
    synced = seen[1]
    size = next(folder.glob("big-*")).stat().st_size
    assert abs(synced._sizes["big"] - size) < 60_000, "uv rounds to a tenth of a MiB"
    assert (synced._done, synced._prepared) == ({"big"}, 2)
    assert uv_progress._unpacked(uv.cache) - synced._before == 2
    assert (environment / "bin/python").exists()
    assert not (uv.cache / "no-environment").exists()
