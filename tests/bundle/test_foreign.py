"""What other programs wrote: nodes at their commits, versions as wishes, and what is lost."""

import io
import json
import tarfile

import pytest
from support.fingerprint import truth_and_prod
from support.refusal import assert_refused

from governance.base.errors import GovError, UsageError
from governance.bundle.foreign import forms
from governance.sample import world as sample

A = "a" * 40
SNAPSHOT = {
    "comfyui": A,
    "git_custom_nodes": {
        "https://github.com/o/one": {"hash": "b" * 40, "disabled": False},
        "git@github.com:o/One.git": {"hash": None, "disabled": False},
        "https://github.com/o/off": {"hash": "c" * 40, "disabled": True},
        "https://user:s3cret@github.com/o/two.git": {"hash": None, "disabled": False},
        "https://github.com/ltdrdata/ComfyUI-Manager": {"hash": "d" * 40, "disabled": False},
        "https://github.com/o/odd": {"hash": "not a commit", "disabled": False},
    },
    "cnr_custom_nodes": {"comfyui-kjnodes": "1.1.2", "comfyui-manager": "3.0"},
    "file_custom_nodes": [{"filename": "my.py", "disabled": False}],
    "pips": {
        "numpy==2.3.2": "",
        "torch==2.9.1+cu130": "",
        "mine @ file:///home/me/mine": "",
        "-e git+https://t0ken@github.com/o/x#egg=x": "",
        "Foo_Bar==1": "",
    },
}
DESKTOP = {
    "type": "comfyui-desktop-2-snapshot",
    "version": 2,
    "snapshots": [
        {
            "version": 2,
            "comfyui": {"ref": "v0.22.3", "commit": A},
            "customNodes": [
                {"id": "k", "type": "cnr", "dirName": "k", "enabled": True, "version": "1.2"},
                {
                    "id": "one",
                    "type": "git",
                    "dirName": "one-dir",
                    "enabled": True,
                    "url": "https://github.com/o/one",
                    "commit": "b" * 40,
                },
                {"id": "x", "type": "file", "dirName": "x.py", "enabled": True},
                {"id": "y", "type": "git", "dirName": "y", "enabled": False, "url": "u"},
            ],
            "pipPackages": {"numpy": "2.3.2", "mine": "-e /home/me", "there": "https://x/y.whl"},
            "pythonVersion": "3.13",
            "torchStack": {"ref": {"source": {"indexTag": "cu130"}}},
        },
        {"version": 2},
    ],
}
COMFYGIT = f"""
[tool.comfygit]
comfyui_version = "v0.3.64"
comfyui_commit_sha = "{A}"
python_version = "3.12"
[tool.comfygit.nodes.one]
repository = "https://github.com/o/one"
source = "git"
pinned_commit = "{"b" * 40}"
[tool.comfygit.nodes.kj]
version = "1.1.2"
source = "registry"
[tool.comfygit.nodes.mine]
source = "development"
[tool.comfygit.models]
"blake3" = {{filename = "x.safetensors"}}
"""


def written(tmp_path, text, name="x.json"):
    path = tmp_path / name
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return path


def comfygit(tmp_path, text=COMFYGIT, name="./pyproject.toml"):
    path = tmp_path / "x.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for member, data in ((".python-version", b"3.12"), (name, text.encode())):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def urls(found):
    return {one.url: one.commit for one in found.repositories}


@pytest.mark.parametrize("form", ["json", "yaml", "wrapped"])
def test_a_snapshot_of_the_manager(tmp_path, form):
    if form == "yaml":
        yaml = pytest.importorskip("yaml")
        path = written(tmp_path, yaml.safe_dump({"custom_nodes": SNAPSHOT}), "x.yaml")
    else:
        inner = {"custom_nodes": SNAPSHOT} if form == "wrapped" else SNAPSHOT
        path = written(tmp_path, inner)
    found = forms.read(path)
    assert found.comfyui == A
    assert urls(found) == {
        "https://github.com/o/one": "b" * 40,
        "git@github.com:o/One.git": None,  # GitHub folds case, git's addresses do not
        "https://github.com/o/two.git": None,
    }
    assert found.registry == {"comfyui-kjnodes": "1.1.2"}
    assert found.versions == {"numpy": "2.3.2", "torch": "2.9.1+cu130", "foo-bar": "1"}
    lost = "\n".join(found.lost)
    for word in ("o/off", "disabled", "Manager itself", "my.py", "file:///home/me/mine", "o/odd"):
        assert word in lost
    assert "s3cret" not in str(found)
    assert "t0ken" not in str(found)


