"""Hints print the command as it was called, so that they can be pasted."""

import os
import re
import shutil
import sys

import pytest
from support.gov import Gov

from governance.cli import called, report
from governance.cli.outcome import Table
from governance.truth import workspace

TXID = "20260101T000000Z-0123abcd"


@pytest.fixture
def as_typed(monkeypatch):
    def typed(text):
        monkeypatch.setenv(called.VARIABLE, text)

    return typed


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("./bin/gov", "./bin/gov"),
        ("comfy_env/bin/gov", "comfy_env/bin/gov"),
        ("my env/bin/gov", "'my env/bin/gov'"),
        ("it's/gov", """'it'"'"'s/gov'"""),
        ("gov", "gov"),
        ("", "gov"),
    ],
)
def test_a_command_begins_as_it_was_called(as_typed, typed, shown):
    as_typed(typed)
    assert called.in_hint("run `gov status`; see `gov tx run n`") == (
        f"run `{shown} status`; see `{shown} tx run n`"
    )


def test_found_on_path_it_is_called_by_its_name(as_typed, monkeypatch, tmp_path):
    for name in ("on", "off"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "gov").write_text("#!/bin/sh\n")
        (tmp_path / name / "gov").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "on"))
    as_typed(str(tmp_path / "on/gov"))
    assert called.name() == "gov"
    as_typed(str(tmp_path / "off/gov"))
    assert called.name() == str(tmp_path / "off/gov")


def test_the_script_of_pip_has_no_launcher(monkeypatch):
    monkeypatch.delenv(called.VARIABLE, raising=False)
    monkeypatch.setattr(sys, "argv", [".venv/bin/gov"])
    assert called.name() == ".venv/bin/gov"
    monkeypatch.setattr(sys, "argv", ["governance/__main__.py"])
    assert called.name() == "gov"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("next: gov tx inspect T, or gov tx abort T", "next: ./g tx inspect T, or ./g tx abort T"),
        ("next: gov node update --all and gov comfyui update", None),
        ("back with: gov rollback S", "back with: ./g rollback S"),
        ("      gov resolve T --accept 1", "      ./g resolve T --accept 1"),
        ("one\ngov --root X status", "one\n./g --root X status"),
        ("gov looks at the files", "gov looks at the files"),
        ("busy         gov tx run (pid 1)", "busy         gov tx run (pid 1)"),
        ("see gov/1 and `gov`", "see gov/1 and `gov`"),
    ],
)
def test_in_a_line_only_commands_are_rewritten(as_typed, line, shown):
    as_typed("./g")
    assert called.in_line(line) == (shown or line.replace("gov ", "./g "))


def test_a_launcher_says_how_it_was_called_and_json_stays_as_it_is(settled):
    site = settled.site
    gov = site.root / "bin/gov"
    link = os.path.relpath(gov, site.root.parent)
    told = Gov(None).process("tx", "inspect", TXID, program=link, cwd=site.root.parent)
    assert told.problems("hint")[0].startswith(f"hint: `{link} status` lists")
    found = Gov(None).process("tx", "inspect", TXID, "--json", program=gov, cwd="/")
    assert found.error["hint"].startswith("`gov status` lists")


def test_the_launcher_of_the_checkout_says_it_too(tmp_path):
    """With a set-up of the test's own: the real one may find the tool's .venv stale, and make it
    anew in the middle of the tests."""
    folder = tmp_path / "check out/bin"
    folder.mkdir(parents=True)
    shutil.copy(workspace.CHECKOUT / "bin/gov", folder)
    (folder / "ready").write_text('python="$home/bin/python"\n')
    (folder / "python").write_text('#!/bin/sh\nprintf %s "$GOV_CALLED_AS"\n')
    (folder / "python").chmod(0o755)
    told = Gov(None).process("status", program="check out/bin/gov", cwd=tmp_path)
    assert told.out == "check out/bin/gov"


@pytest.mark.parametrize("width", [30, 60, 200])
def test_an_id_never_folds_in_a_table(monkeypatch, capsys, width):
    monkeypatch.setenv("COLUMNS", str(width))
    ids = [TXID, "20260101T000000Z-snap-0123ab"]
    long = "a sentence that is longer than the terminal is wide " * 3
    report._show_rich(Table("", ("id", "what"), [(one, long) for one in ids]))
    shown = capsys.readouterr().out
    assert all(re.search(rf"(?m)\b{one}\b", shown) for one in ids)
