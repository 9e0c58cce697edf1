"""What a start shows, read rightly: programs, old versions, baselines, interruptions, bounds."""

import json
import os
import signal
import threading
import time

import pytest

from governance import observation
from governance.base.errors import UsageError
from governance.observation import Baseline, Observation, program, watch
from governance.sample.nodes import NODES

from .conftest import write_node


def put(comfyui_dir, *names):
    for name in names:
        write_node(comfyui_dir, name, NODES[name].files)


def plain_main(tmp_path, text):
    folder = tmp_path / "Plain"
    (folder / "custom_nodes" / "node").mkdir(parents=True)
    (folder / "main.py").write_text(text)
    return folder


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_program_that_ends_by_itself_is_judged_by_its_exit_code(tmp_path, observe):
    seen = observe(plain_main(tmp_path, "print('done')\n"), "node")
    assert (seen.verdict, seen.run_exit_code, seen.ready) == ("completed", 0, False)
    assert seen.came_up
    assert ("stdout", "done") in observe.live


def test_a_program_that_fails_is_quoted(tmp_path, observe):
    seen = observe(plain_main(tmp_path, "import sys\n1 / 0\n"), "node")
    assert (seen.verdict, seen.run_exit_code) == ("failed", 1)
    assert "exit code 1: ZeroDivisionError: division by zero" in seen.reason


def test_a_program_that_never_ends_and_never_answers_fails(tmp_path, observe):
    seen = observe(plain_main(tmp_path, "import time\ntime.sleep(60)\n"), "node", timeout=1)
    assert seen.verdict == "failed"
    assert "did not come up within 1 s" in seen.reason
    assert not seen.came_up


def test_a_server_without_a_port_flag_is_found_by_what_it_says(tmp_path, observe):
    text = """
import http.server, sys

server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
print(f"To see the GUI go to: http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
"""
    folder = plain_main(tmp_path, text)
    (folder / "system_stats").write_text("{}")
    (folder / "object_info").write_text('{"One": {"python_module": "custom_nodes.node"}}')
    seen = observe(folder, "node")
    assert (seen.verdict, seen.ready) == ("completed", True), seen.reason
    assert seen.nodes["node"].classes == ["One"]


def test_a_node_cannot_answer_for_comfyui(comfyui_dir, observe):
    text = """
import http.server, logging

server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
server.RequestHandlerClass.do_GET = lambda self: (self.send_response(200), self.end_headers())
logging.info(f"To see the GUI go to: http://127.0.0.1:{server.server_port}")
server.serve_forever()
"""
    write_node(comfyui_dir, "answers", {"__init__.py": text})
    seen = observe(comfyui_dir, "answers", timeout=4)
    assert (seen.verdict, seen.ready) == ("failed", False)


def test_a_server_that_dies_after_it_came_up_has_failed(comfyui_dir, observe):
    text = """
import os, threading
threading.Timer(4, os._exit, (0,)).start()
NODE_CLASS_MAPPINGS = {}
"""
    write_node(comfyui_dir, "dies-late", {"__init__.py": text})
    seen = observe(comfyui_dir, "dies-late", settle=20)
    assert seen.verdict == "failed"
    assert "came up, then ended with exit code 0 by itself" in seen.reason


def settled_in(seen):
    """Seconds from the first answer on."""
    return seen.times["total"] - seen.times["ready"]


def test_it_is_watched_no_longer_than_something_happens(comfyui_dir, observe):
    put(comfyui_dir, "loads-two-classes")
    seen = observe(comfyui_dir, "loads-two-classes", settle=30)
    assert seen.completed and settled_in(seen) < 15


LATE = {
    "a thread that sleeps": "threading.Thread(target=late).start()",
    "a program that sleeps": 'subprocess.Popen(["sh", "-c", "sleep 3; echo x > $0", place])',
}


@pytest.mark.family(1)
@pytest.mark.parametrize("how", LATE)
def test_who_has_something_under_way_is_watched_to_the_end(comfyui_dir, observe, how):
    text = f"""
import os, pathlib, subprocess, threading, time
place = str(pathlib.Path(__file__).with_name("late.txt"))

def late():
    time.sleep(3)
    open(place, "w").close()

{LATE[how]}
NODE_CLASS_MAPPINGS = {{}}
"""
    write_node(comfyui_dir, "comes-late", {"__init__.py": text})
    observe(comfyui_dir, "comes-late", settle=5)
    assert (comfyui_dir / "custom_nodes/comes-late/late.txt").exists()


