"""A candidate begins with byte code that gov compiled from prod's sealed sources, and no other."""

import json
import os
import struct

import pytest

from governance.changes import trial_run
from governance.environments import compiled, generations
from governance.truth.workspace import Workspace

PLANTS = """
import importlib.util, os, sys
import cowsay
target = importlib.util.cache_from_source(cowsay.__file__)
os.makedirs(os.path.dirname(target), exist_ok=True)
with open(target, "wb") as stream:
    stream.write(b"evil")
"""


@pytest.fixture
def site(workspace):
    workspace.promote("sample-captioner")
    return workspace


@pytest.fixture
def kept(monkeypatch):
    """What a candidate has is still there when its run is over."""
    monkeypatch.setattr(trial_run, "_forget", lambda byte_code: None)


def byte_code(folder, environment, name):
    return of_file(folder, next(environment.glob("lib/python*")) / "site-packages" / name)


def of_file(folder, source):
    return list((folder / str(source.parent).lstrip("/")).glob(f"{source.stem}.*.pyc"))


def prod(site):
    space = Workspace(site.root)
    name = generations.current(space)
    return space, compiled.folder(space, name), generations.path(space, name)


def observed(site, txid):
    """The environment that was observed."""
    found = json.loads((site.root / f"state/transactions/{txid}.json").read_text())
    return generations.path(Workspace(site.root), found["observation"]["generation"])


def test_the_next_start_is_warm(site, kept):
    _, trusted, environment = prod(site)
    assert not trusted.exists(), "nothing is compiled before it is wanted"
    txid = site.run("shares-cowsay")
    (own,) = byte_code(trusted, environment, "cowsay/__init__.py")
    other = observed(site, txid)
    candidate = site.root / ".venv-candidate" / txid / "pycache"
    (copy,) = byte_code(candidate, other, "cowsay/__init__.py")
    assert copy.read_bytes() == own.read_bytes()
    assert copy.stat().st_ino != own.stat().st_ino, "a candidate may write there"
    site.gov("verify", "--full").ok()
    # What the next prod has of the same files is linked, not compiled once more.
    site.gov("tx", "promote", txid).ok()
    site.run("loads-two-classes")
    _, later, environment = prod(site)
    (linked,) = byte_code(later, environment, "cowsay/__init__.py")
    assert linked.stat().st_ino == own.stat().st_ino
    assert byte_code(later, environment, "humanize/__init__.py")


def test_a_run_hands_over_names_and_no_byte_code(site, kept):
    site.world.add("plants", {"requirements.txt": ""})
    init = site.world.repos / "plants/__init__.py"
    init.write_text(init.read_text() + PLANTS)
    os.system(f"git -C {init.parent} -c user.name=x -c user.email=x commit -qam plants")
    txid = site.run("plants")
    _, trusted, environment = prod(site)
    candidate = site.root / ".venv-candidate" / txid / "pycache"
    (planted,) = byte_code(candidate, observed(site, txid), "cowsay/__init__.py")
    assert planted.read_bytes() == b"evil"
    site.run("loads-two-classes")
    (own,) = byte_code(trusted, environment, "cowsay/__init__.py")
    assert own.read_bytes() != b"evil"
    site.gov("verify", "--full").ok()


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1, null]", b'["../../x.py\\tx.pyc", "a\\t../b.pyc"]']
)
def test_a_list_that_is_none_costs_time_alone(site, content):
    space, trusted, _ = prod(site)
    place = generations.papers(space, generations.current(space)) / compiled.IMPORTED
    place.write_bytes(content)
    compiled.begin(space, generations.current(space), site.root / "target")
    made = {path.name.partition(".")[0] for path in trusted.rglob("*.pyc")}
    assert not made & {"x", "b"}, "and what the generation before imported is compiled"


@pytest.mark.parametrize("boot", ["another", "this"])
def test_what_a_power_loss_may_have_torn_is_compiled_anew(site, boot):
    site.run("shares-cowsay")
    _, trusted, environment = prod(site)
    (own,) = byte_code(trusted, environment, "cowsay/__init__.py")
    good = own.read_bytes()
    own.write_bytes(good[:20])
    (trusted / compiled._MARK).write_text("other" if boot == "another" else compiled._boot())
    site.run("loads-two-classes")
    assert (own.read_bytes() == good) == (boot == "another")
    assert (trusted / compiled._MARK).exists() == (boot == "this"), "it is durable now"


