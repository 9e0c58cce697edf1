"""gov tx shell: a command or a shell inside a candidate, as its run left it."""

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from support.fingerprint import differences, fingerprint, truth_and_prod
from support.gov import MAIN, environment
from support.refusal import assert_told
from support.terminal import Terminal

from governance import sandbox
from governance.environments import candidate

WHERE = "import json, os, sys; print(json.dumps([sys.prefix, os.getcwd(), dict(os.environ)]))"


@pytest.fixture
def start(settled):
    """`tx shell` left running; ended with the test, since it holds the workspace."""
    begun = []

    def run(*command, **given):
        words = ("tx", "shell", settled.core, *(("--", *command) if command else ()))
        begun.append(settled.site.gov.start(*words, **given))
        return begun[-1]

    yield run
    for child in begun:
        child.terminate()
        child.communicate(timeout=60)


@pytest.fixture
def shell(settled):
    """`shell(*command)` in the candidate of sample-upscaler; options by name for the process."""

    def run(*command, txid=settled.core, options=(), **given):
        words = ("tx", "shell", *options, txid, *(("--", *command) if command else ()))
        return settled.site.gov.process(*words, **given)

    return run


def test_a_command_runs_in_the_candidate_and_not_in_prod(settled, shell):
    version = "import numpy; print(numpy.__version__)"
    assert shell("python", "-c", version).ok().out == "2.3.2\n"
    prod = settled.site.gov.process("-c", version, program=settled.site.python)
    assert prod.out == "2.4.1\n"


def test_place_and_environment_are_those_of_the_run(settled, shell):
    ended = shell("python", "-c", WHERE, env={"PYTHONPATH": "/nowhere", "UV_OFFLINE": "1"})
    prefix, folder, environ = json.loads(ended.ok().out)
    own = settled.site.root / ".venv-candidate" / settled.core
    assert folder == str(settled.site.nodes / "sample-upscaler")
    assert environ["VIRTUAL_ENV"] == prefix
    assert prefix != str(settled.site.python.parent.parent.resolve())
    for name in ("HOME", "TMPDIR", "PIP_CACHE_DIR", "PYTHONPYCACHEPREFIX"):
        assert Path(environ[name]).is_relative_to(own), name
    assert not {"PYTHONPATH", "UV_OFFLINE", "GOV_ROOT"} & environ.keys()


def test_without_its_folder_the_command_runs_in_comfyui(settled, shell):
    (settled.site.nodes / "sample-upscaler").rename(settled.site.nodes / "moved")
    assert shell("pwd").ok().out == f"{settled.site.comfyui}\n"


def test_what_is_written_stays_in_the_candidate(settled, shell):
    """A package put in by hand is there the next time, and only there."""
    before = truth_and_prod(settled.site.root)
    pristine = generation_of(settled)
    kept = fingerprint(pristine)
    shell("pip", "install", "lark==1.1.9").ok()
    shell("python", "-c", "import numpy; open(numpy.__file__, 'a').write('HAND = 1')").ok()
    assert "lark" in shell("pip", "list").ok().out
    assert shell("python", "-c", "import numpy; print(numpy.HAND)").ok().out == "1\n"
    assert not differences(before, truth_and_prod(settled.site.root))
    assert not differences(kept, fingerprint(pristine))
    shell("pip", "uninstall", "--yes", "lark").ok()


def generation_of(settled):
    tx = settled.site.gov.json("tx", "inspect", settled.core).data
    return settled.site.root / ".generations" / tx["observation"]["generation"]


@pytest.mark.privileged
def test_the_fence_is_that_of_the_run(settled, shell, tmp_path):
    found = sandbox.probe(settled.site.root / ".venv-candidate")
    if not found.read_only_mounts and not found.landlock:
        pytest.skip(f"no fence here: {found.read_only_reason}")
    for path in (settled.site.root / "uv.lock", settled.site.root / "state/plugins.json"):
        ended = shell("sh", "-c", f"echo no >> '{path}'")
        assert ended.code != 0, path
        assert "Read-only" in ended.err or "denied" in ended.err
    if not (found.layer and found.read_only_mounts):
        return
    # Elsewhere everything may be written, into the layer: nobody else sees it.
    outside = tmp_path / "outside"
    shell("sh", "-c", f"echo yes > own-folder; echo yes > '{outside}'").ok()
    assert shell("sh", "-c", f"cat own-folder '{outside}'").out == "yes\nyes\n"
    assert not outside.exists()
    assert not (settled.site.nodes / "sample-upscaler" / "own-folder").exists()


def test_the_node_cannot_write_to_its_folder_where_the_config_says_so(settled, shell):
    found = sandbox.probe(settled.site.root / ".venv-candidate")
    if not found.read_only_mounts and not found.landlock:
        pytest.skip(f"no fence here: {found.read_only_reason}")
    settled.site.set(tx__node_folder_writable=False)
    assert shell("touch", "own-folder").code != 0


@pytest.mark.parametrize(("command", "code"), [("exit 7", 7), ("kill -9 $$", 137), ("true", 0)])
def test_the_exit_code_is_passed_on(shell, command, code):
    ended = shell("sh", "-c", command)
    assert (ended.code, ended.out, ended.err) == (code, "", "")


def test_with_json_stdout_is_one_document(settled, shell):
    ended = shell("sh", "-c", "echo said; exit 3", options=["--json"])
    assert ended.document["data"] == {"txid": settled.core, "exit_code": 3}
    assert ended.document["command"] == "tx shell"
    assert (ended.code, ended.err) == (3, "said\n")


