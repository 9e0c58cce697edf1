"""Observed inside a real layer and fence: the environment underneath stays as it was."""

import hashlib
import os
import time

import pytest

from governance import observation, sandbox
from governance.sample.nodes import NODES

from .conftest import write_node

pytestmark = pytest.mark.privileged


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def inside(tmp_path, environment, comfyui_dir):
    """`enter` of a candidate that may write its own folder and the node's."""
    support = sandbox.probe(tmp_path)
    if not support.layer:
        pytest.skip(support.layer_reason)
    candidate = tmp_path / "candidate"
    upper, work = candidate / "upper", candidate / "work"
    for folder in (upper, work):
        folder.mkdir(parents=True)
    view = sandbox.View(
        layer=sandbox.Layer(environment, upper, work),
        writable=(candidate, comfyui_dir / "custom_nodes"),
    )
    return lambda argv: sandbox.wrap(view, support, argv)


def test_what_a_node_installs_stays_in_the_layer(comfyui_dir, observe, environment, inside):
    before = digests(environment)
    write_node(comfyui_dir, "pip-installs", NODES["pip-installs"].files)
    seen = observe(comfyui_dir, "pip-installs", enter=inside)
    assert seen.completed, seen.reason
    assert set(seen.post_freeze) - set(seen.installed_freeze) == {"lark==1.2.2"}
    assert [entry["outcome"] for entry in seen.installs] == ["succeeded"]
    assert digests(environment) == before
    assert "lark==1.2.2" not in observation.freeze(environment)


def test_a_clean_end_passes_through_the_sandbox(comfyui_dir, observe, inside, tmp_path):
    write_node(comfyui_dir, "loads-two-classes", NODES["loads-two-classes"].files)
    seen = observe(comfyui_dir, "loads-two-classes", enter=inside)
    assert (seen.verdict, seen.run_exit_code) == ("completed", 0)
    assert not (tmp_path / "candidate" / "base" / "temp").exists()


def test_a_daemon_does_not_outlive_its_observation(comfyui_dir, observe, inside, tmp_path):
    write_node(comfyui_dir, "starts-daemon", NODES["starts-daemon"].files)
    marker = f"sample-daemon-{time.monotonic_ns()}"
    environ = {"PATH": os.environ["PATH"], "MARKER": marker}
    seen = observe(comfyui_dir, "starts-daemon", enter=inside, environ=environ)
    assert seen.completed, seen.reason
    assert (tmp_path / "candidate/base/user/sample-daemon.pid").exists()
    assert not [pid for pid in os.listdir("/proc") if pid.isdecimal() and has(pid, marker)]


def has(pid, marker):
    try:
        with open(f"/proc/{pid}/environ", "rb") as stream:
            return marker.encode() in stream.read()
    except OSError:
        return False


def test_an_edit_in_place_is_seen_and_does_no_harm(comfyui_dir, observe, environment, inside):
    before = digests(environment)
    write_node(comfyui_dir, "edits-site-packages", NODES["edits-site-packages"].files)
    seen = observe(comfyui_dir, "edits-site-packages", enter=inside)
    assert seen.completed, seen.reason
    assert digests(environment) == before
    edited = [entry for entry in seen.writes if entry["path"].endswith("numpy/__init__.py")]
    assert [(entry["node"], entry["where"]) for entry in edited] == [
        ("edits-site-packages", "the environment")
    ]


def test_code_that_only_the_layer_has_is_what_is_read_and_installed(
    comfyui_dir, observe, environment, tmp_path
):
    """An update is laid over the clone, an added node lies nowhere else."""
    support = sandbox.probe(tmp_path)
    if not support.layer:
        pytest.skip(support.layer_reason)
    custom_nodes = comfyui_dir / "custom_nodes"
    write_node(comfyui_dir, "updated", {"__init__.py": "NODE_CLASS_MAPPINGS = {}\n"})
    candidate = tmp_path / "candidate"
    view = sandbox.View(
        layer=sandbox.Layer(environment, candidate / "upper", candidate / "work"),
        scratch=(sandbox.Layer(custom_nodes, candidate / "laid", candidate / "laid-work"),),
        writable=(candidate,),
    )
    for folder in ("upper", "work", "laid", "laid-work"):
        (candidate / folder).mkdir(parents=True)
    for name in ("updated", "new"):
        (candidate / "laid" / name).mkdir()
        (candidate / "laid" / name / "install.py").write_text("open('told', 'w').close()\n")
        (candidate / "laid" / name / "__init__.py").write_text(
            "NODE_CLASS_MAPPINGS = {'Served': int}\nNODE_CLASS_MAPPINGS.pop('Served')\n"
        )
    write_node(comfyui_dir, "prod", NODES["loads-two-classes"].files)
    seen = observe(
        comfyui_dir,
        ("updated", "new"),
        "prod",
        laid=("new",),
        enter=lambda argv, folder=None: sandbox.wrap(view, support, argv, folder=folder),
    )
    assert seen.completed, seen.reason
    assert (candidate / "laid/updated/told").is_file()
    assert (candidate / "laid/new/told").is_file()
    assert not list(custom_nodes.glob("*/told"))
