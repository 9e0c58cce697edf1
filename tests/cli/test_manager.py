"""`[comfyui] manager`: what ComfyUI's own manager needs is a group of the truth."""

import tomllib

import pytest

from governance.sample import world as sample


def groups(site):
    return tomllib.loads((site.root / "pyproject.toml").read_text())["dependency-groups"]


@pytest.fixture
def with_manager(settled):
    comfyui = settled.site.comfyui
    (comfyui / "manager_requirements.txt").write_text("lark>=1.1\n")
    sample.commit(comfyui, "with a manager")
    yield settled.site
    sample.git(comfyui, "reset", "--quiet", "--hard", "HEAD~1")


def test_the_group_follows_config_and_comfyui(with_manager):
    site = with_manager
    site.gov("init").ok()
    assert "manager" not in groups(site), "nobody asked for it"
    site.set(comfyui__manager=True)
    done = site.gov.json("init").ok().data
    assert [change["name"] for change in done["changes"]] == ["lark"]
    assert groups(site)["manager"] == ["lark>=1.1"]
    assert "  ComfyUI-Manager manager_requirements.txt:1  lark>=1.1\n" in (
        site.gov("why", "lark").ok().out
    )
    assert site.gov.json("init").ok().data["changes"] == []
    site.set(comfyui__manager=False)
    done = site.gov.json("init").ok().data
    assert [(c["name"], c["after"]) for c in done["changes"]] == [("lark", None)]
    assert "manager" not in groups(site)


def test_a_comfyui_without_one_gets_no_group(settled):
    settled.site.set(comfyui__manager=True)
    assert settled.site.gov.json("init").ok().data["changes"] == []
    assert "manager" not in groups(settled.site)
