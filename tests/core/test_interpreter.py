"""The Python that an environment is a view of: gone, changed, or as it was."""

import json
import os
import sys

import pytest

from core.house import make_bare
from governance.base.errors import GovError
from governance.environments import interpreter

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def space(tmp_path):
    """A generation `one` over an interpreter that stands for one of the machine's."""
    space = make_bare(tmp_path / "env")
    (tmp_path / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tmp_path / "python").chmod(0o755)
    environment = space.generations / "one"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin/python").symlink_to(tmp_path / "python")
    (environment / f"lib/python{MINOR}/site-packages").mkdir(parents=True)
    return space


def record(space):
    papers = space.generations / "one.d"
    papers.mkdir()
    facts = interpreter.facts(space.generations / "one")
    (papers / "manifest.json").write_text(json.dumps({"interpreter": facts}))


def test_one_that_is_as_it_was_is_no_problem_and_is_not_started(space, monkeypatch):
    record(space)
    monkeypatch.setattr("governance.boundaries.process.run", None)
    assert interpreter.problem(space, "one") is None


def test_one_that_is_gone_is_named(space, tmp_path):
    record(space)
    (tmp_path / "python").rename(tmp_path / "elsewhere")
    assert str(tmp_path / "python") in interpreter.problem(space, "one")
    with pytest.raises(GovError) as caught:
        interpreter.require(space, "one")
    assert caught.value.code == "python_gone"


def test_one_that_was_exchanged_for_the_same_version_is_no_problem(space, tmp_path):
    record(space)
    os.utime(tmp_path / "python", (1, 1))
    assert interpreter.problem(space, "one") is None


def test_another_version_is_told_with_both(space, tmp_path):
    record(space)
    (tmp_path / "python").write_text("#!/bin/sh\necho 3.99\n")
    assert interpreter.problem(space, "one") == (
        f"its Python is 3.99 now; the packages were built for {MINOR}"
    )


def test_one_that_does_not_run_is_told(space, tmp_path):
    record(space)
    (tmp_path / "python").write_text("#!/bin/sh\nexit 1\n")
    assert "does not run" in interpreter.problem(space, "one")
