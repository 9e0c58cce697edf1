"""What was changed by hand is found, told in a table, and mended where the lock tells how."""

import json
import os
import shutil

import pytest
from faults.model_workspace import Model, installed_versions

from governance.boundaries import store
from governance.environments import generations
from governance.environments.compatibility import Incompatible
from governance.operations import verify

from .conftest import Gov


def kinds(ended):
    return {finding["kind"] for finding in ended.data["findings"]}


def repair(model):
    with model.holding("repair"):
        return verify.repair(model.session)


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
def test_an_edited_truth_is_found_and_not_guessed(model, gov, site, name):
    """Neither alone nor beside harm that a build mends: prod comes back as it was, the edit stays
    and is told until a person decides."""
    path = getattr(model.space, name)
    data = path.read_bytes() + b"\n"
    path.write_bytes(data)
    before = os.readlink(model.space.prod)
    assert "edited" in kinds(gov.json("verify"))
    ended = gov.json("repair")
    assert ended.code == 1 and ended.error["code"] == "drift"
    assert os.readlink(model.space.prod) == before
    (site / "numpy.py").unlink()
    told = repair(model)
    assert told.done and {finding.kind for finding in told.left} == {"edited"}
    assert path.read_bytes() == data, "repair does not decide between two truths"
    assert kinds(gov.json("verify", "--full")) == {"edited"}


def test_a_lock_that_no_gate_passed_does_not_come_in_by_a_repair(model, gov, site):
    """An edited lock once became prod's own when something else was broken too."""
    lock = model.space.lock
    lock.write_text(
        lock.read_text().replace('"numpy"\nversion = "2.0"', '"numpy"\nversion = "1.0"')
    )
    (site / "alpha.py").unlink()
    assert {"edited", "missing", "other_lock"} == kinds(gov.json("verify"))
    repair(model)
    assert installed_versions(model.space.prod)["numpy"] == "2.0"
    assert {"edited", "other_lock"} == kinds(gov.json("verify"))


def test_what_the_first_prod_leaves_unmet_is_known(tmp_path, repositories, monkeypatch):
    """There was no prod to compare it with, and nobody to ask: `gov init` tells it."""
    unmet = Incompatible("alpha", "1.0", "beta>=2", "beta", "1.0")
    monkeypatch.setattr(generations, "find_incompatible", lambda *_: [unmet])
    model = Model(tmp_path, repositories, monkeypatch)
    gov = Gov(model.space.root)
    assert gov.json("verify").ok().data["notes"] == [unmet.sentence]
    receipt = json.loads(model.space.receipt.read_text())
    model.space.receipt.write_text(json.dumps({**receipt, "incompatible": None}))
    assert kinds(gov.json("verify")) == {"incompatible"}, "a lost receipt knows of nobody's word"


def test_init_takes_no_lock_in_that_was_edited(model, gov):
    with open(model.space.lock, "a") as lock:
        lock.write("# mine\n")
    assert gov.json("init", model.space.root).error["code"] == "lock_tampered"
    model.space.lock.unlink()
    gov.json("init", model.space.root).ok()
    gov.json("verify").ok()


def papers(model):
    return model.space.generations / f"{model.space.generation}.d"


def replace_by_folder(path):
    path.unlink()
    path.mkdir()


WORSE = {
    "no manifest": lambda model, site: (papers(model) / "manifest.json").unlink(),
    "a damaged manifest": lambda model, site: (papers(model) / "manifest.json").write_text("{"),
    "a folder for a manifest": lambda m, site: replace_by_folder(papers(m) / "manifest.json"),
    "no list of files": lambda model, site: (papers(model) / "files.txt").unlink(),
    "no papers": lambda model, site: shutil.rmtree(papers(model)),
    "no packages": lambda model, site: shutil.rmtree(site.parents[1]),
    "a folder for a file": lambda model, site: replace_by_folder(site / "numpy.py"),
    "an unreadable RECORD": lambda m, site: record(site).write_bytes(b"\xff,sha256=x,1\n"),
    "a strange RECORD": lambda m, site: record(site).write_text("alpha.py,sha256=x,many\n"),
    "no link": lambda model, site: model.space.prod.unlink(),
}


def record(site):
    return next(site.glob("alpha-*.dist-info/RECORD"))


@pytest.mark.parametrize("harm", WORSE)
def test_whatever_prod_lost_is_told_and_mended(model, gov, harm):
    """No command stumbles over it, and none deletes an environment that prod leads to."""
    live = model.space.prod.resolve()
    WORSE[harm](model, live / "lib/python3.11/site-packages")
    for how in ((), ("--full",)):
        assert gov.json("verify", *how).error["code"] == "drift"
    gov.json("clean").ok()
    assert live.is_dir(), "recovery and clean-up leave what is live alone"
    repair(model)
    assert live.is_dir() and gov.json("verify", "--full").ok()


def test_harm_that_only_a_hash_shows_is_repaired_too(model, gov, site):
    file = site / "alpha.py"
    facts, text = file.stat(), file.read_text()
    file.write_text(text.replace("VERSION", "version"))
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert repair(model).done
    assert gov.json("verify", "--full").ok()


def test_a_link_that_was_turned_by_hand_is_turned_back(model, gov):
    wanted = os.readlink(model.space.prod)
    other = next(p for p in model.space.generations.glob("*.d") if p != papers(model))
    model.space.prod.unlink()
    model.space.prod.symlink_to(f".generations/{other.name[:-2]}")
    assert kinds(gov.json("verify")) == {"other_generation"}
    model.chosen.sync = "fails"
    repair(model)
    assert os.readlink(model.space.prod) == wanted, "it was there: nothing was built"
    assert gov.json("verify").ok()


def test_a_damaged_generation_that_nothing_uses_stops_nobody(model, gov):
    for other in model.space.generations.glob("*.d"):
        if other != papers(model):
            (other / "manifest.json").write_text("{")
    gov.json("clean").ok()
    gov.json("verify", "--full").ok()
    model.admit("needs-nothing")


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
        verify.attest(model.space)
    assert store.read_object(model.space.verify_report)["verdict"] == "drift"
    assert Gov(model.space.root).json("status").data["drift"]["verdict"] == "drift"
