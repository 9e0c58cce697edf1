"""gov run and gov stop: ComfyUI with prod; its own exit code is passed on."""

import json
import signal
import socket
import time
import urllib.request

import pytest
from support.refusal import assert_refused

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


def test_without_prod_it_names_the_way(site):
    (site.root / ".venv-prod").unlink()
    assert_refused(site, "run", code=1, says="no prod environment", named="no_prod")
