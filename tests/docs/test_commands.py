"""Every command that a reader is told to type is one that exists."""

import re
import shlex
from pathlib import Path

import pytest

from governance.base.errors import UsageError
from governance.cli import parser, reference

from . import pages

COMMANDS = list(dict.fromkeys(pages.commands()))
SHELL = ("cd", "git", "pip", "uv")
DOIT = ("forget", "help", "ignore", "info", "list")


def tasks():
    return {row[0].strip("`") for row in reference.generated_table("tasks").rows}


def check(text):
    """Raises where the command cannot be what it says."""
    words = shlex.split(text)
    while "=" in words[0]:
        words = words[1:]
    program = words[0].removeprefix("./")
    if program == "gov" or program.endswith("bin/gov"):
        parse(words[1:])
    elif program.endswith("bin/doit"):
        check_task(words[1:])
    elif program.endswith("python"):
        check_python(words[1:])
    elif program.startswith("bin/"):
        assert (pages.CHECKOUT / program).is_file(), program
    else:
        assert program in SHELL or program.startswith(".venv/bin/"), program


def parse(words):
    try:
        parser.parse(words)
    except SystemExit as end:  # --help and --version
        assert end.code == 0


def check_task(words):
    named = [word for word in words if not word.startswith("-")]
    if named and named[0] in DOIT:
        named = [] if named[0] == "list" else named[1:2]
    for name in named[:1]:
        assert name.partition(":")[0] in tasks(), name


def check_python(words):
    if words[0] == "-m":
        module = pages.CHECKOUT / (words[1].replace(".", "/") + ".py")
        assert module.is_file(), words[1]
    elif words[0] != "-c":
        assert (pages.CHECKOUT / words[0]).is_file(), words[0]


def test_there_are_commands_to_check():
    found = {command.page for command in COMMANDS}
    assert {"README.md", "README.zh-CN.md", "04_cli_reference.md"} <= found
    assert len(COMMANDS) > 80


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: f"{c.page}: {c.line[:50]}")
def test_it_can_be_typed(command):
    check(command.text)


@pytest.mark.parametrize(
    "wrong",
    [
        "gov frobnicate",
        "gov tx promote",
        "gov tx promote X --aprove-core",
        "bin/gov status more",
        "bin/doit no_such_task",
        "bin/doit info no_such_task",
        "bin/no-such-launcher",
        "python -m governance.no_such_module",
        "apt install something",
    ],
)
def test_a_wrong_one_is_found(wrong):
    with pytest.raises((UsageError, AssertionError)):
        check(wrong)


def test_both_readmes_tell_the_same_commands():
    """What may be typed with one page in hand may be typed with the other."""
    english, chinese = (
        {re.sub(r"<[^>]+>", "<>", c.line) for c in COMMANDS if c.page == name and "$" not in c.line}
        for name in ("README.md", "README.zh-CN.md")
    )
    transcript = re.compile(r"comfy_env/bin/gov")
    assert {line for line in english if not transcript.match(line)} == {
        line for line in chinese if not transcript.match(line)
    }


def test_every_verb_is_in_the_reference_with_its_example():
    text = (pages.DOCS / "04_cli_reference.md").read_text()
    parts = [name for name, _ in reference.parts(text)]
    for verb in parser.VERBS:
        assert f"verb {verb.words}" in parts
        assert f"## gov {verb.words}\n" in text
        assert verb.example in text


def test_the_launchers_named_are_executable():
    started = {p for p in (pages.CHECKOUT / "bin").iterdir() if p.read_text().startswith("#!")}
    assert {path.name for path in started} == {"gov", "doit", "setup", "test"}
    for path in started:
        assert path.stat().st_mode & 0o111, path
    assert Path(pages.CHECKOUT / ".ci/run").stat().st_mode & 0o111
