"""gov ci: a node in a folder, tried with versions of ComfyUI; each start costs seconds, so that
few runs answer many questions."""

import json
import os
import re
import shlex
import shutil
import signal
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support import registry
from support.fingerprint import differences, fingerprint
from support.gov import Gov
from support.refusal import assert_told
from support.worlds import SETTLE_SECONDS

from governance.ci import workflows
from governance.ci.results import Result, Try
from governance.ci.sources import newest_release
from governance.ci.workflows import Workflow
from governance.cli import parser
from governance.sample import world as sample
from governance.sample.nodes import NODES
from governance.truth.workspace import CHECKOUT

LOADS = NODES["loads-two-classes"].files["__init__.py"]
NEEDS_NEWER = f"""\
import comfyui_version

if comfyui_version.__version__ < "0.3":
    raise ImportError("this ComfyUI is too old")
{LOADS}"""


class Place:
    """A folder with no workspace in or above it: a repository of ComfyUI with two releases."""

    def __init__(self, folder: Path, wheels: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.comfyui = sample.write_comfyui(folder / "ComfyUI", old=True)
        sample.git(self.comfyui, "tag", "v0.2.7")
        for entry in self.comfyui.iterdir():
            if entry.is_dir() and entry.name != ".git":
                shutil.rmtree(entry)
        sample.write_comfyui(self.comfyui)
        for tag in ("v0.3.9", "v0.3.64", "v0.4.0-rc1"):
            sample.git(self.comfyui, "tag", "--annotate", "--message=release", tag)
        self.set_registry("http://127.0.0.1:9")
        self._options = ["--index", wheels, "--resolution-date", "none", "--cache", self.cache]
        self._options += ["--settings", folder / "settings.toml", "--comfyui-url", self.comfyui]

    def set_registry(self, url: str) -> None:
        (self.folder / "settings.toml").write_text(
            f'[tx]\nsettle_seconds = {SETTLE_SECONDS}\n[registry]\nurl = "{url}"\n'
        )

    def node(self, name: str, **files: str) -> Path:
        """A plain folder; `requirements` stands for requirements.txt."""
        target = self.folder / name
        target.mkdir()
        (target / "__init__.py").write_text(files.get("init", LOADS))
        if "requirements" in files:
            (target / "requirements.txt").write_text(files["requirements"])
        return target

    def gov(self, *words: object, program: bool = False):
        gov = Gov(None)
        return (gov.process if program else gov)("ci", *words, *self._options)

    def left(self) -> list[str]:
        """What runs left in the cache beside what is kept for the next time."""
        return [path.name for path in (self.cache / "work").glob("[!.]*")]


def write_workflow(folder: Path, *classes: str) -> Path:
    """As ComfyUI exports it for its API."""
    rows = {str(n): {"class_type": name, "inputs": {}} for n, name in enumerate(classes)}
    path = folder / "workflow.json"
    path.write_text(json.dumps(rows))
    return path


@pytest.fixture(scope="session")
def place(tmp_path_factory, world):
    return Place(tmp_path_factory.mktemp("ci"), world.wheels)


@pytest.fixture(autouse=True)
def elsewhere(place, monkeypatch):
    monkeypatch.chdir(place.folder)


# --- runs -------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_a_node_that_needs_a_newer_comfyui(place, tmp_path):
    """Its folder has a blank and other letters; an edit and a new file of it count, and it is
    never written to."""
    node = sample.write_node(place.folder, "my näde", {"__init__.py": LOADS, ".gitignore": "*.log"})
    (node / "__init__.py").write_text(f"from .added import NEWER\n{NEEDS_NEWER}")
    (node / "added.py").write_text("NEWER = True\n")
    (node / "raises.log").write_text("ignored")
    before = fingerprint(node, place.comfyui)
    junit, markdown = tmp_path / "junit.xml", tmp_path / "table.md"
    files = ("--junit", junit, "--markdown", markdown)
    ended = place.gov(node, "--comfyui", "v0.2.7", "v0.3.64", *files)
    assert_told(ended, 1, "1 of 2 runs of my-n-de failed")
    assert differences(before, fingerprint(node, place.comfyui)) == []
    assert place.left() == []
    old, new = (line.split() for line in ended.out.splitlines()[2:4])
    assert (old[0], old[3:6], old[-1]) == ("v0.2.7", ["yes", "yes", "0"], "failed")
    assert (new[0], new[3:6], new[-1]) == ("v0.3.64", ["yes", "yes", "2"], "passed")
    reason = "my-n-de failed to import: this ComfyUI is too old"
    assert f"  {reason}\n" in ended.out

    suite = ElementTree.parse(junit).getroot()[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "0")
    failed, passed = suite
    assert failed.get("name") == "ComfyUI v0.2.7, Python " + old[1]
    assert failed[0].get("message") == reason
    assert failed[0].text.startswith(reason)
    assert "ImportError: this ComfyUI is too old" in failed[0].text
    assert str(place.folder) not in failed[0].text, "a folder that is gone is told to nobody"
    assert [child.tag for child in passed] == ["system-out"]

    told = markdown.read_text()
    assert told.startswith("### my-n-de: 1 of 2 runs passed\n")
    assert re.search(
        r"^\| v0\.2\.7 \| 3\.\d+ \| - \| yes \| yes \| 0 \| .* \| failed \|$", told, re.M
    )
    assert f"- {reason}\n" in told


@pytest.mark.thorough
def test_beside_another_node_and_with_a_missing_line(place, world):
    """Alone it lacks a line; beside the other one it does not lock, and nothing is started."""
    node = place.node("undeclared", init=f"import lark\n{LOADS}", requirements="humanize<4\n")
    beside = f"file://{world.repos / 'sample-captioner'}@main"
    ended = place.gov(node, "--comfyui", place.comfyui, "--with", beside, "--json")
    alone, together = ended.data["runs"]
    assert (ended.code, ended.data["failed"]) == (1, 2)
    assert ended.data["node"]["id"] == "undeclared"
    assert alone["comfyui"] == "0.3.64 (ComfyUI)"
    assert alone["comfyui_commit"] == sample.git(place.comfyui, "rev-parse", "HEAD")
    assert (alone["with"], together["with"]) == ([], ["sample-captioner"])
    assert (alone["locks"], alone["starts"], alone["verdict"]) == (True, True, "failed")
    assert alone["lines"] == ["lark"]
    assert alone["missing_modules"][0]["distribution"] == "lark"
    assert (together["locks"], together["starts"]) == (False, None)
    assert together["conflict"]["causes"][0]["package"] == "humanize"
    assert [fix["number"] for fix in together["conflict"]["suggestions"]] == [1]
    assert "sample-captioner wants humanize>=4.9" in together["reason"]


def test_what_passes_with_findings_and_is_kept(place, world, tmp_path):
    """Kept workspaces are ordinary ones; the newest release is no preview, and no 0.3.9.  All
    classes of its workflow are there."""
    node = world.repos / "three-packages"
    workflow = write_workflow(tmp_path, "SampleThree", "EmptyLatentImage")
    ended = place.gov(node, "--keep", tmp_path / "kept", "--workflow", workflow).ok()
    row = ended.out.splitlines()[2].split()
    assert (row[0], row[-1]) == ("v0.3.64", "passed")
    assert "  add this line to requirements.txt: lark\n" in ended.out
    assert "  finding: runs pip install lark\n" in ended.out
    (kept,) = (tmp_path / "kept").glob("*/comfy_env")
    found = Gov(kept).json("tx", "inspect", "last").ok().data
    assert (found["node_id"], found["status"]) == ("three-packages", "completed")


def test_an_interrupt_leaves_nothing(place):
    node = place.node("interrupted")
    running = Gov(None).start("ci", node, *place._options)
    seen = ""
    while "building" not in seen:
        seen = running.stderr.readline()
        assert seen, "it ended by itself"
    time.sleep(0.2)
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert (running.returncode, place.left()) == (130, [])


def test_what_a_killed_run_left_is_deleted_by_the_next(place):
    left = place.cache / "work/0123abcd"
    left.mkdir(parents=True)
    (left / "file").write_text("left")
    place.gov("nowhere")
    assert place.left() == []


def test_requirements_that_do_not_lock_and_a_comfyui_that_cannot_be_had(place, tmp_path):
    """The first is the node's failure, the second an error of the run; neither starts anything
    but the ComfyUI alone."""
    broken = sample.write_comfyui(tmp_path / "broken")
    (broken / "requirements.txt").write_text("no-such-package-of-the-sample\n")
    node = place.node("unlockable", requirements="withdrawn>99\n")
    ended = place.gov(node, "--comfyui", "v0.3.64", broken, "--json")
    unlockable, impossible = ended.data["runs"]
    assert (unlockable["status"], unlockable["locks"]) == ("failed", False)
    assert "withdrawn" in unlockable["reason"]
    assert (impossible["status"], impossible["locks"]) == ("error", None)
    assert "no-such-package-of-the-sample" in impossible["reason"]


@pytest.mark.thorough
def test_a_node_of_the_registry_stands_beside_it_and_is_not_counted(place):
    with registry.serving() as made:
        made.publish("sample-pack", "1.0.0", {"__init__.py": LOADS})
        place.set_registry(made.url)
        node = place.folder / "beside"
        if not node.is_dir():
            place.node("beside")
        words = (node, "--with", "sample-pack@1.0", "--comfyui", "v0.3.64", "--json")
        rows = place.gov(*words).ok().data["runs"]
        assert [(row["with"], row["status"]) for row in rows] == [
            ([], "passed"),
            (["sample-pack"], "passed"),
        ]
        assert made.asked("/install") == []


# --- what cannot be tried ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["nowhere"], 2, "nowhere does not exist"),
        (["settings.toml"], 2, "settings.toml is no folder"),
        (["ComfyUI"], 2, "it has no __init__.py"),
        (["{node}", "--comfyui", "v9"], 2, "has no branch, tag or commit 'v9'"),
        (["{node}", "--comfyui", "v1~3"], 2, "cannot be a branch, tag or commit"),
        (["{node}", "--comfyui", ""], 2, "'' cannot be a branch"),
        (["{node}", "--comfyui", "./nowhere"], 2, "there is no folder"),
        (["{node}", "--comfyui", "{node}"], 2, "there is no main.py"),
        (["{node}", "--comfyui", "https://127.0.0.1:9/x/y@v1"], 1, "cannot read https://127"),
        (["{node}", "--with", "some-id"], 1, "no answer from the registry"),
        (["{node}", "--with", "no id"], 2, "nor an id of the Comfy Registry"),
        (["{node}", "--with", "http://host/x"], 3, "'http' is not allowed"),
        (["{node}", "--with", "{node}"], 2, "are both called usable"),
        (["{node}", "--workflow", "nowhere.json"], 2, "nowhere.json does not exist"),
        (["{node}", "--workflow", "settings.toml"], 2, "settings.toml cannot be read"),
        (["{node}", "--junit", "nowhere/junit.xml"], 2, "there is no folder nowhere"),
        (["{node}", "--keep", "ComfyUI"], 2, "ComfyUI is not an empty folder"),
        (["{node}", "--python", "3.99"], 2, "there is no Python 3.99"),
    ],
)
def test_bad_words_are_told_before_the_first_run(place, words, code, says):
    node = place.folder / "usable"
    if not node.is_dir():
        place.node("usable")
    assert_told(place.gov(*(word.format(node=node) for word in words)), code, says)
    assert place.left() == []


