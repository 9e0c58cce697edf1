"""A home of its own for the whole run, and worlds to govern (see support/worlds.py)."""

import os
import pwd
import signal
import sys
from pathlib import Path

import pytest
from support.rewound import Beginnings
from support.worlds import Settled, Site, World, make_site

_REAL_HOME = Path(pwd.getpwuid(os.getuid()).pw_dir).resolve()
_CHECKOUT = Path(__file__).resolve().parent.parent
_CACHES = (".cache", ".config", ".local", ".gitconfig", ".netrc", ".ssh", ".pip")

# A shell without job control starts what runs behind its back with SIGINT ignored, and the children
# that the tests interrupt would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory):
    """No test knows the operator's home; its path is returned."""
    own = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(own))
        for name in [*os.environ]:
            if name.startswith(("XDG_", "UV_", "PIP_", "GIT_", "GOV_ROOT", "COLUMNS")):
                patch.delenv(name)
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        yield own


def _guard(event, arguments):
    """Raised where a test writes to what the operator keeps at home."""
    if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        path = Path(os.fsdecode(arguments[0]))
        writes = arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes and any(path.is_relative_to(_REAL_HOME / name) for name in _CACHES):
            raise PermissionError(f"a test writes to the real home: {path}")


if not _CHECKOUT.is_relative_to(_REAL_HOME / ".cache"):
    sys.addaudithook(_guard)


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def beginnings(tmp_path_factory) -> Beginnings:
    """What several tests begin with, made once and rewound for each (see support/rewound.py)."""
    return Beginnings(lambda: tmp_path_factory.mktemp("begun"))


@pytest.fixture
def workspace(beginnings, world) -> Site:
    """A ComfyUI and an initialised workspace, as if they were fresh."""
    return beginnings(make_site, world)


@pytest.fixture
def settled(beginnings, world) -> Settled:
    """A workspace in which things have happened."""
    return beginnings(Settled, world)


# The ordinary run ends in minutes.  Of a family of like cases (one test, many parameters) it takes
# a few, spread evenly: so many of each folder where a case costs much, or as many as the test's own
# mark says (`family(2)`).  It leaves out what is marked `thorough`.  GOV_TESTS=all takes all of
# them, and so do the long forms of the faults and the fuzzers.
_FAMILY = {
    "cli": 3,
    "sample": 3,
    "drift": 3,
    "core": 3,
    "observation": 3,
    "bundle": 3,
    "graph": 2,
    "faults": 2,
}


def pytest_collection_modifyitems(config, items):
    if _wants_all() or any("::" in word for word in config.args):
        return
    families: dict[str, list[pytest.Item]] = {}
    for item in items:
        families.setdefault(item.nodeid.partition("[")[0], []).append(item)
    spared = {item for family in families.values() for item in _beyond(family)}
    spared |= {item for item in items if item.get_closest_marker("thorough")}
    if spared:
        config.hook.pytest_deselected(items=[item for item in items if item in spared])
        items[:] = [item for item in items if item not in spared]


def _wants_all() -> bool:
    wishes = {"GOV_TESTS": "all", "GOV_FAULTS": "long", "GOV_FUZZ": "long"}
    return any(os.environ.get(name) == value for name, value in wishes.items())


def _beyond(family: list[pytest.Item]) -> list[pytest.Item]:
    """All but the members that are taken, evenly spaced, the first among them."""
    marked = family[0].get_closest_marker("family")
    usual = _FAMILY.get(Path(family[0].path).parent.name, len(family))
    taken = marked.args[0] if marked else usual
    if len(family) <= taken:
        return []
    kept = {len(family) * number // taken for number in range(taken)}
    return [item for place, item in enumerate(family) if place not in kept]
