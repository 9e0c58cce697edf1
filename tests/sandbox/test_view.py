"""Views as values, what becomes of them where support is missing, and the probe."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from governance import sandbox
from governance.base.errors import GovError

from .conftest import give, needs

NOTHING = sandbox.Support(False, "no", False, "no", 0, False, "no", False)
ALL = sandbox.Support(True, "", True, "", 7, True, "", False)


@pytest.mark.parametrize(
    "view",
    [
        sandbox.View(),
        sandbox.View(
            layer=sandbox.Layer(Path("/a b"), Path("/ü"), Path("/c,:")),
            writable=(Path("/x"),),
            read_only=(Path("/y"), Path("/z")),
            own_processes=False,
            grace=0.5,
        ),
        sandbox.View(writable=()),
    ],
)
def test_a_view_survives_json(view):
    assert sandbox.View.from_json(json.loads(json.dumps(view.to_json()))) == view


@pytest.mark.parametrize(
    ("view", "landlock", "mounts", "expected"),
    [
        (sandbox.View(), 7, True, "none"),
        (sandbox.View(writable=()), 7, True, "full"),
        (sandbox.View(writable=()), 0, True, "mounts"),
        (sandbox.View(writable=()), 7, False, "landlock"),
        (sandbox.View(writable=()), 0, False, "none"),
        (sandbox.View(read_only=(Path("/usr"),)), 7, True, "mounts"),
        (sandbox.View(read_only=(Path("/usr"),)), 7, False, "landlock"),
        (sandbox.View(read_only=(Path("/usr"),)), 0, False, "none"),
    ],
)
def test_isolation_says_what_is_used(view, landlock, mounts, expected):
    support = sandbox.Support(True, "", mounts, "", landlock, True, "", False)
    assert sandbox.isolation(view, support) == expected


def test_with_nothing_to_be_had_it_runs_all_the_same(me, tmp_path):
    view = sandbox.View(writable=(tmp_path,), read_only=(tmp_path,), grace=0.2)
    argv = sandbox.wrap(view, NOTHING, ["sh", "-c", f"touch '{tmp_path}/a'; sleep 600 & exit 3"])
    assert os.spawnv(os.P_WAIT, argv[0], argv) == 3
    assert (tmp_path / "a").exists()


@pytest.mark.privileged
def test_the_probe_leaves_nothing(person, world):
    found = person.support
    for works, reason in (
        (found.layer, found.layer_reason),
        (found.read_only_mounts, found.read_only_reason),
        (found.pid_namespace, found.pid_reason),
    ):
        assert works == (reason == "")
    sandbox.probe(world)
    assert list(world.iterdir()) == []


@pytest.mark.privileged
@pytest.mark.parametrize(
    ("feature", "flags", "script"),
    [
        (
            "layer",
            "",
            "mount -t overlay none lower -o lowerdir=lower,upperdir=upper,workdir=work{}",
        ),
        ("read_only_mounts", "", "mount --bind lower lower && mount -o remount,bind,ro lower"),
        ("pid_namespace", "-pf --mount-proc", "true"),
    ],
)
def test_the_probe_finds_what_other_tools_find(person, world, feature, flags, script):
    """A fault of ours must not pass for a lack of the kernel's, and have its tests skipped."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare(1)")
    for name in ("lower", "upper", "work"):
        (world / name).mkdir()
    give(person, world)
    user = person.support.user_namespace
    script = script.format(",userxattr" if user else "")
    argv = ["unshare", "-m", *(["-Ur"] if user else []), *flags.split(), "sh", "-c", script]
    other = subprocess.run(argv, **person.as_user, cwd=world, capture_output=True, text=True)
    if other.returncode:
        pytest.skip(f"unshare(1) cannot do it either: {other.stderr.strip()}")
    assert getattr(person.support, feature)


def test_the_probe_needs_a_folder(tmp_path):
    with pytest.raises(GovError, match="No such file"):
        sandbox.probe(tmp_path / "missing")


@pytest.mark.privileged
def test_the_probe_says_no_with_a_reason(me, tmp_path):
    """Inside a fence nothing may be mounted: a machine that forbids everything."""
    needs(me, "read_only_mounts", "landlock")
    enter = Path(sandbox.__file__).with_name("enter.py")
    view = sandbox.View(writable=(tmp_path,))
    done = me.run(view, me.python, "-I", "-S", str(enter), "--probe", str(tmp_path))
    found = sandbox.Support(**json.loads(done.stdout))
    assert not (found.layer or found.read_only_mounts or found.pid_namespace)
    assert "not permitted" in found.layer_reason
    assert found.read_only_reason
    assert found.pid_reason
    assert found.landlock == me.support.landlock


@pytest.fixture
def protected(tmp_path):
    (tmp_path / "prod").mkdir()
    (tmp_path / "place").mkdir()
    (tmp_path / "prod/module.py").write_text("original")
    return [tmp_path / "prod", tmp_path / "prod/module.py"]


@pytest.mark.privileged
def test_the_canaries_are_stopped(me, tmp_path, protected):
    needs(me, "read_only_mounts")
    view = sandbox.View(writable=(tmp_path / "place",))
    canaries = sandbox.self_test(view, me.support, protected).canaries
    assert len(canaries) == 7
    assert {(canary.stopped, canary.error) for canary in canaries} == {
        (True, "Read-only file system")
    }


def test_canaries_change_nothing_where_no_fence_holds(me, tmp_path, protected):
    before = [(path.stat().st_mtime_ns, path.stat().st_mode) for path in protected]
    canaries = sandbox.self_test(sandbox.View(), me.support, protected).canaries
    assert {canary.stopped for canary in canaries} == {False}
    assert [(path.stat().st_mtime_ns, path.stat().st_mode) for path in protected] == before
    assert [path.name for path in (tmp_path / "prod").iterdir()] == ["module.py"]


def test_a_canary_needs_something_to_try(me, tmp_path):
    with pytest.raises(GovError, match="could not be tried"):
        sandbox.self_test(sandbox.View(), me.support, [tmp_path / "missing"])
