"""Builds in the fence, without a ComfyUI: what comes out, and that nothing else does."""

import sys

import pytest
from support import grabby

from governance.boundaries.uv import Uv
from governance.environments import builds, wheelhouse
from governance.sample import world as sample
from governance.sample.wheels import Wheel, build
from governance.truth.workspace import Workspace

PROJECT = """\
[project]
name = "p"
version = "0"
requires-python = ">=3.11"
dependencies = [{line!r}]
[tool.uv]
package = false
[[tool.uv.index]]
name = "folder"
url = "{index}"
format = "flat"
default = true
"""


class Place:
    def __init__(self, folder):
        self.folder = folder
        self.space = Workspace(folder / "ws")
        self.space.candidates.mkdir(parents=True)
        self.wheels = folder / "wheels"
        self.targets = [folder / "planted", self.space.root / "planted", folder / "cache/planted"]
        build(Wheel("leaf", "1.0"), self.wheels)
        build(Wheel("leaf", "2.0"), self.wheels)
        self.said = []
        self.uv = Uv(folder / "cache", builds=builds.Builds(self.space, self.said.append))

    def lock(self, line):
        project = self.folder / "project"
        project.mkdir(exist_ok=True)
        index = self.wheels.as_uri()
        (project / "pyproject.toml").write_text(PROJECT.format(line=line, index=index))
        done = self.uv.lock(project, python=sys.executable)
        return done, (project / "uv.lock").read_text() if done.ok else ""

    def lay(self, name="grabby"):
        wheelhouse.sync(
            self.space, self.uv, self.folder / "project", self.folder / "env",
            python=sys.executable, link_mode="copy", offline=False,
        )  # fmt: skip
        return next(self.folder.glob(f"env/lib/*/site-packages/{name}.py")).read_text()

    def planted(self):
        return [path for path in self.targets if path.exists()]

    def repository(self, *leaf):
        files = grabby.sources(self.targets, requires=leaf)
        sample.write_node(self.folder / "repos", "grabby", files)
        return f"grabby @ git+{(self.folder / 'repos/grabby').as_uri()}"


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    return Place(tmp_path)


def test_one_build_serves_every_lock_and_environment(place):
    grabby.write(place.wheels, place.targets, requires=("leaf<2",))
    for _ in range(2):
        done, lock = place.lock("grabby")
        assert (done.ok, "leaf-1.0" in lock, "dependency-metadata" in lock) == (True, True, False)
    assert len(place.said) == 1
    assert place.lay() == "SEEN = {'secret': None, 'wrote': []}\n"
    assert place.planted() == []
    assert list(place.space.candidates.iterdir()) == []


def test_of_a_repository_what_counts_is_the_commit(place):
    line = place.repository("leaf<2")
    assert "leaf-1.0" in place.lock(line)[1]
    place.repository("leaf>=2")
    (place.folder / "project/uv.lock").unlink()
    assert "leaf-2.0" in place.lock(line)[1]
    assert place.lay() == "SEEN = {'secret': None, 'wrote': []}\n"
    assert place.planted() == []


def test_without_builds_nothing_is_built(place):
    grabby.write(place.wheels, place.targets)
    place.uv = Uv(place.folder / "cache")
    done, _ = place.lock("grabby")
    assert (done.ok, done.conflict, place.planted()) == (False, True, [])


@pytest.mark.parametrize(
    ("needs", "told"),
    [
        (("evil @ https://example.invalid/evil-1.0-py3-none-any.whl",), "comes from no index"),
        (("--index-url=https://example.invalid",), "which is no requirement"),
        (("absent-backend",), "absent-backend"),
    ],
)
def test_what_a_build_asks_for_comes_from_the_index(place, needs, told):
    files = grabby.sources(place.targets, needs=needs)
    sample.write_node(place.folder / "repos", "grabby", files)
    address = (place.folder / "repos/grabby").as_uri()
    done, _ = place.lock(f"grabby @ git+{address}")
    assert not done.ok
    assert told in done.log
