"""A node that misses a module: who was to bring it."""

from types import SimpleNamespace

import pytest

from governance.changes import absence
from governance.observation import NodeReport, Observation
from governance.requirements.distributions import distribution_of
from governance.truth.documents import Transaction

SKIPPED = {
    "raw": "git+https://example.org/some/image_cut.git",
    "reason": "a bare URL",
    "origin": {"file": "requirements.txt", "line": 3},
}


@pytest.fixture
def explain(tmp_path):
    (tmp_path / "ComfyUI/comfy").mkdir(parents=True)
    (tmp_path / "ComfyUI/comfyui_version.py").write_text('__version__ = "0.3.64"\n')
    (tmp_path / "nodes/n/inner").mkdir(parents=True)
    (tmp_path / "nodes/n/modules/below").mkdir(parents=True)
    space = SimpleNamespace(comfyui_dir=tmp_path / "ComfyUI", custom_nodes=tmp_path / "nodes")
    tx = Transaction(txid="20260101T000000Z-00000000", node_id="n", status="running")
    declared = {"lines": [{"name": "cowsay"}], "skipped": [SKIPPED]}
    tx.nodes = {"n": {"declared": declared}}

    def observed(error, reason, causes=()):
        seen = Observation(reason=reason.format(error), post_freeze=["diffusers==0.27.2"])
        seen.subjects = ["n"]
        seen.nodes["n"] = NodeReport(False, error=error, causes=list(causes))
        return seen

    def explain(
        error, reason="n failed to import: {}; late", skipped=(SKIPPED,), causes=(), hosts=()
    ):
        declared["skipped"] = list(skipped)
        seen = observed(error, reason, causes)
        seen.failed_subjects, seen.hosts = {"n": reason}, list(hosts)
        return absence.explained(space, tx, seen)

    def missing(error, causes=()):
        found = absence.missing(space, tx.nodes, observed(error, "{}", causes))
        return [one.to_json() for one in found]

    explain.missing = missing
    return explain


@pytest.mark.parametrize(
    ("module", "why"),
    [
        ("humanize", "which n does not declare under that name"),
        ("image_cut", "which requirements.txt:3 asks for, a line that was skipped (a bare URL)"),
        ("comfy.ldm.new", "which is ComfyUI's own and not in ComfyUI 0.3.64"),
        ("diffusers.models.new", "which diffusers 0.27.2 does not have"),
        ("tkinter", "which is Python's own, but this Python lacks it"),
    ],
)
def test_a_missing_module_comes_with_whose_it_is(explain, module, why):
    error = f"No module named '{module}'"
    assert explain(error) == f"n failed to import: {error}, {why}; late"


def test_what_nobody_asks_for_is_undeclared(explain):
    error = "No module named 'humanize'"
    assert explain(error, skipped=()) == (
        f"n failed to import: {error}, which n does not declare; late"
    )


@pytest.mark.parametrize("module", ["cowsay", "inner", "inner.gone"])
def test_where_nobody_knows_nothing_is_said(explain, module):
    error = f"No module named '{module}'"
    assert explain(error) == f"n failed to import: {error}; late"


def test_other_errors_and_other_reasons_stay_as_they_are(explain):
    assert explain("boom") == "n failed to import: boom; late"
    assert explain("No module named 'x'", "ComfyUI died") == "ComfyUI died"


@pytest.mark.parametrize(
    ("module", "locked", "wanted"),
    [
        ("cv2", (), "opencv-python-headless"),
        ("cv2", ("opencv-contrib-python",), "opencv-contrib-python"),
        ("sklearn.svm", (), "scikit-learn"),
        ("my_package", (), "my-package"),
        ("_private", (), None),
        ("google.protobuf.message", (), "protobuf"),
        ("google.unheard_of", (), None),
        ("open_clip.model", (), "open-clip-torch"),
        ("größe", (), None),
    ],
)
def test_a_module_leads_to_the_distribution_that_brings_it(module, locked, wanted):
    assert distribution_of(module, locked) == wanted


CAUSES = ["ModuleNotFoundError: No module named 'cv2'"]


def test_the_distribution_that_brings_a_missing_module_is_named(explain):
    assert explain.missing("No module named 'sklearn.svm'") == [
        {
            "node": "n",
            "module": "sklearn.svm",
            "distribution": "scikit-learn",
            "declared": False,
        }
    ]
    (row,) = explain.missing("No module named 'cowsay'")
    assert row["declared"]
    for error in ("No module named 'comfy.new'", "No module named 'tkinter'", "boom"):
        assert explain.missing(error) == []


def test_a_module_that_led_to_another_error_is_found(explain):
    (row,) = explain.missing("please install OpenCV", CAUSES)
    assert (row["module"], row["distribution"]) == ("cv2", "opencv-python-headless")
    assert explain("please install OpenCV", skipped=(), causes=CAUSES) == (
        "n failed to import: please install OpenCV "
        "(no module named 'cv2', which n does not declare); late"
    )


def test_what_the_network_did_not_give_names_the_host(explain):
    """urllib says "Name or service not known" and not of what."""
    error = "<urlopen error [Errno -2] Name or service not known>"
    hosts = [{"node": "n", "host": "github.com"}, {"node": "other", "host": "pypi.org"}]
    told = f"n failed to import: {error} (it tried to reach github.com); late"
    assert explain(error, hosts=hosts) == told
    assert explain("name 'x' is not defined", hosts=hosts).endswith("is not defined; late")


def test_a_folder_that_the_node_puts_on_the_path_is_no_package_to_add(explain):
    """Impact-Pack: `No module named 'impact.subpack_nodes'`, with modules/impact its own."""
    assert explain.missing("No module named 'below.subpack'") == []
    assert [row["module"] for row in explain.missing("No module named 'beyond.subpack'")]