@pytest.mark.parametrize(
    "older",
    [
        {"comfyui": None, "git_custom_nodes": {}, "pips": ["numpy==1.0"]},
        {"git_custom_nodes": {}, "file_custom_nodes": []},
        {"custom_nodes": {"cnr_custom_nodes": {}}},
    ],
)
def test_an_older_snapshot_of_the_manager(tmp_path, older):
    found = forms.read(written(tmp_path, older))
    assert found.repositories == []
    assert "the commit of ComfyUI" in found.lost[0]


def test_two_addresses_of_one_repository(tmp_path):
    nodes = {"https://github.com/o/n": {"hash": A}, "git@github.com:o/n.git": {"hash": A}}
    found = forms.read(written(tmp_path, {"git_custom_nodes": nodes}))
    assert len(found.repositories) == 1
    assert any("twice" in sentence for sentence in found.lost)


def test_a_snapshot_of_the_desktop(tmp_path):
    found = forms.read(written(tmp_path, DESKTOP))
    assert found.comfyui == A
    assert [(one.name, one.commit) for one in found.repositories] == [("one-dir", "b" * 40)]
    assert found.registry == {"k": "1.2"}
    assert found.versions == {"numpy": "2.3.2"}
    lost = "\n".join(found.lost)
    for word in ("x.py", "y: it was disabled", "gov torch cu130", "gov python 3.13", "1 older"):
        assert word in lost


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"type": "comfyui-desktop-9"}, "its type"),
        ({"version": 3}, "newer program"),
        ({"snapshots": []}, "no snapshot"),
        ({"snapshots": [{"version": 9}]}, "newer program"),
        ({"snapshots": [{"version": 2, "pipPackages": {"-r evil": "1"}}]}, "no name of a package"),
        (
            {"snapshots": [{"version": 2, "customNodes": [{"dirName": "../x", "type": "git"}]}]},
            "no name of a folder",
        ),
    ],
)
def test_what_the_desktop_would_not_write(tmp_path, change, says):
    with pytest.raises(GovError, match=says):
        forms.read(written(tmp_path, {**DESKTOP, **change}))


def test_an_export_of_comfygit(tmp_path):
    found = forms.read(comfygit(tmp_path))
    assert found.comfyui == A
    assert urls(found) == {"https://github.com/o/one": "b" * 40}
    assert found.registry == {"kj": "1.1.2"}
    lost = "\n".join(found.lost)
    assert "mine" in lost
    assert "1 models" in lost


@pytest.mark.parametrize("what", ["cut", "no table", "no file", "no tar"])
def test_what_comfygit_would_not_write(tmp_path, what):
    path = comfygit(tmp_path)
    if what == "cut":
        path.write_bytes(path.read_bytes()[:-150])
    elif what == "no table":
        path = comfygit(tmp_path, "[project]\nname = 'x'\n")
    elif what == "no file":
        path = comfygit(tmp_path, name="x/pyproject.toml")
    else:
        path.write_bytes(b"\x1f\x8bnothing")
    with pytest.raises(GovError):
        forms.read(path)


def test_a_list_of_repositories(tmp_path):
    rows = [{"repo": "https://github.com/o/n", "commit": "a0f451a"}, {"repo": "https://x/y/z"}]
    assert urls(forms.read(written(tmp_path, rows))) == {
        "https://github.com/o/n": "a0f451a",
        "https://x/y/z": None,
    }