def test_without_a_command_the_shell_reads_what_is_typed(start):
    child = start(stdin=-1, env={"SHELL": "/bin/sh"})
    out, err = child.communicate("python -c 'import numpy; print(1)'\nexit 4\n", timeout=60)
    assert (child.returncode, out) == (4, "1\n"), err


def test_a_shell_that_is_not_there_is_replaced(start):
    child = start(stdin=-1, env={"SHELL": "/no/such/shell"})
    assert child.communicate("echo here\n", timeout=60)[0] == "here\n"


def test_a_shell_has_the_terminal(settled):
    """Ctrl-C there ends what runs in the shell, not the shell and not gov."""
    program = [sys.executable, MAIN, "tx", "shell", settled.core]
    given = environment(settled.site.root, SHELL="/bin/sh", TERM="dumb", PS1="> ")
    with Terminal(program, env=given) as terminal:
        terminal.until("`exit` leaves it")
        terminal.type("[ -t 0 ] && echo a-''terminal\n")
        terminal.until("a-terminal")
        # Said by the program itself: by then the shell has given it the terminal.
        terminal.type("sh -c \"echo wait''ing; exec sleep 100\"\n")
        terminal.until("waiting")
        terminal.type("\x03")
        terminal.type("echo still-''here\n")
        terminal.until("still-here")
        terminal.type("exit 6\n")
        assert terminal.end() == 6
    assert "error" not in terminal.seen


def test_while_it_runs_nobody_else_writes(settled, start):
    child = start("sh", "-c", "echo up; cat", stdin=-1)
    assert child.stdout.readline() == "up\n"
    busy = assert_told(settled.site.gov("tx", "abort", settled.core), 5, "tx shell")
    assert str(child.pid) in busy.err
    settled.site.gov("status").ok()
    child.communicate(timeout=60)
    assert child.returncode == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_and_what_it_started(settled, start, number, code):
    """Kindly: what runs there is told to end before the workspace is let go."""
    child = start("sh", "-c", "trap 'touch told; exit' TERM; sleep 98765 & echo up; wait")
    assert child.stdout.readline() == "up\n"
    child.send_signal(number)
    _, err = child.communicate(timeout=60)
    assert child.returncode == code, err
    assert list((settled.site.root / ".venv-candidate" / settled.core).rglob("told"))
    assert not running("sleep\x0098765")


def running(command):
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            text = Path(f"/proc/{name}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        found += [name] if command in text else []
    return found


# --- where there is nothing to enter ------------------------------------------------------------


def test_a_conflict_never_had_a_candidate(settled):
    ended = assert_told(
        settled.site.gov("tx", "shell", settled.conflicting), 1, "never had a candidate"
    )
    assert "needs_resolution" in ended.err


@pytest.mark.parametrize("name", ["aborted", "promoted"])
def test_a_cleaned_candidate_is_said_to_be_cleaned(settled, name):
    ended = settled.site.gov("tx", "shell", getattr(settled, name))
    assert f"({name}) was cleaned" in assert_told(ended, 1).err
    assert "gov tx run" in ended.err


def test_a_candidate_that_was_kept_can_be_entered(settled, shell):
    settled.site.gov("tx", "abort", "--keep", settled.completed).ok()
    assert shell("python", "-c", "import colorama", txid=settled.completed).ok()


def test_an_unknown_transaction_is_a_usage_error(settled):
    assert_told(settled.site.gov("tx", "shell", "20260101T000000Z-00000000"), 2)
    assert_told(settled.site.gov("tx", "shell", "../x"), 2)


def test_a_generation_that_is_gone_is_named(workspace):
    """Of a workspace of its own, since it is harmed."""
    txid = workspace.run("shares-cowsay")
    tx = workspace.gov.json("tx", "inspect", txid).data
    generation = workspace.root / ".generations" / tx["observation"]["generation"]
    if not (workspace.root / tx["candidate_env"] / "upper").is_dir():
        pytest.skip("the candidate is a copy here")
    generation.rename(generation.with_name("elsewhere"))
    assert_told(workspace.gov("tx", "shell", txid), 1, generation.name)


def test_a_copy_is_entered_as_a_copy(workspace, monkeypatch):
    """Made where no layer could be had, it stays one even where there are layers now."""
    none = sandbox.Support(False, "not today", False, "not today", 0, False, "not today", False)
    with monkeypatch.context() as patch:
        patch.setattr(candidate.sandbox, "probe", lambda folder: none)
        txid = workspace.run("shares-cowsay")
    own = workspace.root / ".venv-candidate" / txid / "env"
    assert own.is_dir()
    ended = workspace.gov.process("tx", "shell", txid, "--", "python", "-c", WHERE).ok()
    assert json.loads(ended.out)[0] == str(own)


def test_a_layer_that_cannot_be_had_any_more_is_an_error(settled, monkeypatch):
    tx = settled.site.gov.json("tx", "inspect", settled.core).data
    if (settled.site.root / tx["candidate_env"] / "env").is_dir():
        pytest.skip("the candidate is a copy here")
    none = sandbox.Support(False, "not today", False, "not today", 0, False, "not today", False)
    monkeypatch.setattr(candidate.sandbox, "probe", lambda folder: none)
    assert_told(settled.site.gov("tx", "shell", settled.core), 1, "not today")


def test_a_command_that_is_not_there_is_named(shell):
    ended = shell("no-such-command")
    assert ended.code == 125
    assert re.search("no-such-command: No such file", ended.err)