@pytest.mark.thorough
def test_what_is_still_busy_is_waited_for(comfyui_dir, observe):
    """Seen from outside, whoever started it: here ComfyUI's own server."""
    text = """
import pathlib, threading, time

def work():
    until = time.monotonic() + 3
    while time.monotonic() < until:
        pass
    pathlib.Path(__file__).with_name("done.txt").touch()
"""
    more = "import threading, sys; sys.path.insert(0, '.')\n"
    write_node(comfyui_dir, "quiet", {"__init__.py": "NODE_CLASS_MAPPINGS = {}\n"})
    (comfyui_dir / "busy.py").write_text(text)
    main = comfyui_dir / "main.py"
    begin = f"{more}import busy; threading.Thread(target=busy.work, daemon=True).start()\n"
    main.write_text(main.read_text().replace("if __name__", f"{begin}if __name__", 1))
    observe(comfyui_dir, "quiet", settle=10)
    assert (comfyui_dir / "done.txt").exists()


def test_a_class_that_takes_the_list_of_all_away_has_failed(comfyui_dir, observe):
    text = """
class Odd:
    RETURN_TYPES, FUNCTION = (), "run"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"text": ("STRING", {"default": object()})}}

NODE_CLASS_MAPPINGS = {"Odd": Odd}
"""
    write_node(comfyui_dir, "no-json", {"__init__.py": text})
    seen = observe(comfyui_dir, "no-json")
    assert (seen.verdict, seen.ready) == ("failed", True)
    assert seen.reason.startswith("ComfyUI came up, but the list of all node classes fails")


def test_whose_exit_it_was_is_said(comfyui_dir, observe):
    put(comfyui_dir, "import-exits-zero")
    seen = observe(comfyui_dir, "import-exits-zero")
    assert seen.reason == (
        "ComfyUI ended by itself with exit code 0 before it came up, "
        "while it was loading import-exits-zero"
    )


def test_a_failed_import_comes_with_its_traceback(comfyui_dir, observe):
    put(comfyui_dir, "import-fails")
    seen = observe(comfyui_dir, "import-fails")
    report = seen.nodes["import-fails"]
    assert report.error == "No module named 'no_such_module_of_the_sample'"
    assert report.traceback_tail[0].endswith("Traceback (most recent call last):")
    assert report.traceback_tail[-1].startswith("ModuleNotFoundError: ")
    assert any("import no_such_module_of_the_sample" in line for line in report.traceback_tail)
    assert seen.run_exit_code == 0


def test_the_error_behind_an_error_is_kept(comfyui_dir, observe):
    text = """
try:
    import no_such_module_of_the_sample
except ImportError:
    raise RuntimeError("install it, please")
"""
    write_node(comfyui_dir, "wraps", {"__init__.py": text})
    report = observe(comfyui_dir, "wraps").nodes["wraps"]
    assert report.error == "install it, please"
    assert report.causes == ["ModuleNotFoundError: No module named 'no_such_module_of_the_sample'"]
    assert report.traceback_tail[-1] == "RuntimeError: install it, please"


def test_only_the_nodes_asked_for_are_loaded(comfyui_dir, observe):
    put(comfyui_dir, "loads-two-classes", "registers-route", "import-exits-zero")
    seen = observe(comfyui_dir, "loads-two-classes", "registers-route")
    assert seen.completed, seen.reason
    assert {name: report.loaded for name, report in seen.nodes.items()} == {
        "loads-two-classes": True,
        "registers-route": True,
    }


def test_an_old_comfyui_is_observed_with_what_it_has(old_comfyui_dir, observe):
    put(old_comfyui_dir, "loads-two-classes")
    seen = observe(old_comfyui_dir, "loads-two-classes", quick=True)
    assert seen.completed, seen.reason
    assert any("everything in custom_nodes was loaded" in text for text in seen.limits)
    assert any("--quick-test-for-ci: it was started in full" in text for text in seen.limits)


def test_another_node_that_no_longer_loads_is_collateral(comfyui_dir, observe):
    put(comfyui_dir, "declares-two-packages", "shadows-humanize")
    before = observe(comfyui_dir, None, "declares-two-packages")
    assert before.completed, before.reason
    after = observe(
        comfyui_dir, "shadows-humanize", "declares-two-packages", baseline=before.baseline()
    )
    assert after.verdict == "failed"
    assert after.collateral == ["declares-two-packages"]
    assert after.reason.startswith("declares-two-packages used to load and now does not: ")
    assert after.classes_lost == ["SampleDeclared"]
    assert after.classes_added == ["SampleShadow"]
    assert after.nodes["shadows-humanize"].loaded is True


