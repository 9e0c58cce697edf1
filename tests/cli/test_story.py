"""The whole life of a plugin, by hand: as a new user would type it."""

import os
import shutil
import subprocess

import pytest
from support.gov import Gov
from support.worlds import make_site, write_three

from governance.boundaries import uv


def imports(python, modules):
    command = [python, "-I", "-c", f"import {', '.join(modules)}"]
    return subprocess.run(command, capture_output=True).returncode == 0


def versions_of(python, modules):
    """Which of the modules are there at all."""
    return [module for module in modules if imports(python, [module])]


def play(gov, python, repository, modules, watch):
    """init is done; `watch` counts the starts of uv."""
    first, second, third = modules
    assert versions_of(python, modules) == []
    node = gov.json("node", "add", repository).ok().data["node"]["id"]
    txid = gov.json("tx", "run", node).ok().data["txid"]

    told = gov("tx", "inspect", txid).ok().out
    flags = {line.split()[1]: line for line in told.splitlines() if line.startswith("  added")}
    seen = gov.json("tx", "inspect", txid).data["diff"]
    added = {line.partition("==")[0] for line in seen["added"]}
    assert added >= set(modules)
    assert third in seen["undeclared"]
    assert not {first, second} & set(seen["undeclared"])
    assert flags[third].split()[-1] == "undeclared"

    watch.clear()
    done = gov.json("tx", "promote", txid).ok().data
    assert [line.split()[0] for line in watch() if line.split()[0] in ("lock", "sync")] == [
        "lock",
        "sync",
    ]
    assert imports(python, modules)
    rows = gov.json("snapshot", "list").ok().data["snapshots"]
    assert [row["id"] for row in rows[-2:]] == [done["pre_snapshot"], done["post_snapshot"]]

    watch.clear()
    gov("rollback", done["pre_snapshot"]).ok()
    assert versions_of(python, modules) == []
    gov("rollback", done["post_snapshot"]).ok()
    assert imports(python, modules)
    assert watch() == []


@pytest.fixture
def watch(tmp_path, monkeypatch):
    """uv behind a program that keeps a line for each start: `watch()`, `watch.clear()`."""
    log, shim = tmp_path / "uv.log", tmp_path / "shim" / "uv"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\necho "$@" >> {log}\nexec {uv.executable()} "$@"\n')
    shim.chmod(0o755)
    monkeypatch.setattr(uv, "executable", lambda: str(shim))

    def lines():
        return log.read_text().splitlines() if log.exists() else []

    lines.clear = lambda: log.unlink(missing_ok=True)
    return lines


def test_a_plugin_that_installs_a_third_package_by_itself(tmp_path, world, watch):
    site = make_site(tmp_path, world)
    assert [line.split()[0] for line in watch()].count("lock") == 1
    modules = ("cowsay", "humanize", "lark")
    play(site.gov, site.python, world.repos / "three-packages", modules, watch)


def test_going_back_needs_neither_network_nor_the_packages(tmp_path, world):
    """The wheels are gone, uv's cache is gone, uv itself is gone from PATH."""
    site = make_site(tmp_path, world, storage__uv_cache_dir=".uv-cache")
    done = site.promote("sample-captioner")
    from governance.boundaries import store

    store.remove_tree(site.root / ".uv-cache")
    moved = world.wheels.with_name("wheels-gone")
    world.wheels.rename(moved)
    try:
        for snapshot, there in ((done["pre_snapshot"], False), (done["post_snapshot"], True)):
            data = site.gov.json("rollback", snapshot).ok().data
            assert data["rebuilt"] is False
            assert imports(site.python, ["cowsay", "humanize"]) is there
    finally:
        moved.rename(world.wheels)


@pytest.mark.thorough
@pytest.mark.pypi
@pytest.mark.timeout(600)
def test_the_same_with_real_packages(tmp_path, world, watch):
    """Three small ones of the public index, into a workspace as a stranger makes it."""
    comfyui = shutil.copytree(world.comfyui, tmp_path / "ComfyUI", symlinks=True)
    modules = ("humanize", "cowsay", "lark")
    repository = write_three(tmp_path / "repos", "real-three", *modules)
    root = tmp_path / "comfy_env"
    Gov(None)("init", root, "--comfyui-dir", comfyui, "--resolution-date", "none").ok()
    assert os.readlink(root / ".venv-prod").startswith(".generations/")
    play(Gov(root), root / ".venv-prod/bin/python", repository, modules, watch)
