"""What a node imports, read from its source."""

import pytest

from governance.adoption.imports import modules


@pytest.fixture
def node(tmp_path):
    def write(**files):
        for name, text in files.items():
            path = tmp_path / "node" / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "node/__init__.py").write_text(files.get("init", ""))
        return modules(tmp_path / "node")

    return write


def test_modules_in_every_place_that_runs_are_found(node):
    found = node(
        init="import numpy.linalg as la\ntry:\n    import cv2\nexcept ImportError:\n    pass\n"
        "from . import inner\n",
        inner="def late():\n    from PIL import Image\nimport os, json\n",
    )
    assert found == {"numpy.linalg", "cv2", "PIL"}


def test_files_that_nothing_imports_are_not_followed(node):
    assert node(init="import a\n", train="import tensorflow\n") == {"a"}


def test_a_node_that_loads_its_files_by_code_is_read_whole_but_for_its_tests(node):
    found = node(
        init="import importlib\nimportlib.import_module('.x', __name__)\n",
        nodes__x="import deep\n",
        tests__y="import pytest\n",
    )
    assert found == {"deep"}


def test_its_own_modules_and_those_for_type_checkers_are_none(node):
    found = node(
        init="import typing\nimport utils\nif typing.TYPE_CHECKING:\n    import torch\n",
        utils="import scipy\n",
    )
    assert found == {"scipy"}


def test_what_is_not_python_is_passed_over(node, tmp_path):
    assert node(init="def broken(:\n") == set()
    assert modules(tmp_path / "node" / "nothing.py") == set()


def test_a_single_file_is_read_alone(tmp_path):
    (tmp_path / "lone.py").write_text("import lark\n")
    (tmp_path / "other.py").write_text("import tqdm\n")
    assert modules(tmp_path / "lone.py") == {"lark"}
