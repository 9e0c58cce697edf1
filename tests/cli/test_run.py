"""gov run and gov stop: ComfyUI with prod; its own exit code is passed on."""

import json
import shutil
import signal
import socket
import sys
import time
import urllib.request

import pytest
from support.refusal import assert_refused
from support.worlds import Site, write_config

from governance import sandbox
from governance.base.errors import GovError
from governance.environments import byte_code
from governance.operations import left_behind, runtime
from governance.truth import workspace as workspaces

SECONDS = 60


@pytest.fixture
def site(settled):
    return settled.site


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until_up(child, port):
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        assert child.poll() is None, child.communicate()
        try:
            url = f"http://127.0.0.1:{port}/object_info"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return json.loads(answer.read())
        except OSError:
            time.sleep(0.1)
    raise AssertionError("ComfyUI did not come up")


@pytest.fixture
def running(site):
    """ComfyUI of prod, and what it serves."""
    port = free_port()
    child = site.gov.start("run", "--", "--port", port, "--listen", "127.0.0.1")
    try:
        yield child, until_up(child, port)
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
        child.communicate(timeout=SECONDS)


def test_promoted_nodes_are_loaded_and_what_is_left_out_is_named(site):
    ended = site.gov.process("run", "--", "--quick-test-for-ci").ok()
    assert "custom_nodes/sample-captioner" in ended.err + ended.out
    left = next(line for line in ended.err.splitlines() if "left out, not promoted" in line)
    assert "import-sleeps" in left
    assert "sample-captioner" not in left


def test_its_own_exit_code_is_passed_on(site):
    main = site.comfyui / "main.py"
    text = main.read_text()
    main.write_text("import sys\nsys.exit(7)\n")
    try:
        assert site.gov.process("run").code == 7
        main.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
        assert site.gov.process("run").code == 137
    finally:
        main.write_text(text)


def test_it_serves_what_is_promoted_and_can_be_stopped(site, running):
    child, served = running
    assert "SampleCaptioner" in served
    assert "SampleStatistics" not in served
    # It holds nothing while it runs.
    assert site.gov.json("status").data["held_by"] is None
    site.gov("node", "remove", "import-sleeps", "--purge-code").ok()
    assert_refused(site, "run", code=2, says="runs already")
    told = site.gov("stop").ok()
    assert "has ended" in told.out
    assert child.wait(SECONDS) == 0
    assert site.gov("stop").ok().out == "no ComfyUI of this workspace runs\n"


def test_ctrl_c_ends_it_with_its_own_code(site, running):
    child, _ = running
    child.send_signal(signal.SIGINT)
    assert child.wait(SECONDS) == 0
    assert site.gov.json("stop").ok().data == {"pid": None}


PLANTER = """
import os
from pathlib import Path
for folder in os.environ["SAMPLE_PLACES"].split(":"):
    try:
        os.makedirs(folder, exist_ok=True)
        Path(folder, "planted").write_text("x")
    except OSError:
        pass
(Path(__file__).parent / "cfg.json").write_text("x")
NODE_CLASS_MAPPINGS = {}
"""


@pytest.mark.family(1)
@pytest.mark.privileged
@pytest.mark.parametrize("place", ["beside", "within"])
def test_all_of_the_workspace_is_closed_to_comfyui(tmp_path, world, monkeypatch, place):
    """Environments, their byte code, uv's cache, the truth, scripts; ComfyUI itself is open."""
    if not sandbox.probe(tmp_path).read_only_mounts:
        pytest.skip("no mounts to close it with")
    node = world.add(f"plants-{place}", {"__init__.py": PLANTER}).name
    comfyui = shutil.copytree(world.comfyui, tmp_path / "ComfyUI", symlinks=True)
    root = comfyui / "env" if place == "within" else tmp_path / "env"
    root.mkdir()
    cache = {"storage__uv_cache_dir": ".uv-cache"}
    write_config(root, comfyui, world, **cache)
    site = Site(root, comfyui, world)
    site.gov("init", root, "--index", world.wheels, "--resolution-date", "none").ok()
    site.add(node)
    folders = [path for path in root.rglob("*") if path.is_dir() and len(path.parts) < 12]
    names = {path.name for path in (root / ".generations").iterdir()}
    folders += [root, *(root / ".generations" / f"{name}.pycache/x" for name in names)]
    monkeypatch.setenv("SAMPLE_PLACES", ":".join(map(str, folders)))
    site.gov.process("run", "--all-nodes", "--", "--quick-test-for-ci").ok()
    assert not list(root.rglob("planted"))
    assert (comfyui / "custom_nodes" / node / "cfg.json").exists()
    assert not (root / "state/run-pycache").exists()


