"""Versions that come in from elsewhere are kept by one lock where they can be."""

import os
import sys

import pytest

from governance.boundaries import store
from governance.boundaries.uv import Uv
from governance.sample.index import serve
from governance.sample.wheels import Wheel, build_all
from governance.truth import lockfile, preferences, resolution

WHEELS = (
    *(Wheel("num", version) for version in ("1.0", "1.5", "2.0")),
    *(Wheel("lib", version, requires=("dep",)) for version in ("1.0", "2.0")),
    *(Wheel("dep", version) for version in ("1.0", "2.0")),
)


@pytest.fixture
def locked(tmp_path):
    """Lock lines with versions that are preferred: name to version, and what uv said."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    build_all(WHEELS, folder)
    version = ".".join(map(str, sys.version_info[:3]))

    def lock(lines, preferred):
        with serve(folder) as index:
            indexes = [resolution.Index(index.url)]
            settings = resolution.Settings(sys.executable, version, indexes=indexes)
            project = resolution.Project(resolution.new_project(settings, lines))
            place = tmp_path / "project"
            resolution.stage(place, project, preferences.lock_of(project, preferred))
            done = resolution.lock(Uv(tmp_path / "cache", os.environ), place, project)
        assert done.ok, done.log
        return lockfile.versions_in((place / "uv.lock").read_text())

    return lock


def test_versions_are_kept_also_of_what_packages_bring(locked):
    preferred = {"num": "1.5", "lib": "1.0", "dep": "1.0"}
    assert locked(["num", "lib"], preferred) == preferred


def test_only_what_has_to_move_moves(locked):
    preferred = {"num": "1.5", "lib": "1.0", "dep": "1.0"}
    assert locked(["num>=2", "lib"], preferred) == {**preferred, "num": "2.0"}


def test_versions_that_cannot_be_had_and_packages_that_nobody_asks_for_do_no_harm(locked):
    preferred = {"num": "9.9+local", "stranger": "1.0", "lib": "@ file:///tmp/lib"}
    assert locked(["num", "lib"], preferred) == {"num": "2.0", "lib": "2.0", "dep": "2.0"}


@pytest.mark.parametrize("name", resolution.PROJECTS[1:])
def test_a_node_asks_for_a_package_that_is_called_as_the_project_was(tmp_path, name):
    """comfy-env is a real package, and uv took it for the project: "depends on itself"."""
    build_all([Wheel(name, "1.0")], store.make_folder(tmp_path / "wheels"))
    version = ".".join(map(str, sys.version_info[:3]))
    with serve(tmp_path / "wheels") as index:
        settings = resolution.Settings(
            sys.executable, version, indexes=[resolution.Index(index.url)]
        )
        old = resolution.new_project(settings, []).replace(resolution.PROJECT, name)
        project = resolution.Project(old).with_group("node-a", [f"{name}==1.0"])
        resolution.stage(tmp_path / "project", project, None)
        done = resolution.lock(Uv(tmp_path / "cache", os.environ), tmp_path / "project", project)
    assert done.ok, done.log
    assert lockfile.versions_in((tmp_path / "project/uv.lock").read_text()) == {name: "1.0"}
