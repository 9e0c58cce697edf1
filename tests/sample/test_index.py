import json
import subprocess
import sys
import tomllib
import urllib.request

import pytest

from governance.sample.index import serve
from governance.sample.listing import JSON_TYPE
from governance.sample.wheels import Wheel, build

from .conftest import uv

PROJECT = """\
[project]
name = "workspace"
version = "0"
requires-python = ">=3.11"
dependencies = {dependencies}

[tool.uv]
package = false
{settings}
"""
INDEX = """\
[[tool.uv.index]]
url = "{url}"
default = true
{more}
"""


def write_project(folder, url, *dependencies, settings="", index=""):
    """Without `url`, the index is the one that uv has by itself."""
    folder.mkdir(exist_ok=True)
    text = PROJECT.format(dependencies=json.dumps(dependencies), settings=settings)
    text += INDEX.format(url=url, more=index) if url else ""
    (folder / "pyproject.toml").write_text(text)
    return folder


def locked(folder):
    lock = tomllib.loads((folder / "uv.lock").read_text())
    return {package["name"]: package["version"] for package in lock["package"]}


@pytest.fixture
def lock(tmp_path, index):
    """Lock with a cache of its own, against the running index."""

    def run(*dependencies, check=True, settings="", env=None):
        folder = write_project(tmp_path / "project", index.url, *dependencies, settings=settings)
        return folder, uv(
            "lock", "--project", folder, "--cache-dir", tmp_path / "cache", check=check, env=env
        )

    return run


def sync(folder, tmp_path, *arguments, check=True):
    cache = tmp_path / "cache"
    return uv(
        "sync", "--project", folder, "--locked", "--cache-dir", cache, *arguments, check=check
    )


def test_lock_and_sync(tmp_path, lock, index):
    folder, _ = lock("numpy<2", "transformers[timm]==4.26.1")
    assert locked(folder) == {
        "workspace": "0",
        "numpy": "1.26.4",
        "transformers": "4.26.1",
        "tqdm": "4.67.1",
        "timm": "1.0.22",
        "torch": "2.9.1",
    }
    assert not any(request.endswith(".whl") for request in index.requests)
    sync(folder, tmp_path)
    assert index.count("GET /files/numpy-1.26.4-py3-none-any.whl") == 2  # its metadata, and it
    python = folder / ".venv" / "bin" / "python"
    subprocess.run([python, "-c", "import numpy, timm, tqdm"], check=True)


def test_a_conflict_is_told_apart_from_a_failure(lock):
    _, done = lock("humanize<4", "humanize>=4.9", check=False)
    assert done.returncode == 1
    assert "No solution found" in done.stderr


def test_yanked_is_not_chosen(lock):
    assert locked(lock("withdrawn")[0])["withdrawn"] == "1.0"


def test_yanked_is_taken_when_asked_for(lock):
    folder, done = lock("withdrawn==1.1")
    assert locked(folder)["withdrawn"] == "1.1"
    assert "it breaks everything" in done.stderr


def test_requires_python_is_respected(lock):
    _, done = lock("modern-only", check=False)
    assert done.returncode == 1
    assert "3.99" in done.stderr


def test_upload_time_is_what_exclude_newer_reads(tmp_path):
    build(Wheel("thing", "1.0", uploaded="2024-01-01T00:00:00Z"), tmp_path / "wheels")
    build(Wheel("thing", "2.0", uploaded="2025-06-01T00:00:00Z"), tmp_path / "wheels")
    with serve(tmp_path / "wheels") as index:
        settings = 'exclude-newer = "2025-01-01T00:00:00Z"'
        folder = write_project(tmp_path / "project", index.url, "thing", settings=settings)
        uv("lock", "--project", folder, "--cache-dir", tmp_path / "cache")
    assert locked(folder)["thing"] == "1.0"


def test_without_metadata_files_uv_reads_ranges(tmp_path, package_folder):
    with serve(package_folder, metadata=False) as index:
        folder = write_project(tmp_path / "project", index.url, "timm")
        uv("lock", "--project", folder, "--cache-dir", tmp_path / "cache")
        assert locked(folder)["torch"] == "2.9.1"
        assert not index.count(".metadata")
        assert index.count("HEAD /files/timm")


def ask(url, **headers):
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status, answer.headers, answer.read()


def pages(index, project):
    """The JSON and the HTML of one project."""
    url = f"{index.url}{project}/"
    return [ask(url, Accept=kind)[2].decode() for kind in (JSON_TYPE, "text/html")]


