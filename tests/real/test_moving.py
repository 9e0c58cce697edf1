"""Bundles with packages of the public index, and a snapshot that ComfyUI-Manager itself wrote."""

import json
import os
import re
import subprocess
import sys

import pytest
from support.gov import MAIN, Gov
from support.worlds import make_site, write_config

from governance.environments import generations
from governance.sample import world as sample
from governance.truth.workspace import Workspace

pytestmark = [pytest.mark.pypi, pytest.mark.timeout(900), pytest.mark.xdist_group("real")]

# Its own command line reads ComfyUI's options; a real ComfyUI does not parse them when imported.
_PARSES = re.compile(r"parser\.parse_args\(\)")


@pytest.fixture
def first(tmp_path, world):
    """A workspace on the public index."""
    folder = tmp_path / "first"
    folder.mkdir()
    comfyui = sample.write_comfyui(folder / "ComfyUI")
    root = folder / "comfy_env"
    root.mkdir()
    write_config(root, comfyui, world, storage__uv_cache_dir=str(folder / "cache"))
    gov = Gov(root)
    gov("init", root, "--resolution-date", "none").ok()
    gov("node", "add", world.repos / "sample-captioner").ok()
    txid = gov.json("tx", "run", "sample-captioner").ok().data["txid"]
    gov("tx", "promote", txid).ok()
    return gov


def prod(gov):
    return generations.prod(Workspace(gov.root.resolve()))


def files(gov):
    """Apart from scripts, in which the environment's own path stands."""
    top = (gov.root / ".venv-prod/lib").resolve()
    paths = [p for p in sorted(top.rglob("*")) if p.is_file() and "__pycache__" not in p.parts]
    return {str(p.relative_to(top)): p.read_bytes() for p in paths if p.name != "RECORD"}


def test_real_wheels_without_network(first, tmp_path):
    path = tmp_path / "real.gov.tar"
    data = first.json("export", path, "--with-code", "--with-wheels").ok().data
    assert data["wheels"] == len(prod(first).locked)
    again = tmp_path / "again.tar"
    first("export", again, "--with-code", "--with-wheels").ok()
    assert path.read_bytes() == again.read_bytes()
    (tmp_path / "home").mkdir()
    second = Gov(tmp_path / "second")
    words = ["init", second.root, "--comfyui-dir", tmp_path / "ComfyUI", "--from", path]
    isolated = ["unshare", "-n"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*isolated, sys.executable, str(MAIN), *map(str, words)],
        env={**os.environ, "HOME": str(tmp_path / "home"), "UV_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert prod(second).key == prod(first).key
    assert files(second) == files(first)


@pytest.mark.thorough
def test_a_snapshot_of_cm_cli(tmp_path, world):
    """From its package, in a venv of its own; JSON and YAML."""
    comfyui = sample.write_comfyui(tmp_path / "ComfyUI")
    options = comfyui / "comfy/cli_args.py"
    options.write_text(_PARSES.sub("parser.parse_known_args()[0]", options.read_text()))
    for name in ("sample-captioner", "sample-upscaler"):
        source = world.repos / name
        subprocess.run(["git", "clone", "-q", source, comfyui / "custom_nodes" / name], check=True)
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    pip = [venv / "bin/python", "-m", "pip", "install", "-q", "comfyui-manager", "aiohttp"]
    subprocess.run(pip, check=True)
    saved = [tmp_path / "snapshot.json", tmp_path / "snapshot.yaml"]
    for path in saved:
        done = subprocess.run(
            [venv / "bin/cm-cli", "save-snapshot", "--output", path],
            env={**os.environ, "COMFYUI_PATH": str(comfyui)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(saved[0].read_text())
    assert len(document["git_custom_nodes"]) == 2
    site = make_site(tmp_path / "site", world)
    for path in saved[::-1]:
        told = site.gov.json("import", path, "--dry-run").ok().data["brought"]
        assert len([text for text in told["exact"] if "custom_nodes" in text or "sample-" in text])
    run = site.gov.json("import", saved[0]).ok().data
    assert {row["node"] for row in run["steps"]} >= {"sample-captioner", "sample-upscaler"}
    site.gov("tx", "promote", run["txid"], "--approve-core", "--reason", "wished").ok()
    wanted = dict(line.split("==") for line in document["pips"] if "==" in line)
    assert site.head("sample-captioner") == sample.git(
        world.repos / "sample-captioner", "rev-parse", "HEAD"
    )
    assert wanted["comfyui-manager"]