def test_a_freeze(tmp_path):
    text = "# made by pip\nnumpy==2.3.2 ; python_version > '3'\n--index-url https://x\n"
    text += "mine @ file:///x\nwith[extra]==1.0 \\\n    --hash=sha256:00\n-e .\n"
    found = forms.read(written(tmp_path, text, "requirements.txt"))
    assert found.versions == {"numpy": "2.3.2", "with": "1.0"}
    assert len(found.lost) == 3


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.json", '{"workflow": 1}'),
        ("x.json", "[]"),
        ("x.json", "3"),
        ("x.bin", "\x00\x01"),
        ("x.md", "# words"),
    ],
)
def test_a_form_that_nobody_knows(tmp_path, name, text):
    with pytest.raises(UsageError) as caught:
        forms.read(written(tmp_path, text, name))
    assert caught.value.code == "unknown_form"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.json", '{"git_custom_nodes": '),
        ("x.json", '{"git_custom_nodes": []}'.replace("[]", "[1]")),
        ("x.json", '{"git_custom_nodes": {"https://x/y": 1}}'),
        ("x.yaml", "custom_nodes: [\n"),
        ("x.yaml", "a: &a [x]\ncustom_nodes: {pips: [*a, *a]}\n"),
        ("x.yaml", "!!python/object/apply:os.system ['true']\n"),
    ],
)
def test_a_damaged_file(tmp_path, name, text):
    if name.endswith("yaml"):
        pytest.importorskip("yaml")
    with pytest.raises(GovError):
        forms.read(written(tmp_path, text, name))


# --- as it is typed ---------------------------------------------------------------------------


def commit(repo):
    return sample.git(repo, "rev-parse", "HEAD")


def test_a_snapshot_becomes_one_transaction(settled, tmp_path):
    """Nodes come at their commits, versions are kept where they can, the rest is told."""
    site = settled.site
    repos = site.world.repos
    here = commit(site.comfyui)
    path = written(
        tmp_path,
        {
            "comfyui": here,
            "git_custom_nodes": {
                str(repos / "sample-captioner"): {"hash": commit(repos / "sample-captioner")},
                str(repos / "three-packages"): {"hash": commit(repos / "three-packages")},
                str(repos / "odd-requirements"): {"hash": "0" * 40},
            },
            "cnr_custom_nodes": {"some-pack": "1.0"},
            "pips": {"colorama==0.4.5": "", "humanize==4.9.0": "", "mine @ file:///x": ""},
        },
    )
    run = site.gov.json("import", path)
    assert run.code in (0, 1), run
    brought = run.data["brought"]
    assert any(text.startswith("three-packages at ") for text in brought["exact"])
    assert any("sample-captioner" in text and "as it is here" in text for text in brought["exact"])
    assert any(text.startswith("ComfyUI at ") for text in brought["exact"])
    assert brought["wished"] == ["2 versions of packages, where they can be kept"]
    lost = "\n".join(brought["lost"])
    for word in ("file:///x", "odd-requirements", "some-pack 1.0"):
        assert word in lost, lost
    txid = run.data["txid"]
    promoted = site.gov("tx", "promote", txid)
    if promoted.code:  # what it installs at its start is in the plan now
        promoted = site.gov("tx", "promote", txid)
    promoted.ok()
    assert site.installed()["humanize"] == "4.9.0"
    assert not (site.nodes / "odd-requirements").exists()


def test_short_commits_are_completed(workspace, tmp_path):
    repo = workspace.world.repos / "shares-cowsay"
    path = written(tmp_path, [{"repo": str(repo), "commit": commit(repo)[:7]}])
    data = workspace.gov.json("import", path).ok().data
    assert data["brought"]["exact"] == [f"shares-cowsay at {commit(repo)[:12]}"]
    assert workspace.head("shares-cowsay") == commit(repo)


def test_a_freeze_moves_packages_to_its_versions(settled, tmp_path):
    site = settled.site
    path = written(tmp_path, "cowsay==5.0\nhumanize==4.14.0\n", "requirements.txt")
    run = site.gov.json("import", path).ok().data
    site.gov("tx", "promote", run["txid"]).ok()
    assert site.installed()["cowsay"] == "5.0"


def test_a_dry_run_asks_no_remote(settled, tmp_path):
    site = settled.site
    before = truth_and_prod(site.root)
    path = written(tmp_path, SNAPSHOT)
    told = site.gov("import", path, "--dry-run").ok()
    assert "https://github.com/o/one at bbbbbbbbbbbb" in told.out
    assert "torch 2.9.1+cu130: the build cu130 comes from another index" in told.out
    assert truth_and_prod(site.root) == before


@pytest.mark.parametrize("what", ["nothing new", "unknown", "damaged"])
def test_what_is_refused(settled, tmp_path, what):
    site = settled.site
    text = {"nothing new": '{"git_custom_nodes": {}}', "unknown": "{}", "damaged": "{"}[what]
    assert_refused(site, "import", written(tmp_path, text), code=1 if what == "damaged" else 2)
