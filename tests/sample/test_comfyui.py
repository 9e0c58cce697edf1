"""The sample ComfyUI behaves as the real one does: each rule seen in a process of its own."""

import signal
import socket
import sqlite3

import pytest

from governance.sample import world

from .conftest import ComfyUI, make_environment

LOADS = "NODE_CLASS_MAPPINGS = {}\n"


def plant(folder, name, text=LOADS, **more):
    node = folder / name
    node.mkdir(parents=True)
    (node / "__init__.py").write_text(text)
    for path, content in more.items():
        (node / f"{path}.py").write_text(content)
    return node


def test_it_comes_up_and_answers(comfyui):
    comfyui.start("--cpu", "--disable-auto-launch", "--listen", "127.0.0.1").until_ready()
    assert comfyui.get("/system_stats")["system"]["comfyui_version"] == "0.3.64"
    assert comfyui.get("/queue") == {"queue_running": [], "queue_pending": []}
    assert comfyui.get("/api/prompt") == {"exec_info": {"queue_remaining": 0}}
    classes = {name: about["python_module"] for name, about in comfyui.get("/object_info").items()}
    assert classes == {
        "EmptyLatentImage": "nodes",
        "SaveImage": "nodes",
        "StringConcatenate": "comfy_extras.nodes_string",
        "SaveImageWebsocket": "custom_nodes.websocket_image_save",
    }


def test_the_quick_test_ends_after_loading(comfyui):
    assert comfyui.quick() == 0
    assert "Import times for custom nodes:" in comfyui.log()
    assert "To see the GUI" not in comfyui.log()
    assert not (comfyui.checkout / "temp").exists()


def test_sigint_ends_cleanly(comfyui):
    comfyui.start().until_ready()
    assert (comfyui.checkout / "temp").is_dir()
    assert comfyui.stop(signal.SIGINT) == 0
    assert "Stopped server" in comfyui.log()
    assert not (comfyui.checkout / "temp").exists()


def test_sigterm_ends_at_once(comfyui):
    comfyui.start().until_ready()
    assert comfyui.stop(signal.SIGTERM) == -signal.SIGTERM
    assert (comfyui.checkout / "temp").is_dir()


def test_a_taken_port_is_noticed_after_the_whole_start(comfyui):
    with socket.create_server(("127.0.0.1", comfyui.port)):
        assert comfyui.start().ended() == 1
    assert "Import times for custom nodes:" in comfyui.log()
    assert "Address already in use" in comfyui.log()


def test_port_zero_never_tells_the_port(comfyui):
    comfyui.start("--port", "0").until_log("To see the GUI go to: http://127.0.0.1:0\n")


@pytest.mark.parametrize("arguments", [["--no-such-flag"], ["--user-directory", "/no/such/folder"]])
def test_wrong_usage_is_two(comfyui, arguments):
    assert comfyui.start(*arguments).ended() == 2
    assert "main.py: error:" in comfyui.log()


@pytest.mark.parametrize(
    "flag", ["--whitelist-custom-nodes=a", "--base-directory=.", "--quick-test-for-ci"]
)
def test_an_old_one_lacks_newer_flags(tmp_path, environment, flag):
    old = ComfyUI(world.write_comfyui(tmp_path / "old", old=True), environment, tmp_path)
    assert old.start(flag).ended() == 2
    assert "unrecognized arguments" in old.log()
    texts = [path.read_text() for path in (tmp_path / "old").rglob("*.py")]
    assert not any(flag.split("=")[0] in text for text in texts)


def test_an_old_one_comes_up(tmp_path, environment):
    old = ComfyUI(world.write_comfyui(tmp_path / "old", old=True), environment, tmp_path)
    try:
        old.start("--disable-all-custom-nodes").until_ready()
        assert old.get("/system_stats")["system"]["comfyui_version"] == "0.2.7"
        assert "Skipping loading of custom nodes" in old.log()
        assert old.stop() == 0
    finally:
        old.kill()


def test_the_base_directory_moves_all_but_the_database(comfyui, tmp_path):
    base = tmp_path / "base"
    plant(base / "custom_nodes", "only-here")
    assert comfyui.quick("--base-directory", base) == 0
    assert f": {base}/custom_nodes/only-here\n" in comfyui.log()
    assert "websocket_image_save" not in comfyui.log()
    assert (base / "user").is_dir()
    assert (base / "input").is_dir()
    # Its default place lies beside main.py, where no folder was made this time.
    assert "Failed to initialize database." in comfyui.log()


def test_the_base_directory_needs_custom_nodes(comfyui, tmp_path):
    (tmp_path / "base").mkdir()
    assert comfyui.quick("--base-directory", tmp_path / "base") == 1
    assert "FileNotFoundError" in comfyui.log()


