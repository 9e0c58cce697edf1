"""A lock that falls back on old source which cannot be built is locked anew from wheels."""

import io
import json
import tarfile

import pytest
from support.refusal import assert_told

from governance.sample import world as sample
from governance.sample.wheels import Wheel, build

BACKEND = "def build_wheel(*a, **k):\n    raise SystemExit('fatal: no compiler for mathlib')\n"
PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = ["."]\n'


def write_source(folder, name, version, needs="", *, told=True):
    """With its metadata `told` it locks without a build; the build fails."""
    about = f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n"
    files = {"b.py": BACKEND, "pyproject.toml": PYPROJECT.replace("[]", f"[{needs}]", 1)}
    files |= {"PKG-INFO": about} if told else {}
    with tarfile.open(folder / f"{name.replace('-', '_')}-{version}.tar.gz", "w:gz") as archive:
        for path, text in files.items():
            entry = tarfile.TarInfo(f"{name.replace('-', '_')}-{version}/{path}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))


@pytest.fixture
def site(settled, tmp_path):
    """Prod asks for a new humanize; the newcomer's lines are told."""
    wheels = settled.site.world.wheels
    write_source(wheels, "mathlib", "1.0")
    build(Wheel("mathlib", "2.0", requires=("humanize<4",)), wheels)
    build(Wheel("mathlib", "3.0"), wheels)
    write_source(wheels, "rawlib", "1.0")
    write_source(wheels, "needs", "1.0", '"nosuchthing"')
    write_source(wheels, "needs-blind", "1.0", '"nosuchthing"', told=False)
    write_source(wheels, "opencv", "1.0")

    def run(lines):
        init = "NODE_CLASS_MAPPINGS = {}\n"
        sample.write_node(tmp_path, "newcomer", {"__init__.py": init, "requirements.txt": lines})
        settled.site.gov("node", "add", tmp_path / "newcomer").ok()
        return settled.site, settled.site.gov("tx", "run", "newcomer")

    return run


def test_what_cannot_be_built_is_a_conflict_with_fixes(site):
    """mathlib 1.0 locks beside humanize 4, and is source only."""
    site, ended = site("mathlib<3\n")
    assert_told(ended, 4, "newcomer")
    assert "mathlib 1.0 cannot be built here: fatal: no compiler for mathlib" in ended.err
    assert "humanize: newcomer <4 (through mathlib 2.0) against" in ended.out
    txid = ended.out.split()[0]
    data = site.gov.json("tx", "inspect", txid).ok().data
    said = {"package": "mathlib", "version": "1.0", "said": "fatal: no compiler for mathlib"}
    assert data["unbuildable"] == [said]
    site.gov("resolve", txid, "--accept", "1").ok()
    done = site.gov.json("tx", "promote", txid).ok().data
    assert [(c["name"], c["after"]) for c in done["changes"]] == [("mathlib", "3.0")]
    assert "no-build" not in (site.root / "pyproject.toml").read_text()


def test_a_package_that_is_source_only_is_told_with_its_line(site):
    site, ended = site("rawlib\n")
    assert_told(ended, 4, "newcomer")
    assert "rawlib 1.0 cannot be built here" in ended.err
    txid = ended.out.split()[0]
    report = json.loads((site.root / f"state/conflicts/{txid}.json").read_text())
    assert [line["text"] for line in report["causes"][0]["lines"]] == ["rawlib"]
    assert report["causes"][0]["what"].endswith("(fatal: no compiler for mathlib)")
    assert report["suggestions"][0]["kind"] == "drop-line"


@pytest.mark.parametrize("name", ["needs", "needs-blind"])
def test_what_a_build_needs_and_nobody_has(site, name):
    _, ended = site(f"{name}\n")
    assert_told(ended, 4, "newcomer")
    said = "has no wheel here and building it failed (its build needs nosuchthing, which cannot be"
    assert f"{name}: newcomer any version, but {name} {said}" in ended.out


def test_a_name_that_is_not_meant_and_does_not_build(site):
    _, ended = site("opencv\n")
    assert_told(ended, 4, "newcomer")
    assert "fix 1: take opencv-python-headless for newcomer's opencv" in ended.out