def test_byte_code_of_one_run_is_not_trusted_by_the_next(site):
    """What an earlier run was killed over is deleted, not read."""
    old = site.root / "state/run-pycache/planted.pyc"
    old.parent.mkdir()
    old.write_bytes(b"")
    site.gov.process("run", "--", "--quick-test-for-ci").ok()
    assert not old.parent.exists()
    assert not list((site.root / ".generations").glob("*.pycache"))


def test_byte_code_of_an_environment_is_compiled_anew_from_its_sources(site, tmp_path, monkeypatch):
    """Of the run's own only the names count: what a node planted there is not what is kept."""
    monkeypatch.setattr(byte_code, "_SECONDS", 0)
    monkeypatch.setattr(byte_code.os, "nice", lambda by: 0)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    environment = site.python.parent.parent.resolve()
    source = next(environment.glob("lib/python3*/site-packages/numpy/__init__.py"))
    seen, trusted = tmp_path / "seen", tmp_path / "trusted"
    (tmp_path / "node.py").touch()
    for place in (source, tmp_path / "node.py"):
        planted = seen / str(place.parent)[1:] / f"{place.stem}.{sys.implementation.cache_tag}.pyc"
        planted.parent.mkdir(parents=True)
        planted.write_bytes(b"planted")
    byte_code.after(str(seen), str(trusted), str(environment))
    (made,) = [path for path in trusted.rglob("*") if path.is_file()]
    assert made.name.startswith("__init__.") and made.read_bytes() != b"planted"


def test_a_run_begins_with_the_byte_code_that_gov_compiled(site):
    generation = (site.root / ".venv-prod").resolve()
    papers = generation.with_name(f"{generation.name}.d")
    site.gov.process("run", "--", "--quick-test-for-ci").ok()
    (papers / "pycache/kept").mkdir(parents=True)
    main = site.comfyui / "main.py"
    text = main.read_text()
    main.write_text("import os, sys; sys.exit(os.path.isdir(sys.pycache_prefix + '/kept') + 40)\n")
    try:
        assert site.gov.process("run").code == 41
    finally:
        main.write_text(text)
        (papers / "pycache/kept").rmdir()


@pytest.fixture
def planted(site, tmp_path, monkeypatch):
    """Written while ComfyUI ran: beside a promoted node's code, in a new node, in the home."""
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    space = workspaces.find(site.root)
    left_behind.begin(space)
    paths = [
        site.nodes / "sample-captioner/prestartup_script.py",
        site.nodes / "shares-cowsay/late.py",
        site.nodes / "shares-cowsay/.git/hooks/post-checkout",
        site.nodes / "unknown/__init__.py",
        home / ".config/autostart/x.desktop",
    ]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (site.nodes / "sample-captioner/settings.json").write_text("no code")
    return paths


def named(site):
    return [text.split(" was written")[0] for text in verified(site) if "was written" in text]


def verified(site):
    return site.gov.json("verify").document["data"]["notes"]


def test_what_a_run_leaves_behind_is_named_until_somebody_settles_it(site, planted):
    """Here its gov was killed, so that nobody looked at its end."""
    mine, late, hook, unknown, start = planted
    assert sorted(named(site)) == sorted(map(str, (mine, late, hook, unknown.parent, start)))
    mine.touch()
    unknown.unlink()
    assert sorted(named(site)) == sorted(map(str, (late, hook, start)))
    ended = site.gov.process("run", "--", "--quick-test-for-ci").ok()
    assert f"{start}" in ended.err and "(`gov verify` says more)" in ended.err
    assert "written while ComfyUI ran" in site.gov("status").ok().err
    assert_refused(site, "run", "--strict", code=3, says="written while ComfyUI ran")
    # A promotion of that node has observed its code as it is now.
    site.promote("shares-cowsay")
    assert sorted(named(site)) == sorted(map(str, (hook, start)))


