"""Every sample node, observed: the verdict and the record are what its row of the table says."""

import pytest

from governance.observation import program
from governance.sample.nodes import HANGS, NODES

from .conftest import write_node

HANGING = [name for name, node in NODES.items() if node.expected.exit_code is HANGS]
ENDING = [name for name in NODES if name not in HANGING]
# They take patience or write beside their own folder, and have tests of their own.
SPECIAL = {"ignores-signals", "floods-log", "starts-daemon"}


def words(entries):
    return [" ".join(entry["argv"]) for entry in entries]


@pytest.mark.family(8)
@pytest.mark.parametrize("name", [name for name in ENDING if name not in SPECIAL])
def test_the_verdict_and_the_record_are_those_of_the_table(name, comfyui_dir, observe):
    node = NODES[name]
    write_node(comfyui_dir, name, node.files)
    seen = observe(comfyui_dir, name)
    expected = node.expected
    assert seen.verdict == expected.verdict, seen.reason
    if expected.verdict == "completed":
        assert seen.ready and seen.nodes[name].loaded is True
        assert set(expected.classes) <= set(seen.classes)
        assert seen.nodes[name].classes == sorted(expected.classes) == seen.classes_added
        assert seen.run_exit_code == 0
    asked = {
        (entry["action"], requested) for entry in seen.installs for requested in entry["requested"]
    }
    assert asked == {("install", text) for text in expected.installs} | {
        ("uninstall", text) for text in expected.removes
    }
    assert {entry["node"] for entry in seen.installs} <= {name}
    for text in expected.programs:
        assert text in words(seen.programs)
    contacted = {entry["host"] for entry in seen.hosts} | {
        f"{entry['host']}:{entry['port']}" for entry in seen.hosts
    }
    assert set(expected.hosts) <= contacted
    if expected.findings:
        assert {entry["kind"] for entry in seen.findings} == set(expected.findings)
        assert {entry["node"] for entry in seen.findings} == {name}
    written = [entry["path"] for entry in seen.writes]
    for place, _, path in (text.partition("/") for text in expected.writes):
        if place in ("node", "site-packages"):
            assert any(text.endswith(path) for text in written), (path, written)


@pytest.mark.parametrize("name", HANGING)
def test_a_node_that_never_returns_fails_within_the_limit(name, comfyui_dir, observe):
    write_node(comfyui_dir, name, NODES[name].files)
    seen = observe(comfyui_dir, name, timeout=4)
    assert seen.verdict == "failed"
    assert "did not come up within 4 s" in seen.reason
    assert f"still loading {name}" in seen.reason


def test_a_deaf_program_is_ended_by_force(comfyui_dir, observe, monkeypatch):
    monkeypatch.setattr(program, "_GRACE", tuple((number, 0.5) for number, _ in program._GRACE))
    write_node(comfyui_dir, "ignores-signals", NODES["ignores-signals"].files)
    seen = observe(comfyui_dir, "ignores-signals")
    assert (seen.verdict, seen.run_exit_code) == ("completed", -9)
