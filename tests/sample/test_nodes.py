"""Every row of the table does what it says."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from governance.sample import bodies, packages, world
from governance.sample.nodes import HANGS, NODES

from .conftest import CORE, ComfyUI, make_environment

COMPLETED = [name for name, node in NODES.items() if node.expected.verdict == "completed"]
FAILED = [name for name, node in NODES.items() if node.expected.verdict == "failed"]
ALONE = ("--disable-all-custom-nodes", "--whitelist-custom-nodes")
GRACE_SECONDS = 0.5


@pytest.fixture
def own_environment(tmp_path, package_folder, uv_cache):
    """With pip in it, to be changed."""
    pip = [str(wheel) for wheel in packages.bundled_pip()]
    if not pip:
        pytest.skip("this Python came without the pip wheel of ensurepip")
    wanted = (*CORE, "cowsay", "humanize>=4.9", *pip)
    return make_environment(tmp_path / "own-env", package_folder, uv_cache, *wanted)


@pytest.fixture
def start(request, checkout, tmp_path):
    """Put nodes in place and make a ComfyUI for them, in an environment that suits the first."""
    started = []

    def prepare(*names):
        node = NODES[names[0]]
        env = {"PIP_NO_CACHE_DIR": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        touches = node.needs_index or any("site-packages" in path for path in node.expected.writes)
        environment = request.getfixturevalue("own_environment" if touches else "environment")
        if node.needs_index:
            url = request.getfixturevalue("index").url
            env |= {"PIP_INDEX_URL": url, "UV_INDEX_URL": url}
        for name in names:
            world.write_node(checkout / "custom_nodes", name, NODES[name].files)
        comfyui = ComfyUI(checkout, environment, tmp_path, env=env)
        started.append(comfyui)
        run_install_script(comfyui, names[0])
        return comfyui

    yield prepare
    for comfyui in started:
        comfyui.kill()
        end_daemon(comfyui)


def end_daemon(comfyui):
    pid_file = comfyui.checkout / "user" / "sample-daemon.pid"
    if pid_file.exists():
        try:
            os.kill(int(pid_file.read_text()), signal.SIGKILL)
        except ProcessLookupError:
            pass


def run_install_script(comfyui, name):
    folder = comfyui.checkout / "custom_nodes" / name
    if (folder / "install.py").exists():
        command = [comfyui.environment / "bin" / "python", "install.py"]
        done = subprocess.run(command, cwd=folder, env=comfyui.environ, capture_output=True)
        assert done.returncode == NODES[name].expected.install_exit, done.stderr.decode()


def installed(environment):
    found = environment.glob("lib/*/site-packages/*.dist-info")
    return dict(path.name.removesuffix(".dist-info").split("-") for path in found)


def place(comfyui, name, path):
    kind, _, rest = path.partition("/")
    site = next(comfyui.environment.glob("lib/*/site-packages"))
    places = {
        "node": comfyui.checkout / "custom_nodes" / name,
        "user": comfyui.checkout / "user",
        "home": Path(comfyui.environ["HOME"]),
        "site-packages": site,
    }
    return places[kind] / rest


def test_there_are_enough_of_them():
    assert len(NODES) >= 25
    assert len({node.says for node in NODES.values()}) == len(NODES)


@pytest.mark.parametrize("name", COMPLETED)
def test_a_node_that_completes(start, name):
    expected = NODES[name].expected
    comfyui = start(name).start(*ALONE, name).until_ready()
    assert comfyui.classes_of(name) == set(expected.classes)
    for part in expected.logs:
        comfyui.until_log(part)
    loaded = [line for line in comfyui.log().splitlines() if f"custom_nodes/{name}" in line]
    assert not any("(IMPORT FAILED)" in line for line in loaded)
    assert all(place(comfyui, name, path).exists() for path in expected.writes)


@pytest.mark.parametrize(
    "name", [name for name in FAILED if NODES[name].expected.exit_code != HANGS]
)
def test_a_node_that_fails(start, name):
    expected = NODES[name].expected
    comfyui = start(name)
    assert comfyui.quick(*ALONE, name) == expected.exit_code
    log = comfyui.log()
    assert all(part in log for part in expected.logs), log
    loaded = f" seconds: {comfyui.checkout}/custom_nodes/{name}\n" in log
    assert loaded == (name == "forges-success")


def test_a_node_that_hangs(start):
    comfyui = start("import-sleeps").start(*ALONE, "import-sleeps").until_log("sample: sleeping")
    with pytest.raises(subprocess.TimeoutExpired):
        comfyui.process.wait(GRACE_SECONDS)
    assert "Import times" not in comfyui.log()


def test_a_route_is_served(start):
    comfyui = start("registers-route").start(*ALONE, "registers-route").until_ready()
    assert comfyui.get("/sample/hello") == {"hello": "world"}


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("name", "package", "version"),
    [
        ("pip-installs", "lark", "1.2.2"),
        ("pip-on-path", "tqdm", "4.66.0"),
        ("uv-installs", "colorama", "0.4.6"),
        ("installs-in-thread", "lark", "1.2.2"),
        ("pip-changes-core", "numpy", "2.3.2"),
        ("pip-uninstalls", "cowsay", None),
    ],
)
def test_the_environment_is_changed(start, name, package, version):
    comfyui = start(name)
    before = installed(comfyui.environment)
    assert before.get(package) != version
    comfyui.start(*ALONE, name).until_ready()
    until(lambda: installed(comfyui.environment).get(package) == version)
    after = installed(comfyui.environment)
    assert {key for key in before | after if before.get(key) != after.get(key)} == {package}


def test_a_failed_request_changes_nothing(start, index):
    comfyui = start("pip-fails-tolerated")
    before = installed(comfyui.environment)
    comfyui.start(*ALONE, "pip-fails-tolerated").until_ready()
    assert installed(comfyui.environment) == before
    assert index.count("/simple/no-such-package-of-the-sample/")


def test_the_daemon_outlives_comfyui(start):
    comfyui = start("starts-daemon").start(*ALONE, "starts-daemon").until_ready()
    pid_file = comfyui.checkout / "user" / "sample-daemon.pid"
    until(lambda: pid_file.exists() and pid_file.read_text())
    pid = int(pid_file.read_text())
    assert comfyui.stop() == 0
    assert os.getsid(pid) != comfyui.process.pid
    os.kill(pid, 0)


def test_the_deaf_one_needs_force(start):
    comfyui = start("ignores-signals").start(*ALONE, "ignores-signals").until_ready()
    for number in (signal.SIGINT, signal.SIGTERM):
        comfyui.process.send_signal(number)
    with pytest.raises(subprocess.TimeoutExpired):
        comfyui.process.wait(GRACE_SECONDS)
    assert comfyui.stop(signal.SIGKILL) == -signal.SIGKILL


def test_the_planted_path_file_runs(start):
    comfyui = start("writes-pth").start(*ALONE, "writes-pth").until_ready()
    python = comfyui.environment / "bin" / "python"
    command = [python, "-c", "import os; print(os.environ['SAMPLE_PTH'])"]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "here\n"


def test_the_edit_is_in_place(start):
    comfyui = start("edits-site-packages")
    path = place(comfyui, "", "site-packages/numpy/__init__.py")
    inode = path.stat().st_ino
    comfyui.start(*ALONE, "edits-site-packages").until_ready()
    assert path.stat().st_ino == inode
    assert "EDITED_BY_SAMPLE" in path.read_text()


def test_the_vandal_reaches_neighbours_and_targets(start, tmp_path):
    comfyui = start("writes-everywhere", "loads-two-classes")
    (tmp_path / "truth").mkdir()
    (tmp_path / "file").write_text("[project]\n")
    targets = [tmp_path / "truth", tmp_path / "file", tmp_path / "missing" / "file"]
    comfyui.environ[bodies.TARGETS_VARIABLE] = os.pathsep.join(map(str, targets))
    comfyui.start(*ALONE, "writes-everywhere").until_ready()
    assert (tmp_path / "truth" / "planted").exists()
    assert "# planted by a sample node" in (tmp_path / "file").read_text()
    neighbour = comfyui.checkout / "custom_nodes" / "loads-two-classes" / "__init__.py"
    assert "# planted by a sample node" in neighbour.read_text()
    assert f"sample: denied {targets[2]}" in comfyui.log()


def test_the_flood_is_as_long_as_told(start):
    comfyui = start("floods-log")
    comfyui.environ[bodies.FLOOD_VARIABLE] = str(1 << 20)
    comfyui.quick(*ALONE, "floods-log")
    assert 0.99 * (1 << 20) < comfyui.log_file.stat().st_size < 1.1 * (1 << 20)


def test_a_shadow_breaks_its_neighbour(start):
    expected = NODES["shadows-humanize"].expected
    comfyui = start("shadows-humanize", *expected.breaks)
    assert comfyui.quick(*ALONE, *expected.breaks) == 0
    assert "(IMPORT FAILED)" not in comfyui.log()
    assert comfyui.quick(*ALONE, "shadows-humanize", *expected.breaks) == 0
    for name in expected.breaks:
        assert f"(IMPORT FAILED): {comfyui.checkout}/custom_nodes/{name}\n" in comfyui.log()
    assert "cannot import name 'naturalsize'" in comfyui.log()


# Prints an event per line, from inside the process that starts ComfyUI.
RECORDER = """\
import json, runpy, sys

