"""A bundle that was cut, changed or made by an enemy: one error, one hint, nothing written."""

import io
import json
import tarfile

import pytest
from support.gov import Gov
from support.refusal import assert_refused

from governance import __version__
from governance.base.errors import GovError
from governance.boundaries import store
from governance.bundle import archive, contents
from governance.bundle.contents import Contents

TRUTH = {"pyproject.toml": b"p", "uv.lock": b"l", "plugins.json": b"[]", "story.json": b"{}"}


@pytest.fixture
def made(tmp_path):
    """A small bundle, as far as the archive is concerned."""
    path = tmp_path / "x.gov.tar"
    told = Contents(f"gov {__version__}", "Linux-x86_64", "3.11.7", {}, (), {})
    archive.write(path, told, {**TRUTH, "wheels/a-1-py3-none-any.whl": b"w" * 20_000})
    return path


def rewritten(path, change):
    """The same tar with its rows (TarInfo, bytes) changed."""
    with tarfile.open(path) as tar:
        rows = [(info, tar.extractfile(info).read()) for info in tar]
    rows = change(rows) or rows
    with tarfile.open(path, "w") as tar:
        for info, data in rows:
            info.size = len(data) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(data))


def refused(path, tmp_path, code="bad_bundle"):
    with pytest.raises(GovError) as caught:
        archive.unpack(path, tmp_path / "out")
    assert caught.value.code == code, caught.value
    return caught.value.message


def test_it_comes_back_as_it_went(made, tmp_path):
    found = archive.unpack(made, tmp_path / "out")
    assert found.wheels == ["a-1-py3-none-any.whl"]
    assert (tmp_path / "out/uv.lock").read_bytes() == b"l"


@pytest.mark.parametrize("kept", [0, 100, 600, 1500, 3000, 9000, -10_241, -21_000])
def test_cut(made, tmp_path, kept):
    """Anywhere: within a head, within a file, between two."""
    data = made.read_bytes()
    made.write_bytes(data[:kept])
    refused(made, tmp_path)


@pytest.mark.parametrize("name", [*TRUTH, "wheels/a-1-py3-none-any.whl"])
def test_changed(made, tmp_path, name):
    def change(rows):
        return [(i, data + b"x" if i.name == name else data) for i, data in rows]

    rewritten(made, change)
    assert name in refused(made, tmp_path)


@pytest.mark.parametrize("name", list(TRUTH))
def test_a_file_is_missing(made, tmp_path, name):
    rewritten(made, lambda rows: [row for row in rows if row[0].name != name])
    assert "missing" in refused(made, tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "/etc/gov-test",
        "../gov-test",
        "wheels/../../gov-test",
        "code/nodes/../../x.bundle",
        "code/nodes/.hidden.bundle",
        "wheels/x/y-1-py3-none-any.whl",
        "wheels/evil.pth",
        "pyproject.toml/x",
        "unknown",
        "",
    ],
)
def test_a_name_that_no_bundle_has(made, tmp_path, name):
    """Though bundle.json names it, with the right digest."""

    def change(rows):
        told = json.loads(rows[0][1])
        told["files"][name] = store.digest(b"evil")
        head = (rows[0][0], store.dump_json(told))
        return [head, *rows[1:], (tarfile.TarInfo(name), b"evil")]

    rewritten(made, change)
    refused(made, tmp_path)
    assert not (tmp_path / "gov-test").exists()


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE]
)
def test_what_is_no_plain_file(made, tmp_path, kind):
    def change(rows):
        info = tarfile.TarInfo("code/ComfyUI.bundle")
        info.type, info.linkname = kind, "/etc/passwd"
        return [*rows, (info, b"")]

    rewritten(made, change)
    refused(made, tmp_path)


def test_a_file_twice(made, tmp_path):
    rewritten(made, lambda rows: [*rows, rows[-1]])
    assert "twice" in refused(made, tmp_path)


def test_a_file_that_bundle_json_does_not_name(made, tmp_path):
    rewritten(made, lambda rows: [*rows, (tarfile.TarInfo("wheels/b-1-py3-none-any.whl"), b"")])
    assert "not named" in refused(made, tmp_path)


