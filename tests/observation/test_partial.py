"""A node that goes on without some of its parts: told by class, by file and by its own words."""

import pytest

from governance.observation import Baseline, partial

from .conftest import write_node

CLASS = "class {0}:\n    RETURN_TYPES, FUNCTION, CATEGORY = (), 'run', 'x'\n" \
    "    @classmethod\n    def INPUT_TYPES(cls):\n        return {{'required': {{}}}}\n" \
    "    def run(self):\n        return ()\n"  # fmt: skip
INIT = (
    CLASS.format("Plain")
    + """
NODE_CLASS_MAPPINGS = {"Plain": Plain}
for _ in range(1):
    try:
        from .flux import NODE_CLASS_MAPPINGS as flux
        NODE_CLASS_MAPPINGS.update(flux)
    except ImportError:
        pass
"""
)


def flux(*names, needs="module_of_nobody, json, numpy"):
    body = "".join(map(CLASS.format, names))
    table = ", ".join(f"{name!r}: {name}" for name in names)
    return f"import {needs}\n{body}NODE_CLASS_MAPPINGS = {{{table}}}\n"


def test_what_its_code_brings_and_nobody_serves(comfyui_dir, observe):
    write_node(comfyui_dir, "mixed", {"__init__.py": INIT, "flux.py": flux("FluxA", "FluxB")})
    seen = observe(comfyui_dir, "mixed")
    assert seen.completed
    assert seen.reason.endswith("mixed loaded; mixed in part: 2 of its 3 classes are missing")
    (row,) = seen.partial
    part = {"file": "flux.py", "at": "__init__.py:11", "classes": ["FluxA", "FluxB"]}
    assert row["parts"] == [part | {"needs": ["module_of_nobody"]}]
    assert (row["classes"], row["of"], row["known"]) == (["FluxA", "FluxB"], 3, None)
    assert list(partial.lines(row)) == [
        "FluxA, FluxB: of flux.py, which needs module_of_nobody  [mixed/__init__.py:11]"
    ]


def test_a_whole_node_is_not_partial(comfyui_dir, observe):
    files = {"__init__.py": INIT, "flux.py": flux("FluxA", needs="json")}
    write_node(comfyui_dir, "mixed", files)
    seen = observe(comfyui_dir, "mixed")
    assert (seen.partial, seen.reason.endswith("with mixed loaded")) == ([], True)


@pytest.mark.parametrize(
    ("says", "is_told"),
    [
        ("[talks] Some nodes (2) could not be loaded, see the log", True),
        ("Some nodes (2) could not be loaded: missing packages", True),
        ("Failed to import module talks.depth: No module named 'x'", True),
        ("xformers is not available", False),
        ("model could not be loaded", False),
    ],
)
def test_its_own_words(comfyui_dir, observe, says, is_told):
    init = f"print({says!r})\n" + CLASS.format("Talk") + "NODE_CLASS_MAPPINGS = {'Talk': Talk}\n"
    write_node(comfyui_dir, "talks", {"__init__.py": init})
    seen = observe(comfyui_dir, "talks")
    assert [row["said"] for row in seen.partial] == ([[says]] if is_told else [])
    if is_told:
        assert seen.reason.endswith(f"talks in part: it says: {says}")


def test_words_of_another_node_and_of_prod_are_not_its_own(comfyui_dir, observe):
    says = "Some nodes (2) could not be loaded"
    write_node(
        comfyui_dir, "loud", {"__init__.py": f"print({says!r})\nNODE_CLASS_MAPPINGS = {{}}\n"}
    )
    write_node(comfyui_dir, "calm", {"__init__.py": "NODE_CLASS_MAPPINGS = {}\n"})
    before = Baseline({}, ("loud",), (says,))
    assert observe(comfyui_dir, "calm", "loud", baseline=before).partial == []


def test_what_prod_had_and_what_was_given_up(comfyui_dir, observe):
    module = "custom_nodes.mixed"
    had = dict.fromkeys(("Plain", "FluxA", "FluxB"), module)
    files = {"__init__.py": INIT, "flux.py": flux("FluxA", "FluxB")}
    write_node(comfyui_dir, "mixed", files)
    write_node(comfyui_dir, "other", {"__init__.py": "NODE_CLASS_MAPPINGS = {}\n"})
    before = Baseline({**had, "KSampler": "nodes"}, ("mixed", "other"), ())
    (row,) = observe(comfyui_dir, "other", "mixed", baseline=before).partial
    assert (row["node"], row["classes"], row["known"]) == ("mixed", ["FluxA", "FluxB"], False)

    known = Baseline({"Plain": module}, ("mixed",), ())
    (row,) = observe(comfyui_dir, "mixed", baseline=known).partial
    assert row["known"] is True
    assert partial.new([row]) == []

    write_node(comfyui_dir, "mixed", {"flux.py": flux("FluxA", needs="json")})
    assert observe(comfyui_dir, "mixed", "other", baseline=before).partial == []


def test_names_that_are_computed_tell_nothing(comfyui_dir, observe):
    init = INIT + "NODE_CLASS_MAPPINGS = {f'x{k}': v for k, v in NODE_CLASS_MAPPINGS.items()}\n"
    write_node(comfyui_dir, "mixed", {"__init__.py": init, "flux.py": flux("Flux", needs="json")})
    assert observe(comfyui_dir, "mixed").partial == []