def test_half_a_copy_is_none(site, monkeypatch, tmp_path):
    site.run("shares-cowsay")
    space, _, _ = prod(site)
    monkeypatch.setattr(compiled.shutil, "copyfile", _fails_at_the_third())
    target = tmp_path / "target"
    target.mkdir()
    compiled.begin(space, generations.current(space), target)
    assert list(target.iterdir()) == []


def _fails_at_the_third():
    made = []

    def copyfile(source, target):
        made.append(target)
        target.write_bytes(b"half")
        if len(made) == 3:
            raise OSError(28, "No space left on device")

    return copyfile


def test_only_the_environment_and_the_library_count(site, tmp_path):
    space, _, environment = prod(site)
    foreign = tmp_path / "foreign.py"
    foreign.write_text("")
    for source in (foreign, next(environment.glob("lib/python*/site-packages/cowsay/__init__.py"))):
        target = (
            tmp_path / "seen" / str(source.parent).lstrip("/") / f"{source.stem}.cpython-311.pyc"
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"")
    name = generations.current(space)
    compiled.note(space, name, tmp_path / "seen")
    (row,) = json.loads((generations.papers(space, name) / compiled.IMPORTED).read_text())
    assert row.endswith("site-packages/cowsay/__init__.py\t__init__.cpython-311.pyc")


# --- code of ComfyUI and of nodes -------------------------------------------------------------


def of_code(site, txid, name):
    """The byte code of a file below ComfyUI that a candidate ended with, if any."""
    return of_file(site.root / ".venv-candidate" / txid / "pycache", site.comfyui / name)


NODE = "sample-captioner/__init__.py"


def test_what_lies_in_a_commit_is_compiled_once(site, kept):
    site.run("shares-cowsay")
    names = site.root / ".code/sample-captioner.git/compiled"
    txid = site.run("loads-two-classes")
    (own,) = names.rglob("__init__.*.pyc")
    (copy,) = of_code(site, txid, f"custom_nodes/{NODE}")
    assert copy.read_bytes()[16:] == own.read_bytes()[16:]
    facts = (site.nodes / NODE).stat()
    head = struct.unpack("<III", copy.read_bytes()[4:16])
    assert head == (0, int(facts.st_mtime), facts.st_size)
    comfyui = site.root / ".code/@ComfyUI.git/compiled"
    assert list(comfyui.rglob("nodes.*.pyc")) and not list(comfyui.rglob("custom_nodes"))
    site.gov("verify", "--full").ok()


def test_an_edit_that_hides_its_time_is_what_runs(site, kept):
    """By the commit that holds it, not by times; and only of the one that lies there."""
    site.run("shares-cowsay")
    site.run("loads-two-classes")
    file = site.nodes / NODE
    facts, text = file.stat(), file.read_text()
    assert "SampleCaptioner" in text
    file.write_text(text.replace("SampleCaptioner", "ChangedCaption1"))
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert file.stat().st_size == facts.st_size
    txid = site.run("loads-two-classes")
    seen = json.loads((site.root / f"state/transactions/{txid}.json").read_text())["observation"]
    assert "ChangedCaption1" in str(seen)
    (own,) = (site.root / ".code/sample-captioner.git/compiled").rglob("__init__.*.pyc")
    assert b"ChangedCaption1" in own.read_bytes()


@pytest.mark.family(1)
@pytest.mark.parametrize("content", [b"", b"{}", b'["../../x.pyc", "/etc/x.pyc", "gone.pyc", 1]'])
def test_a_list_of_a_node_that_is_none_costs_time_alone(site, content):
    site.run("shares-cowsay")
    (site.root / ".code/sample-captioner.git/compiled/imported.json").write_bytes(content)
    site.run("loads-two-classes")
    assert not list(site.root.rglob("x.pyc"))
