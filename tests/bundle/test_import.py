"""gov import of a bundle: the same installation, on a machine that knows nothing of the first."""

import json

import pytest
from support.fingerprint import truth_and_prod
from support.refusal import assert_refused

from .conftest import FILE, LOOSE, classes, generation, git


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
    assert "uv.lock, byte for byte" in run.out
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


def test_another_python_locks_anew_with_the_versions_as_wishes(target, bundle, other_platform):
    """As a bundle of another platform, which nobody has here."""
    run = target.gov.json("import", other_platform).ok().data
    assert "the lock: it was locked for Elsewhere-x86" in run["brought"]["lost"][0]
    assert run["preferences"]["cowsay"] == "5.0"
    target.gov("tx", "promote", run["txid"], "--approve-core", "--reason", "test").ok()
    assert target.installed()["cowsay"] == "5.0", "the version that it had, not the newest"


@pytest.fixture
def other_platform(bundle, tmp_path):
    from governance.bundle import archive, contents

    from .conftest import members, told

    held = members(bundle)
    row = {**told(bundle), "platform": "Elsewhere-x86"}
    held.pop("bundle.json")
    lock = held["uv.lock"].decode()
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


def test_a_folder_of_packages(settled, target, tmp_path, world):
    """It comes with the wheels, or where the operator has such a folder himself."""
    path = tmp_path / FILE
    settled.site.gov("export", path, "--with-code").ok()
    assert_refused(target, "import", path, code=2, named="no_index")
    run = target.gov.json("import", path, "--index", world.wheels).ok().data
    assert "uv.lock, byte for byte: every package at its version" in run["brought"]["exact"]
    full = tmp_path / "full.tar"
    settled.site.gov("export", full, "--with-code", "--with-wheels").ok()
    run = target.gov.json("import", full).ok().data
    target.gov("tx", "promote", run["txid"]).ok()
    assert (target.root / ".wheels").is_dir()
    assert str(target.root / ".wheels") in (target.root / "uv.lock").read_text()
