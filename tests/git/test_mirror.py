"""Mirrors of the user's own git: `url.<base>.insteadOf`."""

import pytest

from governance import git
from governance.base.errors import Refused
from governance.git.source import actual_protocol

from .conftest import PROTOCOLS, Repository

ADDRESS = "https://nowhere.invalid/some/node"


@pytest.fixture
def mirror(tmp_path, personal, monkeypatch):
    """A host that does not exist, and the user's own copy of what it has."""
    made = Repository(tmp_path / "mirror/node")
    made.commit(a="a")
    config = tmp_path / "gitconfig"
    config.write_text(
        f'[url "file://{tmp_path}/wrong/"]\n\tinsteadOf = https://nowhere.invalid/\n'
        f'[url "file://{tmp_path}/mirror/"]\n\tinsteadOf = https://nowhere.invalid/some/\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    return made


def test_the_longest_start_counts_and_is_cloned_from(mirror, tmp_path):
    source = git.source(ADDRESS, protocols=PROTOCOLS, cwd=tmp_path)
    done = git.clone(
        source, tmp_path / "clone", ref=None, protocols=PROTOCOLS, timeout=60, max_bytes=1 << 30
    )
    assert done.commit == mirror.git("rev-parse", "HEAD")
    assert source.url == ADDRESS


def test_the_mirror_s_protocol_is_one_that_is_allowed(mirror, tmp_path):
    source = git.source(ADDRESS, protocols=["https"], cwd=tmp_path)
    with pytest.raises(Refused, match="file"):
        git.list_refs(source, protocols=["https"])


@pytest.mark.parametrize(
    ("base", "protocol"), [("ssh://git@host/", "ssh"), ("git@host:", "ssh"), ("/srv/", "file")]
)
def test_the_protocol_is_that_of_the_base(base, protocol):
    rewriting = [("http.proxy", "https://h/"), (f"url.{base}.insteadof", "https://h/")]
    assert actual_protocol("https://h/x", rewriting, PROTOCOLS) == protocol
    assert actual_protocol("https://other/x", rewriting, PROTOCOLS) == "https"


def test_a_base_that_starts_a_helper_is_refused():
    with pytest.raises(Refused):
        actual_protocol("https://h/x", [("url.ext::sh -c .insteadof", "https://h/")], PROTOCOLS)
