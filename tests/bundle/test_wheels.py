"""Which file of a lock fits, that it is the one that the lock names, and how it is installed."""

import tomllib
from pathlib import Path

import pytest
from support.refusal import assert_refused

from governance.bundle import wheels
from governance.catalogue import index_page
from governance.environments import wheelhouse
from governance.truth.workspace import Workspace

from .conftest import FILE


def package(*names, kind="registry"):
    files = [{"url": f"https://x/{n}", "hash": f"sha256:{i}"} for i, n in enumerate(names)]
    return {"name": "a-b", "version": "1.0", "source": {kind: "https://x/simple"}, "wheels": files}


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["a_b-1.0-py3-none-any.whl"], 0),
        (["a_b-1.0-py3-none-any.whl", "a_b-1.0-cp311-cp311-manylinux_2_17_x86_64.whl"], 1),
        (["a_b-1.0-cp312-cp312-manylinux_2_17_x86_64.whl"], None),
        (["a_b-1.0-cp311-cp311-win_amd64.whl", "a_b-1.0-cp39-abi3-manylinux_2_17_x86_64.whl"], 1),
        (["a_b-1.0-1-py3-none-any.whl", "a_b-1.0-2-py3-none-any.whl"], 1),
        (["a_b-1.0-cp311-cp311-musllinux_1_2_x86_64.whl"], None),
        (["nonsense.whl"], None),
        ([], None),
    ],
)
def test_which_wheel_fits(names, wanted):
    ranks = wheels.ranking("3.11.7")
    found = wheels.choose(package(*names), ranks)
    assert (found.name if found else None) == (None if wanted is None else names[wanted])


def test_what_comes_from_no_index_is_not_chosen():
    assert (
        wheels.choose(package("a_b-1.0-py3-none-any.whl", kind="url"), wheels.ranking("")) is None
    )


def test_credentials_are_uvs(monkeypatch):
    monkeypatch.setenv("UV_INDEX_MY_OWN_USERNAME", "ann")
    monkeypatch.setenv("UV_INDEX_MY_OWN_PASSWORD", "pw")
    rows = [{"name": "my-own", "url": "https://x.example/simple"}, {"url": "y"}]
    assert index_page.credentials(rows) == {"x.example": "YW5uOnB3"}


def test_a_file_that_is_not_the_one_of_the_lock(origin, pypi, tmp_path):
    pypi.fail("/files/cowsay", "truncated")
    try:
        assert_refused(origin, "export", tmp_path / FILE, "--with-code", "--with-wheels", code=1)
    finally:
        pypi.heal()
    assert not [*tmp_path.iterdir()]


LOCK = """\
version = 1

[[package]]
name = "env"
version = "0"
source = { virtual = "." }

[[package]]
name = "a-b"
version = "1.0"
source = { registry = "https://x/simple" }
wheels = [
    { url = "https://x/a_b-1.0-py3-none-any.whl", hash = "sha256:00", size = 1 },
    { url = "https://x/a_b-1.0-cp399-none-any.whl", hash = "sha256:01", size = 1 },
]

[[package]]
name = "only-source"
version = "2.0"
source = { registry = "https://x/simple" }
sdist = { url = "https://x/only_source-2.0.tar.gz", hash = "sha256:02", size = 1 }
"""


def rewritten(tmp_path, *names, own=()):
    space = Workspace(tmp_path)
    data = LOCK.encode()
    for folder, files in ((space.wheels, names), (wheelhouse.built(space, data), own)):
        folder.mkdir(parents=True, exist_ok=True)
        for name in files:
            (folder / name).write_text("")
    known = wheelhouse._at_hand(space, data, Path("uv.lock"))
    if not known:
        return None
    text = wheelhouse._placed(LOCK, known, space.wheels)
    rows = {row["name"]: row for row in tomllib.loads(text)["package"]}
    return {name: row.get("wheels") for name, row in rows.items()}


def test_a_lock_with_its_files_at_hand(tmp_path):
    """What was built from source counts for the lock that it came with, and no other."""
    one, source = "a_b-1.0-py3-none-any.whl", "only_source-2.0-py3-none-any.whl"
    found = rewritten(tmp_path, one, own=[source])
    assert found["a-b"] == [{"path": f"{tmp_path}/.wheels/{one}", "hash": "sha256:00"}]
    (made,) = found["only-source"]
    assert made["path"].endswith(f"/{source}")
    assert "hash" not in made
    assert found["env"] is None


@pytest.mark.parametrize(
    "names",
    [
        ["a_b-1.0-py3-none-any.whl"],
        ["a_b-1.0-py3-none-any.whl", "only_source-2.0-py3-none-any.whl"],
        ["only_source-2.0-py3-none-any.whl"],
    ],
)
def test_a_lock_of_which_a_file_is_missing(tmp_path, names):
    """A wheel without a hash, from who knows which bundle, stands in for nothing."""
    assert rewritten(tmp_path, *names) is None