def manifest(made, **changed):
    def change(rows):
        row = json.loads(rows[0][1]) | changed
        return [(rows[0][0], store.dump_json(row)), *rows[1:]]

    rewritten(made, change)


def test_a_newer_gov(made, tmp_path):
    manifest(made, schema=contents.SCHEMA + 1, made_by="gov 9.9")
    said = refused(made, tmp_path, "newer_bundle")
    assert "gov 9.9" in said


@pytest.mark.parametrize(
    "changed",
    [
        {"schema": "1"},
        {"files": []},
        {"nodes": [{"id": "x"}]},
        {"python": None},
        {"nodes": None},
        {"comfyui": "x"},
    ],
)
def test_a_manifest_of_another_shape(made, tmp_path, changed):
    manifest(made, **changed)
    refused(made, tmp_path)


def test_a_node_whose_id_leads_out(made, tmp_path):
    node = {"id": "../x", "kind": "clone", "origin": None, "commit": None, "ref": None}
    manifest(made, nodes=[{**node, "code": None, "enabled": True}])
    assert "no id of a node" in refused(made, tmp_path)


def test_it_is_written_whole_or_not_at_all(tmp_path):
    told = Contents("gov", "Linux", "3.11.7", {}, (), {})
    with pytest.raises(FileNotFoundError):
        archive.write(tmp_path / "x.tar", told, {"uv.lock": tmp_path / "nowhere"})
    assert not [*tmp_path.iterdir()]


# --- as it is typed ---------------------------------------------------------------------------


def test_a_commit_that_is_none(made, tmp_path):
    """It would become the name of a file, and a word of a command."""
    node = {"id": "x", "kind": "clone", "origin": None, "ref": None, "enabled": True}
    for commit in ("../../x", "--upload-pack=x", "A" * 40, "abc"):
        manifest(made, nodes=[{**node, "code": "a" * 40, "commit": commit}])
        assert "no commit" in refused(made, tmp_path)
        manifest(made, nodes=[], comfyui={"commit": commit})
        assert "no commit" in refused(made, tmp_path)


_HOSTILE = {
    "folder index": ("pyproject.toml", b'"wheels"', b'"/srv/wheels"'),
    "other group": ("plugins.json", b'"node-sample-captioner"', b'"core"'),
    "an interpreter": ("pyproject.toml", b'python = "3.', b'python = "/tmp/x/python3.'),
    "a build": ("pyproject.toml", b"package = false", b"package = true"),
    "a package of this machine": (
        "uv.lock",
        b'source = { registry = "wheels" }',
        b'source = { directory = "/tmp/x" }',
    ),
    "comfyui": ("pyproject.toml", b'commit = "', b'commit = "../'),
}


@pytest.mark.parametrize("what", ["cut", "newer", "a wheel", *_HOSTILE])
def test_nothing_is_written(settled, made, tmp_path, what):
    site = settled.site
    path = tmp_path / "good.tar"
    site.gov("export", path, "--with-code", "--with-wheels").ok()
    with tarfile.open(path) as tar:
        rows = {info.name: tar.extractfile(info).read() for info in tar}
    told = json.loads(rows.pop("bundle.json"))
    if what == "newer":
        told["schema"] = 2
    elif what in _HOSTILE:
        name, before, after = _HOSTILE[what]
        assert before in rows[name]
        rows[name] = rows[name].replace(before, after, 1)
    elif what == "a wheel":
        name = next(name for name in rows if name.startswith("wheels/"))
        rows["uv.lock"] = rows["uv.lock"].replace(
            f'path = "{name}" }}'.encode(), f'path = "{name}", hash = "sha256:00" }}'.encode()
        )
    told["files"] = {name: store.digest(data) for name, data in rows.items()}
    bad = tmp_path / "bad.tar"
    with tarfile.open(bad, "w") as tar:
        for name, data in {"bundle.json": store.dump_json(told), **rows}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    if what == "cut":
        bad.write_bytes(bad.read_bytes()[:-20_000])
    assert_refused(site, "import", bad, code=1)
    assert isinstance(site.gov, Gov)
