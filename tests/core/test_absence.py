"""A node that misses a module: who was to bring it."""

from types import SimpleNamespace

import pytest

from governance.changes import absence
from governance.observation import NodeReport, Observation
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
    space = SimpleNamespace(comfyui_dir=tmp_path / "ComfyUI", custom_nodes=tmp_path / "nodes")
    tx = Transaction(txid="20260101T000000Z-00000000", node_id="n", status="running")
    tx.plan = {"declared": {"lines": [{"name": "cowsay"}], "skipped": [SKIPPED]}}

    def explain(error, reason="n failed to import: {}; late", skipped=(SKIPPED,)):
        tx.plan["declared"]["skipped"] = list(skipped)
        seen = Observation(reason=reason.format(error), post_freeze=["diffusers==0.27.2"])
        seen.nodes["n"] = NodeReport(False, error=error)
        return absence.explained(space, tx, seen)

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
