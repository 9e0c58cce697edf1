"""Twenty commands at once: each does its work or says who is at work; questions never wait."""

import json
import os
import random
import signal
import subprocess
import time

import pytest

from . import broken, figures
from .scenarios import prepare
from .trials import Trials

ROUNDS = figures.size(1, 8)
CROWD = 20
READERS = ("status", "snapshot list", "tx inspect {ready}")
WRITERS = ("node add {repos}/fresh --id {new}", "tx abort {ready}", "tx promote {ready}",
           "rollback {before}", "node remove idle", "clean",
           "resolve {clash} --pin humanize==4.9.0")  # fmt: skip


@pytest.fixture
def scene(trials):
    prepare(trials.stage, "settled")
    trials.stage.rewind("settled")
    return trials


@pytest.mark.timeout(3600 if figures.LONG else 300)
def test_a_crowd_loses_nothing(scene, note):
    ran = done = busy = 0
    for turn in range(ROUNDS):
        scene.stage.rewind("settled")
        children = crowd(scene.stage, random.Random(turn))
        ended = [(words, *child.communicate(timeout=120), child) for words, child in children]
        pids = {child.pid for *_, child in ended}
        for words, out, err, child in ended:
            assert child.returncode in (0, 2, 3, 5), (words, err)
            if words.startswith(("status", "snapshot", "tx inspect")):
                assert child.returncode == 0, (words, err)
            if child.returncode == 5:
                assert holder_of(out) in pids | {None}, (words, out)
            ran, done = ran + 1, done + (child.returncode == 0)
            busy += child.returncode == 5
        added = {words.split()[-2] for words, _, _, child in ended
                 if words.startswith("node add") and child.returncode == 0}  # fmt: skip
        rolled = any(w.startswith("rollback") and c.returncode == 0 for w, _, _, c in ended)
        assert rolled or added <= registered(scene.stage), "an update was lost"
        assert scene.stage.gov("clean").code == 0
        assert scene.faults(swept=True) == []
    note("commands at once", commands=ran, done=done, busy=busy, lost=0)
    assert done


def test_adding_at_once_registers_every_one_that_said_so(scene, note):
    children = add_all(scene.stage, scene.stage.environ())
    assert all(code in (0, 5) for code in children.values())
    added = {name for name, code in children.items() if code == 0}
    assert added
    assert {name for name in registered(scene.stage) if name.startswith("new-")} == added
    note("commands at once", commands=len(children), done=len(added),
         busy=len(children) - len(added), lost=0)  # fmt: skip


def test_without_the_lock_updates_are_lost(stage, note):
    """The control: everybody let in at once, somebody's update is gone or an act fails."""
    env = stage.environ(**broken.environ("without_lock"))
    for _ in range(4):
        prepare(stage, "settled")
        stage.rewind("settled")
        children = add_all(stage, env)
        added = {name for name, code in children.items() if code == 0}
        kept = {name for name in registered(stage) if name.startswith("new-")}
        if kept != added or set(children.values()) - {0, 5} or Trials(stage).faults():
            note("controls that went red", controls=1)
            return
    pytest.fail("without the lock nothing was lost: this test proves nothing")


def test_readers_do_not_wait_for_a_writer_that_never_ends(scene, note):
    """The writer is stopped while it holds the workspace; questions are answered all the same."""
    stage = scene.stage
    stage.make_slow()
    writer = stage.start(("tx", "run", "idle"))
    try:
        wait_until(lambda: any("main.py" in line for line in stage.processes()), writer)
        writer.send_signal(signal.SIGSTOP)
        for words in READERS:
            argv = tuple(words.format(**stage.names).split())
            child = stage.start(argv)
            _, err = child.communicate(timeout=60)
            assert child.returncode == 0, err
        busy = stage.gov.process("clean", "--json", timeout=60)
        assert busy.code == 5
        assert busy.error["facts"]["pid"] == writer.pid
        assert busy.error["facts"]["verb"] == "tx run"
    finally:
        writer.send_signal(signal.SIGCONT)
        writer.terminate()
        writer.communicate(timeout=60)
    assert stage.gov("clean").code == 0
    assert scene.faults(swept=True) == []
    note("commands at once", commands=1 + len(READERS), done=len(READERS), busy=1, lost=0)


def test_questions_never_fail_while_prod_changes(scene, note):
    """Asked again and again from the first call of a promote to its last."""
    stage, asked = scene.stage, 0
    writer = stage.start(("tx", "promote", stage.names["ready"]))
    while writer.poll() is None:
        for words in READERS:
            ended = stage.gov(*words.format(**stage.names).split())
            assert ended.code == 0, ended
            asked += 1
    assert writer.returncode == 0, writer.communicate()
    writer.communicate()
    assert asked
    note("commands at once", commands=asked + 1, done=asked + 1, busy=0, lost=0)


def crowd(stage, chance):
    words = [READERS[at % 3] for at in range(6)] + [
        chance.choice(WRITERS) for _ in range(CROWD - 6)
    ]
    chance.shuffle(words)
    filled = [
        text.format(repos=stage.repos, new=f"new-{at}", **stage.names)
        for at, text in enumerate(words)
    ]
    return [(f"{text} --json", stage.start((*text.split(), "--json"))) for text in filled]


def add_all(stage, env):
    """Exit codes by name of eight `node add` at once."""
    children = {
        f"new-{at}": subprocess.Popen(
            stage.command(("node", "add", str(stage.repos / "fresh"), "--id", f"new-{at}")),
            env=env, cwd=stage.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for at in range(8)
    }  # fmt: skip
    return {name: child.wait(120) for name, child in children.items()}


def holder_of(out):
    facts = json.loads(out)["error"]["facts"]
    return facts.get("pid") if facts else None


def registered(stage):
    text = (stage.root / "state/plugins.json").read_text()
    return {record["id"] for record in json.loads(text)}


def wait_until(claim, child):
    while not claim():
        assert child.poll() is None, (os.getpid(), child.communicate())
        time.sleep(0.05)