def test_the_database_lies_where_it_is_told(comfyui, tmp_path):
    path = tmp_path / "there.db"
    assert comfyui.quick("--database-url", f"sqlite:///{path}") == 0
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM starts").fetchone() == (1,)
    database.close()
    assert not (comfyui.checkout / "user" / "comfyui.db").exists()
    assert comfyui.quick("--database-url", "sqlite:///:memory:") == 0
    assert "Failed" not in comfyui.log()


def test_the_database_is_the_checkouts_own_by_default(comfyui):
    assert comfyui.quick() == 0
    assert (comfyui.checkout / "user" / "comfyui.db").stat().st_size > 0


def test_folders_are_moved(comfyui, tmp_path):
    (tmp_path / "u").mkdir()
    places = [f"--{kind}-directory={tmp_path / kind[0]}" for kind in ("output", "input", "user")]
    comfyui.start(*places, f"--temp-directory={tmp_path / 't'}").until_ready()
    assert f"Setting user directory to: {tmp_path / 'u'}" in comfyui.log()
    assert f"Setting temp directory to: {tmp_path / 't' / 'temp'}" in comfyui.log()
    assert (tmp_path / "t" / "temp").is_dir()
    assert not (comfyui.checkout / "temp").exists()


def test_the_whitelist_names_exact_folders(comfyui):
    nodes = comfyui.checkout / "custom_nodes"
    plant(nodes, "one", prestartup_script="print('one first')")
    plant(nodes, "two", prestartup_script="print('two first')")
    flags = ("--disable-all-custom-nodes", "--whitelist-custom-nodes", "one", "unknown")
    assert comfyui.quick(*flags) == 0
    log = comfyui.log()
    assert "Prestartup Skipping two due to" in log
    assert "Skipping websocket_image_save.py due to" in log
    assert f"seconds: {nodes}/one\n" in log
    assert "two first" not in log
    assert "unknown" not in log


def test_all_nodes_can_be_left_out(comfyui):
    plant(comfyui.checkout / "custom_nodes", "one", prestartup_script="print('one first')")
    assert comfyui.quick("--disable-all-custom-nodes") == 0
    assert "Skipping loading of custom nodes" in comfyui.log()
    assert "one first" not in comfyui.log()
    assert "Import times" not in comfyui.log()


def test_the_loader_takes_what_it_finds(comfyui, tmp_path):
    nodes = comfyui.checkout / "custom_nodes"
    plant(nodes, ".hidden")
    plant(nodes, "off.disabled")
    plant(nodes, "__pycache__")
    (nodes / "linked").symlink_to(plant(tmp_path, "elsewhere"))
    (nodes / "empty").mkdir()
    (nodes / "notes.txt").write_text("no node")
    assert comfyui.quick() == 0
    times = [line for line in comfyui.log().splitlines() if " seconds" in line]
    assert {line.rpartition("/")[2]: "(IMPORT FAILED)" in line for line in times} == {
        ".hidden": False,
        "linked": False,
        "empty": True,
        "websocket_image_save.py": False,
    }


@pytest.mark.parametrize("block", [False, True])
def test_extra_model_paths_add_a_folder_of_nodes(comfyui, tmp_path, block):
    plant(tmp_path / "more", "extra-node")
    value = "|\n    more\n    " if block else "more\n  "
    config = tmp_path / "paths.yaml"
    config.write_text(f"# ours\ngov:\n  base_path: {tmp_path}\n  custom_nodes: {value}\n")
    assert comfyui.quick("--extra-model-paths-config", config) == 0
    assert f"Adding extra search path custom_nodes {tmp_path}/more\n" in comfyui.log()
    assert f"seconds: {tmp_path}/more/extra-node\n" in comfyui.log()


def test_a_missing_extra_config_is_one(comfyui, tmp_path):
    assert comfyui.quick("--extra-model-paths-config", tmp_path / "missing.yaml") == 1


def test_a_broken_core_package_ends_the_start(checkout, package_folder, uv_cache, tmp_path):
    environment = make_environment(tmp_path / "env", package_folder, uv_cache, "numpy", "pyyaml")
    comfyui = ComfyUI(checkout, environment, tmp_path)
    assert comfyui.quick() == 1
    assert "ModuleNotFoundError: No module named 'PIL'" in comfyui.log()


def test_an_interrupted_start_is_no_clean_end(comfyui):
    plant(
        comfyui.checkout / "custom_nodes",
        "slow",
        "import time, logging\nlogging.info('now')\ntime.sleep(60)\n",
    )
    comfyui.start().until_log("now\n")
    assert comfyui.stop(signal.SIGINT) == -signal.SIGINT
    assert "KeyboardInterrupt" in comfyui.log()


def test_a_start_that_ignores_sigint_goes_on(comfyui):
    """As in a shell's background job, where the parent ignores SIGINT for its child."""
    comfyui.start(prefix=("sh", "-c", 'trap "" INT; exec "$@"', "sh")).until_ready()
    comfyui.process.send_signal(signal.SIGINT)
    assert comfyui.get("/queue")
    assert comfyui.stop(signal.SIGTERM) == -signal.SIGTERM
