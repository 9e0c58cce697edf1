"""gov demo: the whole story, in an empty home, without a terminal, on an odd path."""

import io
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.gov import MAIN, Ended, Gov
from support.refusal import assert_told

from governance.cli import demo, parser, story
from governance.cli.demo import Sight, Teller

SECONDS = 240
STEPS = 18


def play(folder, *options, env=None):
    """In its own process; of the environment only what leads to programs and certificates."""
    done = subprocess.run(
        [sys.executable, MAIN, "demo", folder, *options],
        env={**kept_environment(), **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        cwd=folder.parent,
    )
    return Ended(("demo", *options), done.returncode, done.stdout, done.stderr)


def kept_environment():
    return {
        name: value
        for name, value in os.environ.items()
        if name == "PATH" or "CERT" in name or "PROXY" in name.upper() or "CAINFO" in name
    }


class Played:
    """One offline demo that all tests look at; none may change it."""

    def __init__(self, folder):
        self.folder = folder / "d é mo"
        self.home = folder / "home"
        self.home.mkdir()
        self.ended = play(self.folder, "--offline", "--json", env={"HOME": str(self.home)})
        self.gov = Gov(self.folder / "comfy_env")


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    return Played(tmp_path_factory.mktemp("demo"))


def test_every_step_ends_as_it_should(played):
    data = played.ended.ok().data
    assert played.ended.document["command"] == "demo"
    assert data["root"] == str(played.folder / "comfy_env")
    assert data["comfyui_dir"] == str(played.folder / "ComfyUI")
    assert len(data["steps"]) == STEPS
    for step in data["steps"]:
        assert set(step) == {"command", "exit_code", "expected", "seconds"}
        assert step["exit_code"] == step["expected"], step
    codes = [step["exit_code"] for step in data["steps"] if step["exit_code"]]
    assert codes == [4, 3]


def test_the_verbs_of_the_story_are_played_in_order(played):
    said = " | ".join(step["command"] for step in played.ended.data["steps"])
    wanted = (
        "init", "node add", "tx run", "tx inspect", "tx promote", "node add", "tx run", "resolve",
        "tx promote", "node add", "tx run", "tx promote", "--approve-core", "rollback",
    )  # fmt: skip
    assert re.search(".*".join(wanted), said), said


def test_each_command_is_said_before_its_output_and_with_what_changed(played):
    at = 0
    for number, step in enumerate(played.ended.data["steps"], start=1):
        heading = played.ended.err.index(f"== {number}/{STEPS}  ", at)
        command = played.ended.err.index(f"\n$ {step['command']}\n", heading)
        at = played.ended.err.index(f"\n= exit {step['exit_code']}", command)
    told = played.ended.err
    assert "prod          + cowsay 6.1, + humanize 4.14.0\n" in told
    assert "prod          humanize 4.14.0 -> 4.9.0\n" in told
    assert "transactions  sample-statistics: needs_resolution\n" in told
    gate = told.partition(f"== 13/{STEPS}")[2].partition(f"== 14/{STEPS}")[0]
    assert re.search(r"\n= exit 3, as it should, [\d.]+ s; nothing changed\n", gate), gate


def test_commands_are_not_said_with_what_only_a_program_would_type(played):
    """Each could be typed in the folder: relative paths, no interpreter, no --root."""
    for step in played.ended.data["steps"][1:]:
        assert step["command"].startswith("comfy_env/"), step
        assert "--root" not in step["command"]


def test_the_workspace_can_be_gone_on_with(played):
    status = played.gov.json("status").ok().data
    assert status["transactions_pending"] == 0
    assert {node["id"]: bool(node["last_snapshot"]) for node in status["nodes"]} == {
        "sample-captioner": True,
        "sample-statistics": True,
        "sample-upscaler": False,
    }
    python = played.folder / "comfy_env/.venv-prod/bin/python"
    ask = "import cowsay, humanize, numpy; print(humanize.__version__, numpy.__version__)"
    assert played.gov.process("-c", ask, program=python).ok().out == "4.9.0 2.4.1\n"
    assert "timeout_seconds = 300\n" in (played.folder / "comfy_env/config.toml").read_text()


def test_prod_served_the_promoted_nodes_at_the_end(played):
    last = played.ended.err.rpartition("== 18/18")[2]
    assert "left out, not promoted: sample-upscaler" in last
    for name in ("sample-captioner", "sample-statistics"):
        assert re.search(rf"seconds: .*/custom_nodes/{name}\n", last)
    assert "IMPORT FAILED" not in last


def test_it_ends_with_where_to_go_next(played):
    """Of the commands that are named, those for the demo itself do what they say."""
    following = played.ended.data["next"]
    assert following[0] == f"cd '{played.folder}'"
    assert any(" init " in command for command in following)
    status = next(command for command in following if command.endswith("status"))
    done = subprocess.run(
        f"{following[0]} && {status}", shell=True, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    for command in following:
        verb = re.search(r"/bin/gov (\w+)", command)
        assert verb is None or verb[1] in {v.words for v in parser.VERBS}


def test_the_home_folder_is_left_alone(played):
    assert list(played.home.iterdir()) == []


@pytest.mark.thorough
@pytest.mark.pypi
def test_the_online_story_is_the_same(tmp_path):
    ended = play(tmp_path / "demo", env={"HOME": str(tmp_path)})
    assert ended.code == 0, ended
    assert ended.out.count("\n= exit ") == STEPS
    assert re.search(r"prod +\+ cowsay [\d.]+, \+ humanize [\d.]+\n", ended.out)
    assert re.search(r"prod +numpy [\d.]+ -> 2\.3\.2\n", ended.out)
    assert "From here:" in ended.out
    assert "Traceback" not in ended.out + ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


# --- where it cannot be played ------------------------------------------------------------------


def test_a_folder_that_is_not_fresh_is_refused(tmp_path):
    (tmp_path / "mine").write_text("mine")
    for folder in (tmp_path, tmp_path / "mine"):
        told = assert_told(Gov(None)("demo", folder, "--offline"), 2, str(folder))
        assert "gov demo DIR" in told.err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert (tmp_path / "mine").read_text() == "mine"


def test_without_a_name_it_is_gov_demo_unless_that_is_taken(tmp_path, monkeypatch):
    (tmp_path / "gov-demo").mkdir()
    (tmp_path / "gov-demo" / "mine").touch()
    monkeypatch.chdir(tmp_path)
    assert_told(Gov(None)("demo", "--offline"), 2, str(tmp_path / "gov-demo"))


def test_a_step_that_ends_otherwise_stops_it_and_is_named(tmp_path):
    nowhere = {"UV_DEFAULT_INDEX": "http://127.0.0.1:1/simple", "UV_HTTP_RETRIES": "0"}
    ended = play(tmp_path / "demo", "--json", env={"HOME": str(tmp_path), **nowhere})
    assert ended.code == 1
    assert [step["exit_code"] for step in ended.data["steps"]] == [1]
    assert ended.data["next"] == []
    assert ended.error["code"] == "demo_step"
    assert "step 1, A workspace for a ComfyUI" in ended.error["message"]
    assert "gov demo --offline" in ended.error["hint"]
    assert "127.0.0.1:1" in ended.err


def test_without_git_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    for _ in range(2):
        assert_told(Gov(None)("demo", tmp_path / "demo", "--offline"), 1, "git is not installed")
    assert list((tmp_path / "demo").iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_demo_leaves_nothing(tmp_path, number, code):
    folder = tmp_path / "demo"
    child = Gov(None).start("demo", folder, "--offline", "--json")
    told = ""
    try:
        while "building the new environment" not in told:
            line = child.stderr.readline()
            assert line, told
            told += line
        child.send_signal(number)
        out, err = child.communicate(timeout=60)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == code, told + err
    assert Ended((), code, out, err).error["hint"] == "run the command again"
    assert list(folder.iterdir()) == []
    assert not processes_that_name(folder)


def processes_that_name(folder):
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        found += [text] if str(folder) in text else []
    return found


# --- how it is told -----------------------------------------------------------------------------


class Screen(io.StringIO):
    def isatty(self):
        return True


def tell(stream, quiet=False):
    teller = Teller(stream, quiet=quiet)
    teller.heading("1/2  A [bold] title", "A sentence.")
    teller.command("gov status")
    teller.outcome(3, 1.5, [("prod", "+ a 1\x1b[2J")])
    teller.outcome(0, 0.1, [])
    return stream.getvalue()


def test_a_gov_on_an_odd_path_is_quoted_once(tmp_path, monkeypatch):
    launcher = tmp_path / "gov ü" / "bin/gov"
    launcher.parent.mkdir(parents=True)
    launcher.touch()
    monkeypatch.setattr(demo.workspace, "CHECKOUT", launcher.parent.parent)
    stage = demo.Stage(tmp_path, io.StringIO(), quiet=True)
    monkeypatch.setattr(stage, "_run", lambda words: 1)
    stage.perform(1, story.Step("", "", ("{gov}", "init")))
    assert shlex.split(stage.data([])["steps"][0]["command"]) == [str(launcher), "init"]


def test_plain_lines_where_there_is_no_terminal():
    assert tell(io.StringIO()) == (
        "\n== 1/2  A [bold] title ==\nA sentence.\n$ gov status\n"
        "= exit 3, as it should, 1.5 s; what changed:\n    prod          + a 1\\x1b[2J\n"
        "= exit 0, 0.1 s; nothing changed\n"
    )


def test_a_rule_and_colours_on_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    told = tell(Screen())
    assert "──────" in told
    assert "1/2  A [bold] title" in told
    assert "\x1b[1;36m$ gov status\x1b[0m" in told
    assert "\x1b[2J" not in told


def test_quiet_says_nothing():
    assert tell(io.StringIO(), quiet=True) == ""
    assert tell(Screen(), quiet=True) == ""


def test_differences_are_of_packages_nodes_transactions_and_snapshots():
    before = Sight({"a": "1", "b": "1", "c": "1"}, ("x",), {"t1": ("x", "running")}, ("init",))
    after = Sight(
        {"b": "2", "c": "1", "d": "1"},
        ("x", "y"),
        {"t1": ("x", "completed"), "t2": ("y", "failed")},
        ("init", "promote_pre"),
    )
    assert demo.differences(before, after) == [
        ("prod", "- a 1, b 1 -> 2, + d 1"),
        ("nodes", "+ y"),
        ("transactions", "x: completed, y: failed"),
        ("snapshots", "+ promote_pre"),
    ]
    assert demo.differences(after, after) == []


def test_no_sentence_is_longer_than_a_line(tmp_path):
    from governance.sample import world

    for step in story.steps(world.demo_nodes(tmp_path), offline=True):
        assert len(step.title) <= 60
        assert step.says.endswith(".")
        assert len(step.says) <= 100, step.says
