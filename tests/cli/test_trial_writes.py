"""Whatever ComfyUI and its nodes may write under `gov run`, they may write in every trial, and
nothing of it stays outside the candidate."""

import contextlib
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from support.fingerprint import differences, fingerprint
from support.worlds import Site, make_site, write_config

from governance import sandbox
from governance.environments import candidate
from governance.truth.resolution import Project
from governance.truth.workspace import Workspace

pytestmark = pytest.mark.privileged

WRITER = """
import os
from pathlib import Path
own = Path(__file__).parent
comfyui = Path(os.environ["SAMPLE_COMFYUI"])
for place in (own / "cfg.json", comfyui / "models/fresh/model", comfyui / "models/old/model",
              comfyui / "custom_nodes/beside.txt", comfyui / "top.json", comfyui / "new/deep/file",
              comfyui / "output/picture", comfyui.parent / "around/file",
              Path(os.environ["SAMPLE_CACHE"]) / "hub/model"):
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("written")
assert (Path(os.environ["SAMPLE_CACHE"]) / "downloaded").read_text() == "once"
(own / "README.md").unlink(missing_ok=True)
NODE_CLASS_MAPPINGS = {}
"""


def needs_layers(root):
    found = sandbox.probe(root / ".venv-candidate")
    if not (found.layer and found.read_only_mounts):
        pytest.skip(found.layer_reason or found.read_only_reason)


@pytest.fixture(scope="session")
def writer(world):
    files = {"__init__.py": WRITER, "requirements.txt": "cowsay\n", "README.md": "x\n"}
    return world.add("writes-everywhere", files).name


@contextlib.contextmanager
def mounted(folder):
    """A disk of its own; skipped where the tests may not mount."""
    done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def elsewhere(site, name, disk):
    """A folder of ComfyUI moves to another place and leaves a link."""
    folder = site.comfyui / name
    folder.mkdir(exist_ok=True)
    shutil.move(folder, disk / name)
    folder.symlink_to(disk / name)


def plain(site, disk, stack):
    pass


def linked(site, disk, stack):
    for name in ("models", "output", "custom_nodes"):
        elsewhere(site, name, disk)
    shutil.move(disk / "models/old", disk / "old")
    (disk / "models/old").symlink_to(disk / "old")


def other_disks(site, disk, stack):
    """custom_nodes is a volume; the models lie on a disk with another one in it."""
    stack.enter_context(mounted(disk))
    elsewhere(site, "models", disk)
    (disk / "models/fresh").mkdir()
    stack.enter_context(mounted(disk / "models/fresh"))
    tracked = sorted(site.nodes.iterdir())
    kept = disk / "kept"
    shutil.copytree(site.nodes, kept)
    stack.enter_context(mounted(site.nodes))
    for path in tracked:
        shutil.copy2(kept / path.name, path)


def in_the_workspace(site, disk, stack):
    """Not what gov writes there, but a folder of the operator's own."""
    own = site.root / "data"
    own.mkdir()
    elsewhere(site, "models", own)


ARRANGEMENTS = [plain, linked, other_disks, in_the_workspace]


@pytest.fixture
def writes(monkeypatch, tmp_path):
    """What the node asks for; a cache that the operator filled."""

    def prepare(site):
        cache = tmp_path / "cache"
        cache.mkdir()
        (cache / "downloaded").write_text("once")
        (site.comfyui / "models/old").mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv("SAMPLE_COMFYUI", str(site.comfyui))
        monkeypatch.setenv("SAMPLE_CACHE", str(cache))
        return cache

    return prepare


def check(site, writer, places):
    """Run and promote: each time the node loads, and each time nothing outside was touched."""
    needs_layers(site.root)
    site.add(writer)
    before = [fingerprint(place) for place in places]
    txid = site.run(writer)
    seen = site.gov.json("tx", "inspect", txid).data["observation"]
    assert (seen["verdict"], seen["isolation"]) == ("completed", "full"), seen["reason"]
    assert all(one["stopped"] for one in seen["canaries"])
    assert not [text for text in seen["limits"] if "could not be written" in text]
    site.gov("tx", "promote", txid).ok()
    for place, old in zip(places, before, strict=True):
        assert not differences(old, fingerprint(place)), place


