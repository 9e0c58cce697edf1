"""ComfyUI's words: flags, log lines, the answer of the API."""

import json
import os
from itertools import pairwise

import pytest

from governance import comfyui
from governance.base.errors import GovError
from governance.sample import world

CLI_ARGS = """
parser.add_argument("--port", type=int, default=8188)
parser.add_argument('--listen')
parser.add_argument("--user-directory")
parser.add_argument("--disable-all-custom-nodes", action="store_true", help="see --no-such-flag")
"""


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "comfy").mkdir()
    (tmp_path / "custom_nodes").mkdir()
    (tmp_path / "main.py").write_text("print('hello')\n")
    (tmp_path / "comfy" / "cli_args.py").write_text(CLI_ARGS)
    return tmp_path


def start(**changes):
    wanted = {"base": comfyui.Path("/candidate/base"), "port": 4000, "nodes": ("a", "b")}
    return comfyui.Start(**wanted | changes)


def fed(*lines, stream="stderr"):
    log = comfyui.Log()
    for line in "\n".join(lines).split("\n"):
        log.feed(stream, line)
    return log


def test_flags_are_read_and_nothing_is_run(checkout):
    (checkout / "main.py").write_text("raise SystemExit('was run')\n")
    assert comfyui.read_flags(checkout) == {
        "--port",
        "--listen",
        "--user-directory",
        "--disable-all-custom-nodes",
    }
    assert comfyui.is_server(comfyui.read_flags(checkout))


def test_a_program_without_flags_gets_none(tmp_path):
    (tmp_path / "main.py").write_text("print('hello')\n")
    flags = comfyui.read_flags(tmp_path)
    assert comfyui.arguments(flags, start(extra=("--mine",))) == (["--mine"], [])


def test_all_the_places_are_the_candidate_s(tmp_path):
    flags = comfyui.read_flags(world.write_comfyui(tmp_path / "ComfyUI"))
    given, limits = comfyui.arguments(flags, start(quick=True, extra=("--cpu",)))
    assert limits == []
    assert given[-5:] == [
        "--cpu",
        "--disable-all-custom-nodes",
        "--whitelist-custom-nodes",
        "a",
        "b",
    ]
    pairs = dict(pairwise(given))
    assert pairs["--port"] == "4000" and pairs["--listen"] == "127.0.0.1"
    assert pairs["--user-directory"] == "/candidate/base/user"
    assert pairs["--temp-directory"] == "/candidate/base"
    assert pairs["--database-url"] == "sqlite:////candidate/base/user/comfyui.db"
    assert "--quick-test-for-ci" in given


def test_no_nodes_means_none(tmp_path):
    flags = comfyui.read_flags(world.write_comfyui(tmp_path / "ComfyUI"))
    given, _ = comfyui.arguments(flags, start(nodes=()))
    assert given[-1] == "--disable-all-custom-nodes"


def test_what_an_old_version_cannot_do_is_said(checkout):
    given, limits = comfyui.arguments(comfyui.read_flags(checkout), start())
    assert "--disable-all-custom-nodes" not in given
    assert "this ComfyUI has no --output-directory: its output folder is the live one" in limits
    assert any("everything in custom_nodes was loaded" in text for text in limits)


