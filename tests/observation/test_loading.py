"""How far a start is, by what the recorder has written so far."""

import json

from governance import comfyui
from governance.comfyui import NodeImport
from governance.observation import loading

NODES = ("alpha", "beta", "gamma")


def loads(folder, *rows):
    lines = [
        json.dumps({"e": "load", "t": number, "node": place.partition("/")[0], "at": f"{place}:1"})
        for number, place in enumerate(rows)
    ]
    lines += ['{"e": "write", "t": 9, "path": "/load"}', "no json", '{"e": "load"']
    (folder / "4711-ab.jsonl").write_text("\n".join(lines))


def test_the_node_that_loads_now(tmp_path):
    log = comfyui.Log()
    assert loading.words(tmp_path, NODES, log) == "starting ComfyUI"
    loads(
        tmp_path, "gamma/prestartup_script.py", "beta/__init__.py", "beta/more.py", "alpha.py",
        "websocket_image_save.py",
    )  # fmt: skip
    # A name that was not asked for says nothing, a start-up script is no load.
    assert loading.words(tmp_path, NODES, log) == "starting ComfyUI: loading node 1 of 3 (beta)"
    loads(tmp_path, "beta/__init__.py", "alpha/__init__.py")
    assert loading.words(tmp_path, NODES, log) == "starting ComfyUI: loading node 2 of 3 (alpha)"


def test_the_list_of_imports_and_the_end(tmp_path):
    log = comfyui.Log(listed=True)
    log.imports = {
        "alpha": NodeImport(0.1, False), "beta": NodeImport(0.1, True),
        "websocket_image_save": NodeImport(0.0, False),
    }  # fmt: skip
    assert loading.words(tmp_path, NODES, log) == "starting ComfyUI: 1 of 3 nodes loaded"
    log.stopping = True
    assert loading.words(tmp_path, NODES, log) == "ending ComfyUI"