def test_a_node_that_was_broken_before_is_a_warning_only(comfyui_dir, observe):
    put(comfyui_dir, "import-fails", "loads-two-classes")
    seen = observe(comfyui_dir, "loads-two-classes", "import-fails", baseline=Baseline())
    assert seen.completed and seen.collateral == []
    assert any(text.startswith("import-fails did not load") for text in seen.warnings)


@pytest.mark.parametrize("quick", [True, False])
def test_a_smoke_test_without_a_baseline_excuses_nobody(quick, comfyui_dir, observe):
    put(comfyui_dir, "import-fails", "loads-two-classes")
    seen = observe(comfyui_dir, None, "import-fails", "loads-two-classes", quick=quick)
    assert seen.verdict == "failed" and seen.collateral == ["import-fails"]


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("loads-two-classes", "completed"),
        ("import-exits-zero", "failed"),
        ("prestartup-exits", "failed"),
    ],
)
def test_a_quick_start_is_judged_by_exit_code_and_log(name, verdict, comfyui_dir, observe):
    put(comfyui_dir, name)
    seen = observe(comfyui_dir, None, name, quick=True)
    assert (seen.verdict, seen.run_exit_code, seen.ready) == (verdict, 0, False), seen.reason
    assert seen.came_up is (verdict == "completed")


def test_what_the_log_says_of_a_part_is_quoted(comfyui_dir, observe):
    put(comfyui_dir, "loads-in-part", "input-types-raise")
    seen = observe(comfyui_dir, "loads-in-part", "input-types-raise")
    assert seen.completed
    assert any("depth features are not available" in text for text in seen.warnings)
    assert (
        "ComfyUI cannot describe SampleBroken (RuntimeError: models are missing)" in seen.warnings
    )
    again = observe(comfyui_dir, "loads-in-part", baseline=seen.baseline())
    assert not any("depth features" in text for text in again.warnings)


def test_what_was_installed_is_frozen_and_tried_by_a_second_start(comfyui_dir, observe):
    put(comfyui_dir, "pip-installs")
    seen = observe(comfyui_dir, "pip-installs")
    assert seen.starts == 2
    assert set(seen.post_freeze) - set(seen.installed_freeze) == {"lark==1.2.2"}
    (install,) = seen.installs
    assert (install["outcome"], install["phase"]) == ("succeeded", "start")
    assert install["at"].startswith("pip-installs/__init__.py:")
    assert seen.writes == []


def test_a_request_that_failed_is_shown(comfyui_dir, observe):
    put(comfyui_dir, "pip-fails-tolerated")
    seen = observe(comfyui_dir, "pip-fails-tolerated")
    assert seen.completed and seen.starts == 1
    assert [entry["outcome"] for entry in seen.installs] == ["failed"]
    asked = "pip install no-such-package-of-the-sample==99 failed"
    assert any(text.startswith(asked) for text in seen.warnings)


@pytest.mark.thorough
def test_a_thread_s_install_is_laid_at_the_door_of_its_node(comfyui_dir, observe):
    put(comfyui_dir, "installs-in-thread")
    seen = observe(comfyui_dir, "installs-in-thread", settle=5)
    assert {entry["node"] for entry in seen.installs} == {"installs-in-thread"}
    assert "the second start installed something again" not in seen.warnings
    assert "lark==1.2.2" in seen.post_freeze


def test_without_a_loopback_interface_the_start_alone_is_watched(comfyui_dir, observe, monkeypatch):
    put(comfyui_dir, "loads-two-classes")
    monkeypatch.setattr(watch.api, "has_loopback", lambda: False)
    seen = observe(comfyui_dir, "loads-two-classes")
    assert (seen.verdict, seen.classes) == ("completed", {})
    assert any("loopback" in text for text in seen.limits)


def test_the_install_script_runs_as_the_manager_runs_it(comfyui_dir, observe, tmp_path):
    text = """
import json, os, pathlib
seen = {name: os.environ[name] for name in ("COMFYUI_PATH", "COMFYUI_FOLDERS_BASE_PATH")}
pathlib.Path("told.json").write_text(json.dumps([os.getcwd(), seen]))
"""
    put(comfyui_dir, "loads-two-classes")
    write_node(comfyui_dir, "loads-two-classes", {"install.py": text})
    seen = observe(comfyui_dir, "loads-two-classes")
    folder = comfyui_dir / "custom_nodes" / "loads-two-classes"
    place = str(comfyui_dir)
    told = {"COMFYUI_PATH": place, "COMFYUI_FOLDERS_BASE_PATH": place}
    assert json.loads((folder / "told.json").read_text()) == [str(folder), told]
    assert seen.times["install_script"] > 0
    (written,) = seen.writes
    assert (written["node"], written["where"]) == ("loads-two-classes", "its own folder")
    (folder / "told.json").unlink()
    observe(comfyui_dir, "loads-two-classes", install_script=False)
    assert not (folder / "told.json").exists()