def test_version_and_requirements(checkout):
    assert comfyui.version(checkout) is None
    assert comfyui.requirements_path(checkout) is None
    (checkout / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "0.3.1"\n')
    assert comfyui.version(checkout) == "0.3.1"
    (checkout / "comfyui_version.py").write_text('# x\n__version__ = "0.3.64"\n')
    assert comfyui.version(checkout) == "0.3.64"


def test_node_folders_are_what_the_loader_takes(checkout):
    folder = checkout / "custom_nodes"
    for name in ("plain", ".hidden", "off.disabled", "__pycache__", ".disabled/other@1.2"):
        (folder / name).mkdir(parents=True)
    os.symlink(folder / "plain", folder / "linked")
    for name in ("single.py", "notes.txt", "late.py.disabled"):
        (folder / name).touch()
    found = {(entry.name, entry.enabled) for entry in comfyui.node_folders(checkout)}
    assert found == {
        ("plain", True),
        (".hidden", True),
        ("linked", True),
        ("single.py", True),
        ("off", False),
        ("other", False),
        ("late.py", False),
    }


def test_no_custom_nodes_folder_is_no_nodes(tmp_path):
    assert comfyui.node_folders(tmp_path) == []


def test_the_list_of_imports_is_read():
    log = fed(
        "",
        "Import times for custom nodes:",
        "   0.1 seconds: /c/custom_nodes/good",
        "[a thread] says something in between",
        "  12.5 seconds (IMPORT FAILED): /c/custom nodes/bad one",
        "",
        "Prompt executed in 3.2 seconds: thanks",
    )
    assert log.listed
    assert log.imports == {
        "good": comfyui.NodeImport(0.1, False),
        "bad one": comfyui.NodeImport(12.5, True),
    }


def test_the_list_of_prestartup_scripts_is_another():
    log = fed(
        "Failed to execute startup-script: /c/custom_nodes/late/prestartup_script.py / no driver",
        "",
        "Prestartup times for custom nodes:",
        "   0.0 seconds (PRESTARTUP FAILED): /c/custom_nodes/late",
    )
    assert (log.listed, log.imports) == (False, {})
    assert log.startup_script_errors == {"late": "no driver"}


def test_a_line_that_looks_like_the_list_is_not_read_before_it():
    assert fed("   0.0 seconds: /c/custom_nodes/x").imports == {}


TRACEBACK = """Traceback (most recent call last):
  File "/c/nodes.py", line 1, in load
    spec.loader.exec_module(module)
ValueError: first

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/c/custom_nodes/bad/__init__.py", line 2, in <module>
    import gone
ModuleNotFoundError: No module named 'gone'

Cannot import /c/custom_nodes/bad module for custom nodes: No module named 'gone'"""


def test_a_failed_import_carries_its_last_traceback():
    log = fed(TRACEBACK)
    assert log.errors == {"bad": "No module named 'gone'"}
    assert log.tracebacks["bad"][0] == "Traceback (most recent call last):"
    assert log.tracebacks["bad"][-1] == "ModuleNotFoundError: No module named 'gone'"
    assert len(log.tracebacks["bad"]) == 4
    assert log.said == []


def test_streams_do_not_mix():
    log = comfyui.Log()
    for line in TRACEBACK.split("\n"):
        log.feed("stderr", line)
        log.feed("stdout", "chatter")
    assert log.tracebacks["bad"][-1] == "ModuleNotFoundError: No module named 'gone'"
    assert "chatter" not in log.tracebacks["bad"]


def test_an_endless_traceback_is_bounded():
    log = fed("Traceback (most recent call last):", *["  x" * 1000] * 1000, "RecursionError: x")
    assert len(log.last_traceback) <= 40
    assert max(map(len, log.last_traceback)) <= 400


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (
            "Skip /c/custom_nodes/n module for custom nodes due to the lack of NODE_CLASS_MAPPINGS"
            " or NODES_LIST (need one).",
            "skipped by ComfyUI due to the lack of NODE_CLASS_MAPPINGS or NODES_LIST (need one).",
        ),
        (
            "comfy_entrypoint in /c/custom_nodes/n is not callable, skipping.",
            "comfy_entrypoint in /c/custom_nodes/n is not callable, skipping.",
        ),
        (
            "[WARNING] Error while calling comfy_entrypoint in /c/c n/n: boom",
            "Error while calling comfy_entrypoint in /c/c n/n: boom",
        ),
    ],
)
def test_other_ways_to_be_skipped(line, error):
    assert fed(line).errors == {"n": error}


def test_the_rest_of_what_it_says():
    log = fed(
        "To see the GUI go to: http://127.0.0.1:8190",
        "[ERROR] An error occurred while retrieving information for the 'Some Node' node.",
        "IMPORT FAILED: nodes_audio.py",
        "OSError: [Errno 98] error while attempting to bind on address: address already in use",
        "Cannot import name 'guidedFilter' from 'cv2.ximgproc'",
        "xformers is not available, go on without",
        "WARNING: Skipping cowsay as it is not installed.",
    )
    assert (log.gui_port, log.unreadable_classes) == (8190, {"Some Node": ""})
    assert (log.core_failures, log.port_taken) == (["nodes_audio.py"], True)
    assert log.said == [
        "Cannot import name 'guidedFilter' from 'cv2.ximgproc'",
        "xformers is not available, go on without",
    ]


