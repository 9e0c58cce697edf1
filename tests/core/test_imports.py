"""The house as a reader of its imports sees it: one direction, one door per neighbour."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]

# From the inside out; a module may import its own layer and those before it.
LAYERS = (
    ("base",),
    ("boundaries",),
    ("catalogue", "comfyui", "git", "requirements", "sandbox"),
    ("code",),
    ("truth",),
    ("observation", "conflict", "supply"),
    ("environments",),
    ("changes",),
    ("installation",),
    ("adoption", "bundle"),
    ("operations",),
    ("ci",),
)
OUTER = ("cli", "__main__")
# These run on their own, under other people's Pythons, or are worlds for tests and demos.
APART = ("bootstrap", "sample")


@functools.cache
def modules():
    return tuple(_parsed())


def _parsed():
    for path in sorted((CHECKOUT / "governance").rglob("*.py")):
        relative = path.relative_to(CHECKOUT / "governance")
        if relative.parts[:2] != ("sample", "comfyui"):
            yield relative, ast.parse(path.read_text())


def imported(tree):
    """(top module or governance part, at module level)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "governance":
                yield from (f"governance.{alias.name}" for alias in node.names)
            else:
                yield node.module


def part(relative):
    return relative.with_suffix("").parts[0]


def layer(name):
    for number, names in enumerate(LAYERS):
        if name in names:
            return number
    return len(LAYERS) + (name in OUTER)


def everything():
    for relative, tree in modules():
        for name in imported(tree):
            yield relative, name


def test_there_is_something_to_read():
    assert len(modules()) > 60


def test_imports_point_one_way():
    wrong = []
    for relative, name in everything():
        own = part(relative)
        if name.startswith("governance.") and own not in APART:
            other = name.split(".")[1]
            if layer(other) > layer(own):
                wrong.append(f"{relative} imports {name}")
    assert wrong == []


def test_nothing_below_the_command_line_knows_the_graph():
    wrong = [
        f"{relative} imports {name}"
        for relative, name in everything()
        if name.split(".")[0] in ("tasks", "doit") and part(relative) != "cli"
    ]
    assert wrong == []


def test_only_the_graph_knows_doit():
    wrong = [f"{r} imports {n}" for r, n in everything() if n.split(".")[0] == "doit"]
    assert wrong == []


def test_only_the_command_line_knows_rich():
    users = {str(r) for r, n in everything() if n.split(".")[0] == "rich"}
    assert {part(Path(user)) for user in users} <= {"cli"}
    assert users, "somebody should"


def calls(tree, *dotted):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            told = ast.unparse(node.func)
            if told in dotted:
                yield told


STARTERS = (
    "subprocess.run",
    "subprocess.Popen",
    "subprocess.call",
    "subprocess.check_call",
    "subprocess.check_output",
    "os.system",
    "os.popen",
    "os.posix_spawn",
    "os.execv",
    "os.execve",
    "os.execvp",
    "os.execvpe",
    "os.fork",
    "pty.fork",
    "pty.spawn",
)


def test_only_process_starts_programs():
    """Besides the sandbox (which becomes the program), the recorder, the set-up and the sample."""
    allowed = {"boundaries/process.py", "bootstrap.py", "observation/recorder.py"}
    wrong = [
        f"{relative} calls {told}"
        for relative, tree in modules()
        for told in calls(tree, *STARTERS)
        if str(relative) not in allowed and part(relative) not in ("sandbox", "sample")
    ]
    assert wrong == []


SPINE = (
    "base",
    "boundaries",
    "catalogue",
    "truth",
    "environments",
    "code",
    "changes",
    "operations",
)
WRITERS = ("write_text", "write_bytes", "rename", "replace", "symlink_to", "rmtree", "mkdir")
# Each has its reason, in the words of its own comment or docstring.
MAY_WRITE = {
    "catalogue/unpacking.py": {"mkdir"},  # a new folder, made durable by one syncfs
    "code/lay.py": {"mkdir"},  # inside a layer too, by path and with the standard library only
    "code/merging.py": {"write_bytes"},  # three versions of a file, in a folder for one question
    # In a clone's own .git, which is not the workspace's; made durable by one syncfs.
    "code/head.py": {"write_text", "mkdir", "replace"},
    # The folder of packs; what git saw of a commit's files, which is made anew where it is torn.
    "code/repository.py": {"mkdir", "replace"},
    "truth/workspace.py": {"write_bytes"},  # the lock's owner: not durable on purpose
    "truth/ledger.py": {"write_bytes", "replace"},  # the derived index: not durable on purpose
    "environments/generations.py": {
        "write_bytes"
    },  # papers, made durable by one syncfs before the manifest
    # In an environment under construction, which its build makes durable or discards.
    "environments/wheelhouse.py": {"write_bytes"},
    "truth/signing.py": {"write_text"},  # a signature, in a folder for one question
    "operations/node_check.py": {"write_bytes"},  # a scratch folder for one question
    "operations/data_places.py": {"mkdir"},  # ComfyUI's own, as it makes them
    "changes/provenance.py": {
        "write_bytes"
    },  # an earlier commit's files, in a folder for one question
    "environments/candidate.py": {
        "symlink_to",
        "mkdir",
        "write_text",
    },  # inside a candidate, which is thrown away
    "environments/compiled.py": {
        "write_text",
        "mkdir",
    },  # byte code and lists of names: what is lost or torn costs a start some seconds
    # Byte code: compiled anew where it is torn.
    "environments/node_code.py": {"mkdir", "write_text", "write_bytes"},
}


def test_only_store_writes_documents_of_the_workspace():
    wrong = []
    for relative, tree in modules():
        spine = len(relative.parts) == 1 or part(relative) in SPINE
        if not spine or str(relative) in ("boundaries/store.py", "bootstrap.py"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                name = node.func.attr
                if (
                    name in WRITERS
                    and _writes(node)
                    and name not in MAY_WRITE.get(str(relative), set())
                ):
                    wrong.append(f"{relative}:{node.lineno} {ast.unparse(node.func)}")
    assert wrong == []


def _writes(node):
    """str.replace and dataclasses.replace take two arguments or more; Path.replace takes one."""
    return node.func.attr not in ("replace", "rename") or len(node.args) + len(node.keywords) == 1


HEAVY = ("doit", "tomlkit", "packaging", "rich", "filelock", "dataclasses", "http.client", "tasks")


LOADED = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from governance.cli import main
try:
    code = main.main(sys.argv[1:])
except SystemExit as end:
    code = int(end.code or 0)
print(*sys.modules, *(name.partition(".")[0] for name in sys.modules), file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize("words", [["status"], ["--help"], ["tx", "promote", "--help"]])
def test_questions_import_nothing_heavy(bare, words):
    root = ["--root", str(bare.root)] if words == ["status"] else []
    argv = [sys.executable, "-I", "-c", LOADED, str(CHECKOUT), *words, *root]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stderr.split())
    assert "governance" in loaded
    assert loaded.isdisjoint(HEAVY), loaded & set(HEAVY)
