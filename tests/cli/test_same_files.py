"""Packages that install the same files: whose lie in prod is told, asked, verified, restored."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.refusal import assert_refused

UV = Path(sys.executable).with_name("uv")
PLAIN, RICH = "opencv-python", "opencv-contrib-python"
SENTENCE = f"files of {PLAIN}: its own -> those of {RICH}"


@pytest.fixture(scope="session")
def nodes(world):
    for name, package in (("plain-eyes", PLAIN), ("rich-eyes", RICH)):
        world.add(name, {"requirements.txt": f"{package}\n"})


@pytest.fixture
def site(nodes, workspace):
    workspace.promote("plain-eyes")
    return workspace


def module(site):
    [file] = (site.root / ".venv-prod").glob("lib/python*/site-packages/cv2/__init__.py")
    return file


def whose(site):
    return module(site).read_text().split('BUILD = "')[1].split('"')[0]


def sync_by_hand(site, again):
    """What somebody types who does not know gov: uv's own sync of prod's lock into prod."""
    environment = (site.root / ".venv-prod").resolve()
    for folder, _, _ in os.walk(environment):
        os.chmod(folder, 0o755)
    argv = [UV, "sync", "--frozen", "--all-groups", "--no-install-project", "--offline"]
    subprocess.run(
        [*argv, "--project", site.root, "--reinstall-package", again],
        env={
            **os.environ,
            "UV_PROJECT_ENVIRONMENT": str(environment),
            "UV_CACHE_DIR": str(site.world.cache),
        },
        check=True,
        capture_output=True,
    )


def test_another_winner_is_told_asked_verified_and_brought_back(site):
    assert whose(site) == PLAIN
    txid = site.run("rich-eyes")
    inspected = site.gov.json("tx", "inspect", txid).ok().data
    [row] = inspected["plan"]["owner_changes"]
    assert row == {"package": PLAIN, "before": PLAIN, "after": RICH, "nodes": ["plain-eyes"]}
    assert f"prod would change: {SENTENCE}\n    used by plain-eyes" in inspected_text(site, txid)

    ended = assert_refused(site, "tx", "promote", txid, code=3, says=SENTENCE)
    assert (ended.error["code"], ended.error["facts"]["owner_changes"]) == ("other_owner", [row])
    assert whose(site) == PLAIN
    site.gov("tx", "promote", txid, "--accept-findings").ok()
    assert whose(site) == RICH
    assert site.gov.json("verify", "--full").ok().data["findings"] == []

    # By hand the other one is laid last: the same lock, other files.
    sync_by_hand(site, PLAIN)
    assert whose(site) == PLAIN
    found = json.dumps(site.gov.json("verify", "--full").data["findings"])
    assert "cv2/__init__.py" in found
    site.gov("repair").ok()
    assert whose(site) == RICH
    site.gov("verify", "--full").ok()

    done = site.gov.json("tx", "inspect", txid).data["promotion"]
    site.gov("rollback", done["pre_snapshot"]).ok()
    assert whose(site) == PLAIN
    assert site.gov.json("verify", "--full").ok().data["findings"] == []


def inspected_text(site, txid):
    return site.gov("tx", "inspect", txid).ok().out


@pytest.mark.thorough
def test_a_core_package_asks_for_the_approval_of_core(site):
    text = (site.root / "config.toml").read_text()
    site.set(policy__core_packages=[PLAIN])
    assert text != (site.root / "config.toml").read_text()
    txid = site.run("rich-eyes")
    ended = assert_refused(site, "tx", "promote", txid, "--accept-findings", code=3, says=PLAIN)
    assert ended.error["code"] == "core_approval"
    assert RICH in ended.error["message"]
    site.gov("tx", "promote", txid, "--accept-findings", "--approve-core", "--reason", "cv").ok()
    assert whose(site) == RICH
