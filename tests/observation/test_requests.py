"""What a command line asks of pip and uv."""

import pytest

from governance.observation import requests

PYTHON = "/env/bin/python"


@pytest.mark.parametrize(
    ("argv", "tool", "action", "requested", "files"),
    [
        ([PYTHON, "-m", "pip", "install", "a==1", "b"], "pip", "install", ["a==1", "b"], []),
        ([PYTHON, "-I", "-m", "pip", "install", "-q", "a"], "pip", "install", ["a"], []),
        (["pip", "install", "-U", "--index-url", "x", "a"], "pip", "install", ["a"], []),
        (["/env/bin/pip3.11", "install", "a"], "pip", "install", ["a"], []),
        ([PYTHON, "/env/bin/pip", "install", "a"], "pip", "install", ["a"], []),
        (["pip", "--proxy", "p", "install", "--no-deps", "a"], "pip", "install", ["a"], []),
        (["pip", "install", "-r", "r.txt", "-e", "./x"], "pip", "install", ["-e ./x"], ["r.txt"]),
        (["pip", "install", "-rr.txt"], "pip", "install", [], ["r.txt"]),
        (["pip", "install", "--requirement=r.txt"], "pip", "install", [], ["r.txt"]),
        (["pip", "uninstall", "-y", "a"], "pip", "uninstall", ["a"], []),
        (["uv", "pip", "install", "--python", PYTHON, "a"], "uv", "install", ["a"], []),
        ([PYTHON, "-m", "uv", "pip", "install", "a"], "uv", "install", ["a"], []),
        (["uv", "pip", "sync", "r.txt"], "uv", "sync", [], ["r.txt"]),
        (["sh", "-c", "pip install a"], "pip", "install", ["a"], []),
        (["/bin/bash", "-lc", "cd x && pip install 'a>=1' 2>&1"], "pip", "install", ["a>=1"], []),
        (["pip install a >/dev/null"], "pip", "install", ["a"], []),
        (["pip install 'a"], "pip", "install", ["'a"], []),
        (["env", "X=1", "pip", "install", "a"], "pip", "install", ["a"], []),
    ],
)
def test_a_request_is_read(argv, tool, action, requested, files):
    (found,) = requests.parse(argv)
    assert found == requests.Request(tool, action, tuple(requested), tuple(files))


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["git", "clone", "install"],
        ["pip", "--version"],
        ["pip list"],
        ["uv", "sync"],
        [PYTHON, "pipeline.py", "install"],
        [PYTHON, "/site-packages/pip/__pip-runner__.py", "install", "setuptools"],
    ],
)
def test_other_commands_ask_for_nothing(argv):
    assert requests.parse(argv) == []


def test_a_line_may_hold_several():
    found = requests.parse(["sh", "-c", "pip install a; uv pip install b && pip uninstall -y c"])
    assert [(entry.tool, entry.action, entry.requested) for entry in found] == [
        ("pip", "install", ("a",)),
        ("uv", "install", ("b",)),
        ("pip", "uninstall", ("c",)),
    ]


def test_credentials_are_not_kept():
    (found,) = requests.parse(["pip", "install", "git+https://me:secret@host.invalid/x.git"])
    assert found.requested == ("git+https://***@host.invalid/x.git",)
