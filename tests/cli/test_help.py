"""Each verb explains itself, with an example that parses."""

import shlex

import pytest
from support.gov import Gov

from governance.cli import parser

VISIBLE = [verb for verb in parser.VERBS if not verb.words.startswith("_")]
SEED = {
    "init", "status", "node add", "node remove", "tx run", "tx inspect", "tx abort", "resolve",
    "tx promote", "snapshot list", "snapshot inspect", "rollback", "run",
}  # fmt: skip


def test_every_verb_of_the_seed_is_there():
    assert {verb.words for verb in VISIBLE} >= SEED


@pytest.mark.parametrize("verb", VISIBLE, ids=lambda verb: verb.words)
def test_each_verbs_help_holds_an_example_that_parses(verb):
    told = Gov(None)(*verb.words.split(), "--help").ok()
    assert told.out.startswith(f"usage: gov {verb.words}")
    assert f"example:\n  {verb.example}\n" in told.out
    assert told.err == ""
    for option in ("--root", "--json", "--verbose", "--quiet"):
        assert option in told.out
    typed = shlex.split(verb.example.partition(" > ")[0])
    assert parser.parse(typed[1:]).words == verb.words


@pytest.mark.parametrize("argv", [["--help"], ["tx", "--help"], ["node", "-h"]])
def test_groups_are_listed(argv):
    assert Gov(None)(*argv).ok().out.startswith("usage: gov")


def test_the_whole_help_lists_every_verb_and_the_exit_codes():
    told = Gov(None)("--help").ok().out
    for verb in VISIBLE:
        assert verb.words.split()[0] in told
    for code in ("2 usage", "3 refused", "4\n", "5 busy", "130 interrupted", "143 terminated"):
        assert code.strip() in told


def test_the_version_is_told():
    assert Gov(None)("--version").ok().out.startswith("gov 0.")


def test_help_needs_no_workspace_and_no_home(tmp_path):
    done = Gov(None).process("tx", "run", "--help", cwd=tmp_path, env={"HOME": "/nowhere"})
    assert done.ok().out.startswith("usage: gov tx run")
    assert list(tmp_path.iterdir()) == []
