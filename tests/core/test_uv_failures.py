"""What uv's words mean: a fault of the index, a build, or a conflict; and how long it may take."""

import sys
import time
from pathlib import Path

import pytest

from governance.base.errors import GovError
from governance.boundaries import process, scratch, uv_failures
from governance.boundaries.patience import Patience

URL = "https://host.example:8443/simple/"
CONFLICT = """\
error: No solution found when resolving dependencies
  cause: Because timeout-decorator was not found in the package registry and tls-client==1 depends
         on self-signed-certificate, network-unreachable and connection-refused, it fails.
"""
DENIED = (
    f"hint: An index URL ({URL}) could not be queried due to a lack of valid authentication "
    "credentials (401 Unauthorized)\n"
)
UNDATED = """\
warning: `Lark_X-1.2-py3-none-any.whl` is missing an upload date, but user provided: 2026-01-01T00Z
error: No solution found when resolving dependencies
  cause: Because there are no versions of lark-x and you require lark-x, it fails.

hint: `lark-x` was filtered by `exclude-newer` to only include packages uploaded before 2026
"""
FETCH = "error: Failed to fetch: {url}\n  cause: {cause}\n"
BUILD = """\
error: Failed to build `rawlib==1.0`
  cause: The build backend returned an error
  cause: Call to `b.build_wheel` failed (exit status: 1)

         [stderr]
         error: connection refused, HTTP status client error (401 Unauthorized), hash mismatch
"""


def failed(log, project=None):
    return uv_failures.failure("uv lock", process.Completed((), 1, "", log), project)


@pytest.fixture
def project(tmp_path):
    index = f'[[tool.uv.index]]\nname = "my-own"\nurl = "{URL}"\ndefault = true\n'
    (tmp_path / "pyproject.toml").write_text(index)
    return tmp_path


def test_names_of_packages_are_no_faults():
    assert uv_failures.is_conflict(CONFLICT)
    assert uv_failures.not_there(CONFLICT) == ("timeout-decorator",)


def test_what_a_build_prints_is_not_uvs_word():
    assert uv_failures.is_unbuildable(BUILD)
    assert failed(BUILD).code == "build_failed"
    assert failed(f"{BUILD}\n  no space left on device").code == "disk"


def test_an_index_that_refuses(project):
    assert not uv_failures.is_conflict(CONFLICT + DENIED)
    error = failed(CONFLICT + DENIED, project)
    assert error.code == "index_denied"
    assert error.message == (
        "the index at host.example:8443 refuses timeout-decorator (401 Unauthorized)"
    )
    assert "export UV_INDEX_MY_OWN_USERNAME=USER UV_INDEX_MY_OWN_PASSWORD=TOKEN" in error.hint


def test_a_conflict_beside_an_index_that_refuses_others():
    """The hint stands below it though every package was found."""
    text = "error: No solution found\n  cause: Because a depends on b<1 and you require b, no.\n"
    assert uv_failures.is_conflict(text + DENIED)


def test_an_index_without_upload_times(project):
    assert not uv_failures.is_conflict(UNDATED)
    error = failed(UNDATED, project)
    assert error.code == "index_undated"
    assert "no version of lark-x counts as there on 2026-01-01" in error.message
    assert uv_failures.is_conflict(UNDATED.partition("\n")[2]), "the date alone hides it"


@pytest.mark.parametrize(
    ("cause", "code", "says"),
    [
        ("HTTP status server error (502 Bad Gateway) for url", "index_failed", "502 Bad Gateway"),
        ("HTTP status client error (407 Proxy) for url", "index_denied", "refuses lark 1.2 (407"),
        ("invalid peer certificate: UnknownIssuer", "index_unreachable", "a certificate that is"),
        ("operation timed out", "index_unreachable", "did not answer in time"),
        ("tcp connect error\n  cause: Connection refused", "index_unreachable", "no connection"),
        ("dns error", "index_unreachable", "no name that the network knows"),
        ("end of file before message length reached", "bad_download", "broke off in the midst"),
    ],
)
def test_a_file_that_does_not_come(project, cause, code, says):
    url = "https://user:secret@files.example/a/lark-1.2-py3-none-any.whl.metadata"
    error = failed(FETCH.format(url=url, cause=cause), project)
    assert (error.code, uv_failures.is_conflict(error.facts["log"])) == (code, False)
    assert says in error.message
    assert "the index at files.example " in error.message
    assert "lark 1.2" in error.message
    assert "secret" not in error.message + error.hint


def test_a_wheel_with_another_hash_is_told_with_the_index_of_the_lock(project):
    lock = (
        '[[package]]\nname = "lark"\nversion = "1.2"\nsource = { registry = "https://b.example" }'
    )
    (project / "uv.lock").write_text(lock)
    text = "error: Failed to download `lark==1.2`\n  cause: Hash mismatch for `lark==1.2`\n"
    assert failed(text, project).message == (
        "the index at b.example sent other bytes for lark 1.2 than the hash names"
    )


# --- how long ---------------------------------------------------------------------------------


def waited(command, tmp_path, patience):
    watch = patience.of_lock(tmp_path)
    return process.run(["sh", "-c", command], watch=watch)


@pytest.mark.parametrize("command", ["sleep 3; true", "while :; do :; done & sleep 2.5; kill $!"])
def test_a_build_is_progress(tmp_path, command):
    """It may compile for an hour without a word."""
    assert waited(command, tmp_path, Patience(stall_seconds=1)).ok


def test_writing_is_progress(tmp_path):
    program = "import os, time\nfor _ in range(4):\n    time.sleep(0.8); os.write(1, b'x' * 5000)"
    watch = Patience(stall_seconds=1.5).of_lock(tmp_path)
    assert process.run([sys.executable, "-c", program], watch=watch).ok


@pytest.mark.parametrize(
    ("patience", "code"),
    [(Patience(stall_seconds=1), "index_stalled"), (Patience(lock_seconds=1), "timed_out")],
)
def test_nothing_done_ends_it(tmp_path, patience, code):
    began = time.monotonic()
    with pytest.raises(GovError) as caught:
        waited("exec sleep 60", tmp_path, patience)
    assert caught.value.code == code
    assert "pypi.org" in caught.value.message
    assert time.monotonic() - began < 10


# --- folders for a moment ---------------------------------------------------------------------


def test_a_folder_for_a_moment(tmp_path):
    with scratch.folder("x", within=tmp_path) as folder:
        (folder / "file").touch()
        scratch.sweep(tmp_path)
        assert (folder / "file").exists()
    assert list(tmp_path.iterdir()) == []


def test_only_what_dead_processes_left_is_swept(tmp_path):
    dead, link = tmp_path / "gov-x-4194303.7-ab", tmp_path / "gov-y-4194303.7-ab"
    (dead / "inner").mkdir(parents=True)
    (dead / "inner").chmod(0)
    link.symlink_to(Path.home())
    (tmp_path / "gov-mine").mkdir()
    scratch.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gov-mine", link.name]
