"""What was changed by hand is found, told in a table, and mended where the lock tells how."""

import json
import os
import shutil

import pytest

from governance import drift, store

from .conftest import Gov


def kinds(ended):
    return {finding["kind"] for finding in ended.data["findings"]}


def repair(model):
    with model.holding("repair"):
        return drift.repair(model.session)


def edit(path, text="# mine\n"):
    path.chmod(0o644)
    path.write_text(path.read_text() + text)


HARM = {
    "edited": (lambda site: edit(site / "numpy.py"), "changed"),
    "deleted": (lambda site: (site / "numpy.py").unlink(), "missing"),
    "planted": (lambda site: (site / "evil.pth").write_text("import os\n"), "extra"),
    "installed by hand": (lambda site: by_hand(site), "extra"),
    "removed by hand": (
        lambda site: shutil.rmtree(next(site.glob("alpha-*.dist-info"))),
        "missing",
    ),
    "linked": (lambda site: linked(site), "changed"),
}


def by_hand(site):
    """As `uv pip install` through the link leaves it."""
    (site / "lark.py").write_text("")
    (site / "lark-1.0.dist-info").mkdir()
    (site / "lark-1.0.dist-info/METADATA").write_text("Name: lark\nVersion: 1.0\n")


def linked(site):
    (site / "numpy.py").unlink()
    (site / "numpy.py").symlink_to("/dev/null")


def test_nothing_was_touched(model, gov):
    assert gov.json("verify").ok().data["findings"] == []
    assert gov.json("verify", "--full").ok().data["findings"] == []
    assert "no drift" in gov("verify").out


@pytest.mark.parametrize("harm", HARM)
def test_harm_to_prod_is_found_and_repaired(model, gov, site, harm):
    do, kind = HARM[harm]
    before = os.readlink(model.space.prod)
    do(site)
    found = gov.json("verify")
    assert found.code == 1 and found.error["code"] == "drift"
    assert kind in kinds(found)
    told = repair(model)
    assert os.readlink(model.space.prod) != before, "never under the path that is live"
    assert "findings" in told.done[0] and told.left == ()
    assert gov.json("verify", "--full").ok()
    assert repair(model).done == (), "and then there is nothing to do"


def test_a_file_of_the_same_size_and_time_is_found_by_its_hash(model, gov, site):
    """mtime and size can be forged; `--full` reads."""
    file = site / "alpha.py"
    facts = file.stat()
    text = file.read_text()
    file.write_text(text.replace("VERSION", "version"))
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert gov.json("verify").code == 0
    assert "hash" in kinds(gov.json("verify", "--full"))


@pytest.mark.parametrize("name", ["pyproject", "lock", "plugins"])
def test_an_edited_truth_is_found_and_not_guessed(model, gov, name):
    path = getattr(model.space, name)
    data = path.read_bytes() + b"\n"
    path.write_bytes(data)
    assert "edited" in kinds(gov.json("verify"))
    repair(model)
    assert path.read_bytes() == data, "repair does not decide between two truths"


@pytest.mark.parametrize("name", ["pyproject", "lock", "plugins"])
def test_a_missing_truth_is_found(model, gov, name):
    getattr(model.space, name).unlink()
    ended = gov.json("verify")
    assert ended.code == 1
    assert ended.error["code"] in ("drift", "damaged")


def test_a_registry_without_its_group_is_found(model, gov):
    rows = json.loads(model.space.plugins.read_text())
    model.space.plugins.write_text("[]\n")
    assert "no_node" in kinds(gov.json("verify"))
    model.space.plugins.write_text(json.dumps([{**rows[0], "group": "node-other"}]))
    assert {"no_group", "no_node"} <= kinds(gov.json("verify"))


def test_clones_that_moved_are_noted(model, gov):
    clone = model.space.custom_nodes / "needs-alpha"
    clone.rename(clone.with_name("elsewhere"))
    told = gov.json("verify").ok().document["warnings"]
    assert any("needs-alpha is registered" in text for text in told)
    assert any("elsewhere" in text for text in told)


def test_prod_without_papers_is_found_and_rebuilt(model, gov):
    (model.space.generations / f"{model.space.generation}.d/manifest.json").unlink()
    assert gov.json("verify").code == 1
    repair(model)
    assert gov.json("verify").ok()


def test_a_repair_that_fails_changes_nothing(model, gov, site):
    (site / "numpy.py").unlink()
    before = os.readlink(model.space.prod)
    model.chosen.sync = "fails"
    with pytest.raises(Exception, match="uv sync failed"):
        repair(model)
    assert os.readlink(model.space.prod) == before
    model.chosen.sync = ""
    repair(model)
    assert gov.json("verify").ok()


def test_the_task_says_the_same(model, gov, site):
    (site / "numpy.py").unlink()
    with pytest.raises(Exception, match="findings"):
        drift.attest(model.space)
    assert store.read_object(model.space.verify_report)["verdict"] == "drift"
    assert Gov(model.space.root).json("status").data["drift"]["verdict"] == "drift"
