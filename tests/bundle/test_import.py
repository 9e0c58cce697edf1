"""gov import of a bundle: the same installation, on a machine that knows nothing of the first."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from support.fingerprint import truth_and_prod
from support.refusal import assert_refused

from governance.sample import world as sample

from .conftest import FILE, LOOSE, Place, classes, generation, git, members


def files(site):
    """Every file of prod by its bytes; its own path stands in scripts, and byte code in times."""
    top = (site.root / ".venv-prod").resolve()
    found = {}
    for path in sorted(top.rglob("*")):
        name = str(path.relative_to(top))
        if path.is_file() and "__pycache__" not in name and not name.startswith("bin/"):
            found[name] = path.read_bytes()
    return {name: data for name, data in found.items() if not name.endswith("RECORD")}


def test_it_is_the_same_installation_without_any_index(target, bundle, origin, pypi):
    pypi.requests.clear()
    before = truth_and_prod(target.root)
    run = target.gov("import", bundle).ok()
    assert "taken exactly:" in run.out
    assert "uv.lock: every package at its version, byte for byte" in run.out
    assert truth_and_prod(target.root) == before, "prod moves with the promote"
    assert not (target.nodes / "loose").exists()
    txid = run.out.split("gov tx promote ")[1].split()[0]
    target.gov("tx", "promote", txid).ok()
    assert pypi.requests == []

    assert (target.root / "uv.lock").read_bytes() == (origin.root / "uv.lock").read_bytes()
    assert generation(target).key == generation(origin).key
    assert files(target) == files(origin)
    assert {"LooseOne", "SampleCaptioner", "SampleThree", "SingleTwo"} <= set(classes(target))
    assert (target.nodes / "loose/__init__.py").read_text() == LOOSE
    assert (target.nodes / "single.py").is_file()
    assert (target.nodes / "shares-cowsay.disabled").is_dir()
    assert "EDITED" in (target.nodes / "sample-captioner/__init__.py").read_text()
    assert target.head("sample-captioner") == origin.head("sample-captioner")
    assert git(target.nodes / "three-packages", "status", "--porcelain") == ""
    assert target.gov("verify").ok()
    rows = {row["id"]: row for row in json.loads((target.root / "state/plugins.json").read_text())}
    assert rows["three-packages"]["added_deps"] == ["lark"]
    assert rows["loose"]["path"] == str(target.nodes / "loose")
    assert target.gov("node", "enable", "shares-cowsay").ok()
    assert target.gov("undo").ok()


@pytest.mark.thorough
def test_it_can_be_taken_back(target, bundle):
    before = target.installed()
    txid = target.gov.json("import", bundle).ok().data["txid"]
    target.gov("tx", "promote", txid).ok()
    assert target.installed() != before
    target.gov("undo").ok()
    assert target.installed() == before


def test_a_dry_run_tells_and_leaves_nothing(target, bundle):
    before = truth_and_prod(target.root)
    told = target.gov("import", bundle, "--dry-run").ok()
    assert "taken exactly:" in told.out
    assert truth_and_prod(target.root) == before
    assert target.gov.json("status").ok().data["transactions_total"] == 0
    assert not (target.root / ".wheels").exists()
    assert not [*(target.root / "state/work").glob("import-*")]


@pytest.mark.family(1)
@pytest.mark.parametrize("other_platform", ["platform", "python"], indirect=True)
def test_elsewhere_it_locks_anew_with_the_versions_as_wishes(target, other_platform):
    """As a bundle of another platform, or of a Python that nobody has here."""
    run = target.gov.json("import", other_platform).ok().data
    assert "the lock: it was locked for " in run["brought"]["lost"][0]
    assert run["preferences"]["cowsay"] == "5.0"
    target.gov("tx", "promote", run["txid"], "--approve-core", "--reason", "test").ok()
    assert target.installed()["cowsay"] == "5.0", "the version that it had, not the newest"


@pytest.fixture
def other_platform(bundle, tmp_path, request):
    from governance.bundle import archive, contents

    from .conftest import members, told

    held = members(bundle)
    row = told(bundle)
    held.pop("bundle.json")
    lock = held["uv.lock"].decode()
    if request.param == "platform":
        row["platform"] = "Elsewhere-x86"
    else:
        minor = ".".join(row["python"].split(".")[:2])
        row["python"] = "3.99.1"
        held["pyproject.toml"] = held["pyproject.toml"].replace(minor.encode(), b"3.99")
        lock = lock.replace(minor, "3.99")
    held["uv.lock"] = lock.replace('version = "6.1"', 'version = "5.0"').encode()
    held = {name: data for name, data in held.items() if not name.startswith("wheels/")}
    path = tmp_path / "other.gov.tar"
    archive.write(path, contents.read(row, "other"), held)
    return path


def test_what_lies_in_the_way_is_not_overwritten(target, bundle):
    (target.nodes / "loose").mkdir()
    (target.nodes / "loose/__init__.py").write_text("mine = 1\n")
    assert_refused(target, "import", bundle, code=2, says="loose", named="folder_exists")


def test_a_missing_file(target, tmp_path):
    assert_refused(target, "import", tmp_path / FILE, code=2, named="not_found")


@pytest.mark.thorough
def test_a_folder_of_packages(settled, target, tmp_path, world):
    """It comes with the wheels, or where the operator has such a folder himself."""
    path = tmp_path / FILE
    settled.site.gov("export", path, "--with-code").ok()
    assert_refused(target, "import", path, code=2, named="no_index")
    run = target.gov.json("import", path, "--index", world.wheels).ok().data
    assert "uv.lock: every package at its version" in run["brought"]["exact"]
    full = tmp_path / "full.tar"
    settled.site.gov("export", full, "--with-code", "--with-wheels").ok()
    run = target.gov.json("import", full).ok().data
    target.gov("tx", "promote", run["txid"]).ok()
    assert (target.root / ".wheels").is_dir()
    assert str(target.root / ".wheels") in (target.root / "uv.lock").read_text()


# --- roads ------------------------------------------------------------------------------------


def test_comfyui_moves_to_its_commit_and_back(target, bundle, origin):
    """Here it is a commit further than where the bundle was made."""
    (target.comfyui / "newer.txt").write_text("newer\n")
    ahead = sample.commit(target.comfyui, "newer")
    target.gov("init", target.root).ok()
    run = target.gov.json("import", bundle).ok().data
    assert any(f"(here it is at {ahead[:12]})" in text for text in run["brought"]["exact"])
    assert (target.comfyui / "newer.txt").is_file(), "nothing moves before the promote"
    target.gov("tx", "promote", run["txid"]).ok()
    assert not (target.comfyui / "newer.txt").exists()
    assert git(target.comfyui, "rev-parse", "HEAD") == git(origin.comfyui, "rev-parse", "HEAD")
    target.gov("undo").ok()
    assert git(target.comfyui, "rev-parse", "HEAD") == ahead


@pytest.mark.thorough
def test_on_a_prod_that_moved_it_is_observed_again(target, bundle, world):
    """What another change brought meanwhile is replaced, as the import says."""
    txid = target.gov.json("import", bundle).ok().data["txid"]
    pin = target.gov.json("pin", "pyyaml==6.0.2", "--promote").ok()
    assert pin.data["status"] == "promoted"
    done = target.gov.json("tx", "promote", txid, "--rebase").ok()
    assert done.data["txid"] != txid
    again = target.gov.json("tx", "inspect", done.data["txid"]).ok().data
    assert again["brought"]["file"] == FILE
    assert "lark" in target.installed()


def test_promote_at_once(target, bundle):
    data = target.gov.json("import", bundle, "--promote").ok().data
    assert data["status"] == "promoted"
    assert "lark" in target.installed()


@pytest.mark.thorough
def test_edits_of_a_node_are_not_overwritten(target, bundle):
    """The same node is governed here, and somebody works on a file that would move."""
    target.gov("import", bundle, "--promote").ok()
    with (target.nodes / "sample-captioner/__init__.py").open("a") as stream:
        stream.write("MINE = True\n")
    ended = target.gov.json("import", bundle)
    assert ended.code == 3, ended
    assert ended.error["code"] == "local_changes"
    assert "MINE" in (target.nodes / "sample-captioner/__init__.py").read_text()
    done = target.gov.json("import", bundle, "--discard-local", "--promote").ok()
    assert done.data["status"] == "promoted"
    assert "MINE" not in (target.nodes / "sample-captioner/__init__.py").read_text()


@pytest.fixture
def remote(tmp_path, world):
    """A host that speaks git, with one node; `git daemon` on the loopback."""
    if not (Path(git(world.repos / "shares-cowsay", "--exec-path")) / "git-daemon").exists():
        pytest.skip("this git has no daemon")
    folder = tmp_path / "srv"
    subprocess.run(
        ["git", "clone", "-q", "--bare", world.repos / "shares-cowsay", folder / "far-node"],
        check=True,
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["--listen=127.0.0.1", f"--port={port}", "--reuseaddr", "--export-all"]
    daemon = subprocess.Popen(
        ["git", "daemon", *words, f"--base-path={folder}", str(folder)], start_new_session=True
    )
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield f"git://127.0.0.1:{port}/far-node"
    os.killpg(daemon.pid, signal.SIGTERM)
    daemon.wait()


@pytest.mark.thorough
def test_code_is_fetched_where_the_bundle_has_none(tmp_path, world, pypi, place, remote):
    allowed = {"policy__git_protocols": ["git", "file"]}
    first = Place(tmp_path / "first", world)
    first.site.set(storage__uv_cache_dir=str(first.folder / "cache"), **allowed)
    site = first.init(pypi.url)
    site.gov("node", "add", remote).ok()
    site.gov("tx", "run", "far-node").ok()
    site.gov("tx", "promote", "far-node").ok()
    path = tmp_path / FILE
    site.gov("export", path).ok()
    assert not [name for name in members(path) if name.startswith("code/")]
    place.site.set(storage__uv_cache_dir=str(place.folder / "cache"), **allowed)
    second = place.init(pypi.url)
    second.gov("import", path, "--promote").ok()
    assert second.head("far-node") == site.head("far-node")
    assert git(second.nodes / "far-node", "config", "remote.origin.url") == remote
    # A commit that was never pushed cannot be fetched by anybody.
    (site.nodes / "far-node/mine.py").write_text("mine = 1\n")
    sample.commit(site.nodes / "far-node", "mine")
    site.gov("tx", "run", "far-node").ok()
    site.gov("tx", "promote", "far-node").ok()
    assert_refused(site, "export", tmp_path / "2.tar", code=3, says="no branch of its remote")
    # What gov itself laid out has no branches of the remote: the remote is asked.
    second.gov("export", tmp_path / "3.tar").ok()