@pytest.mark.parametrize("words", [["--index", "nowhere"], ["--settings", "nowhere"]])
def test_options_that_name_nothing(place, words):
    assert_told(Gov(None)("ci", place.folder, "--cache", place.cache, *words), 2, "nowhere")


def test_a_workflow_whose_class_is_gone():
    """As the page saves it: notes, muted nodes and subgraphs' own ids are no classes."""
    rows = [{"type": "Mine"}, {"type": "Note"}, {"type": "Muted", "mode": 4}, {"type": "id-1"}]
    inner = {"id": "id-1", "nodes": [{"type": "Inner"}, None]}
    page = {"nodes": rows, "definitions": {"subgraphs": [inner]}}
    used = Workflow("w.json", tuple(workflows._classes(page)))
    assert used.classes == ("Mine", "Inner")
    passed = Result(Try("v1", None, "3.11"), "passed", "came up")
    assert passed.judged([used], {"Mine", "Inner"}) == passed
    failed = passed.judged([used], {"Inner"})
    assert (failed.status, failed.reason) == (
        "failed",
        "w.json uses Mine, which nothing here registers",
    )
    assert passed.judged([used], {}).findings != (), "nobody told which classes there are"


def test_the_newest_release():
    assert newest_release(["v0.3.9", "v0.3.10", "v0.4.0-rc1", "latest", "v1beta"]) == "v0.3.10"
    assert newest_release(["nightly"]) is None


def test_the_workflow_in_the_documents_types_what_exists():
    text = (CHECKOUT / "docs/examples/node-ci.yml").read_text()
    (line,) = re.findall(r"run: (gov ci .*)$", text, re.MULTILINE)
    typed = parser.parse(shlex.split(line)[1:])
    assert (typed.act, str(typed.path), typed.torch_backend) == ("ci", ".", "cpu")
    assert os.fspath(typed.markdown) in text.replace(line, ""), "the summary is made of it"
