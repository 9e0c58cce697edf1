"""The sample repositories, and the demo's story locked and started for real."""

import pytest

from governance.sample import world

from .conftest import ComfyUI, uv
from .test_index import locked, write_project


def test_the_checkout_is_a_clean_commit_of_a_fixed_id(tmp_path):
    one = world.write_comfyui(tmp_path / "one")
    two = world.write_comfyui(tmp_path / "two")
    assert world.git(one, "rev-parse", "HEAD") == world.git(two, "rev-parse", "HEAD")
    assert world.git(one, "status", "--porcelain") == ""
    assert world.git(one, "ls-files", "custom_nodes").split() == [
        "custom_nodes/example_node.py.example",
        "custom_nodes/websocket_image_save.py",
    ]


def test_clones_and_runtime_files_are_ignored(tmp_path):
    checkout = world.write_comfyui(tmp_path / "ComfyUI")
    world.write_node(checkout / "custom_nodes", "a", {"__init__.py": ""})
    (checkout / "user").mkdir()
    (checkout / "user" / "comfyui.db").write_text("")
    assert world.git(checkout, "status", "--porcelain") == ""


def test_the_commit_date_can_be_chosen(tmp_path):
    checkout = world.write_comfyui(tmp_path / "ComfyUI", commit_date="2024-02-03T04:05:06+00:00")
    assert world.git(checkout, "log", "-1", "--format=%cI") == "2024-02-03T04:05:06+00:00"


def test_git_is_not_that_of_the_user(tmp_path, monkeypatch):
    config = tmp_path / ".gitconfig"
    config.write_text("[user]\nname = Somebody\n[commit]\ngpgsign = true\n[core]\nhooksPath = /x\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Somebody else")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "wrong"))
    node = world.write_node(tmp_path / "nodes", "a", {"__init__.py": ""})
    assert world.git(node, "log", "--format=%an %cn") == "Sample Sample"
    assert world.git(node, "branch", "--show-current") == "main"


def test_writing_a_node_again_makes_a_further_commit(tmp_path):
    node = world.write_node(tmp_path, "a", {"__init__.py": "", "sub/data.bin": b"\xff\x00"})
    first = world.git(node, "rev-parse", "HEAD")
    assert world.write_node(tmp_path, "a", {"requirements.txt": "cowsay\n"}) == node
    assert world.git(node, "rev-parse", "HEAD~1") == first
    assert world.git(node, "ls-files").split() == [
        "__init__.py",
        "requirements.txt",
        "sub/data.bin",
    ]


@pytest.fixture
def nodes(tmp_path):
    return world.demo_nodes(tmp_path / "repositories")


@pytest.fixture
def lock(tmp_path, package_folder, request):
    """Lock ComfyUI's and these nodes' requirements over the index that the test names."""
    kind = request.param
    if kind == "flat":
        url, index = str(package_folder), 'format = "flat"'
    else:
        url, index = request.getfixturevalue("index").url if kind == "loopback" else "", ""

    def run(*nodes, settings=(), check=True):
        files = [world.COMFYUI, *(node.path for node in nodes)]
        lines = [line for file in files for line in (file / "requirements.txt").read_text().split()]
        # ComfyUI's date, where there is a choice: the story must be the same for ever.
        dated = [f'exclude-newer = "{world.COMMIT_DATE}"'] if kind == "real" else []
        text = "\n".join([*dated, *settings])
        folder = write_project(tmp_path / "project", url, *lines, settings=text, index=index)
        (folder / "uv.lock").unlink(missing_ok=True)
        done = uv("lock", "--project", folder, "--cache-dir", tmp_path / "cache", check=check)
        return folder, done

    return run


EVERY_INDEX = pytest.mark.parametrize(
    "lock", ["flat", "loopback", pytest.param("real", marks=pytest.mark.pypi)], indirect=True
)


@EVERY_INDEX
def test_the_demo_tells_its_story(lock, nodes):
    captioner, statistics, upscaler = nodes
    before = locked(lock()[0])
    first = locked(lock(captioner)[0])
    assert set(first) - set(before) == {"cowsay", "humanize"}
    assert {name: first[name] for name in before} == before

    done = lock(captioner, statistics, check=False)[1]
    assert done.returncode == 1
    assert "humanize<4" in done.stderr

    pinned = locked(lock(captioner, statistics, settings=[override(statistics)])[0])
    assert f"humanize=={pinned['humanize']}" == statistics.pin

    moved = locked(lock(captioner, upscaler)[0])
    assert {name for name in first if first[name] != moved[name]} == {upscaler.core} == {"numpy"}


def override(node):
    return f'override-dependencies = ["{node.pin}"]'


@EVERY_INDEX
def test_the_demo_nodes_start_with_their_pin(lock, nodes, tmp_path):
    folder, _ = lock(*nodes, settings=[override(nodes[1])])
    cache = tmp_path / "cache"
    uv("sync", "--project", folder, "--locked", "--cache-dir", cache, "--no-install-project")
    checkout = world.write_comfyui(tmp_path / "ComfyUI")
    for node in nodes:
        world.git(checkout, "clone", "--quiet", str(node.path), f"custom_nodes/{node.name}")
    comfyui = ComfyUI(checkout, folder / ".venv", tmp_path)
    try:
        comfyui.start().until_ready()
        assert [comfyui.classes_of(node.name) for node in nodes] == [
            {"SampleCaptioner"},
            {"SampleStatistics"},
            {"SampleUpscaler"},
        ]
        assert "sample-upscaler: numpy 2.3.2" in comfyui.log()
    finally:
        comfyui.kill()
