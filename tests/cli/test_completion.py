"""gov completion, and what its scripts ask for: verbs, options and ids, in real shells."""

import os
import re
import shutil
import subprocess

import pytest
from support.fingerprint import differences, fingerprint
from support.gov import Gov
from support.terminal import Terminal

from governance.cli import completion, parser

ECHO = '\x01echo "<\x05>"\n'  # at the line's start `echo "<`, at its end `>"`


def completed(gov, *words):
    """The candidates for the last of `words`, without what is said about each."""
    ended = gov("_complete", "--", *words).ok()
    assert ended.err == ""
    return [line.partition("\t")[0] for line in ended.out.splitlines()]


# --- what is offered ----------------------------------------------------------------------------


def test_every_verb_is_offered():
    assert completed(Gov(None), "") == list(dict.fromkeys(v.words.split()[0] for v in parser.VERBS))


@pytest.mark.parametrize("group", parser.GROUPS)
def test_every_verb_of_a_group_is_offered(group):
    verbs = [v.words.split()[1] for v in parser.VERBS if v.words.startswith(f"{group} ")]
    assert completed(Gov(None), group, "") == verbs


@pytest.mark.parametrize("verb", [verb.words for verb in parser.VERBS])
def test_every_option_of_a_verb_is_offered_and_taken(verb):
    found = completed(Gov(None), *verb.split(), "--")
    usage = Gov(None)(*verb.split(), "--help").ok().out.partition("\nexample:")[0]
    assert set(found) == set(re.findall(r"--[a-z][a-z-]*", usage))
    assert {"--root", "--json", "--help"} <= set(found)


def test_only_what_begins_as_typed_is_offered():
    assert completed(Gov(None), "tx", "in") == ["inspect"]
    assert completed(Gov(None), "init", "--py") == ["--python"]


def test_verbs_are_said_what_they_do():
    assert "status\twhat the workspace looks like" in Gov(None)("_complete", "--", "st").out


@pytest.mark.parametrize(
    ("words", "mark"),
    [
        (["init", ""], completion.FOLDERS),
        (["init", "--comfyui-dir", ""], completion.FOLDERS),
        (["init", "--comfyui-dir", "=", ""], completion.FOLDERS),
        (["--root", ""], completion.FOLDERS),
        (["node", "add", "x"], completion.FOLDERS),
        (["resolve", "--pins-file", ""], completion.FILES),
        (["tx", "shell", "T", "--", "l"], completion.FILES),
    ],
)
def test_paths_are_left_to_the_shell(words, mark):
    assert completed(Gov(None), *words) == [mark]


@pytest.mark.parametrize(
    "words", [["tx", "promote", "--reason", ""], ["nosuch", ""], ["node", "add", "--id", ""]]
)
def test_nothing_is_offered_where_nothing_is_known(settled, words):
    assert completed(settled.site.gov, *words) == []


def test_shells_are_offered():
    assert completed(Gov(None), "completion", "") == ["bash", "zsh", "fish"]


@pytest.mark.parametrize(
    ("verb", "offered"),
    [
        ("tx inspect", "promoted conflicting failed aborted core completed"),
        ("tx shell", "promoted conflicting failed core completed"),
        ("tx promote", "failed core completed"),
        ("tx abort", "conflicting failed core completed"),
        ("resolve", "conflicting"),
    ],
)
def test_transactions_that_the_verb_can_move_are_offered(settled, verb, offered):
    wanted = {getattr(settled, name) for name in offered.split()}
    found = completed(settled.site.gov, *verb.split(), "")
    assert set(found) == wanted
    assert found == sorted(found, reverse=True)


def test_transactions_are_said_to_be_whose(settled):
    out = settled.site.gov("_complete", "--", "resolve", "").out
    assert out == f"{settled.conflicting}\tsample-statistics needs_resolution\n"


@pytest.mark.parametrize("verb", [["rollback"], ["snapshot", "inspect"]])
def test_snapshots_are_offered_newest_first(settled, verb):
    rows = settled.site.gov.json("snapshot", "list").data["snapshots"]
    assert completed(settled.site.gov, *verb, "") == [row["id"] for row in rows][::-1]


def test_nodes_are_offered(settled):
    found = completed(settled.site.gov, "tx", "run", "")
    assert found == [n["id"] for n in settled.site.gov.json("status").data["nodes"]]
    assert "sample-upscaler" in found


def test_nodes_are_offered_as_often_as_they_can_be_typed(settled):
    first = completed(settled.site.gov, "tx", "run", "")
    assert completed(settled.site.gov, "tx", "run", first[0], "") == first


def test_words_for_an_id_are_offered_to_who_begins_one(settled):
    assert completed(settled.site.gov, "tx", "inspect", "la") == ["last"]
    assert completed(settled.site.gov, "rollback", "l") == ["last"]
    row = settled.site.gov.json("snapshot", "list").data["snapshots"][0]
    settled.site.gov("snapshot", "name", row["id"], "as-it-was").ok()
    assert completed(settled.site.gov, "rollback", "as") == ["as-it-was"]


def test_packages_of_prod_are_offered(settled):
    assert {"numpy", "humanize"} <= set(completed(settled.site.gov, "why", ""))


def test_options_of_comfyui_are_offered_after_the_dashes(settled):
    assert completed(settled.site.gov, "run", "--", "--quick") == ["--quick-test-for-ci"]


@pytest.mark.parametrize("option", [["--root", "{}"], ["--root", "=", "{}"]])
def test_the_workspace_that_is_typed_is_asked(settled, option):
    typed = [word.format(settled.site.root) for word in option]
    assert completed(Gov(None), *typed, "resolve", "") == [settled.conflicting]


# --- how it asks --------------------------------------------------------------------------------