def test_an_install_script_that_fails_or_hangs_is_a_warning(comfyui_dir, observe):
    put(comfyui_dir, "install-script-fails")
    seen = observe(comfyui_dir, "install-script-fails")
    assert seen.completed
    (told,) = (text for text in seen.warnings if text.startswith("install.py"))
    assert told.startswith("install.py ended with exit code 1")
    write_node(comfyui_dir, "install-script-fails", {"install.py": "import time; time.sleep(99)"})
    seen = observe(comfyui_dir, "install-script-fails", timeout=5)
    assert any(text.startswith("install.py was stopped after 5 s") for text in seen.warnings)


def test_of_two_subjects_the_one_that_fails_is_named(comfyui_dir, observe):
    put(comfyui_dir, "loads-two-classes", "import-fails")
    seen = observe(comfyui_dir, ("loads-two-classes", "import-fails"))
    assert (seen.verdict, seen.came_up) == ("failed", True)
    assert seen.subjects == ["loads-two-classes", "import-fails"]
    assert list(seen.failed_subjects) == ["import-fails"]
    assert seen.reason == seen.failed_subjects["import-fails"]
    assert seen.nodes["loads-two-classes"].loaded is True
    assert seen.collateral == []


TELLS_ITS_FOLDER = "import os, pathlib\npathlib.Path('told').write_text(os.getcwd())\n"


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, {"one", "two"}),
        ({"install_for": ("two",)}, {"two"}),
        ({"install_for": ()}, set()),
        ({"install_script": False, "install_for": ("two",)}, set()),
    ],
)
def test_the_install_scripts_of_the_wanted_subjects_run(comfyui_dir, observe, changes, wanted):
    loading = NODES["loads-two-classes"].files
    write_node(comfyui_dir, "one", {**loading, "install.py": TELLS_ITS_FOLDER})
    write_node(comfyui_dir, "two", {**loading, "install.py": TELLS_ITS_FOLDER})
    write_node(comfyui_dir, "prod", {**loading, "install.py": TELLS_ITS_FOLDER})
    observe(comfyui_dir, ("one", "two"), "prod", **changes)
    told = {path.parent for path in comfyui_dir.glob("custom_nodes/*/told")}
    assert told == {comfyui_dir / "custom_nodes" / name for name in wanted}
    assert all((folder / "told").read_text() == str(folder) for folder in told)


def test_of_two_install_scripts_the_one_that_fails_is_named(comfyui_dir, observe):
    put(comfyui_dir, "install-script-fails", "loads-two-classes")
    write_node(comfyui_dir, "loads-two-classes", {"install.py": ""})
    seen = observe(comfyui_dir, ("loads-two-classes", "install-script-fails"))
    (told,) = (text for text in seen.warnings if "install.py" in text)
    assert told.startswith("install-script-fails/install.py ended with exit code 1")


@pytest.mark.parametrize(
    ("moved", "told"),
    [
        (None, "gone was not loaded: {}/gone is not there"),
        ("gone.disabled", "gone was not loaded: it is disabled, its code lies at {}/gone.disabled"),
        (
            ".disabled/Gone@1_0_2",
            "gone was not loaded: it is disabled, its code lies at {}/.disabled/Gone@1_0_2",
        ),
    ],
)
@pytest.mark.parametrize("subject", ["loads-two-classes", None])
def test_a_governed_node_that_is_not_there_keeps_nobody_from_being_observed(
    comfyui_dir, observe, moved, told, subject
):
    put(comfyui_dir, "loads-two-classes")
    custom_nodes = comfyui_dir / "custom_nodes"
    if moved:
        write_node(comfyui_dir, moved, {"__init__.py": "NODE_CLASS_MAPPINGS = {}\n"})
    baseline = Baseline({"Gone": "custom_nodes.gone"}, ("gone",))
    seen = observe(comfyui_dir, subject, "gone", baseline=baseline)
    assert seen.completed, seen.reason
    assert told.format(custom_nodes) in seen.warnings
    assert (seen.collateral, "gone" in seen.nodes) == ([], False)


