"""The whole road on a real ComfyUI checkout; skipped where none is named.

GOV_TEST_COMFYUI=PATH     a ComfyUI checkout (its custom_nodes folder is used, and cleaned)
GOV_TEST_WORKSPACE=PATH   where the workspace lies or is made; kept for the next run (7 GB)
GOV_TEST_NODES="URL ..."  real nodes to observe besides: each must get a verdict with a reason

What is printed (`-s`) is the table of verdicts and times in docs/07.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from governance.sample import world
from governance.sample.nodes import NODES

MAIN = Path(__file__).resolve().parents[2] / "governance/__main__.py"
CHECKOUT = os.environ.get("GOV_TEST_COMFYUI")
REAL_NODES = os.environ.get("GOV_TEST_NODES", "").split()

pytestmark = [
    pytest.mark.real_comfyui,
    pytest.mark.timeout(1800),
    pytest.mark.xdist_group("real"),
    pytest.mark.skipif(not CHECKOUT, reason="GOV_TEST_COMFYUI names no ComfyUI checkout"),
]

CLASS = "class Real:\n    pass\n"
GOOD = """\
class GovReal:
    CATEGORY = "gov"
    RETURN_TYPES = ("STRING",)
    FUNCTION = "act"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"text": ("STRING",)}}

    def act(self, text):
        return (text,)

NODE_CLASS_MAPPINGS = {"GovReal%s": GovReal}
"""


class Gov:
    def __init__(self, root):
        self.root = root

    def __call__(self, *words, codes=(0,)):
        done = subprocess.run(
            [sys.executable, str(MAIN), "--root", str(self.root), *words, "--json", "-q"],
            capture_output=True,
            text=True,
            check=False,
        )
        document = json.loads(done.stdout)
        assert document["exit_code"] in codes, document["error"]
        return document["data"]

    def observe(self, repository, codes=(0, 1, 4)):
        node_id = Path(str(repository).rstrip("/")).name.removesuffix(".git")
        self("node", "add", str(repository))
        started = time.monotonic()
        tx = self("tx", "run", node_id, "--timeout", "600", codes=codes)
        tx["seconds"] = time.monotonic() - started
        print(row(tx))
        return tx

    def forget(self, tx):
        tx = self("tx", "inspect", tx["txid"])
        if tx["status"] not in ("promoted", "aborted"):
            self("tx", "abort", tx["txid"])
        self("node", "remove", tx["node_id"], "--purge-code")


def row(tx):
    seen = tx["observation"]
    own = seen.get("nodes", {}).get(tx["node_id"], {})
    ready = seen.get("times", {}).get("ready", 0)
    return (
        f"| {tx['node_id']} | {tx['status']} | {len(own.get('classes', []))} | {ready:.0f} s | "
        f"{tx['seconds']:.0f} s | {str(seen.get('reason', ''))[:110]} |"
    )


@pytest.fixture(scope="module")
def gov(tmp_path_factory):
    root = Path(os.environ.get("GOV_TEST_WORKSPACE") or tmp_path_factory.mktemp("real") / "env")
    made = Gov(root)
    done = subprocess.run(
        [sys.executable, str(MAIN), "init", str(root), "--comfyui-dir", str(CHECKOUT), "-q"],
        check=False,
    )
    assert done.returncode == 0
    return made


@pytest.fixture
def observed(gov):
    made = []

    def observe(repository, **more):
        tx = gov.observe(repository, **more)
        made.append(tx)
        return tx

    yield observe
    for tx in reversed(made):
        gov.forget(tx)


def node(tmp_path, name, text, requirements=None):
    files = {"__init__.py": text}
    if requirements is not None:
        files["requirements.txt"] = requirements
    return world.write_node(tmp_path, name, files)


def test_a_node_that_loads_is_completed_with_its_classes(observed, tmp_path):
    tx = observed(node(tmp_path, "gov-real-good", GOOD % "Good"))
    assert tx["status"] == "completed"
    assert tx["observation"]["nodes"]["gov-real-good"]["classes"] == ["GovRealGood"]
    assert tx["observation"]["isolation"] in ("full", "mounts", "landlock", "none")


def test_a_missing_module_is_named(observed, tmp_path):
    text = "import xdoctest_of_nobody\n" + GOOD % "Missing"
    tx = observed(node(tmp_path, "gov-real-missing", text))
    assert tx["status"] == "failed"
    assert "xdoctest_of_nobody" in tx["observation"]["reason"]


def test_what_is_not_declared_is_named(observed, tmp_path):
    text = "import cowsay\nimport humanize\n" + GOOD % "Half"
    tx = observed(node(tmp_path, "gov-real-half", text, "cowsay\n"))
    assert tx["status"] == "failed"
    assert "humanize" in tx["observation"]["reason"]
    assert "humanize" not in " ".join(tx["promotion_plan"]["direct_additions"])


def test_an_install_at_start_is_undeclared_with_file_and_line(observed, tmp_path):
    text = NODES["pip-installs"].files["__init__.py"]
    tx = observed(node(tmp_path, "gov-real-pip", text))
    assert tx["status"] == "completed"
    install = tx["observation"]["installs"][0]
    assert re.fullmatch(r"gov-real-pip/__init__\.py:\d+", install["at"])
    assert tx["promotion_plan"]["override_additions"] == install["requested"]
    assert tx["diff"]["undeclared"]


def test_a_moved_numpy_is_core_impact_before_anything_is_promoted(gov, observed, tmp_path):
    tx = observed(node(tmp_path, "gov-real-numpy", GOOD % "Numpy", "numpy<2.3\n"))
    assert tx["status"] == "completed"
    assert [entry["name"] for entry in tx["core_impact"]] == ["numpy"]
    gov("tx", "promote", tx["txid"], codes=(3,))


def test_the_node_that_breaks_another_is_blamed(gov, observed, tmp_path):
    user = f"import cowsay\nassert cowsay.get_output_string\n{GOOD % 'User'}"
    first = observed(node(tmp_path, "gov-real-user", user, "cowsay==6.1\n"))
    gov("tx", "promote", first["txid"])
    breaker = (
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, '-m', 'pip', 'uninstall', '--yes', 'cowsay'])\n"
        "sys.modules['cowsay'] = None\n"
    )
    tx = observed(node(tmp_path, "gov-real-breaker", breaker + GOOD % "Breaker"))
    if tx["observation"]["nodes"]["gov-real-user"]["loaded"]:
        pytest.skip("this file system listed the first node first: it had loaded already")
    assert tx["status"] == "failed"
    assert tx["observation"]["collateral"] == ["gov-real-user"]


@pytest.mark.parametrize("url", REAL_NODES)
def test_real_nodes_get_a_verdict_with_a_reason(observed, url):
    tx = observed(url)
    assert tx["status"] in ("completed", "failed", "needs_resolution")
    if tx["status"] == "needs_resolution":
        assert tx["conflict_report"]
    else:
        assert tx["observation"]["reason"]
