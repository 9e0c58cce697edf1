"""One table of sample nodes, one behaviour each, and what is to be seen of it.

The expectations are facts of a start of ComfyUI with that node alone, its `requirements.txt`
installed, its `install.py` run, pip in the environment and nothing fenced off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from governance.sample import bodies

HANGS = None


@dataclass(frozen=True)
class Expectation:
    """`exit_code` is that of a start with `--quick-test-for-ci` (HANGS: it never ends).

    `logs` are parts of what it says, `classes` what `/object_info` lists for it.  `installs` are
    the requests it makes of pip or uv, `removes` what it wants gone, `hosts` names or host:port,
    `writes` paths after the place they lie in: `node/`, `user/`, `home/` or `site-packages/`.
    `breaks` names nodes that fail to load because this one is there, `findings` the kinds of what
    it should not do.
    """

    verdict: Literal["completed", "failed"] = "completed"
    exit_code: int | None = 0
    install_exit: int | None = None
    classes: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()
    installs: tuple[str, ...] = ()
    removes: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    breaks: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()


@dataclass(frozen=True)
class SampleNode:
    """`files` maps a path to its content; `needs_index` where pip or uv has to find something."""

    says: str
    files: Mapping[str, str | bytes]
    expected: Expectation = field(default_factory=Expectation)
    needs_index: bool = False


def _class(name: str, inputs: str = 'return {"required": {}}') -> str:
    return f"""
class {name}:
    CATEGORY = "sample"
    RETURN_TYPES = ("STRING",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):
        {inputs}

    def run(self):
        return ("done",)
