"""gov inbox: what ComfyUI-Manager, or a hand, changed beside gov."""

import json
import shutil

import pytest
from support.refusal import assert_refused, assert_told
from support.worlds import own_classes

from governance.sample import world as sample
from governance.sample.nodes import NODES

INIT = NODES["loads-two-classes"].files["__init__.py"]


def files(name, lines="", mark=""):
    return own_classes(name, {"__init__.py": INIT + mark, "requirements.txt": lines})


@pytest.fixture
def changed(settled, tmp_path):
    """One node each that was installed, updated, disabled and removed; a start-up script waits."""
    site, made = settled.site, tmp_path / "made"
    for name in ("moved", "off", "gone"):
        sample.write_node(made, name, files(name))
        site.gov("node", "add", made / name).ok()
    site.gov("tx", "run", "moved", "off", "gone").ok()
    site.gov("tx", "promote", "last").ok()
    sample.write_node(made, "moved", files("moved", "lark\n", "# newer\n"))
    sample.git(site.nodes / "moved", "pull", "--quiet")
    (site.nodes / ".disabled").mkdir(exist_ok=True)
    (site.nodes / "off").rename(site.nodes / ".disabled/off@nightly")
    shutil.rmtree(site.nodes / "gone")
    repository = sample.write_node(made, "fresh", files("fresh", "humanize\n"))
    sample.git(site.nodes, "clone", "--quiet", str(repository), "fresh")
    scripts = site.comfyui / "user/__manager/startup-scripts"
    scripts.mkdir(parents=True)
    (scripts / "install-scripts.txt").write_text("['x', '#LAZY-INSTALL-SCRIPT']\n")
    yield site
    shutil.rmtree(site.comfyui / "user/__manager")
    for name in ("moved", "off", "gone", "fresh", "fresh.disabled", "off.disabled"):
        shutil.rmtree(site.nodes / name, ignore_errors=True)
    shutil.rmtree(site.nodes / ".disabled", ignore_errors=True)


def found(site, *ids):
    items = site.gov.json("inbox", *ids).ok().data["items"]
    return {item["id"]: item["kind"] for item in items}


ALL = {
    "fresh": "installed",
    "moved": "updated",
    "off": "disabled",
    "gone": "removed",
    "install-scripts.txt": "startup",
}


def test_all_of_it_is_listed_and_taken_in_as_one_change(changed):
    assert found(changed) == ALL
    assert "inbox        fresh: not governed (`gov inbox`)" in changed.gov("status").ok().out
    assert_told(changed.gov("inbox", "nobody"), 2, "nobody")
    done = changed.gov.json("inbox", "--take", "--promote").ok().data
    assert sorted(change["name"] for change in done["changes"]) == ["lark"]
    nodes = json.loads((changed.root / "state/plugins.json").read_text())
    on = {node["id"]: node["enabled"] for node in nodes}
    assert (on["moved"], on["off"], on["fresh"]) == (True, False, True)
    assert "gone" not in on
    assert found(changed) == {"install-scripts.txt": "startup"}
    assert changed.gov.json("verify").ok().data["findings"] == []


def test_all_of_it_is_put_back_and_nothing_is_lost(changed):
    head = changed.head("moved")
    assert_refused(changed, "inbox", "--put-back", "moved", code=2, says="would be put back too")
    changed.gov("inbox", "--put-back").ok()
    assert found(changed) == {}
    assert changed.head("moved") != head
    assert (changed.nodes / "off/__init__.py").is_file()
    assert (changed.nodes / "gone/__init__.py").is_file()
    assert (changed.nodes / "fresh.disabled/__init__.py").is_file()
    left = list((changed.comfyui / "user/__manager/startup-scripts").iterdir())
    assert [path.suffix for path in left] == [".set-aside"]
    assert changed.gov("inbox").ok().out == "nothing was changed beside gov\n"
