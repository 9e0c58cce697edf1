"""Private repositories: what the user may use, and where credentials must not turn up."""

import os
import subprocess
from pathlib import Path

import pytest

from governance import git
from governance.base.errors import GovError
from governance.boundaries import process

SECRET = "s3cr:et@%/"
ENCODED = "s3cr%3Aet%40%25%2F"
HTTP = ["http"]


def test_credentials_of_the_url_are_used_and_nowhere_stored(
    node, clone, host, naive, tmp_path, personal
):
    server = host(login=f"me:{SECRET}")
    (personal / ".gitconfig").write_text("[credential]\nhelper = store\n")
    address = server.url("node", f"me:{ENCODED}@")
    assert naive("clone", address, "x").returncode == 0
    assert "s3cr" in (tmp_path / "x" / ".git" / "config").read_text()
    assert "s3cr" in (personal / ".git-credentials").read_text()
    (personal / ".git-credentials").unlink()

    assert clone(address, protocols=HTTP).commit == node.git("rev-parse", "HEAD")
    assert git.origin(tmp_path / "clone") == server.url("node")
    for path in [*(tmp_path / "clone").rglob("*"), *personal.rglob("*")]:
        assert not path.is_file() or b"s3cr" not in path.read_bytes(), path


def test_credentials_stand_on_no_command_line(node, clone, host, monkeypatch):
    server = host(login=f"me:{SECRET}")
    seen = []
    spawn = process.spawn

    def spy(argv, **options):
        seen.extend(argv)
        return spawn(argv, **options)

    monkeypatch.setattr(process, "spawn", spy)
    clone(server.url("node", f"me:{ENCODED}@"), protocols=HTTP)
    assert seen
    assert not [argument for argument in seen if "s3cr" in argument]


def test_a_token_as_user_name(node, clone, host):
    server = host(login="t0ken:")
    assert clone(server.url("node", "t0ken@"), protocols=HTTP).commit


def test_a_users_name_of_a_letter_stays_in_the_words_of_git(clone):
    """Each of its letters became `***`, which told the name and spoilt the sentence."""
    with pytest.raises(GovError, match="unable to access") as caught:
        clone("https://u:hunter2@127.0.0.1:9/a/b")
    assert "hunter2" not in caught.value.message


def test_wrong_credentials_are_an_error_that_does_not_show_them(node, clone, host, tmp_path):
    server = host(login="me:other")
    with pytest.raises(GovError) as caught:
        clone(server.url("node", f"me:{ENCODED}@"), protocols=HTTP)
    error = caught.value
    assert "s3cr" not in f"{error.message}{error.hint}{error.facts}"
    assert server.url("node") in error.message
    assert "credentials" in error.hint
    assert not (tmp_path / "clone").exists()


def test_a_private_repository_without_credentials_does_not_ask(
    node, clone, host, trap, monkeypatch
):
    monkeypatch.setenv("GIT_ASKPASS", str(trap.program))
    monkeypatch.setenv("SSH_ASKPASS", str(trap.program))
    server = host(login="me:x")
    with pytest.raises(GovError) as caught:
        clone(server.url("node"), protocols=HTTP)
    assert "credentials" in caught.value.hint
    assert not trap.fired()


def test_credentials_are_not_given_to_another_host(node, clone, host):
    stranger = host(login="never:right")
    server = host(redirect=f"http://{stranger.address}")
    with pytest.raises(GovError):
        clone(server.url("node", f"me:{ENCODED}@"), protocols=HTTP)
    assert stranger.seen
    assert not any(stranger.seen)


@pytest.mark.parametrize("userinfo", ["", "me@"])
def test_the_users_own_credential_helper_works(node, clone, host, personal, userinfo):
    server = host(login="me:mine")
    (personal / ".git-credentials").write_text(f"http://me:mine@{server.address}\n")
    (personal / ".gitconfig").write_text("[credential]\nhelper = store\n")
    assert clone(server.url("node", userinfo), protocols=HTTP).commit


def test_a_header_for_one_host_in_the_users_config_works(node, clone, host, personal):
    """As CI systems pass their token."""
    server = host(login="me:x")
    (personal / "more").write_text(
        f'[http "http://{server.address}/"]\nextraHeader = Authorization: {server.login}\n'
    )
    (personal / ".gitconfig").write_text(f"[include]\npath = {personal}/more\n")
    assert clone(server.url("node"), protocols=HTTP).commit


@pytest.fixture
def ssh(tmp_path, monkeypatch):
    """An ssh that writes down its arguments and serves the repository on this machine."""
    folder = tmp_path / "bin"
    folder.mkdir()
    log = tmp_path / "ssh.log"
    program = folder / "ssh"
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {log}\necho "$SSH_AUTH_SOCK" >> {log}\n'
        'for last; do :; done\nexec sh -c "$last"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/the/agent")
    return log


def test_ssh_never_asks_and_keeps_its_agent(node, clone, ssh, tmp_path):
    cloned = clone(f"git@host:{node.path}")
    assert cloned.commit == node.git("rev-parse", "HEAD")
    said = ssh.read_text()
    assert "BatchMode=yes" in said
    assert "/the/agent" in said
    assert git.origin(tmp_path / "clone") == f"git@host:{node.path}"


@pytest.mark.parametrize("by", ["environment", "config"])
def test_the_users_own_ssh_command_is_kept(node, clone, ssh, by, personal, monkeypatch):
    if by == "environment":
        monkeypatch.setenv("GIT_SSH_COMMAND", "ssh -i /my/key")
    else:
        (personal / ".gitconfig").write_text("[core]\nsshCommand = ssh -i /my/key\n")
    clone(f"ssh://me@host{node.path}")
    assert "-i /my/key" in ssh.read_text()


def test_no_variable_of_git_leaks_in(monkeypatch, tmp_path, clone, node):
    """GIT_TRACE_CURL would write credentials into a log."""
    monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace.log"))
    subprocess.run(["git", "version"], check=True, capture_output=True)
    assert (tmp_path / "trace.log").exists()
    (tmp_path / "trace.log").unlink()
    clone(node.path)
    assert not Path(tmp_path / "trace.log").exists()
