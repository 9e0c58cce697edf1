"""Calls that fail, full and read-only disks, wrong clocks: loud, and never half done."""

import random
import resource
import subprocess

import pytest

from . import broken, figures
from .scenarios import BY_NAME
from .trials import Trials

INJECTIONS = figures.size(64, 700)
LIMITS = figures.size(6, 60)
ERRORS = ("ENOSPC", "EIO", "EACCES", "EXDEV")
SEED = 5


@pytest.mark.usefixtures("traced")
@pytest.mark.timeout(3600 if figures.LONG else 300)
@pytest.mark.parametrize("name", BY_NAME)
def test_a_failing_call_is_loud_and_nothing_is_half_done(trials, note, name):
    """Every fifth disk fails for good: that call and all later ones of its kind."""
    scenario = BY_NAME[name]
    done, bad = 0, {}
    for turn, call in enumerate(trials.sample(scenario, INJECTIONS, SEED)):
        error = ERRORS[turn % len(ERRORS)]
        if call.name == "wait4" or "LOCK_UN" in call.text:
            continue  # these do not fail
        if call.name == "flock" and error == "EACCES":
            error = "EIO"  # EACCES is how some file systems say that somebody else holds it
        # A write that fails for good would silence the error line itself.
        for_good = turn % 5 == 4 and call.name != "write"
        found, ended = trials.fail(scenario, call, error, ever=for_good)
        if found is None:
            continue
        done += 1
        if found:
            bad[f"{error} {call}"] = [*found, ended.err[-900:]]
    note("failing calls", injections=done, bad=len(bad))
    assert not bad, figures.told(bad)
    assert done > 0


@pytest.mark.parametrize("name", ["node add", "tx promote", "rollback", "retention", "recovery"])
def test_short_writes(trials, note, name):
    """A limit on file sizes makes the kernel write a part, then refuse the rest."""
    scenario, chance = BY_NAME[name], random.Random(SEED)
    whole, bad = trials.whole(scenario), []
    for _ in range(max(1, LIMITS // 5)):
        limit = int(2 ** chance.uniform(3, 13))
        trials.begin(scenario)
        code, err = limited(trials.stage, scenario.argv(trials.stage), limit)
        bad += [
            f"{limit} bytes: {found}" for found in trials.judge_failed(scenario, whole, code, err)
        ]
    note("short writes", injections=max(1, LIMITS // 5), bad=len(bad))
    assert not bad, figures.told(bad)


def limited(stage, argv, limit):
    done = subprocess.run(
        stage.command(argv),
        env=stage.environ(),
        cwd=stage.folder,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("name", ["old_clock", "far_clock"])
def test_a_wrong_clock_changes_no_order(stage, trials, note, name):
    """Snapshots stay in the order they were taken, and the newest stays the newest."""
    scenario = BY_NAME["rollback"]
    trials.begin(scenario)
    before = trials.look().snapshots
    wrong = Trials(stage, breaks=name)
    done = subprocess.run(
        stage.command(scenario.argv(stage)), env=wrong.env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert trials.look().snapshots[: len(before)] == before
    pre = trials.look().snapshots[len(before)][0]
    assert stage.gov("rollback", pre).code == 0
    assert stage.gov("tx", "promote", stage.names["ready"]).code == 0
    assert trials.faults() == []
    assert stage.gov("clean").code == 0
    assert trials.faults(swept=True) == []
    note("wrong clocks", runs=1, bad=0)


@pytest.mark.privileged
@pytest.mark.parametrize("name", ["node add", "tx abort", "rollback", "tx promote", "clean"])
def test_a_read_only_workspace(trials, note, name):
    scenario = BY_NAME[name]
    whole = trials.whole(scenario)
    trials.begin(scenario)
    root = trials.stage.root
    mounts = f"mount --bind {root} {root} && mount -o remount,bind,ro {root}"
    ended = mounted(trials.stage, mounts, scenario.argv(trials.stage))
    assert ended.returncode == 1
    assert trials.judge_failed(scenario, whole, ended.returncode, ended.stderr) == []
    note("read-only and full disks", runs=1, bad=0)


@pytest.mark.family(1)
@pytest.mark.privileged
@pytest.mark.parametrize("free_kb", [8, 32, 64])
def test_a_disk_that_fills_up_during_the_build(trials, note, free_kb):
    """Environments lie on a small file system of their own for as long as the command runs."""
    scenario = BY_NAME["tx run"]
    whole = trials.whole(scenario)
    trials.begin(scenario)
    folder = trials.stage.root / ".generations"
    held = {path.lstat().st_ino: path.lstat().st_blocks // 2 for path in folder.rglob("*")}
    size = sum(held.values()) + free_kb
    copy = trials.stage.folder / "copy"
    mounts = (
        f"cp -a {folder} {copy} && mount -t tmpfs -o size={size}k none {folder} "
        f"&& cp -a {copy}/. {folder} && rm -rf {copy}"
    )
    ended = mounted(trials.stage, mounts, scenario.argv(trials.stage))
    assert ended.returncode == 1, ended.stderr
    assert trials.judge_failed(scenario, whole, ended.returncode, ended.stderr) == []
    note("read-only and full disks", runs=1, bad=0)


def mounted(stage, mounts, argv):
    """The command in a mount namespace of its own, after `mounts`."""
    probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", str(stage.folder / "kept")]
    if subprocess.run(probe, capture_output=True).returncode != 0:
        pytest.skip("nothing can be mounted here")
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh", *stage.command(argv)],
        env=stage.environ(),
        cwd=stage.folder,
        capture_output=True,
        text=True,
    )


@pytest.mark.usefixtures("traced")
def test_an_error_that_is_swallowed_is_found_out(stage, note):
    """The control: writes that fail in silence turn the harness red."""
    quiet = Trials(stage, breaks="silent_disk")
    scenario = BY_NAME["tx abort"]
    calls = [
        call for call in quiet.whole(scenario).calls if "state/transactions/.tmp-" in call.text
    ]
    found = []
    for call in calls:
        problems, _ = quiet.fail(scenario, call, "ENOSPC")
        found += problems or []
    assert found != []
    assert broken.CHILD.is_dir()
    note("controls that went red", controls=1)
