"""How a program ends, how its descendants end, and which signals reach it."""

import os
import pty
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from governance import sandbox
from governance.sandbox import processes

from .conftest import needs

PLAIN = sandbox.View(grace=0.3)
DAEMON = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        os.chdir("/")
        time.sleep(600)
    os._exit(0)
os.wait()
"""


@pytest.fixture(params=["own processes", "shared processes"])
def runner(request, person):
    """Both ways to end a family: by namespace, and by looking for descendants."""
    if request.param == "own processes":
        needs(person, "pid_namespace")
        return person
    return person.only(pid_namespace=False)


@pytest.fixture
def marked(world):
    """An environment whose mark tells the processes of this test from all others."""
    return {"PATH": os.environ["PATH"], "GOV_TEST_MARK": str(world)}


def alive(mark):
    """Command lines of processes with this mark that are not zombies."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                if f"GOV_TEST_MARK={mark}".encode() in (folder / "environ").read_bytes():
                    found.append((folder / "cmdline").read_bytes().replace(b"\0", b" "))
            except OSError:
                continue
    return [line for line in found if line]


def wait_until(claim, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


@pytest.mark.parametrize("code", [0, 1, 7, 125, 255])
def test_exit_codes_are_mirrored(runner, code):
    assert runner.shell(PLAIN, f"exit {code}").returncode == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGPIPE])
def test_deaths_by_signal_are_mirrored(runner, number):
    assert runner.shell(PLAIN, f"kill -{int(number)} $$").returncode == -number


def test_a_missing_program_is_named(runner):
    done = runner.run(PLAIN, "no-such-program", env={"PATH": "/usr/bin"})
    assert done.returncode == 125
    assert done.stderr == "gov-sandbox: no-such-program: No such file or directory\n"


def test_environment_streams_and_arguments_are_inherited(runner):
    given = {"ONLY": "this ü"}
    script = "cat; env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD="
    done = runner.run(PLAIN, "/bin/sh", "-c", script, env=given, input="typed\n")
    assert done.stdout == "typed\nONLY=this ü\n"
    done = runner.run(PLAIN, "printf", "%s|", "a b", "", "--", "ü\udcff", errors="surrogateescape")
    assert done.stdout == "a b||--|ü\udcff|"


def test_ignored_and_blocked_signals_are_not_ours(runner):
    script = "grep -E '^Sig(Blk|Ign)' /proc/self/status"
    done = runner.run(PLAIN, "grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status")
    outside = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
    assert done.stdout == outside.stdout


def test_no_daemon_is_left(runner, marked):
    """Forked twice, in a session of its own, and deaf to everything but SIGKILL."""
    done = runner.run(PLAIN, runner.python, "-c", DAEMON, env=marked)
    assert done.returncode == 0
    assert alive(marked["GOV_TEST_MARK"]) == []


