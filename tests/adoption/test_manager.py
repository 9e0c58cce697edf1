"""What ComfyUI-Manager was told becomes proposals, and nothing is decided by them."""

import pytest

from governance.adoption.manager import proposals
from governance.truth.workspace import Workspace


@pytest.fixture
def told(tmp_path):
    (tmp_path / "comfy_env").mkdir()
    (tmp_path / "comfy_env/config.toml").write_text(f'comfyui_dir = "{tmp_path}/ComfyUI"\n')
    space = Workspace(tmp_path / "comfy_env")
    (tmp_path / "ComfyUI").mkdir()
    (tmp_path / "ComfyUI/main.py").touch()

    def write(files, versions=None, folder="user/__manager"):
        for name, text in files.items():
            path = tmp_path / "ComfyUI" / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return proposals(space, versions or {})

    return write


def test_a_blacklist_names_what_is_no_core_package_yet(told):
    (found,) = told({"config.ini": "[default]\ndowngrade_blacklist = diffusers, NumPy,\n"})
    assert "downgrade_blacklist names diffusers:" in found.sentence
    assert found.source == "user/__manager/config.ini"


def test_an_override_to_another_name_and_one_to_a_range(told):
    text = '{"opencv-python": "opencv-contrib-python", "numpy": "numpy<2"}'
    other, held = told({"pip_overrides.json": text}, {"numpy": "1.26.4"})
    assert other.command == ("gov tx run NODE --with opencv-contrib-python --without opencv-python")
    assert held.command == "gov pin numpy==1.26.4"


def test_lines_that_are_fixed_again_and_again_are_pins(told):
    found = told({"pip_auto_fix.list": "numpy<2\n# none\npillow==10.4.0\n"}, {"numpy": "1.26.4"})
    assert [one.command for one in found] == ["gov pin numpy==1.26.4", "gov pin pillow==10.4.0"]


def test_pending_scripts_are_told_wherever_the_manager_lies(told):
    files = {"startup-scripts/install-scripts.txt": "x"}
    (found,) = told(files, folder="user/default/ComfyUI-Manager")
    assert "install-scripts.txt" in found.sentence
    assert found.command == ""


@pytest.mark.parametrize("text", ["", "[", '["a"]', '{"a": 1}', "\x00\xff"])
def test_files_that_say_nothing_propose_nothing(told, text):
    assert told({"pip_overrides.json": text, "config.ini": text, "pip_auto_fix.list": ""}) == []