@pytest.mark.parametrize(
    ("asked", "first", "last"), [("100-199", 100, 199), ("-50", -50, None), ("100-", 100, None)]
)
def test_a_range_is_a_part(index, package_folder, asked, first, last):
    name = "numpy-2.4.1-py3-none-any.whl"
    whole = (package_folder / name).read_bytes()
    url = index.url.replace("/simple/", f"/files/{name}")
    status, headers, body = ask(url, Range=f"bytes={asked}")
    assert status == 206
    assert body == whole[first : None if last is None else last + 1]
    start = whole.index(body)
    assert headers["Content-Range"] == f"bytes {start}-{start + len(body) - 1}/{len(whole)}"


def test_requires_python_is_told(index):
    told, page = pages(index, "modern-only")
    assert json.loads(told)["files"][0]["requires-python"] == ">=3.99"
    assert 'data-requires-python="&gt;=3.99"' in page


def test_html_and_json_tell_the_same(index):
    told, page = pages(index, "withdrawn")
    told = json.loads(told)["files"]
    assert [file["filename"] for file in told] == [
        "withdrawn-1.0-py3-none-any.whl",
        "withdrawn-1.1-py3-none-any.whl",
    ]
    assert all(f"#sha256={file['hashes']['sha256']}" in page for file in told)
    assert page.count('data-yanked="it breaks everything"') == 1


def test_pip_reads_it_too(tmp_path, index):
    target = tmp_path / "target"
    options = ("--isolated", "--no-input", "--disable-pip-version-check", "--no-cache-dir")
    command = [sys.executable, "-m", "pip", *options, "install", "--index-url", index.url]
    subprocess.run([*command, "--target", target, "lark"], check=True, capture_output=True)
    assert (target / "lark.py").exists()


@pytest.mark.parametrize(
    ("match", "kind", "status"),
    [
        ("/simple/numpy", "status", 500),
        ("/simple/numpy", "status", 503),
        ("/simple/numpy", "status", 404),
        ("/simple/numpy", "reset", 0),
        ("/simple/numpy", "rubbish", 0),
        ("/simple/numpy", "hang", 0),
        (".whl.metadata", "truncated", 0),
    ],
)
def test_a_fault_fails_the_lock(lock, index, match, kind, status):
    index.fail(match, kind, status=status)
    folder, done = lock("numpy", check=False, env={"UV_HTTP_TIMEOUT": "1"})
    assert done.returncode in (1, 2), done.stderr
    assert "numpy" in done.stderr
    assert not (folder / "uv.lock").exists()
    index.heal()
    assert locked(lock("numpy")[0])["numpy"] == "2.4.1"


@pytest.mark.parametrize("kind", ["truncated", "reset", "rubbish", "status"])
def test_a_fault_fails_the_sync(tmp_path, lock, index, kind):
    folder, _ = lock("numpy")
    index.fail("py3-none-any.whl", kind)
    assert sync(folder, tmp_path, check=False).returncode != 0
    index.heal()
    sync(folder, tmp_path)


def test_a_wrong_hash_is_found_by_the_sync(tmp_path, lock, index):
    index.fail("/simple/numpy", "wrong-hash")
    folder, _ = lock("numpy")
    done = sync(folder, tmp_path, check=False)
    assert done.returncode != 0
    assert "mismatch" in done.stderr


def test_a_fault_can_pass(lock, index):
    index.fail("/simple/numpy", "status", times=1, status=503)
    folder, _ = lock("numpy", env={"UV_HTTP_RETRIES": "3"})
    assert locked(folder)["numpy"] == "2.4.1"
    assert index.count("/simple/numpy/") == 2


def test_a_slow_index_is_only_slow(lock, index):
    index.fail("/simple/", "slow", seconds=0.3)
    assert locked(lock("numpy")[0])["numpy"] == "2.4.1"


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_a_flat_folder_needs_no_server(tmp_path, package_folder, prefix):
    url = f"{prefix}{package_folder}"
    folder = write_project(tmp_path / "project", url, "timm", "numpy<2", index='format = "flat"')
    offline = ("--offline", "--cache-dir", tmp_path / "cache")
    uv("lock", "--project", folder, *offline)
    assert locked(folder)["numpy"] == "1.26.4"
    uv("sync", "--project", folder, "--locked", *offline)
    subprocess.run([folder / ".venv" / "bin" / "python", "-c", "import timm, numpy"], check=True)


def test_it_runs_as_a_program(package_folder):
    command = [sys.executable, "-m", "governance.sample.index", package_folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        url = program.stdout.readline().strip()
        with urllib.request.urlopen(url, timeout=10) as page:
            assert "numpy" in page.read().decode()
        program.terminate()