LATE = """[ERROR] Task exception was never retrieved
Traceback (most recent call last):
  File "/c/custom_nodes/late/__init__.py", line 7, in later
    raise RuntimeError("late failure")
RuntimeError: late failure"""


def test_a_traceback_of_a_node_that_nothing_explains_is_quoted():
    """One that it caught and printed, or one from a task of its own."""
    assert fed(LATE, "[INFO] goes on").said == ["late/__init__.py:7: RuntimeError: late failure"]
    others = LATE.replace("/custom_nodes/", "/site-packages/")
    assert fed(others).said == []


def test_a_quoted_traceback_is_not_taken_back_by_another_s_explanation():
    assert fed(LATE, TRACEBACK).said == ["late/__init__.py:7: RuntimeError: late failure"]


def test_what_it_complains_of_while_it_is_stopped_is_our_doing():
    log = comfyui.Log(stopping=True)
    for line in (*LATE.split("\n"), "ffmpeg is not available"):
        log.feed("stderr", line)
    assert log.said == []


def test_a_class_that_cannot_be_described_comes_with_its_error():
    log = fed(
        "[ERROR] An error occurred while retrieving information for the 'Some Node' node.",
        "[ERROR] Traceback (most recent call last):",
        '  File "/c/custom_nodes/n/__init__.py", line 2, in INPUT_TYPES',
        "    raise ValueError(1)",
        "ValueError: 1",
    )
    assert (log.unreadable_classes, log.said) == ({"Some Node": "ValueError: 1"}, [])


def test_a_message_of_several_lines_is_told_whole():
    """As diffusers and transformers say why a part of them cannot be imported."""
    first = "Failed to import diffusers.loaders because of the following error (look up):"
    log = fed(
        "Traceback (most recent call last):",
        '  File "/c/custom_nodes/bad/__init__.py", line 2, in <module>',
        "    from diffusers import loaders",
        f"RuntimeError: {first}",
        "No module named 'peft.tuners'",
        "",
        f"Cannot import /c/custom_nodes/bad module for custom nodes: {first}",
        "No module named 'peft.tuners'",
        "Cannot import /c/custom_nodes/other module for custom nodes: other",
    )
    assert log.errors == {"bad": f"{first} No module named 'peft.tuners'", "other": "other"}
    assert log.said == []


def test_lines_may_begin_with_their_level():
    """As ComfyUI writes them since 2026."""
    log = fed(
        "[WARNING] Traceback (most recent call last):",
        '  File "/c/custom_nodes/bad/__init__.py", line 2, in <module>',
        "    import gone",
        "ModuleNotFoundError: No module named 'gone'",
        "",
        "[WARNING] Cannot import /c/custom_nodes/bad module for custom nodes: "
        "No module named 'gone'",
        "[INFO] ",
        "Import times for custom nodes:",
        "[INFO]    0.1 seconds (IMPORT FAILED): /c/custom_nodes/bad",
        "[WARNING] IMPORT FAILED: nodes_audio.py",
    )
    assert log.errors == {"bad": "No module named 'gone'"}
    assert log.tracebacks["bad"][-1] == "ModuleNotFoundError: No module named 'gone'"
    assert log.imports == {"bad": comfyui.NodeImport(0.1, True)}
    assert log.core_failures == ["nodes_audio.py"]


def test_quotes_are_bounded():
    log = fed(*(f"feature {number} is not available {'x' * 1000}" for number in range(1000)))
    assert len(log.said) == 50 and max(map(len, log.said)) == 400


def test_classes_are_read_by_their_module():
    answer = {
        "A": {"python_module": "custom_nodes.one"},
        "B": {"python_module": "custom_nodes.one.more"},
        "C": {"python_module": "nodes"},
        "D": {},
        "E": "rubbish",
        "F": {"python_module": "custom_nodes.single"},
    }
    classes = comfyui.read_classes(json.dumps(answer).encode())
    assert classes["D"] == "nodes" and "E" not in classes
    assert comfyui.classes_of("one", classes) == ["A"]
    assert comfyui.classes_of("single.py", classes) == ["F"]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 100_000, b"\xff\xfe"])
def test_an_answer_that_is_not_json_is_an_error(body):
    with pytest.raises(GovError, match="not JSON"):
        comfyui.read_classes(body)


def test_an_answer_that_is_no_object_has_no_classes():
    assert comfyui.read_classes(b"[1]") == {}