def test_nothing_is_locked_or_written(settled):
    before = fingerprint(settled.site.root, settled.site.comfyui)
    with held(settled.site):
        assert completed(settled.site.gov, "resolve", "") == [settled.conflicting]
    assert not differences(before, fingerprint(settled.site.root, settled.site.comfyui))


def held(site):
    from governance.truth.workspace import Workspace, writing

    return writing(Workspace(site.root), "test")


def test_outside_a_workspace_nothing_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert completed(Gov(tmp_path / "nowhere"), "tx", "inspect", "") == []


def test_damage_is_not_told_at_the_prompt(settled):
    (settled.site.root / "state/plugins.json").write_text("{")
    (settled.site.root / "state/snapshots_index.json").write_text("[")
    assert completed(settled.site.gov, "node", "remove", "") == []
    assert completed(settled.site.gov, "rollback", "") == []


def test_the_hidden_verb_is_hidden():
    assert "_complete" not in Gov(None)("--help").ok().out
    assert "_complete" not in completed(Gov(None), "")
    assert Gov(None)("_complete").code == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_printed_as_text_and_as_json(shell):
    text = Gov(None)("completion", shell).ok().out
    found = Gov(None).json("completion", shell).ok().data
    assert found == {"shell": shell, "script": completion.script(shell)}
    assert text.rstrip("\n") == found["script"].rstrip("\n")


def test_an_unknown_shell_is_refused():
    ended = Gov(None)("completion", "tcsh")
    assert ended.code == 2
    assert "tcsh" in ended.problems("error")[0]


# --- in real shells -----------------------------------------------------------------------------


@pytest.fixture
def scripts(tmp_path):
    for shell in ("bash", "zsh", "fish"):
        (tmp_path / shell).write_text(completion.script(shell))
    return tmp_path


def needs(shell):
    found = shutil.which(shell)
    return pytest.mark.skipif(found is None, reason=f"{shell} is not installed")


def in_bash(scripts, root, *words):
    """COMPREPLY after `words`, the function called as bash would."""
    ask = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _gov; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", ask, "bash", str(scripts / "bash"), *words],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@needs("bash")
def test_bash_completes_verbs_options_and_ids(settled, scripts):
    root = settled.site.root
    assert in_bash(scripts, root, "bin/gov", "snap") == ["snapshot"]
    assert in_bash(scripts, root, "bin/gov", "tx", "promote", "--appr") == ["--approve-core"]
    assert in_bash(scripts, root, "bin/gov", "resolve", "2") == [settled.conflicting]


@needs("bash")
def test_bash_asks_the_gov_that_is_typed(settled, scripts, tmp_path, home):
    """By a path in quotes, and by one from the home folder."""
    linked = home / "comfy env"
    linked.symlink_to(settled.site.root)
    try:
        for typed in (f'"{linked}/bin/gov"', "~/comfy\\ env/bin/gov"):
            assert in_bash(scripts, tmp_path, typed, "resolve", "") == [settled.conflicting]
    finally:
        linked.unlink()


def typed(shell, script, root, line):
    """What stands in the line after the keys `line`, at a real terminal."""
    own = {"HOME": str(script.parent), "TERM": "dumb", "PS1": "> "}
    with Terminal(shell, cwd=root, env=os.environ | own) as terminal:
        terminal.type(f"source {script}; echo ready''-now\n")
        terminal.until("ready-now")
        terminal.type(f"{line}{ECHO}exit\n")
        terminal.end()
    return re.search(r"\n<(bin/gov.*?)>", terminal.seen, re.DOTALL)[1].split()


@needs("bash")
def test_bash_completes_at_a_terminal(settled, scripts):
    shell = ["bash", "--noprofile", "--norc", "-i"]
    root, script = settled.site.root, scripts / "bash"
    assert typed(shell, script, root, "bin/gov tx insp\t") == ["bin/gov", "tx", "inspect"]
    assert typed(shell, script, root, "bin/gov resolve \t") == [
        "bin/gov", "resolve", settled.conflicting,
    ]  # fmt: skip
    assert typed(shell, script, root, "bin/gov init snap\t")[-1] == "snapshots/"
    assert typed(shell, script, root, "bin/gov resolve --pins-file uv\t")[-1] == "uv.lock"


@needs("zsh")
def test_zsh_completes_at_a_terminal(settled, scripts):
    shell = ["zsh", "-f", "-i"]
    root, script = settled.site.root, scripts / "zsh"
    assert typed(shell, script, root, "bin/gov tx insp\t") == ["bin/gov", "tx", "inspect"]
    assert typed(shell, script, root, "bin/gov resolve \t") == [
        "bin/gov", "resolve", settled.conflicting,
    ]  # fmt: skip
    # zsh takes the slash back when the word ends with it
    assert typed(shell, script, root, "bin/gov init snap\t")[-1] == "snapshots"
    assert typed(shell, script, root, "bin/gov tx promote --approve\t")[-1] == "--approve-core"


@needs("fish")
def test_fish_completes(settled, scripts):
    def fish(line):
        ask = ["fish", "--no-config", "-c", f"source {scripts / 'fish'}; complete -C '{line}'"]
        given = {"cwd": settled.site.root, "env": os.environ | {"HOME": str(scripts)}}
        done = subprocess.run(ask, capture_output=True, text=True, check=True, **given)
        return [row.partition("\t")[0] for row in done.stdout.splitlines()]

    assert fish("bin/gov tx insp") == ["inspect"]
    assert fish("bin/gov resolve ") == [settled.conflicting]
    assert fish("bin/gov tx promote --approve") == ["--approve-core"]
    assert fish("bin/gov init snap") == ["snapshots/"]
    assert "uv.lock" in fish("bin/gov resolve --pins-file uv")
