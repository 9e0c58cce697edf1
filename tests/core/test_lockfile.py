"""uv.lock as data: what determines an environment, and what is only noise."""

import copy
import tomllib

import pytest

from governance.base.errors import Damaged
from governance.truth import lockfile
from governance.truth.lockfile import Change

LOCK = {
    "version": 1,
    "package": [
        {"name": "comfy-env", "version": "0", "source": {"virtual": "."}},
        {
            "name": "numpy",
            "version": "2.4.1",
            "source": {"registry": "x"},
            "wheels": [{"path": "numpy.whl", "hash": "sha256:0", "size": 7, "upload-time": "t"}],
        },
        {"name": "tool", "version": "1", "source": {"git": "https://example.invalid/t#abc"}},
    ],
}


TEXT = """\
version = 1

[[package]]
name = "comfy-env"
version = "0"
source = { virtual = "." }

[[package]]
name = "numpy"
version = "2.4.1"
source = { registry = "x" }
dependencies = [{ name = "tool" }]
"""
FROM_GIT = """
[[package]]
name = "tool"
version = "1"
source = { git = "https://example.invalid/t#abc" }
"""


@pytest.mark.parametrize("text", [TEXT, TEXT + FROM_GIT, "version = 1\n"])
def test_versions_of_a_text_are_those_of_the_parsed_lock(text):
    assert lockfile.versions_in(text) == lockfile.versions(tomllib.loads(text))


def changed(path, value):
    lock = copy.deepcopy(LOCK)
    place = lock
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return lock


@pytest.mark.parametrize("field", ["size", "upload-time"])
def test_noise_does_not_make_another_environment(field):
    other = changed(("package", 1, "wheels", 0, field), "other")
    assert lockfile.content_digest(other) == lockfile.content_digest(LOCK)


@pytest.mark.parametrize(
    "path",
    [("package", 1, "version"), ("package", 1, "wheels", 0, "hash"), ("package", 2, "source")],
)
def test_what_would_be_installed_does(path):
    assert lockfile.content_digest(changed(path, "other")) != lockfile.content_digest(LOCK)


def test_versions_leave_the_project_itself_out():
    assert lockfile.versions(LOCK) == {
        "numpy": "2.4.1",
        "tool": "@ https://example.invalid/t#abc",
    }


def test_a_freeze_reads_as_the_lock_does():
    lines = ["numpy==2.4.1", "tool @ https://example.invalid/t#abc"]
    assert lockfile.frozen_versions(lines) == lockfile.versions(LOCK)


def test_added_removed_and_changed_are_all_changes():
    found = lockfile.changes({"a": "1", "b": "1", "c": "1"}, {"b": "2", "c": "1", "d": "1"})
    assert [(c.name, c.kind) for c in found] == [
        ("a", "removed"),
        ("b", "changed"),
        ("d", "added"),
    ]
    assert found[1] == Change("b", "1", "2")


@pytest.mark.parametrize("text", [b"version = ", b"\xff", b"x = " + b"[" * 5000])
def test_a_damaged_lock_is_named(tmp_path, text):
    with pytest.raises(Damaged, match=r"uv\.lock"):
        lockfile.parse(text, tmp_path / "uv.lock")