"""


def _init(body: str = "", *classes: str) -> dict[str, str | bytes]:
    """An `__init__.py` that does `body` and then registers these classes."""
    mappings = ", ".join(f'"{name}": {name}' for name in classes)
    text = "".join(_class(name) for name in classes)
    return {"__init__.py": f"{body}\n{text}\n\nNODE_CLASS_MAPPINGS = {{{mappings}}}\n"}


def _failed(*logs: str, exit_code: int | None = 0) -> Expectation:
    return Expectation("failed", exit_code, logs=logs)


_LOADING: dict[str, SampleNode] = {
    "loads-two-classes": SampleNode(
        "loads, with two classes",
        _init("", "SampleOne", "SampleTwo"),
        Expectation(classes=("SampleOne", "SampleTwo")),
    ),
    "declares-two-packages": SampleNode(
        "declares what it needs and needs no more",
        _init("import cowsay\nfrom humanize import naturalsize", "SampleDeclared")
        | {"requirements.txt": "cowsay\nhumanize>=4.9\n"},
        Expectation(classes=("SampleDeclared",)),
    ),
    "loads-in-part": SampleNode(
        "drops a feature set and says so in its own words",
        _init(bodies.DROPS_FEATURES, "SamplePart"),
        Expectation(
            classes=("SamplePart",),
            logs=("sample: depth features are not available: No module named",),
        ),
    ),
    "input-types-raise": SampleNode(
        "loads, but one of its classes cannot be described",
        {
            "__init__.py": _class("SampleFine")
            + _class("SampleBroken", 'raise RuntimeError("models are missing")')
            + '\nNODE_CLASS_MAPPINGS = {"SampleFine": SampleFine, "SampleBroken": SampleBroken}\n'
        },
        Expectation(
            classes=("SampleFine",),
            logs=(
                "An error occurred while retrieving information for the 'SampleBroken' node.",
                "RuntimeError: models are missing",
            ),
        ),
    ),
    "has-an-entrypoint": SampleNode(
        "registers in the newer way",
        {"__init__.py": bodies.ENTRYPOINT},
        Expectation(classes=("SampleNewer",)),
    ),
    "odd name.é": SampleNode(
        "has a blank, a dot and an accent in its name",
        _init("", "SampleOdd"),
        Expectation(classes=("SampleOdd",)),
    ),
    "registers-route": SampleNode(
        "adds a page to the server",
        _init(bodies.ROUTE, "SampleRoute"),
        Expectation(classes=("SampleRoute",)),
    ),
    "odd-requirements": SampleNode(
        "has a requirements.txt with all the oddities that occur",
        _init("import cowsay", "SampleOddities")
        | {"requirements.txt": bodies.ODD_REQUIREMENTS, "more/extra.txt": "tqdm>=4.60\n"},
        Expectation(classes=("SampleOddities",)),
    ),
    "prestartup-raises": SampleNode(
        "its prestartup script fails, the node itself loads",
        _init("", "SampleLate")
        | {"prestartup_script.py": 'raise RuntimeError("no sample driver")\n'},
        Expectation(
            classes=("SampleLate",),
            logs=("Failed to execute startup-script:", "no sample driver", "(PRESTARTUP FAILED)"),
        ),
    ),
}

_FAILING: dict[str, SampleNode] = {
    "import-fails": SampleNode(
        "imports a module that it did not declare",
        _init("import no_such_module_of_the_sample"),
        _failed(
            "Cannot import ",
            "No module named 'no_such_module_of_the_sample'",
            "(IMPORT FAILED)",
        ),
    ),
    "syntax-error": SampleNode(
        "is not Python",
        {"__init__.py": "def broken(:\n    pass\n"},
        _failed("SyntaxError", "(IMPORT FAILED)"),
    ),
    "no-mappings": SampleNode(
        "registers nothing",
        {"__init__.py": "answer = 42\n"},
        _failed("due to the lack of NODE_CLASS_MAPPINGS", "(IMPORT FAILED)"),
    ),
    "no-package": SampleNode(
        "has no __init__.py at all",
        {"README.md": "Nothing but this.\n"},
        _failed("Cannot import ", "No such file or directory", "(IMPORT FAILED)"),
    ),
    "prestartup-exits": SampleNode(
        "its prestartup script calls sys.exit(0): nothing starts, nothing is said",
        _init() | {"prestartup_script.py": "import sys\n\nsys.exit(0)\n"},
        _failed(),
    ),
    "import-exits-zero": SampleNode(
        "calls sys.exit(0) while it is imported", _init("import sys\n\nsys.exit(0)"), _failed()
    ),
    "import-exits-hard": SampleNode(
        "calls os._exit(0) while it is imported", _init("import os\n\nos._exit(0)"), _failed()
    ),
    "import-exits-three": SampleNode(
        "calls sys.exit(3) while it is imported",
        _init("import sys\n\nsys.exit(3)"),
        _failed(exit_code=3),
    ),
    "import-crashes": SampleNode(
        "dies of a segmentation fault",
        _init("import os\nimport signal\n\nos.kill(os.getpid(), signal.SIGSEGV)"),
        _failed(exit_code=-11),
    ),
    "import-sleeps": SampleNode(
        "never comes back from its import",
        _init(bodies.SLEEPS),
        _failed("sample: sleeping", exit_code=HANGS),
    ),
    "forges-success": SampleNode(
        "prints what a good start looks like and ends",
        _init(bodies.FORGES, "SampleForged"),
        _failed("Import times for custom nodes:", "To see the GUI go to: http://127.0.0.1:1"),
    ),
}

_INSTALLING: dict[str, SampleNode] = {
    "pip-installs": SampleNode(
        "installs what it did not declare, as `python -m pip`",
        _init(bodies.PIP_LARK, "SampleLark"),
        Expectation(classes=("SampleLark",), installs=("lark",)),
        needs_index=True,
    ),
    "pip-on-path": SampleNode(
        "installs with the pip found on PATH",
        _init(bodies.PIP_ON_PATH, "SamplePath"),
        Expectation(classes=("SamplePath",), installs=("tqdm==4.66.0",)),
        needs_index=True,
    ),
    "uv-installs": SampleNode(
        "installs with the uv found on PATH",
        _init(bodies.UV_COLORAMA, "SampleUv"),
        Expectation(classes=("SampleUv",), installs=("colorama",)),
        needs_index=True,
    ),
    "installs-in-thread": SampleNode(
        "installs in the background, after it was loaded",
        _init(bodies.IN_THREAD, "SampleThread"),
        Expectation(classes=("SampleThread",), installs=("lark",)),
        needs_index=True,
    ),
    "pip-changes-core": SampleNode(
        "moves a core package to another version",
        _init(bodies.PIP_NUMPY, "SampleCore"),
        Expectation(classes=("SampleCore",), installs=("numpy==2.3.2",)),
        needs_index=True,
    ),
    "pip-uninstalls": SampleNode(
        "removes a package at start",
        _init(bodies.PIP_UNINSTALL, "SampleRemoval") | {"requirements.txt": "cowsay\n"},
        Expectation(classes=("SampleRemoval",), removes=("cowsay",)),
        needs_index=True,
    ),
    "pip-fails-tolerated": SampleNode(
        "asks for a package that there is not, and loads all the same",
        _init(bodies.PIP_MISSING, "SampleTolerant"),
        Expectation(classes=("SampleTolerant",), installs=("no-such-package-of-the-sample==99",)),
        needs_index=True,
    ),
    "pip-fails-fatally": SampleNode(
        "asks for a package that there is not, and gives up",
        _init(bodies.PIP_MISSING_CHECKED, "SampleNever"),
        Expectation(
            "failed",
            logs=("(IMPORT FAILED)", "returned non-zero exit status 1"),
            installs=("no-such-package-of-the-sample==99",),
        ),
        needs_index=True,
    ),
    "install-script-installs": SampleNode(
        "its install.py installs what it imports",
        _init("import lark", "SampleScripted") | {"install.py": bodies.PIP_LARK},
        Expectation(classes=("SampleScripted",), install_exit=0, installs=("lark",)),
        needs_index=True,
    ),
    "install-script-fails": SampleNode(
        "its install.py fails, the node loads",
        _init("", "SampleScriptFails")
        | {"install.py": 'import sys\n\nprint("no compiler found")\nsys.exit(1)\n'},
        Expectation(classes=("SampleScriptFails",), install_exit=1),
    ),
    "install-script-writes": SampleNode(
        "its install.py puts a file into its own folder",
        _init(bodies.READS_MODEL_LIST, "SampleScriptWrites")
        | {"install.py": bodies.WRITES_MODEL_LIST},
        Expectation(classes=("SampleScriptWrites",), install_exit=0, writes=("node/models.json",)),
    ),
}

_REACHING_OUT: dict[str, SampleNode] = {
    "starts-daemon": SampleNode(
        "leaves a process behind that forked twice",
        _init(bodies.DAEMON, "SampleDaemon"),
        Expectation(classes=("SampleDaemon",), writes=("user/sample-daemon.pid",)),
    ),
    "ignores-signals": SampleNode(
        "makes ComfyUI deaf to SIGINT and SIGTERM",
        _init(bodies.DEAF, "SampleDeaf"),
        Expectation(classes=("SampleDeaf",)),
    ),
    "writes-pth": SampleNode(
        "puts a .pth file into site-packages",
        _init(bodies.WRITES_PTH, "SamplePth"),
        Expectation(classes=("SamplePth",), writes=("site-packages/sample-planted.pth",)),
    ),
    "edits-site-packages": SampleNode(
        "edits a file of a core package in place",
        _init(bodies.EDITS_NUMPY, "SampleEdit"),
        Expectation(classes=("SampleEdit",), writes=("site-packages/numpy/__init__.py",)),
    ),
    "writes-home-and-user": SampleNode(
        "writes into HOME, user/ and its own folder",
        _init(bodies.WRITES_SETTINGS, "SampleSettings"),
        Expectation(
            classes=("SampleSettings",),
            writes=("home/.config/sample-node.json", "user/sample-node.json", "node/styles.csv"),
        ),
    ),
    "writes-everywhere": SampleNode(
        "writes into the other nodes and wherever it is told to",
        _init(bodies.WRITES_EVERYWHERE, "SampleVandal"),
        Expectation(classes=("SampleVandal",)),
    ),
    "floods-log": SampleNode(
        "says far too much",
        _init(bodies.FLOODS, "SampleFlood"),
        Expectation(classes=("SampleFlood",), logs=("sample flood begins", "sample flood ends")),
    ),
    "controls-terminal": SampleNode(
        "prints control sequences",
        _init(bodies.CONTROLS, "SampleControls"),
        Expectation(classes=("SampleControls",), logs=("\x1b]0;taken over\x07", "\x1b[2J")),
    ),
    "contacts-host": SampleNode(
        "looks up a host and connects to it",
        _init(bodies.CONTACTS, "SampleContact"),
        Expectation(classes=("SampleContact",), hosts=("localhost", "127.0.0.1:9")),
    ),
    "starts-program": SampleNode(
        "runs git",
        _init(bodies.RUNS_GIT, "SampleProgram"),
        Expectation(classes=("SampleProgram",), programs=("git --version",)),
    ),
    "overreaches": SampleNode(
        "calls the system's package manager, updates itself, leaves a program running",
        _init(bodies.OVERREACHES, "SampleOverreach"),
        Expectation(
            classes=("SampleOverreach",),
            programs=("sudo -n pacman -S ffmpeg", "git pull", "sleep 31"),
            findings=("root", "system_packages", "self_update", "network_script", "daemon"),
        ),
    ),
    "shadows-humanize": SampleNode(
        "puts a humanize of its own before everybody's",
        _init("", "SampleShadow")
        | {
            "prestartup_script.py": bodies.SHADOWS,
            "vendored/humanize/__init__.py": '__version__ = "0.1"\n',
        },
        Expectation(classes=("SampleShadow",), breaks=("declares-two-packages",)),
    ),
}

NODES: dict[str, SampleNode] = _LOADING | _FAILING | _INSTALLING | _REACHING_OUT
