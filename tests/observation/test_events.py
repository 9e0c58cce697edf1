"""The recorder's lines, from real processes and from liars."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from governance.observation import events, recorder

WRITTEN = {"w", "a", "o", "d", "d/e", "b", "c", "hard", "soft", "p", "q", "base.db", "below"}
PLACES = events.Places(Path("/c/custom_nodes"), Path("/env"))


def write(folder, name, *lines):
    folder.mkdir(exist_ok=True)
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (folder / name).write_text(text + "\n")


@pytest.fixture
def record(tmp_path, environment):
    """Run code as node `n`, recorded, in a process of the environment; what was seen of it."""

    def run(code, **environ):
        site_packages = next(environment.glob("lib/*/site-packages"))
        recorder.plant(str(site_packages))
        node = tmp_path / "nodes" / "n" / "__init__.py"
        node.parent.mkdir(parents=True, exist_ok=True)
        node.write_text(textwrap.dedent(code))
        main = tmp_path / "main.py"
        main.write_text(f"import runpy, threading\nrunpy.run_path({str(node)!r})\n")
        folder = tmp_path / "events"
        folder.mkdir(exist_ok=True)
        variables = {
            "PATH": f"{environment / 'bin'}:{os.environ['PATH']}",
            recorder.FOLDER: str(folder),
            recorder.NODES: str(tmp_path / "nodes"),
            recorder.OWN: str(tmp_path / "own"),
            recorder.ENVIRONMENT: str(environment),
            "PYTHONPYCACHEPREFIX": str(tmp_path / "own"),
            "TMPDIR": str(tmp_path / "own"),
            "HOME": str(tmp_path / "own"),
            "PIP_NO_INDEX": "1",
            "PIP_NO_INPUT": "1",
            **environ,
        }
        (tmp_path / "own").mkdir(exist_ok=True)
        command = [environment / "bin/python", main]
        done = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return events.deeds([events.read(folder, "start")], PLACES)

    return run


def test_every_way_to_write_is_seen(record, tmp_path):
    found = record(
        """
        import os, pathlib, shutil, sqlite3
        open("w", "w").close(); open("a", "a").close(); open("w", "r+").close()
        os.close(os.open("o", os.O_CREAT | os.O_WRONLY))
        os.makedirs("d/e"); os.rename("a", "b"); os.replace("b", "c"); os.link("c", "hard")
        os.symlink("c", "soft"); os.chmod("c", 0o600); os.utime("c"); os.truncate("c", 0)
        os.remove("hard"); pathlib.Path("p").write_text("x"); shutil.copy("p", "q")
        shutil.rmtree("d"); sqlite3.connect("base.db").close(); sqlite3.connect(":memory:").close()
        folder = os.open(".", os.O_RDONLY); os.mkdir("below", dir_fd=folder)
        open("w").read(); os.stat("w"); os.listdir(".")
        open("own/free", "w").close(); open("/dev/null", "w").close()
        """
    )
    written = {Path(entry["path"]).relative_to(tmp_path).as_posix() for entry in found.writes}
    assert written == WRITTEN
    ways = {entry["path"].rpartition("/")[2]: entry["how"] for entry in found.writes}
    assert ways["c"] == ["rename", "chmod", "utime", "truncate"]
    assert {entry["node"] for entry in found.writes} == {"n"}
    assert found.writes[0]["at"] == "n/__init__.py:3"


def test_programs_come_with_their_end(record):
    found = record(
        """
        import os, subprocess
        subprocess.run(["true"]); subprocess.run("exit 3", shell=True); os.system("exit 4")
        process = subprocess.Popen(["sleep", "9"]); process.kill(); process.wait()
        os.waitpid(os.posix_spawn("/bin/true", ["true", "spawned"], {}), 0)
        os.popen("true popen").close()
        if os.fork() == 0:
            os.execv("/bin/true", ["true", "executed"])
        os.wait()
        """
    )
    assert [(entry["argv"], entry["exit_code"]) for entry in found.programs] == [
        (["true"], 0),
        (["/bin/sh", "-c", "exit 3"], 3),
        (["exit 4"], None),
        (["sleep", "9"], -9),
        (["true", "spawned"], None),
        (["/bin/sh", "-c", "true popen"], 0),
        (["true", "executed"], None),
    ]


def test_hosts_are_seen_also_from_threads(record):
    found = record(
        """
        import socket, threading, http.client, concurrent.futures
        def knock(port):
            try:
                socket.create_connection(("127.0.0.1", port), 0.2)
            except OSError:
                pass
        knock(1)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            pool.submit(socket.getaddrinfo, "localhost", 80).result()
        try:
            socket.socket(socket.AF_UNIX).connect("/nowhere")
        except OSError:
            pass
        """
    )
    seen = [(entry["host"], entry["port"], entry["node"]) for entry in found.hosts]
    assert seen == [
        ("127.0.0.1", 1, "n"),
        ("localhost", 80, "n"),
        ("unix:/nowhere", None, "n"),
    ]
    assert found.hosts[0]["how"] == ["look up", "connect"]


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (
            "import subprocess as s, sys; s.run([sys.executable, '-m', 'pip', 'install', 'x'])",
            "failed",
        ),
        ("import subprocess as s; s.run(['pip', 'install', 'x'])", "failed"),
        ("import os; os.system('pip install x')", "failed"),
        ("import subprocess as s; s.Popen(['bash', 'script.sh']).wait()", "failed"),
        ("import pip._internal.cli.main as m; m.main(['install', 'x'])", "unknown"),
    ],
)
def test_pip_is_seen_however_it_is_called(code, outcome, record, tmp_path):
    (tmp_path / "script.sh").write_text("pip install x\n")
    found = record(code)
    (install,) = found.installs
    assert (install["requested"], install["outcome"]) == (["x"], outcome)
    assert (install["node"], install["tool"], install["action"]) == ("n", "pip", "install")
    assert found.writes == []


def test_what_pip_itself_starts_is_not_the_node_s(record):
    found = record("import os; os.system('pip install x')")
    assert [entry["argv"] for entry in found.programs] == [["pip install x"]]


def test_a_forked_child_has_a_file_of_its_own(record, tmp_path):
    found = record("import os\nif os.fork() == 0:\n    open('f', 'w'); os._exit(0)\nos.wait()\n")
    assert [entry["path"] for entry in found.writes] == [str(tmp_path / "f")]
    assert len(list((tmp_path / "events").iterdir())) == 2


def test_a_daemon_that_closes_everything_gets_no_lines_in_its_own_files(record, tmp_path):
    record(
        """
        import os
        os.closerange(3, 100)
        fd = os.open("mine", os.O_CREAT | os.O_WRONLY)
        open("other", "w").close()
        os.write(fd, b"pure")
        """
    )
    assert (tmp_path / "mine").read_bytes() == b"pure"


def test_what_one_process_tells_is_bounded(record, tmp_path):
    found = record("for i in range(9000):\n    open(f'own-not-{i}', 'w').close()\n")
    assert found.cut and len(found.writes) == 500
    (journal,) = (tmp_path / "events").iterdir()
    assert journal.stat().st_size <= 1 << 20


def test_the_recorder_never_disturbs(record, tmp_path):
    record(
        """
        import os, sys
        sys.audit("open"); sys.audit("open", None, None, None); sys.audit("os.rename", 1)
        sys.audit("subprocess.Popen", object(), object(), None, None)
        os.rename(os.environ["GOV_OBSERVE_DIR"], "gone")
        open("f", "w").close(); os.system("true")
        """
    )


def test_the_recorder_is_silent_where_nobody_asks(environment, tmp_path):
    recorder.plant(str(next(environment.glob("lib/*/site-packages"))))
    command = [environment / "bin/python", "-c", "import sys; print('json' in sys.modules)"]
    for folder in ("", str(tmp_path / "missing")):
        done = subprocess.run(command, env={recorder.FOLDER: folder}, capture_output=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"False\n", b"")


def test_the_recorder_imports_nothing_that_costs(environment, tmp_path):
    recorder.plant(str(next(environment.glob("lib/*/site-packages"))))
    code = "import sys; print(sorted({'json', 're', 'typing', 'pathlib'} & set(sys.modules)))"
    environ = {recorder.FOLDER: str(tmp_path)}
    done = subprocess.run(
        [environment / "bin/python", "-c", code], env=environ, capture_output=True, text=True
    )
    assert done.stdout == "[]\n"
    assert len(list(tmp_path.glob("*.jsonl"))) == 1


def test_json_is_right():
    value = {"a": ['x"\n\u2028é\ud800', ("t",)], "n": None, "t": True, "f": 1.5, "i": -1}
    assert json.loads(recorder.encode(value)) == {**value, "a": [value["a"][0], ["t"]]}


@pytest.mark.parametrize(
    ("argv", "is_pip"),
    [
        ([sys.executable, "-m", "pip", "install"], True),
        ([sys.executable, "-Im", "pip", "install"], True),
        ([sys.executable, "/env/bin/pip3.11", "list"], True),
        ([sys.executable, "/env/site-packages/pip/__pip-runner__.py", "install"], True),
        ([sys.executable, "pipeline.py"], False),
        ([sys.executable, "-c", "pip"], False),
        ([sys.executable, "main.py", "-m", "pip"], False),
        ([sys.executable], False),
        ([], False),
    ],
)
def test_pip_is_known_by_its_command(argv, is_pip):
    assert recorder.is_pip(argv) is is_pip


def test_lies_are_read_without_harm(tmp_path):
    folder = tmp_path / "events"
    write(
        folder,
        "1-1.jsonl",
        "rubbish",
        "[]",
        "[" * 100_000,
        {"e": "write", "path": 7, "how": [], "node": {}},
        {"e": "host", "host": None, "port": "x"},
        {"e": "program", "argv": "not a list", "n": []},
        {"e": "program", "t": "soon", "argv": ["x"]},
        {"e": "process", "up": "x", "argv": 3, "pid": "x"},
        {"e": "end", "n": None, "code": "x"},
        {"e": 1},
    )
    write(folder, "not-a-pid.jsonl", {"e": "write", "path": "/x"})
    os.symlink("/etc/passwd", folder / "2-1.jsonl")
    os.mkfifo(folder / "3-1.jsonl")
    (folder / "4-1.jsonl").mkdir()
    phase = events.read(folder, "start")
    assert [process.pid for process in phase.processes] == [1, 2, 3, 4]
    found = events.deeds([phase], PLACES)
    assert len(found.writes) == len(found.hosts) == len(found.programs) == 1


def test_processes_that_claim_each_other_as_parents_end(tmp_path):
    for mine, other in ((1, 2), (2, 1)):
        start = {"e": "process", "t": 5.0, "up": [other], "argv": ["x"]}
        write(tmp_path, f"{mine}-1.jsonl", start, {"e": "program", "t": 1.0, "argv": ["y"]})
    found = events.deeds([events.read(tmp_path, "start")], PLACES)
    assert {entry["node"] for entry in found.programs} == {None}


def test_a_missing_folder_is_no_events(tmp_path):
    assert events.read(tmp_path / "nowhere", "start").processes == ()


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/c/custom_nodes/n/x", "its own folder"),
        ("/c/custom_nodes/other/x", "custom_nodes"),
        ("/c/user/x", "ComfyUI"),
        ("/env/lib/x", "the environment"),
        ("/root/x", "elsewhere"),
    ],
)
def test_where_a_file_lies_is_said(path, where):
    assert PLACES.describe(path, "n") == where
