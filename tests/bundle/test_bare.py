"""gov init --from: from a bundle to a running prod in one command."""

import json

import pytest
from support.gov import Gov
from support.refusal import assert_told
from support.worlds import Site

from .conftest import generation, git, told


@pytest.fixture
def bare(tmp_path, world):
    """A home with nothing but a folder for it."""
    return Site(tmp_path / "comfy_env", tmp_path / "ComfyUI", world)


def test_one_command(bare, bundle, origin, pypi):
    pypi.requests.clear()
    gov = Gov(None)
    done = gov("init", bare.root, "--comfyui-dir", bare.comfyui, "--from", bundle).ok()
    assert "taken exactly:" in done.out
    assert pypi.requests == []
    assert git(bare.comfyui, "rev-parse", "HEAD") == git(origin.comfyui, "rev-parse", "HEAD")
    assert git(bare.comfyui, "status", "--porcelain", "-uno") == ""
    assert generation(bare).key == generation(origin).key
    assert (bare.root / "uv.lock").read_bytes() == (origin.root / "uv.lock").read_bytes()
    status = bare.gov.json("status").ok().data
    assert (status["nodes_total"], status["transactions_pending"]) == (5, 0)
    assert status["prod_env_exists"]
    states = {row["id"]: row["state"] for row in bare.gov.json("node", "list").ok().data["nodes"]}
    assert states == {
        "sample-captioner": "promoted",
        "three-packages": "promoted",
        "shares-cowsay": "disabled",
        "loose": "promoted",
        "single": "promoted",
    }
    bare.gov("verify").ok()
    onward = bare.root.parent / "onward.tar"
    bare.gov("export", onward, "--with-code").ok()
    assert [node["id"] for node in told(onward)["nodes"]] == list(states)
    again = gov("init", bare.root).ok()
    assert "workspace ready" in again.out
    assert not again.problems("warning"), again
    row = json.loads((bare.root / "state/history.jsonl").read_text().splitlines()[0])
    assert row["verb"] == "import"


@pytest.mark.parametrize("what", ["no file", "not empty", "no parent", "a setting", "a cut file"])
def test_what_keeps_it_from_beginning(bare, bundle, what, tmp_path):
    path, comfyui, more = bundle, bare.comfyui, []
    if what == "no file":
        path = tmp_path / "nowhere"
    elif what == "not empty":
        comfyui.mkdir()
        (comfyui / "mine").write_text("")
    elif what == "no parent":
        comfyui = tmp_path / "no/where"
    elif what == "a setting":
        more = ["--torch-backend", "cpu"]
    else:
        path = tmp_path / "cut.tar"
        path.write_bytes(bundle.read_bytes()[:5000])
    before = sorted(tmp_path.rglob("*"))
    ended = Gov(None)("init", bare.root, "--comfyui-dir", comfyui, "--from", path, *more)
    assert_told(ended, 1 if what == "a cut file" else 2)
    assert sorted(tmp_path.rglob("*")) == before
