"""A node that was removed does not run again, whatever it has left; docs/07 has the long form.

One world: a node that is observed and given up, then one that is promoted and runs as prod.
"""

import pytest

from governance import sandbox

from . import persistence

pytestmark = pytest.mark.privileged

# What a promoted node may write as ComfyUI-Manager may; each is named by `gov verify --full`.
OPEN = {
    *("line_in_another_node", "start_script_of_another_node", "byte_code_of_another_node"),
    *("new_single_file_node", "new_node_folder", "link_to_a_node_elsewhere"),
    *("comfyui_main", "comfyui_module", "byte_code_of_comfyui", "module_beside_comfyui"),
    *("extra_model_paths", "hooks_of_comfyui", "fsmonitor_of_comfyui", "hooks_of_another_clone"),
    *("hooks_path_of_another_clone", "fsmonitor_of_another_clone"),
    *("usercustomize", "pth_in_user_site", "gitconfig", "git_config_of_xdg", "uv_toml"),
    *("pip_conf", "bash_profile", "autostart", "systemd_user_unit"),
}
UNDONE = {"byte_code_of_the_run", "daemon"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    if not sandbox.probe(tmp_path_factory.mktemp("probe")).read_only_mounts:
        pytest.skip("no mounts to close anything with")
    made = persistence.Place(tmp_path_factory.mktemp("persistence"))
    yield made
    made.remove()


def test_nothing_of_an_observed_node_runs_again(place):
    # What installs something is started twice, which takes its time.
    names = [name for name in persistence.NAMES if name != "package_installed_at_start"]
    found = place.outcomes(persistence.OBSERVED, names, steps=persistence.QUICK)
    assert [str(one) for one in found.values() if one.survived or one.left] == []
    # It did try: most of it works, in layers that have gone.
    assert sum(one.error is None for one in found.values()) > len(found) // 2


@pytest.mark.thorough
def test_with_data_alone_no_attempt_of_a_promoted_node_gets_far(place):
    """Of those in two parts, one lies in a cache: nobody runs it."""
    found = place.outcomes(persistence.DATA_ALONE, steps=persistence.QUICK)
    assert [str(one) for one in found.values() if one.survived] == []
    assert {name for name, one in found.items() if one.error is None} == UNDONE
    assert all("/.cache/" in path for one in found.values() for path in one.left)


def test_nothing_of_a_promoted_node_runs_again(place):
    found = place.outcomes(persistence.PROMOTED)
    assert [str(one) for one in found.values() if one.survived] == []
    assert {step for step, code in place.codes.items() if code} == set()
    said = {name: str(one).partition(" ")[0] for name, one in found.items()}
    assert {name for name, word in said.items() if word == "named"} == OPEN
    assert {name for name, word in said.items() if word == "undone"} == UNDONE
    assert set(said.values()) == {"named", "undone", "failed"}


def test_the_attempts_work_where_nothing_hinders_them(place):
    """Else the tests above could not fail."""
    names = ("profile", "pth_in_user_site", "fsmonitor_of_comfyui", "autostart", "comfyui_main")
    names = (*names, "byte_code_in_prod", "package_in_cache", "daemon")
    found = place.outcomes(persistence.LOOSE, names, steps=persistence.QUICK)
    assert [one.name for one in found.values() if not (one.survived or one.at_once)] == []