def test_while_comfyui_runs_what_it_writes_is_not_known_yet(site, running):
    (site.nodes / "sample-captioner/late.py").write_text("")
    assert named(site) == []
    site.gov("stop").ok()
    running[0].wait(SECONDS)
    assert named(site) == [str(site.nodes / "sample-captioner/late.py")]


WRITES = """import os, pathlib, sys
made = 0
for name in filter(os.path.isabs, sys.argv):
    if os.path.exists(name):
        continue
    try:
        os.makedirs(os.path.dirname(name), exist_ok=True)
        pathlib.Path(name).write_text("")
        made += 1
    except OSError:
        print("closed", name)
sys.exit(made + 40)
"""


@pytest.fixture
def data_alone(settled, world, tmp_path, monkeypatch):
    """What ComfyUI writes under `[run] writes = "data"`: a main.py of ours that tries."""
    site = settled.site
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home/hub"))
    (tmp_path / "home/hub").mkdir(parents=True)
    (tmp_path / "home/.cache/uv").mkdir(parents=True)
    kept = ["custom_nodes/mine/kept"]
    write_config(site.root, site.comfyui, world, run__writes="data", run__writable=kept)
    main = site.comfyui / "main.py"
    text = main.read_text()
    main.write_text(WRITES)
    yield lambda *names: site.gov.process("run", "--", *(str(name) for name in names))
    main.write_text(text)


@pytest.mark.privileged
def test_with_data_alone_only_data_can_be_written(data_alone, settled, tmp_path):
    comfyui, home = settled.site.comfyui, tmp_path / "home"
    good = [
        *(comfyui / name / "x" for name in ("models/loras", "output", "input", "temp", "user")),
        *(comfyui / "custom_nodes/mine/kept/x", home / ".cache/torch/x", home / "hub/x"),
    ]
    bad = [
        *(comfyui / "x.py", comfyui / "custom_nodes/mine/x", comfyui / ".git/hooks/x"),
        *(home / ".gitconfig", home / ".cache/uv/x", home / ".config/autostart/x"),
        *(settled.site.root / "x", settled.site.root / "state/x"),
    ]
    ended = data_alone(*good, *bad)
    assert ended.out.split("closed ")[1:] == [f"{path}\n" for path in bad]
    assert ended.code == 40 + len(good)
    elsewhere = home / "pictures"
    assert data_alone("--output-directory", elsewhere, elsewhere / "x").code == 41


def test_data_alone_is_refused_where_nothing_holds_a_program_to_it(settled, world, monkeypatch):
    site = settled.site
    write_config(site.root, site.comfyui, world, run__writes="data")
    nothing = dict.fromkeys(("layer", "read_only_mounts", "pid_namespace", "user_namespace"), False)
    why = dict.fromkeys(("layer_reason", "read_only_reason", "pid_reason"), "not here")
    none = sandbox.Support(**nothing, **why, landlock=0)
    monkeypatch.setattr(sandbox, "probe", lambda folder: none)
    assert_refused(site, "run", code=1, says="not here", named="no_fence")


def test_code_that_cannot_be_read_makes_a_start_slower_and_no_more(site, monkeypatch):
    def fails(*_):
        raise GovError("git cannot work on it", hint="x", code="code_unreadable")

    monkeypatch.setattr(runtime.checkouts, "states", fails)
    space = workspaces.find(site.root)
    assert runtime.prepare(space, [], all_nodes=False).lying == ()


def test_without_prod_it_names_the_way(site):
    (site.root / ".venv-prod").unlink()
    assert_refused(site, "run", code=1, says="no prod environment", named="no_prod")
