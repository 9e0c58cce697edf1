"""Two people may stand before a fence: whoever runs the tests and, where that is root, nobody."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from governance import sandbox

ROOT = Path(__file__).parents[2]
NOBODY = 65534
DRIVER = """
import json, sys
from pathlib import Path
from governance import sandbox
print(json.dumps(sandbox.probe(Path(sys.argv[1])).__dict__))
"""


@dataclass(frozen=True)
class Person:
    """Who starts programs, with which Python, and what the machine supports for them."""

    uid: int | None
    python: str
    support: sandbox.Support

    @property
    def as_user(self):
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.uid, "extra_groups": []}

    def only(self, **features):
        return replace(self, support=replace(self.support, **features))

    def popen(self, view, *argv, **how):
        wrapped = sandbox.wrap(view, self.support, argv, python=self.python)
        return subprocess.Popen(wrapped, **self.as_user, **{"text": True, "cwd": "/", **how})

    def run(self, view, *argv, **how):
        wrapped = sandbox.wrap(view, self.support, argv, python=self.python)
        how = {"capture_output": True, "text": True, "cwd": "/", "timeout": 60, **how}
        return subprocess.run(wrapped, **self.as_user, **how)

    def shell(self, view, script, **how):
        return self.run(view, "sh", "-c", script, **how)


def probe_as(uid, python, folder):
    os.chown(folder, uid, uid)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    how = {"user": uid, "group": uid, "extra_groups": [], "env": env, "cwd": "/"}
    how |= {"capture_output": True, "text": True}
    trial = subprocess.run([python, "-c", "import governance.sandbox"], **how)
    if trial.returncode:
        pytest.skip(f"nobody cannot run this checkout: {trial.stderr[-300:]}")
    answer = subprocess.run([python, "-c", DRIVER, folder], **how)
    assert answer.returncode == 0, answer.stderr
    return sandbox.Support(**json.loads(answer.stdout))


@pytest.fixture(scope="session")
def me(tmp_path_factory):
    return Person(None, sys.executable, sandbox.probe(tmp_path_factory.mktemp("probe")))


@pytest.fixture(scope="session")
def nobody():
    """An ordinary user; the Python of this venv may lie in a home folder closed to others."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    python = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")
    if python is None:
        pytest.skip("no Python outside root's home")
    folder = tempfile.mkdtemp()
    try:
        return Person(NOBODY, python, probe_as(NOBODY, python, folder))
    finally:
        shutil.rmtree(folder)


@pytest.fixture(params=["me", "nobody"])
def person(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def world(person):
    """A folder of this person's, where everybody may pass; its name is not a tame one."""
    top = Path(tempfile.mkdtemp(prefix="gov sandbox ü,:"))
    folder = top / "wörld, with: everything"
    folder.mkdir()
    top.chmod(0o755)
    if person.uid is not None:
        os.chown(folder, person.uid, person.uid)
    yield folder
    shutil.rmtree(top)


@pytest.fixture
def layer(person, world):
    """An environment of two files, one of them a hardlink from uv's cache."""
    lower = world / "generation"
    (lower / "package").mkdir(parents=True)
    (lower / "package/inner.py").write_text("old")
    (lower / "shared.py").write_text("old")
    (world / "cache.py").hardlink_to(lower / "shared.py")
    (world / "place").mkdir()
    give(person, world)
    return sandbox.Layer(lower, world / "candidate/upper", world / "candidate/work")


def give(person, folder):
    if person.uid is not None:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, person.uid, person.uid, follow_symlinks=False)


def needs(person, *features):
    """Skip, with the probe's reason, where one of the features cannot be had."""
    reasons = {
        "layer": person.support.layer_reason,
        "read_only_mounts": person.support.read_only_reason,
        "pid_namespace": person.support.pid_reason,
        "landlock": "the kernel has no Landlock",
    }
    for feature in features:
        if not getattr(person.support, feature):
            pytest.skip(f"{feature}: {reasons[feature]}")