def note(event, arguments):
    if event == "subprocess.Popen":
        print(json.dumps(["program", [str(part) for part in arguments[1]]]), file=out, flush=True)
    elif event == "socket.connect":
        print(json.dumps(["host", "{}:{}".format(*arguments[1][:2])]), file=out, flush=True)
    elif event == "socket.getaddrinfo":
        print(json.dumps(["host", arguments[0]]), file=out, flush=True)

out = open(sys.argv[1], "w")
sys.addaudithook(note)
sys.argv = sys.argv[2:]
sys.path[0] = sys.argv[0].rpartition("/")[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("name", ["contacts-host", "starts-program", "loads-two-classes"])
def test_programs_and_hosts_are_those_in_the_table(start, tmp_path, name):
    comfyui = start(name)
    (tmp_path / "recorder.py").write_text(RECORDER)
    main = [comfyui.checkout / "main.py", "--quick-test-for-ci", *ALONE, name]
    command = [
        comfyui.environment / "bin" / "python",
        tmp_path / "recorder.py",
        tmp_path / "events",
    ]
    subprocess.run([*command, *main], env=comfyui.environ, check=True, capture_output=True)
    events = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    hosts = [what for kind, what in events if kind == "host"]
    programs = [" ".join(what) for kind, what in events if kind == "program"]
    expected = NODES[name].expected
    assert set(hosts) == {*expected.hosts, *(host.partition(":")[0] for host in expected.hosts)}
    assert tuple(programs) == expected.programs
