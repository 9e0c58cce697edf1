"""A node that does at its start what no node should: told first, and a gate of policy."""

import pytest
from support.refusal import assert_refused

SUDO = """
import subprocess

try:
    subprocess.run(["sudo", "-n", "pacman", "-S", "{package}"])
except OSError:
    pass
"""


@pytest.fixture
def site(settled):
    folder = settled.site.world.repos
    if not (folder / "wants-root").exists():
        init = SUDO.format(package="ffmpeg") + "NODE_CLASS_MAPPINGS = {}\n"
        settled.site.world.add("wants-root", {"__init__.py": init})
    return settled.site


def test_it_is_told_first_asked_about_once_and_again_where_it_is_new(site, upstream):
    site.add("wants-root")
    told = site.gov("tx", "run", "wants-root").ok()
    lines = [line.strip() for line in told.out.splitlines()]
    first = next(n for n, line in enumerate(lines) if line.startswith("completed: "))
    sentence = "FINDING: wants-root wanted to be root: sudo -n pacman -S ffmpeg"
    assert lines[first + 1].startswith(sentence)
    assert "called the system's package manager" in lines[first + 2]
    assert lines[-1].endswith(" --accept-findings")

    txid = lines[0].split()[0]
    ended = assert_refused(site, "tx", "promote", txid, code=3, says="wanted to be root")
    assert ended.error["code"] == "start_actions"
    assert [row["kind"] for row in ended.error["facts"]["findings"]] == ["root", "system_packages"]
    site.gov("tx", "promote", txid, "--accept-findings").ok()

    source = upstream("wants-root")
    init = SUDO.format(package="ffmpeg") + "# newer\nNODE_CLASS_MAPPINGS = {}\n"
    source.commit(init=init)
    site.gov("node", "update", "wants-root", "--promote").ok()
    source.commit(init=init.replace("ffmpeg", "sox"))
    again = site.gov("node", "update", "wants-root", "--promote")
    assert (again.code, "pacman -S sox" in again.err) == (3, True)


def test_policy_decides(site):
    path = site.root / "config.toml"
    text = path.read_text()
    txid = site.run("wants-root")
    path.write_text(text.replace('start_actions = "ask"', 'start_actions = "refuse"'))
    assert_refused(site, "tx", "promote", txid, "--accept-findings", code=3, says="be root")
    path.write_text(text.replace('start_actions = "ask"', 'start_actions = "allow"'))
    site.gov("tx", "promote", txid).ok()