def test_leftovers_may_clean_up_first(runner, marked, world):
    script = "(trap 'echo cleaned > tidy; exit' TERM; touch up; while :; do sleep 0.05; done) &"
    view = sandbox.View(grace=10.0)
    done = runner.shell(
        view, f"{script} while ! test -e up; do sleep 0.02; done", env=marked, cwd=world
    )
    assert done.returncode == 0
    assert (world / "tidy").read_text() == "cleaned\n"
    assert alive(marked["GOV_TEST_MARK"]) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_everything_dies_with_the_outer_process(runner, marked, world, number):
    """Also when it is killed, and also who is deaf."""
    program = f"{DAEMON}\nopen('up', 'w').close()\nimport time; time.sleep(600)"
    child = runner.popen(PLAIN, runner.python, "-c", program, env=marked, cwd=world)
    wait_until((world / "up").exists)
    assert len(alive(marked["GOV_TEST_MARK"])) >= 3
    child.send_signal(number)
    assert child.wait(30) == -number
    wait_until(lambda: alive(marked["GOV_TEST_MARK"]) == [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
@pytest.mark.parametrize("to_group", [False, True])
def test_signals_reach_the_program_once(runner, world, number, to_group):
    program = f"""
import os, signal, time
heard = []
signal.signal({int(number)}, lambda *_: heard.append(1))
open("up", "w").close()
while not heard:
    time.sleep(0.01)
time.sleep(0.3)
print(len(heard))
raise SystemExit(9)
"""
    child = runner.popen(
        PLAIN,
        runner.python,
        "-c",
        program,
        cwd=world,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    wait_until((world / "up").exists)
    if to_group:
        os.killpg(child.pid, number)
    else:
        child.send_signal(number)
    told, _ = child.communicate(timeout=30)
    assert (told, child.returncode) == ("1\n", 9)


def test_signals_do_not_reach_the_leftovers_before_the_end(runner, world):
    """A daemon that the program keeps must not lose it to a Ctrl-C meant for the program."""
    program = """
import os, signal, subprocess, time
signal.signal(signal.SIGINT, lambda *_: open("heard", "w").close())
other = subprocess.Popen(["sleep", "600"], start_new_session=True)
open("up", "w").close()
while not os.path.exists("heard"):
    time.sleep(0.01)
time.sleep(0.1)
raise SystemExit(other.poll() is not None)
"""
    child = runner.popen(PLAIN, runner.python, "-c", program, cwd=world)
    wait_until((world / "up").exists)
    child.send_signal(signal.SIGINT)
    assert child.wait(30) == 0


def test_only_own_processes_are_seen(person):
    needs(person, "pid_namespace")
    done = person.shell(PLAIN, "set -- /proc/[0-9]*; echo $#; echo $$")
    assert done.stdout.split() == ["2", "2"]  # the keeper and the shell itself


def test_zombies_are_reaped(runner):
    program = """
import os, time
for _ in range(5):
    if os.fork() == 0:
        os.fork()
        os._exit(0)
    os.wait()
time.sleep(0.3)
me = os.getpid()
states = []
for name in os.listdir("/proc"):
    if name.isdigit():
        try:
            state, parent = open(f"/proc/{name}/stat").read().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == os.getppid():
            states.append(state)
raise SystemExit("Z" in states)
"""
    assert runner.run(PLAIN, runner.python, "-c", program).returncode == 0


class Terminal:
    """A terminal of our own, with a program in a session of its own on it."""

    def __init__(self, argv):
        self.pid, self.end = pty.fork()
        if self.pid == 0:
            os.execvp(argv[0], argv)
        self.seen = ""

    def type(self, text):
        os.write(self.end, text.encode())

    def wait_for(self, text):
        while text not in self.seen:
            self.seen += os.read(self.end, 4096).decode()

    def wait(self):
        try:
            while more := os.read(self.end, 4096).decode():
                self.seen += more
        except OSError:
            pass  # EIO: the last program on it has ended
        os.close(self.end)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.mark.parametrize("features", [{}, {"pid_namespace": False}])
def test_a_shell_keeps_its_terminal(me, features):
    wrapped = sandbox.wrap(PLAIN, me.only(**features).support, ["sh", "-i"], python=me.python)
    terminal = Terminal(wrapped)
    terminal.type("stty -echo; PS1=; sleep 100 & echo st''arted; jobs\n")
    terminal.wait_for("started")
    terminal.type("echo asleep; sleep 100\n")
    terminal.wait_for("asleep")
    time.sleep(0.2)
    terminal.type("\x03")
    terminal.type("echo awa''ke\n")
    terminal.wait_for("awake")
    terminal.type("exit 5\n")
    assert terminal.wait() == 5
    assert "job control" not in terminal.seen
    assert "tty" not in terminal.seen.replace("stty", "")


@pytest.mark.parametrize("features", [{}, {"pid_namespace": False}])
def test_ctrl_c_reaches_a_program_on_the_terminal_once(me, features):
    program = """
import signal, time
heard = []
signal.signal(signal.SIGINT, lambda *_: heard.append(1))
print("up", flush=True)
while not heard:
    time.sleep(0.01)
time.sleep(0.3)
print("heard", len(heard))
"""
    argv = [sys.executable, "-c", program]
    terminal = Terminal(sandbox.wrap(PLAIN, me.only(**features).support, argv))
    terminal.wait_for("up")
    terminal.type("\x03")
    assert terminal.wait() == 0
    assert "heard 1" in terminal.seen


@pytest.mark.parametrize("features", [{}, {"pid_namespace": False}])
def test_ctrl_z_gives_the_terminal_back(me, features):
    program = "print('up', flush=True); print('read', input(), flush=True)"
    argv = sandbox.wrap(PLAIN, me.only(**features).support, [sys.executable, "-c", program])
    terminal = Terminal(["sh", "-i"])
    terminal.type("stty -echo; PS1=; echo rea''dy\n")
    terminal.wait_for("ready")
    terminal.type(shlex.join(argv) + "; echo sta''tus $?\n")
    terminal.wait_for("up")
    terminal.type("\x1a")
    terminal.wait_for("status")
    terminal.type("echo out''side; fg\n")
    terminal.wait_for("outside")
    terminal.type("typed\n")
    terminal.wait_for("read typed")
    terminal.type("exit 0\n")
    assert terminal.wait() == 0


def test_the_terminal_is_given_back_at_the_end(me):
    argv = sandbox.wrap(PLAIN, me.support, ["true"])
    terminal = Terminal(["sh", "-c", shlex.join(argv) + "; read line; echo got $line"])
    terminal.type("typed\n")
    assert terminal.wait() == 0
    assert "got typed" in terminal.seen


def test_the_states_of_a_process_that_has_just_ended(monkeypatch):
    """It may end between any two looks at it."""
    child = subprocess.Popen(["sleep", "30"])
    assert set(processes.states(child.pid)) <= {"S", "R", "D"}
    child.kill()
    child.wait()
    monkeypatch.setattr(os.path, "isdir", lambda path: True)  # it was there a moment ago
    assert processes.states(child.pid) == []
