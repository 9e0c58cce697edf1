"""No verb leaves anything in the operator's home."""

import pytest


@pytest.fixture(autouse=True)
def untouched_home(home):
    # Tests of other folders, earlier in the same process, may have run uv in this home.
    before = sorted(home.rglob("*"))
    yield
    assert sorted(home.rglob("*")) == before
