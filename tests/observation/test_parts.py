"""Which parts a node goes on without, as its source says; nothing of it is run."""

import textwrap

import pytest

from governance.observation import source

MAPPING = 'import diffusers\nNODE_CLASS_MAPPINGS = {{"{0}A": 1, "{0}B": 2}}\n'


@pytest.fixture
def read(tmp_path):
    def read(**files):
        place = tmp_path / "node"
        for name, text in files.items():
            path = place / f"{name.replace('__', '/') if name != 'init' else '__init__'}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return source.tell(place)["parts"]

    return read


def test_an_import_in_a_try_is_a_part_and_tells_what_it_needs(read):
    init = """
        NODE_CLASS_MAPPINGS = {"Plain": 0}
        try:
            from .flux import NODE_CLASS_MAPPINGS as flux
            NODE_CLASS_MAPPINGS.update(flux)
        except ImportError:
            print("no flux")
    """
    assert read(init=init, flux=MAPPING.format("Flux")) == [
        {
            "file": "flux.py",
            "at": "__init__.py:3",
            "names": ["FluxA", "FluxB"],
            "needs": ["diffusers"],
        }
    ]


STAR = "from .flux import *"
TRY = "try:\n    {0}\nexcept Exception as error:\n    {1}\n"
BOTH = ["FluxA", "FluxB"]


@pytest.mark.parametrize(
    ("init", "names"),
    [
        (STAR, []),
        (TRY.format(STAR, "raise RuntimeError from error"), []),
        (TRY.format(STAR, "pass"), BOTH),
        (TRY.format("from . import flux", "pass"), BOTH),
        (TRY.format("import json", STAR), []),
        (f"import os\nif os.environ.get('X'):\n    {STAR}", []),
        (f"import importlib.util\nif importlib.util.find_spec('x'):\n    {STAR}", BOTH),
        (f"import contextlib\nwith contextlib.suppress(ImportError):\n    {STAR}", BOTH),
        (TRY.format("import cv2", "cv2 = None") + f"if cv2:\n    {STAR}", BOTH),
        (f"def load():\n    try:\n        {STAR}\n    except ImportError:\n        pass", BOTH),
    ],
)
def test_only_what_may_be_left_out_for_a_package_counts(read, init, names):
    found = read(init=init, flux=MAPPING.format("Flux"))
    assert [name for part in found for name in part["names"]] == names


def test_modules_that_are_named_by_strings_or_whose_folder_is_listed(read, tmp_path):
    named = """
        import importlib
        for name in ["flux", "nowhere"]:
            try:
                module = importlib.import_module(f".parts.{name}", __name__)
            except ImportError as error:
                print(error)
    """
    listed = """
        import importlib, os
        def load():
            for file in os.listdir("parts"):
                try:
                    importlib.import_module("." + file, __name__)
                except Exception:
                    pass
    """
    for init in (named, listed):
        found = read(init=init, parts__flux=MAPPING.format("Flux"))
        assert [part["file"] for part in found] == ["parts/flux.py"], init


def test_another_name_of_the_mapping_and_what_a_part_imports_in_turn(read):
    init = """
        try:
            from .flux import FLUX_MAPPINGS
        except ImportError:
            FLUX_MAPPINGS = {}
        NODE_CLASS_MAPPINGS = {**FLUX_MAPPINGS}
    """
    flux = "from .deep import NODE_CLASS_MAPPINGS\nFLUX_MAPPINGS = {'Flux': 1}\n"
    (part,) = read(init=init, flux=flux, deep=MAPPING.format("Deep"))
    assert (part["file"], part["names"]) == ("flux.py", ["DeepA", "DeepB", "Flux"])
    assert part["needs"] == ["diffusers"]


def test_what_cannot_be_read_is_no_part(read, tmp_path):
    assert read(init="def (:") == []
    assert source.tell(tmp_path / "nobody")["parts"] == []
    recursive = "try:\n    from . import init_\nexcept ImportError:\n    pass\n"
    assert read(init=recursive, init_="from . import init_, __init__\n") == []


def test_only_the_parts_of_nodes_under_observation_are_read(tmp_path):
    """Twenty nodes that are in prod cost half a minute otherwise."""
    text = "try:\n    import x\n    NODE_CLASS_MAPPINGS = {'A': 1}\nexcept ImportError:\n    pass"
    places = {name: tmp_path / name for name in ("new", "old")}
    for place in places.values():
        place.mkdir()
        (place / "__init__.py").write_text(text)
    asked = {name: str(place) for name, place in places.items()}
    told = source.tell_all(asked, ["new"])
    assert [row["names"] for row in told["new"]["parts"]] == [["A"]]
    assert (told["old"]["classes"], told["old"]["parts"]) == (["A"], [])
