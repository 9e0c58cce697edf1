"""What lies in custom_nodes is told as what it is, and what gov cannot take with the reason."""

import shutil

import pytest
from support.installations import files_of, write

from governance.adoption import survey
from governance.sample import world as sample
from governance.truth.workspace import Workspace


@pytest.fixture
def place(tmp_path, world):
    """A workspace without a truth, and its custom_nodes."""
    comfyui = shutil.copytree(world.comfyui, tmp_path / "ComfyUI", symlinks=True)
    root = tmp_path / "comfy_env"
    (root / "state").mkdir(parents=True)
    (root / "config.toml").write_text(f'comfyui_dir = "{comfyui}"\n')
    return Workspace(root), comfyui / "custom_nodes"


def found(place):
    return survey.nodes(place[0])


def test_two_clones_of_one_url_both_come_in_and_are_told(place, world):
    for name in ("first", "second"):
        sample.git(place[1], "clone", "-q", str(world.repos / "sample-captioner"), name)
    nodes = found(place)
    assert [plugin.id for plugin in nodes.plugins] == ["first", "second"]
    (note,) = nodes.notes
    assert "first and second are two clones of" in note
    assert "gov node disable second" in note


def test_a_name_that_can_be_no_id_gets_one(place):
    write(place[1] / "my node!", files_of("mine"))
    write(place[1] / "my-node", files_of("other"))
    nodes = found(place)
    assert {plugin.id: plugin.path.rpartition("/")[2] for plugin in nodes.plugins} == {
        "my-node": "my node!",
        "my-node-2": "my-node",
    }


def test_of_several_versions_that_lie_disabled_one_is_taken(place):
    for version in ("1_0_0", "1_1_0"):
        write(place[1] / f".disabled/pack@{version}", files_of("pack"))
    nodes = found(place)
    assert [(plugin.id, plugin.enabled) for plugin in nodes.plugins] == [("pack", False)]
    assert len(nodes.left_out) == 1


def test_an_enabled_one_goes_before_a_disabled_one(place):
    write(place[1] / "pack", files_of("pack"))
    write(place[1] / ".disabled/Pack@1_0_0", files_of("pack"))
    nodes = found(place)
    assert [(plugin.id, plugin.enabled) for plugin in nodes.plugins] == [("pack", True)]
    assert list(nodes.left_out) == ["Pack@1_0_0"]


def test_a_link_into_the_workspace_is_left_out(place):
    space, folder = place
    write(space.root / "state/node", files_of("inside"))
    (folder / "inside").symlink_to(space.root / "state/node")
    nodes = found(place)
    assert nodes.plugins == ()
    assert list(nodes.left_out) == ["inside"]


def test_a_clone_that_the_manager_made_keeps_its_registry_id(place, world):
    sample.git(place[1], "clone", "-q", str(world.repos / "sample-captioner"), "caption")
    (place[1] / "caption/.git/.cnr-id").write_text("sample-captioner\n")
    (plugin,) = found(place).plugins
    assert plugin.registry == {"id": "sample-captioner", "version": "nightly"}


def test_nodes_of_another_folder_are_told(place, tmp_path):
    write(tmp_path / "more/node-a", files_of("a"))
    write(tmp_path / "more", {"b.py": ""})
    (told,) = survey.elsewhere({"/x/extra_model_paths.yaml": [str(tmp_path / "more")]}, place[0])
    assert "b.py, node-a" in told
    assert survey.elsewhere({"/x/extra.yaml": [str(place[1]), "/nowhere"]}, place[0]) == []
    (told,) = survey.elsewhere({"/x/extra.yaml": None}, place[0])
    assert "could not be read" in told
