"""No verb leaves anything in the operator's home; what nodes are cloned from can become newer."""

import pytest

from governance.sample import world


@pytest.fixture(autouse=True)
def untouched_home(home):
    # Tests of other folders, earlier in the same process, may have run uv in this home.
    before = sorted(home.rglob("*"))
    yield
    assert sorted(home.rglob("*")) == before


class Upstream:
    """The repository that a node was cloned from: `commit` makes it newer."""

    def __init__(self, folder):
        self.folder = folder
        self.first = world.git(folder, "rev-parse", "HEAD")

    def commit(self, **files):
        """`init` is the text of __init__.py, `requirements` that of requirements.txt; the id."""
        names = {"init": "__init__.py", "requirements": "requirements.txt"}
        for name, text in files.items():
            (self.folder / names[name]).write_text(text)
        return world.commit(self.folder, f"changes {', '.join(files)}")

    def reset(self):
        world.git(self.folder, "reset", "--quiet", "--hard", self.first)


@pytest.fixture
def upstream(settled):
    """`upstream(node)` gives its Upstream; afterwards all are as they were."""
    made = {}

    def of(name):
        return made.setdefault(name, Upstream(settled.site.world.repos / name))

    yield of
    for one in made.values():
        one.reset()
