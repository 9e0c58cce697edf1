"""Stages to break things on, in memory where the machine offers that."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from governance.sample import index

from . import calls, figures
from .stage import Stage
from .trials import Trials

_MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session")
def grounds(tmp_path_factory):
    """A folder that rewinds quickly: in memory if that holds files, else on the disk."""
    if not os.access(_MEMORY, os.W_OK):
        yield tmp_path_factory.mktemp("faults")
        return
    folder = Path(tempfile.mkdtemp(prefix="gov-faults-", dir=_MEMORY))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def stage(grounds) -> Stage:
    made = Stage(grounds / "stage")
    made.settle()
    return made


@pytest.fixture(scope="module")
def served(grounds):
    """A stage whose truth names an index over HTTP, which lies on demand."""
    made = Stage(Path(tempfile.mkdtemp(prefix="served-", dir=grounds)), resolution__stall_seconds=3)
    with index.serve(made.wheels) as server:
        made.rewind("empty")
        made.gov("init", made.root, "--index", server.url, "--resolution-date", "none").ok()
        made.gov("node", "add", made.repos / "idle").ok()
        made.keep("served")
        made.server = server
        yield made


@pytest.fixture
def traced():
    reason = calls.missing()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def trials(stage) -> Trials:
    return Trials(stage)


@pytest.fixture
def note(request):
    """Counts for the table: note("kill", points=3, bad=0)."""
    return lambda part, **counts: figures.note(part, request.node.name, **counts)


def pytest_terminal_summary(terminalreporter):
    if any("/faults/" in report.nodeid for report in terminalreporter.stats.get("passed", [])):
        terminalreporter.write_sep("-", "figures of the fault tests")
        terminalreporter.write_line(figures.table())
