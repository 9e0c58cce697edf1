"""After a kill nothing waits for ever, and `gov clean` takes nothing that going back needs."""

import fcntl
import functools
import io
import os
import signal
import tarfile
import time
from pathlib import Path

import pytest

from governance.boundaries import scratch, store
from governance.sample import world

from . import figures

DEAD = 2**22 - 1
# Builds itself with the standard library, once.
BACKEND = """\
import zipfile
def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "rawlib-1.0-py3-none-any.whl"
    about = "rawlib-1.0.dist-info/"
    files = {"rawlib.py": "", about + "WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\n"
             "Tag: py3-none-any\\n", about + "METADATA": "Metadata-Version: 2.2\\nName: rawlib\\n"
             "Version: 1.0\\n"}
    rows = "".join(f"{path},,\\n" for path in [*files, about + "RECORD"])
    with zipfile.ZipFile(f"{folder}/{name}", "w") as archive:
        for path, text in {**files, about + "RECORD": rows}.items():
            archive.writestr(path, text)
    return name
"""
PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = ["."]\n'


def left(stage, temporary):
    """What nobody uses: probes, candidates of nobody, folders for a moment, locks of uv."""
    hidden = [
        p for f in (".venv-candidate", ".generations") for p in (stage.root / f).glob(".pro*")
    ]
    return [*hidden, *temporary.iterdir()]


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The machine's folder for temporary files, of this test alone."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_killed_in_the_probe_of_the_sandbox(stage, temporary):
    stage.rewind("settled")
    found = None
    for _ in range(10):
        child = stage.start(("tx", "run", "idle"))
        while child.poll() is None and not found:
            found = next((stage.root / ".venv-candidate").glob(".probe-*"), None)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        if found and found.exists():
            break
        found = None
    assert found and found.exists(), "it was never caught in the probe"
    wait_for_end_of_what_names(found)
    stage.gov("node", "remove", "ready").ok()
    assert left(stage, temporary) == []


def wait_for_end_of_what_names(folder):
    """The probe itself outlives its gov by a moment, and writes there meanwhile."""
    until = time.monotonic() + 20
    while time.monotonic() < until and any(map(functools.partial(_names, folder), _processes())):
        time.sleep(0.02)


def _processes():
    return [path for path in Path("/proc").iterdir() if path.name.isdigit()]


def _names(folder, process):
    try:
        return os.fsencode(folder) in (process / "cmdline").read_bytes()
    except OSError:
        return False


@pytest.mark.parametrize("seconds", [0.3, 0.6, 1.0, 1.6][: figures.size(2, 4)])
def test_killed_anywhere_the_next_verb_leaves_nothing(stage, temporary, seconds):
    stage.rewind("settled")
    child = stage.start(("tx", "run", "idle"))
    time.sleep(seconds)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    stage.gov("node", "remove", "ready").ok()
    assert left(stage, temporary) == []


def test_nothing_is_left_where_nobody_kills(stage, temporary):
    stage.rewind("settled")
    stage.gov("tx", "run", "idle").ok()
    assert left(stage, temporary) == [], "uv's own locks among them"


def test_what_is_in_use_stays(stage, temporary):
    """`gov run` probes without the lock; one in another container is known by its lock alone."""
    stage.rewind("settled")
    candidates = stage.root / ".venv-candidate"
    dead = [candidates / f".probe-{DEAD}.1-abc", temporary / f"gov-explain-{DEAD}.1-abc"]
    away = candidates / f".probe-{DEAD}.1-def"
    stranger = temporary / "gov-mine"
    for folder in (*dead, away, stranger):
        (folder / "inner").mkdir(parents=True)
    descriptor = os.open(away, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    with scratch.folder("", within=candidates, prefix=scratch.PROBE) as ours:
        stage.gov("clean").ok()
        assert [path.exists() for path in (ours, away, stranger, *dead)] == [True] * 3 + [False] * 2
    os.close(descriptor)
    stage.gov("clean").ok()
    assert not away.exists()


def test_a_candidate_goes_with_its_transaction(stage):
    """Killed between the promotion and the clean-up, nobody else would delete it."""
    stage.rewind("settled")
    txid = stage.names["ready"]
    folder = stage.root / ".venv-candidate" / txid
    stage.gov("tx", "promote", txid, "--keep").ok()
    stage.gov("node", "remove", "idle").ok()
    assert folder.is_dir(), "it was kept on purpose"
    (folder / ".goes").touch()
    (folder.parent / "init-smoke").mkdir()
    (folder.parent / f"{txid}-try1").mkdir()
    stage.gov("node", "remove", "clash").ok()
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(txid[:15])] == []
    assert not (folder.parent / "init-smoke").exists()


# --- the cache --------------------------------------------------------------------------------


def test_the_oldest_snapshot_can_be_built_again_without_network(served):
    served.rewind("served")
    served.set(storage__uv_cache_dir=".uv-cache", storage__generations_keep=1)
    write_source(served.wheels)
    oldest = promote(served, "lark==1.1.9\nrawlib\n")
    promote(served, "lark==1.2.2\n")
    assert promote(served, "tqdm\n", end="abort") is None
    served.gov("node", "remove", "older").ok()
    prod = (served.root / ".venv-prod").readlink().name
    for folder in (served.root / ".generations").iterdir():
        if not folder.name.startswith(prod):
            store.remove_tree(folder)
    assert cached(served, "tqdm/4")
    gone = served.gov.json("clean").ok().data["deleted"]
    assert any(text.startswith(".uv-cache: tqdm 4") for text in gone)
    assert not cached(served, "tqdm/4")
    assert cached(served, "lark/1.1.9"), "a snapshot names it"
    served.server.requests.clear()
    served.server.fail("", "reset")
    try:
        served.gov("rollback", oldest).ok()
    finally:
        served.server.heal()
    site = next((served.root / ".venv-prod/lib").glob("python3*")) / "site-packages"
    assert (site / "lark-1.1.9.dist-info").is_dir()
    assert (site / "rawlib.py").is_file()


def promote(stage, lines, *, end="promote"):
    """The snapshot behind it."""
    repository = stage.folder / "older"
    world.write_node(repository, "older", {"__init__.py": "", "requirements.txt": lines})
    known = (stage.comfyui / "custom_nodes/older").exists()
    words = ("node", "update", "older") if known else ("node", "add", repository / "older")
    ended = stage.gov.json(*words).ok()
    txid = ended.data["txid"] if known else stage.gov.json("tx", "run", "older").ok().data["txid"]
    return stage.gov.json("tx", end, txid).ok().data.get("post_snapshot")


def cached(stage, name):
    return list(Path(stage.root / ".uv-cache").glob(f"wheels-v*/index/*/{name}*"))


def write_source(folder):
    about = "Metadata-Version: 2.2\nName: rawlib\nVersion: 1.0\n"
    files = {"PKG-INFO": about, "b.py": BACKEND, "pyproject.toml": PYPROJECT}
    with tarfile.open(folder / "rawlib-1.0.tar.gz", "w:gz") as archive:
        for path, text in files.items():
            entry = tarfile.TarInfo(f"rawlib-1.0/{path}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
