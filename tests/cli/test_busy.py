"""One writer at a time: the other is told who, and readers never wait."""

import json
import time

from support.gov import SECONDS
from support.refusal import assert_told


def test_two_promotes_at_once(settled):
    """One does it, the other says busy and names pid, verb and start."""
    site = settled.site
    site.set(tx__smoke_test_cmd="sleep 3")
    pair = [site.gov.start("tx", "promote", settled.completed, "--json") for _ in range(2)]
    ended = [(child.communicate(timeout=SECONDS)[0], child) for child in pair]
    assert sorted(child.returncode for _, child in ended) == [0, 5]
    (lost,) = [json.loads(out) for out, child in ended if child.returncode == 5]
    (winner,) = [child.pid for _, child in ended if child.returncode == 0]
    assert lost["error"]["code"] == "busy"
    assert lost["error"]["facts"]["pid"] == winner
    assert lost["error"]["facts"]["verb"] == "tx promote"
    assert lost["error"]["facts"]["since"].endswith("Z")
    assert site.gov.json("tx", "inspect", settled.completed).data["status"] == "promoted"
    reasons = [row["reason"] for row in site.gov.json("snapshot", "list").data["snapshots"]]
    assert reasons.count("promote_post") == 2


def test_every_writer_is_busy_and_every_reader_is_not(settled):
    site = settled.site
    child = site.gov.start("tx", "run", "import-sleeps", "--timeout", "60")
    try:
        held = _until_held(site)
        assert (held["pid"], held["verb"]) == (child.pid, "tx run")
        for argv in (
            ("node", "add", site.world.repos / "three-packages"),
            ("node", "remove", "import-fails"),
            ("tx", "run", "import-fails"),
            ("tx", "abort", settled.core),
            ("tx", "promote", settled.core),
            ("resolve", settled.conflicting, "--pin", "humanize==4.9.0"),
            ("rollback", settled.before),
            ("init",),
            ("clean",),
            ("repair",),
            ("run",),
        ):
            told = assert_told(site.gov(*argv), 5, f"`gov tx run` (pid {child.pid}, since ")
            assert told.out == ""
        for argv in (
            ("snapshot", "list"),
            ("snapshot", "inspect", settled.after),
            ("tx", "inspect", settled.core),
            ("resolve", settled.conflicting, "--suggest"),
            ("verify",),
        ):
            site.gov(*argv).ok()
        assert f"busy         gov tx run (pid {child.pid}" in site.gov("status").ok().out
        assert child.poll() is None
    finally:
        child.terminate()
        child.communicate(timeout=SECONDS)
    assert child.returncode == 143
    assert site.gov.json("status").data["held_by"] is None


def test_a_killed_holder_holds_nothing(settled):
    site = settled.site
    child = site.gov.start("tx", "run", "import-sleeps", "--timeout", "60")
    _until_held(site)
    child.kill()
    child.communicate(timeout=SECONDS)
    assert site.gov.json("status").data["held_by"] is None
    site.gov("tx", "abort", settled.core).ok()
    statuses = [row["status"] for row in site.gov.json("status").data["recent_transactions"]]
    assert "running" not in statuses


def _until_held(site):
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        held = site.gov.json("status").data["held_by"]
        if held:
            return held
        time.sleep(0.05)
    raise AssertionError("nobody took the workspace")
