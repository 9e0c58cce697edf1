"""An installation that runs, made without gov (see support/installations.py)."""

import pytest
from support.installations import Installation


@pytest.fixture(scope="module")
def old(tmp_path_factory, world) -> Installation:
    made = Installation(tmp_path_factory.mktemp("old"), world)
    made.populate()
    return made