@pytest.mark.family(1)
@pytest.mark.parametrize("arrange", ARRANGEMENTS)
def test_a_node_writes_where_it_likes_and_nothing_stays(tmp_path, world, writer, writes, arrange):
    site = make_site(tmp_path, world)
    cache = writes(site)
    disk = tmp_path / "disk"
    disk.mkdir()
    with contextlib.ExitStack() as stack:
        arrange(site, disk, stack)
        check(site, writer, [site.comfyui, disk, cache])
        assert not (tmp_path / "around").exists()
        site.gov("node", "remove", writer, "--purge-code").ok()
        assert not (site.nodes / writer).exists()


def test_the_workspace_may_lie_in_comfyui(tmp_path, world, writer, writes):
    comfyui = shutil.copytree(world.comfyui, tmp_path / "ComfyUI", symlinks=True)
    root = comfyui / "env"
    root.mkdir()
    write_config(root, comfyui, world)
    site = Site(root, comfyui, world)
    site.gov("init", root, "--index", world.wheels, "--resolution-date", "none").ok()
    cache = writes(site)
    check(site, writer, [site.nodes, comfyui / "models", cache])
    assert not (comfyui / "top.json").exists() and not (comfyui / "new").exists()
    assert site.gov("verify").code == 0


def test_a_nodes_folder_may_be_a_link_to_a_working_tree(tmp_path, workspace, writer, writes):
    site, cache = workspace, writes(workspace)
    needs_layers(site.root)
    site.add(writer)
    tree = tmp_path / "tree"
    shutil.move(site.nodes / writer, tree)
    (site.nodes / writer).symlink_to(tree)
    before = fingerprint(tree)
    txid = site.run(writer)
    assert site.gov.json("tx", "inspect", txid).data["status"] == "completed"
    assert not differences(before, fingerprint(tree))
    assert sorted(path.name for path in cache.iterdir()) == ["downloaded"]


# --- what was written is found -------------------------------------------------------------------


def opened(site, txid):
    space = Workspace(site.root)
    generation = site.gov.json("tx", "inspect", txid).data["observation"]["generation"]
    project = Project.read(space.pyproject.read_bytes(), space.pyproject)
    return candidate.reopen(space, txid, generation, project)


def installer(world):
    """It makes a file, changes one, opens one for writing, deletes one and compiles."""
    script = (
        "import os, py_compile\nopen('weights.bin', 'w').write('w')\nos.makedirs('web/js')\n"
        "open('web/js/app.js', 'w').write('j')\nopen('kept.txt', 'a').close()\n"
        "open('changed.txt', 'w').write('new')\nos.unlink('gone.txt')\n"
        "os.symlink('/etc/passwd', 'link')\npy_compile.compile('install.py', 'install.pyc')\n"
    )
    texts = dict.fromkeys(("kept.txt", "changed.txt", "gone.txt"), "old")
    return world.add("installs-files", {"install.py": script, **texts}).name


@pytest.mark.family(1)
@pytest.mark.parametrize("layers", [True, False])
def test_what_install_py_made_is_found_in_the_candidate(workspace, world, monkeypatch, layers):
    name = installer(world)
    if layers:
        needs_layers(workspace.root)
    else:
        without_layers(monkeypatch)
    txid = workspace.run(name)
    made = opened(workspace, txid)
    folder = workspace.nodes / name
    found = made.written(folder)
    assert {path: file.read_text() for path, file in found.items()} == {
        "weights.bin": "w", "web/js/app.js": "j", "changed.txt": "new",
    }  # fmt: skip
    assert not (folder / "weights.bin").exists()
    assert (folder / "gone.txt").read_text() == "old"
    assert made.behind(folder / "gone.txt") is None
    assert made.behind(folder / "web/js/app.js").read_text() == "j"
    assert made.behind(folder / "__init__.py").read_text() == (folder / "__init__.py").read_text()


# --- where no layer can be had -------------------------------------------------------------------


def without_layers(monkeypatch):
    real = sandbox.probe
    lacking = {"layer": False, "layer_reason": "not today", "read_only_mounts": False}
    monkeypatch.setattr(sandbox, "probe", lambda folder: replace(real(folder), **lacking))


