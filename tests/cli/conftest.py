"""No verb leaves anything in the operator's home."""

import pytest


@pytest.fixture(autouse=True)
def empty_home(home):
    yield
    assert [path.name for path in home.iterdir()] == []
