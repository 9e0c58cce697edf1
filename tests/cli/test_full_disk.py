"""A full or read-only disk: one error that says so, truth and prod as they were."""

import os
import shutil
import subprocess

import pytest
from support.fingerprint import truth_and_prod
from support.refusal import assert_told
from support.worlds import make_site

pytestmark = pytest.mark.privileged
SIZE = "96m"


@pytest.fixture
def small(tmp_path):
    """A filesystem of its own, which can be filled and emptied."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", place]
    done = subprocess.run(command, capture_output=True, text=True) if os.geteuid() == 0 else None
    if done is None or done.returncode != 0:
        pytest.skip(f"no filesystem can be mounted here: {done.stderr if done else 'not root'}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def site(small, world):
    site = make_site(small, world, storage__uv_cache_dir=".uv-cache")
    site.add("sample-captioner")
    return site


def fill(site, spare=0):
    """All but `spare` bytes."""
    path = site.root.parent / "filler"
    free = shutil.disk_usage(site.root).free
    # Unbuffered: what a full disk left in a buffer, closing the file would try to write once more.
    with path.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(1 << 16))
    with path.open("r+b") as file:
        file.truncate(max(0, path.stat().st_size - spare))
    assert free >= spare
    return path


def argvs(site, txid):
    return {
        "tx run": ("tx", "run", "sample-captioner"),
        "tx promote": ("tx", "promote", txid),
        "node add": ("node", "add", site.world.repos / "three-packages"),
        "node remove": ("node", "remove", "sample-captioner"),
        "tx abort": ("tx", "abort", txid),
    }


@pytest.mark.family(1)
@pytest.mark.parametrize("spare", [0, 1 << 14, 1 << 18])
def test_every_writer_says_it_and_works_again_afterwards(site, spare):
    txid = site.run("sample-captioner")
    before = truth_and_prod(site.root)
    for verb, argv in argvs(site, txid).items():
        filler = fill(site, spare)
        ended = site.gov("-q", *argv)
        filler.unlink()
        if ended.code == 0:
            assert spare, (verb, ended)
            break
        assert_told(ended, 1)
        # With some bytes to spare the observed program may be what fails, in its own words.
        if spare == 0 or not verb.startswith("tx"):
            assert ended.problems("hint")[0].startswith("hint: free some space"), (verb, ended)
        assert truth_and_prod(site.root) == before, verb
        site.gov("status").ok()
    site.gov("node", "add", site.world.repos / "import-sleeps").ok()


def test_a_read_only_disk(site):
    before = truth_and_prod(site.root)
    txid = site.run("sample-captioner")
    subprocess.run(["mount", "-o", "remount,ro", site.root.parent], check=True)
    for verb, argv in argvs(site, txid).items():
        ended = assert_told(site.gov("-q", *argv), 1)
        assert "mend the permissions" in ended.problems("hint")[0], verb
    site.gov("status").ok()
    subprocess.run(["mount", "-o", "remount,rw", site.root.parent], check=True)
    assert truth_and_prod(site.root) == before
