"""A registry on loopback, and the settings that lead to it."""

import pytest
from support import registry as loopback

from governance.boundaries import config


@pytest.fixture
def registry():
    with loopback.serving() as made:
        yield made


@pytest.fixture
def settings(registry, tmp_path):
    """A function: a Config that leads to that registry, with further settings."""

    def make(**given):
        path = tmp_path / "config.toml"
        usual = {"registry__url": registry.url, "registry__timeout_seconds": 5}
        path.write_text(config.template(**(usual | given)))
        return config.load(path)

    return make
