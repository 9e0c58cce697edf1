"""gov verify --full finds what was put where a later start or build takes it from."""

import base64
import hashlib
import os
import subprocess

import pytest
from support.refusal import assert_told

from governance.boundaries import store


def library(site):
    return next((site.root / ".venv-prod/lib").glob("python*")) / "site-packages"


def plant_byte_code(site, prefix, text):
    """A .pyc of `text` for cowsay, with the time and size of the true source."""
    source = library(site).resolve() / "cowsay/__init__.py"
    code = (
        "import sys, importlib.util, importlib._bootstrap_external as b, os;"
        "source, text, prefix = sys.argv[1:];"
        "sys.pycache_prefix = prefix; facts = os.stat(source);"
        "target = importlib.util.cache_from_source(source);"
        "os.makedirs(os.path.dirname(target), exist_ok=True);"
        "code = compile(text, source, 'exec');"
        "data = b._code_to_timestamp_pyc(code, int(facts.st_mtime), facts.st_size);"
        "open(target, 'wb').write(data); print(target)"
    )
    done = subprocess.run(
        [site.python, "-I", "-c", code, source, text, prefix],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def archive_of_cowsay(site):
    """Where uv's cache has the version that is in prod; tests share the cache."""
    installed = next(library(site).glob("cowsay-*.dist-info"))
    return next(site.world.cache.glob(f"archive-v*/*/{installed.name}")).parent


def replace_in_cache(site, name, text):
    """A file of uv's cache, and its line in the RECORD beside it."""
    file = archive_of_cowsay(site) / name
    record = next(file.parents[1].glob("*.dist-info/RECORD"))
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    lines = record.read_text().splitlines()
    told = [f"{name},sha256={digest},{len(text)}" if n.startswith(f"{name},") else n for n in lines]
    for path, content in ((file, text), (record, "\n".join(told) + "\n")):
        path.unlink()
        path.write_text(content)
    return file, record


def build_prod_anew(site):
    """There and back, and the environment was deleted meanwhile."""
    left = (site.root / ".venv-prod").resolve()
    before = site.gov.json("undo").ok().data["rollback_pre"]
    for path in (left, left.with_name(f"{left.name}.d")):
        store.remove_tree(path)
    site.gov("rollback", before).ok()
    assert (site.root / ".venv-prod").resolve() != left


def test_byte_code_of_an_older_generation(settled):
    site = settled.site
    older = next(
        path for path in (site.root / ".generations").glob("*.d")
        if path.name != f"{(site.root / '.venv-prod').resolve().name}.d"
    )  # fmt: skip
    planted = plant_byte_code(site, older / "pycache", "import os\n")
    site.gov("verify").ok()
    ended = assert_told(site.gov("verify", "--full"), 1)
    assert planted in ended.out
    told = site.gov("repair").ok()
    assert "byte code" in told.out
    site.gov("verify", "--full").ok()


def test_true_byte_code_is_no_finding(settled):
    site = settled.site
    true = (library(site) / "cowsay/__init__.py").read_text()
    own = site.root / f".generations/{(site.root / '.venv-prod').resolve().name}.d/pycache"
    plant_byte_code(site, own, true)
    site.gov("verify", "--full").ok()


@pytest.mark.thorough
def test_a_file_of_the_cache_with_its_record_line(workspace):
    site = workspace
    site.promote("shares-cowsay")
    _, record = replace_in_cache(site, "cowsay/__init__.py", "import os  # evil\n")
    ended = assert_told(site.gov("verify", "--full"), 1)
    assert str(record) in ended.out
    # A build takes none of it.
    build_prod_anew(site)
    assert "evil" not in (library(site) / "cowsay/__init__.py").read_text()
    site.gov("verify", "--full").ok()


def test_a_package_that_was_another_from_the_first_is_told_by_the_index(workspace):
    """Nothing here knows better: its RECORD names it, and gov has seen no other."""
    site = workspace
    site.promote("shares-cowsay")
    file, _ = replace_in_cache(site, "cowsay/__init__.py", "import os  # evil\n")
    (site.root / "state/anchors.json").unlink()
    build_prod_anew(site)
    planted = library(site).resolve() / "cowsay/__init__.py"
    assert "evil" in planted.read_text()
    site.gov("verify", "--full").ok()
    ended = assert_told(site.gov("verify", "--fetch"), 1)
    assert str(planted) in ended.out and "gov repair --fetch" in ended.err
    site.gov("repair", "--fetch").ok()
    assert "evil" not in (library(site) / "cowsay/__init__.py").read_text()
    assert not file.exists() or "evil" not in file.read_text()
    site.gov("verify", "--fetch").ok()
    assert not list((site.root / ".generations").glob(".probe*"))


@pytest.mark.thorough
def test_a_file_that_no_record_names(workspace):
    site = workspace
    site.promote("shares-cowsay")
    archive = archive_of_cowsay(site)
    (archive / "evil.pth").write_text("import os\n")
    ended = assert_told(site.gov("verify", "--full"), 1)
    assert "evil.pth" in ended.out
    site.gov("repair").ok()
    site.gov("verify", "--full").ok()


def test_a_record_of_prod_that_was_edited_in_place(workspace):
    site = workspace
    site.promote("shares-cowsay")
    record = next(library(site).glob("cowsay-*.dist-info/RECORD"))
    facts = record.stat()
    record.chmod(0o644)
    text = record.read_text()
    with open(record, "r+") as stream:
        stream.write(text.replace("sha256=", "sha256_", 1))
    os.utime(record, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    record.chmod(facts.st_mode)
    ended = assert_told(site.gov("verify", "--full"), 1)
    assert "RECORD" in ended.out
    site.gov("repair").ok()
    site.gov("verify", "--full").ok()
