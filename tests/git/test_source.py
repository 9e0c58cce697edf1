"""Addresses as people, and attackers, type them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance import git
from governance.base.errors import GovError, Refused, UsageError

PROTOCOLS = ("https", "ssh", "file")


def parse(text, cwd, protocols=PROTOCOLS):
    return git.source(text, protocols=protocols, cwd=cwd)


@pytest.mark.parametrize(
    ("text", "url", "protocol"),
    [
        ("https://github.com/a/b.git", "https://github.com/a/b.git", "https"),
        ("HTTPS://github.com/a/b", "https://github.com/a/b", "https"),
        ("https://github.com:8443/a/b/", "https://github.com:8443/a/b/", "https"),
        ("https://[2001:db8::1]/a/b", "https://[2001:db8::1]/a/b", "https"),
        ("git@github.com:a/b.git", "git@github.com:a/b.git", "ssh"),
        ("work:a/b.git", "work:a/b.git", "ssh"),
        ("ssh://git@host:2222/a/b", "ssh://git@host:2222/a/b", "ssh"),
        ("https://me:secret@host/a/b", "https://host/a/b", "https"),
        ("https://me:se%40c:r@et@host/a/b", "https://host/a/b", "https"),
        ("https://token@host/a/b", "https://host/a/b", "https"),
        ("ssh://git:secret@host/a/b", "ssh://git@host/a/b", "ssh"),
    ],
)
def test_remote_addresses(tmp_path, text, url, protocol):
    source = parse(text, tmp_path)
    assert (source.url, source.protocol, source.local) == (url, protocol, False)
    assert "secret" not in repr(source)


def test_credentials_are_decoded_and_kept_for_fetching(tmp_path):
    source = parse("https://me:se%40cret@host/a/b", tmp_path)
    assert (source.username, source.password) == ("me", "se@cret")
    assert source.fetch_url == "https://me:se%40cret@host/a/b"


@pytest.mark.parametrize("typed", ["repo", "./repo/", "{0}/repo", "file://{0}/repo"])
def test_local_addresses_become_absolute(tmp_path, typed):
    (tmp_path / "repo").mkdir()
    source = parse(typed.format(tmp_path), tmp_path)
    assert (source.url, source.protocol, source.local) == (f"{tmp_path}/repo", "file", True)


def test_a_file_url_is_percent_decoded(tmp_path):
    (tmp_path / "a b").mkdir()
    assert parse(f"file://{tmp_path}/a%20b", tmp_path).url == f"{tmp_path}/a b"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("ext::sh -c 'touch /tmp/x'", "ext"),
        ("EXT::sh", "ext"),
        ("fd::17", "fd"),
        ("::x", "::"),
        ("http://host/a/b", "http"),
        ("git://host/a/b", "git"),
        ("ftp://host/a/b", "ftp"),
        ("git+https://host/a/b", "git+https"),
        ("ext://sh/x", "ext"),
    ],
)
def test_other_protocols_are_refused_by_name(tmp_path, text, named):
    with pytest.raises(Refused) as caught:
        parse(text, tmp_path)
    assert repr(named) in caught.value.message
    assert caught.value.code == "policy"
    assert caught.value.facts["protocol"] == named
    assert "https, ssh, file" in caught.value.hint


def test_policy_decides(tmp_path):
    assert parse("http://host/a", tmp_path, ["http"]).protocol == "http"
    for local in (str(tmp_path), f"file://{tmp_path}", "."):
        with pytest.raises(Refused, match="'file'"):
            parse(local, tmp_path, ["https", "ssh"])
    with pytest.raises(Refused, match="'ssh'"):
        parse("git@host:a/b", tmp_path, ["https"])
    with pytest.raises(Refused, match="'ext'"):
        parse("ext::sh", tmp_path, ["ext"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        " https://host/a",
        "https://host/a\n",
        "https://host/\x1b[2J",
        "https://host/a\u202eb",
        "-u",
        "--upload-pack=touch x",
        "https://",
        "https:///a/b",
        "https://host",
        "https://host/",
        "https://host:port/a",
        "https://host:99999/a",
        "https://[::1/a",
        "https://-host/a",
        "https://host/a?token=secret",
        "https://host/a#secret",
        "https://me:%0asecret@host/a",
        "https://me:secret@/a",
        "https://me:sec/secret@host/a",
        "ssh://-oProxyCommand=touch x/a",
        "ssh://-oProxyCommand=secret@host/a",
        "-oProxyCommand=x:a/b",
        "-l@host:a",
        "host:-u",
        ":a/b",
        "me:secret@host:a/b",
        "file://host/a",
        "file://relative",
        "file:///a%00b",
        "missing",
    ],
)
def test_what_is_no_address_is_refused_without_repeating_secrets(tmp_path, text):
    with pytest.raises(UsageError) as caught:
        parse(text, tmp_path)
    assert caught.value.hint
    assert "secret" not in f"{caught.value.message}{caught.value.hint}{caught.value.facts}"


@given(st.text(min_size=1))
def test_any_text_is_a_source_or_an_error_for_people(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp()
    try:
        source = parse(text, folder, (*PROTOCOLS, "http", "git"))
    except GovError:
        return
    assert not source.url.startswith("-")
    assert source.url.isprintable()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://github.com/a/b", "https://github.com/a/b.git"),
        ("https://github.com/a/b", "https://github.com/a/b/"),
        ("https://github.com/a/b.git/", "git@github.com:a/b.git"),
        ("https://github.com/a/b", "ssh://git@github.com/a/b.git"),
        ("https://github.com:443/a/b", "ssh://git@github.com:22/a/b"),
        ("https://GitHub.com/a/b", "https://github.com/a/b"),
        ("https://me:secret@github.com/a/b", "https://github.com/a/b"),
        ("https://host/a%2Db", "https://host/a-b"),
        ("/srv/node/", "file:///srv/node"),
        ("/srv/node/.git", "/srv/node"),
    ],
)
def test_same_origin(one, other):
    assert git.same_origin(one, other)
    assert git.same_origin(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://github.com/a/b", "https://github.com/a/c"),
        ("https://github.com/a/b", "https://gitlab.com/a/b"),
        ("https://github.com/a/b", "https://github.com:8443/a/b"),
        ("https://github.com/a/b", "https://github.com@evil.example/a/b"),
        ("https://host/a/b", "/a/b"),
        ("host:a/b", "/host/a/b"),
        ("/srv/node", "/srv/other"),
    ],
)
def test_different_origins(one, other):
    assert not git.same_origin(one, other)


def test_same_origin_follows_links_of_this_machine(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert git.same_origin(str(tmp_path / "link"), str(tmp_path / "real"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:secret@host/a", "https://host/a"),
        ("https://secret@host/a", "https://host/a"),
        ("ssh://git:secret@host/a", "ssh://git@host/a"),
        ("git@host:a/b", "git@host:a/b"),
        ("/srv/a@b", "/srv/a@b"),
    ],
)
def test_credentials_are_stripped_from_what_is_shown(text, shown):
    assert git.stripped(text) == shown
