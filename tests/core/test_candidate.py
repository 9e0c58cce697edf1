"""Where a candidate may write: what its view lays over ComfyUI."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from governance import sandbox
from governance.environments.candidate import Candidate

EVERYTHING = sandbox.Support(
    layer=True, layer_reason="", read_only_mounts=True, read_only_reason="", landlock=5,
    pid_namespace=True, pid_reason="", user_namespace=False,
)  # fmt: skip


@pytest.fixture
def candidate(tmp_path):
    comfyui = tmp_path / "ComfyUI"
    for name in ("custom_nodes/n", "models", "elsewhere"):
        (comfyui / name).mkdir(parents=True)
    (tmp_path / "disk").mkdir()
    (comfyui / "output").symlink_to(tmp_path / "disk")

    def make(root, support=EVERYTHING):
        space = SimpleNamespace(
            root=root,
            comfyui_dir=comfyui,
            custom_nodes=comfyui / "custom_nodes",
            generations=root / ".generations",
        )
        folder = root / ".venv-candidate/x"
        return Candidate(space, folder, "g", support, (comfyui / "custom_nodes/n",))

    return make


@pytest.fixture(autouse=True)
def _path_of_a_generation(monkeypatch):
    monkeypatch.setattr(
        "governance.environments.generations.path", lambda space, name: space.generations / name
    )


def laid_over(view):
    return [layer.lower.name for layer in view.scratch]


def test_all_of_comfyui_takes_writes_but_for_its_nodes(candidate, tmp_path):
    view = candidate(tmp_path / "w").view
    nodes = tmp_path / "ComfyUI/custom_nodes"
    assert laid_over(view) == ["ComfyUI", "output"]
    assert (view.scratch[0].keep, view.read_only) == ((nodes,), (nodes,))
    assert view.writable[1:] == (nodes / "n",)
    assert sandbox.View.from_json(view.to_json()) == view


def test_a_workspace_within_comfyui_leaves_its_data_folders(candidate, tmp_path):
    view = candidate(tmp_path / "ComfyUI/env").view
    assert (laid_over(view), view.read_only) == (["models", "output"], ())


def test_without_mounts_to_seal_with_neighbours_are_not_put_at_risk(candidate, tmp_path):
    support = replace(EVERYTHING, read_only_mounts=False)
    assert laid_over(candidate(tmp_path / "w", support).view) == ["models", "output"]
