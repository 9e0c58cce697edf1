import pytest
from faults.model_workspace import Model, node_repositories
from support.gov import Gov


@pytest.fixture(scope="session")
def repositories(tmp_path_factory):
    return node_repositories(tmp_path_factory.mktemp("repositories"))


@pytest.fixture
def model(tmp_path, repositories, monkeypatch):
    """A workspace made with a stand-in for uv; one node is promoted."""
    made = Model(tmp_path, repositories, monkeypatch)
    made.admit("needs-alpha")
    return made


@pytest.fixture
def gov(model):
    return Gov(model.space.root)


@pytest.fixture
def site(model):
    return model.space.prod.resolve() / "lib/python3.11/site-packages"