def test_a_baseline_knows_whether_its_start_was_completed(comfyui_dir, observe):
    put(comfyui_dir, "import-fails")
    bad, good = observe(comfyui_dir, "import-fails").baseline(), observe(comfyui_dir, None)
    assert (bad.completed, good.baseline().completed) == (False, True)
    assert Baseline.from_json(bad.to_json()) == bad
    assert Baseline.from_json({"classes": {}, "loaded": [], "said": []}).completed


def test_a_flood_is_cut_in_the_log_and_told(comfyui_dir, observe, tmp_path, environ):
    put(comfyui_dir, "floods-log")
    environ["SAMPLE_NODE_FLOOD"] = str(3 << 20)
    seen = observe(comfyui_dir, "floods-log", log_limit=1 << 20)
    assert seen.completed, seen.reason
    logs = [tmp_path / "stdout.log", tmp_path / "stderr.log"]
    assert max(path.stat().st_size for path in logs) < (1 << 20) + 100
    assert any(b"more bytes were cut here]\n" in path.read_bytes()[-100:] for path in logs)


def test_control_characters_reach_the_log_and_not_the_terminal(comfyui_dir, observe, tmp_path):
    put(comfyui_dir, "controls-terminal")
    observe(comfyui_dir, "controls-terminal")
    raw = (tmp_path / "stdout.log").read_bytes() + (tmp_path / "stderr.log").read_bytes()
    assert b"\x1b[2J" in raw
    shown = "".join(line for _, line in observe.live)
    assert "\x1b" not in shown and "\\x1b[2J" in shown


def test_the_candidate_has_places_of_its_own(comfyui_dir, observe, tmp_path):
    put(comfyui_dir, "writes-home-and-user")
    seen = observe(comfyui_dir, "writes-home-and-user")
    assert seen.completed
    candidate = tmp_path / "candidate"
    assert (candidate / "home/.config/sample-node.json").is_file()
    assert (candidate / "base/user/sample-node.json").is_file()
    assert not (comfyui_dir / "user").exists()
    assert [entry["path"].rpartition("/")[2] for entry in seen.writes] == ["styles.csv"]


def test_an_interruption_ends_everything_and_goes_on(comfyui_dir, observe, tmp_path):
    text = "import os, time\nopen(os.environ['PID_FILE'], 'w').write(str(os.getpid()))\n"
    write_node(comfyui_dir, "slow", {"__init__.py": text + "time.sleep(60)\n"})
    pid_file = tmp_path / "pid"

    def interrupt():
        while not pid_file.exists() or not pid_file.read_text():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    os.environ["PID_FILE"] = str(pid_file)
    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        observe(comfyui_dir, "slow", environ={**os.environ})
    assert not is_alive(int(pid_file.read_text()))


def test_a_second_interruption_takes_no_more_patience(comfyui_dir, observe, tmp_path, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    pids = []
    monkeypatch.setattr(program.Program, "stop", interrupted)
    monkeypatch.setattr(watch, "_follow", lambda run, program, *more: pids.append(program))
    put(comfyui_dir, "loads-two-classes")
    with pytest.raises(KeyboardInterrupt):
        observe(comfyui_dir, "loads-two-classes")
    assert not is_alive(pids[0].child.pid)


def test_a_broken_terminal_does_not_stop_the_run(comfyui_dir, observe):
    def broken(stream, line):
        raise BrokenPipeError

    put(comfyui_dir, "loads-two-classes")
    assert observe(comfyui_dir, "loads-two-classes", live=broken).completed


def test_what_is_not_there_is_wrong_usage(comfyui_dir, observe, tmp_path):
    with pytest.raises(UsageError, match="no node nowhere"):
        observe(comfyui_dir, "nowhere")
    with pytest.raises(UsageError, match=r"no main\.py"):
        observe(tmp_path, None)


def test_the_record_survives_json(comfyui_dir, observe):
    put(comfyui_dir, "starts-program")
    seen = observe(comfyui_dir, "starts-program")
    document = json.loads(json.dumps(seen.to_json()))
    again = Observation.from_json({**document, "of a newer version": 1})
    assert again.to_json() == seen.to_json()
    assert again.nodes["starts-program"].classes == ["SampleProgram"]
    baseline = observation.Baseline.from_json(json.loads(json.dumps(seen.baseline().to_json())))
    assert baseline == seen.baseline()
    assert "SampleProgram" in baseline.classes