def test_without_layers_the_trial_has_a_copy_of_comfyui(workspace, world, monkeypatch, tmp_path):
    """It stands where ComfyUI's own files lie, so a node that goes by its own path may write."""
    without_layers(monkeypatch)
    body = (
        "from pathlib import Path\nown = Path(__file__).parent\n"
        "(own / 'cfg.json').write_text('x')\n"
        "(own.parents[1] / 'models/fresh').mkdir()\n(own.parents[1] / 'top').write_text('x')\n"
        "NODE_CLASS_MAPPINGS = {}\n"
    )
    name = world.add("writes-by-its-path", {"__init__.py": body}).name
    large = workspace.comfyui / "models/large"
    large.parent.mkdir(exist_ok=True)
    large.write_bytes(b"m" * 100)
    workspace.add(name)
    before = fingerprint(workspace.comfyui)
    txid = workspace.run(name)
    tx = workspace.gov.json("tx", "inspect", txid).data
    assert tx["status"] == "completed", tx["observation"]["reason"]
    assert any("copy of ComfyUI" in text for text in tx["observation"]["limits"])
    copy = workspace.root / tx["candidate_env"] / "ComfyUI"
    assert (copy / "models/large").is_symlink() and (copy / "top").is_file()
    workspace.gov("tx", "promote", txid).ok()
    assert not differences(before, fingerprint(workspace.comfyui))


# --- new code ------------------------------------------------------------------------------------

LAY = """
import json, pathlib, sys
plan = json.loads(pathlib.Path(sys.argv[1]).read_text())
folder = pathlib.Path(plan["folder"])
folder.mkdir(exist_ok=True)
(folder / "__init__.py").write_text(plan["text"])
"""


@pytest.mark.parametrize("layers", [True, False])
def test_new_code_is_seen_by_the_candidate_alone(workspace, monkeypatch, tmp_path, layers):
    if layers:
        needs_layers(workspace.root)
    else:
        without_layers(monkeypatch)
    lay, plan = tmp_path / "lay.py", tmp_path / "plan.json"
    lay.write_text(LAY)
    folder = workspace.nodes / "brought"
    plan.write_text(f'{{"folder": "{folder}", "text": "new"}}')
    monkeypatch.setattr(candidate, "_LAY", lay)
    made = prepared(workspace, code=[plan], sealed=[folder])
    assert not folder.exists()
    assert made.behind(folder / "__init__.py").read_text() == "new"
    inside = made.comfyui_dir / "custom_nodes/brought"
    done = subprocess.run(
        made.enter(["sh", "-c", "cat __init__.py; echo no > fresh"], inside),
        capture_output=True, text=True, env=made.environ(),
    )  # fmt: skip
    assert done.stdout == "new"
    if layers:
        assert "Read-only" in done.stderr


def prepared(site, **how):
    space = Workspace(site.root)
    project = Project.read(space.pyproject.read_bytes(), space.pyproject)

    def copy(target: Path) -> None:
        shutil.copytree(space.prod.resolve(), target, symlinks=True)

    return candidate.prepare(space, "trial", str(space.generation), project, copy=copy, **how)


def test_code_that_cannot_be_laid_is_an_error_with_its_reason(workspace, monkeypatch, tmp_path):
    lay = tmp_path / "lay.py"
    lay.write_text("raise SystemExit('no such commit')")
    monkeypatch.setattr(candidate, "_LAY", lay)
    with pytest.raises(candidate.GovError, match="no such commit") as raised:
        prepared(workspace, code=[tmp_path / "plan.json"])
    assert raised.value.code == "code_not_laid"


def test_an_entry_into_a_layer_that_a_program_led_astray_harms_nothing(workspace):
    """The way to the workspace, moved away in the layer, may not be replaced by a link."""
    needs_layers(workspace.root)
    made = prepared(workspace)
    root = workspace.root
    above, fake = root.parent, f"{root.parent}-fake"
    script = f"mv '{above}' '{above}-away'; mkdir -p '{fake}/{root.name}'; ln -s '{fake}' '{above}'"
    for words in (f"{script}; true", f"echo no > '{root}/uv.lock'; echo no > '{root}/planted'"):
        subprocess.run(made.enter(["sh", "-c", words]), capture_output=True, env=made.environ())
    assert (root / "uv.lock").read_text() != "no\n"
    assert not (root / "planted").exists()
    assert not os.path.lexists(fake) and not os.path.lexists(f"{above}-away")
