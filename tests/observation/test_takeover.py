"""A class that two nodes register: the one served is told, and the one that is not."""

import pytest

from governance.observation import Baseline, source

from .conftest import write_node

CLASS = """
class {name}:
    RETURN_TYPES, FUNCTION, CATEGORY = (), "run", "test"

    @classmethod
    def INPUT_TYPES(cls):
        return {{"required": {{}}}}

    def run(self):
        return ()


NODE_CLASS_MAPPINGS = {{"{shared}": {name}, "{name}Own": {name}}}
"""


def put(comfyui_dir, name, shared="Same"):
    text = CLASS.format(name=name.capitalize(), shared=shared)
    write_node(comfyui_dir, name, {"__init__.py": text})


@pytest.fixture
def two(comfyui_dir, observe):
    """The node whose class is served, the one whose is not: which is up to the file system."""
    put(comfyui_dir, "anna")
    put(comfyui_dir, "bert")
    served = observe(comfyui_dir, None, "anna", "bert").classes["Same"]
    winner = served.removeprefix("custom_nodes.")
    return winner, "bert" if winner == "anna" else "anna"


def promoted(name):
    """What prod was last seen with, where this node alone was in it."""
    module = f"custom_nodes.{name}"
    return Baseline({"Same": module, f"{name.capitalize()}Own": module}, (name,))


@pytest.mark.parametrize("is_known", [True, False])
def test_a_class_of_prod_that_the_subject_takes_fails_the_run(comfyui_dir, observe, two, is_known):
    winner, loser = two
    seen = observe(comfyui_dir, winner, loser, baseline=promoted(loser) if is_known else None)
    assert seen.verdict == "failed"
    assert seen.reason == f"{winner} also registers Same and takes it over from {loser}"
    assert seen.taken_over == [{"class": "Same", "by": winner, "from": loser}]
    assert seen.failed_subjects == {winner: seen.reason}
    assert seen.collateral == [loser]
    assert seen.came_up


@pytest.mark.parametrize("is_known", [True, False])
def test_a_class_of_the_subject_that_prod_keeps_serving_is_a_warning(
    comfyui_dir, observe, two, is_known
):
    winner, loser = two
    seen = observe(comfyui_dir, loser, winner, baseline=promoted(winner) if is_known else None)
    assert seen.completed, seen.reason
    told = f"Same is also registered by {winner}; that of {loser} is not served"
    assert told in seen.warnings
    assert seen.taken_over == [{"class": "Same", "by": winner, "from": loser}]


def test_two_subjects_with_one_class_are_told(comfyui_dir, observe, two):
    winner, loser = two
    seen = observe(comfyui_dir, two)
    assert seen.completed
    assert f"Same is also registered by {winner}; that of {loser} is not served" in seen.warnings


def test_a_class_that_another_took_while_neither_is_observed_is_collateral(
    comfyui_dir, observe, two
):
    winner, loser = two
    put(comfyui_dir, "carl", "Other")
    seen = observe(comfyui_dir, "carl", winner, loser, baseline=promoted(loser))
    assert seen.verdict == "failed"
    assert (seen.failed_subjects, seen.collateral) == ({}, [loser])


def test_a_node_that_gave_its_class_away_lost_nothing(comfyui_dir, observe):
    put(comfyui_dir, "anna")
    put(comfyui_dir, "bert", "Other")
    seen = observe(comfyui_dir, "bert", "anna", baseline=promoted("bert"))
    assert seen.completed, seen.reason
    assert seen.taken_over == []


def test_who_is_not_loaded_any_more_lost_nothing(comfyui_dir, observe):
    put(comfyui_dir, "anna")
    seen = observe(comfyui_dir, "anna", baseline=promoted("bert"))
    assert seen.completed, seen.reason
    assert seen.taken_over == []


@pytest.mark.parametrize("is_known", [True, False])
def test_a_class_of_comfyui_that_a_node_takes_fails_the_run(comfyui_dir, observe, is_known):
    first = observe(comfyui_dir, None)
    core = sorted(first.classes)[0]
    text = CLASS.format(name="Greedy", shared="Unused") + (
        f"import nodes\nnodes.NODE_CLASS_MAPPINGS[{core!r}] = Greedy\n"
        "Greedy.RELATIVE_PYTHON_MODULE = 'custom_nodes.greedy'\n"
    )
    write_node(comfyui_dir, "greedy", {"__init__.py": text})
    seen = observe(comfyui_dir, "greedy", baseline=first.baseline() if is_known else None)
    assert seen.verdict == "failed", seen.warnings
    assert seen.reason == f"greedy also registers {core} and takes it over from ComfyUI"
    assert seen.collateral == []


# --- reading ------------------------------------------------------------------------------------

MAPPINGS = {
    "plain": 'NODE_CLASS_MAPPINGS = {"X": A}',
    "typed": 'NODE_CLASS_MAPPINGS: dict[str, type] = {"X": A}',
    "updated": 'NODE_CLASS_MAPPINGS.update({"X": A})',
    "updated by word": "NODE_CLASS_MAPPINGS.update(X=A)",
    "item": 'NODE_CLASS_MAPPINGS["X"] = A',
    "or": 'NODE_CLASS_MAPPINGS |= {"X": A}',
    "sum": 'NODE_CLASS_MAPPINGS = {"Y": A} | {"X": B}',
    "called": "NODE_CLASS_MAPPINGS = dict(X=A)",
    "spread": 'MORE = {"X": A}\nNODE_CLASS_MAPPINGS = {**MORE}',
    "by another name": 'MORE = {}\nMORE["X"] = A\nEVEN = MORE\nNODE_CLASS_MAPPINGS = EVEN',
    "in a function": 'def f():\n    if A:\n        NODE_CLASS_MAPPINGS["X"] = A',
    "of ComfyUI": 'import nodes\nnodes.NODE_CLASS_MAPPINGS["X"] = A',
    "newer API": 'def f():\n    return io.Schema(node_id="X", display_name="Y")',
    "circle": 'A = {**B}\nB = {**A, "X": 1}\nNODE_CLASS_MAPPINGS = A',
}


@pytest.mark.parametrize("text", MAPPINGS.values(), ids=MAPPINGS)
def test_what_a_source_registers_is_read(tmp_path, text):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/nodes.py").write_text(text)
    assert "X" in source.registered(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        'NODE_DISPLAY_NAME_MAPPINGS = {"X": "NODE_CLASS_MAPPINGS"}',
        'OTHER = {"X": A}\nNODE_CLASS_MAPPINGS = {}',
        "NODE_CLASS_MAPPINGS = {f(): A, **g()}",
        "NODE_CLASS_MAPPINGS = {'X': (",
        "NODE_CLASS_MAPPINGS = 'X'",
        'f(node_id="X")',
    ],
)
def test_nothing_is_made_up(tmp_path, text):
    (tmp_path / "nodes.py").write_text(text)
    assert source.registered(tmp_path) == set()


def test_what_is_no_source_of_the_node_is_left_out(tmp_path):
    import os

    for file in (".git/a.py", "venv/lib/site-packages/x/a.py", "tests/a/a.py", "conftest.py"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text('NODE_CLASS_MAPPINGS = {"X": A}')
    os.mkfifo(tmp_path / "pipe.py")
    assert source.registered(tmp_path) == set()
    single = tmp_path / "one.py"
    single.write_text('NODE_CLASS_MAPPINGS = {"X": A}')
    assert source.tell(single) == {"classes": ["X"], "install_script": False, "parts": []}
