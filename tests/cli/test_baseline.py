"""Prod always has a baseline: what the next trial is compared with, whatever verb made prod."""

import json

from governance.boundaries import store
from governance.changes import trial_run
from governance.truth.workspace import Workspace


def baseline(site):
    folder = site.root / ".generations" / f"{(site.root / '.venv-prod').readlink().name}.d"
    return json.loads((folder / "baseline.json").read_text())


def promoted(site):
    rows = json.loads((site.root / "state/plugins.json").read_text())
    return {row["id"] for row in rows if row["enabled"] and row["last_snapshot"]}


def test_after_a_promote_a_removal_and_a_rollback(settled):
    site = settled.site
    before = set(baseline(site)["loaded"])
    site.gov("tx", "promote", settled.completed).ok()
    assert set(baseline(site)["loaded"]) == before | {"shares-cowsay"}
    site.gov("node", "remove", "shares-cowsay").ok()
    assert set(baseline(site)["loaded"]) == before
    assert not [m for m in baseline(site)["classes"].values() if "shares-cowsay" in m]
    site.gov("rollback", "@1").ok()
    assert set(baseline(site)["loaded"]) == before | {"shares-cowsay"} == promoted(site)


def test_a_generation_without_one_takes_the_last_that_was_known(settled):
    site = settled.site
    site.gov("tx", "promote", settled.completed).ok()
    known = baseline(site)
    folder = site.root / ".generations" / f"{(site.root / '.venv-prod').readlink().name}.d"
    (folder / "baseline.json").unlink()
    found = trial_run.baseline(Workspace(site.root))
    assert set(found.loaded) == set(known["loaded"])
    assert dict(found.classes) == known["classes"]


def test_a_rollback_to_an_environment_that_is_built_anew_knows_what_loaded(settled):
    site = settled.site
    site.gov("tx", "promote", settled.completed).ok()
    with_it, prod = baseline(site), site.root / ".venv-prod"
    folder = site.root / ".generations" / prod.readlink().name
    site.gov("node", "remove", "shares-cowsay").ok()
    assert "shares-cowsay" not in baseline(site)["loaded"]
    store.remove_tree(folder)
    store.remove_tree(folder.with_name(f"{folder.name}.d"))
    site.gov("rollback", "@1").ok()
    assert prod.readlink().name != folder.name
    assert set(baseline(site)["loaded"]) == set(with_it["loaded"])
    assert baseline(site)["classes"] == with_it["classes"]


def test_a_repair_of_an_environment_that_is_gone_knows_what_loaded(settled):
    site = settled.site
    known = baseline(site)
    folder = (site.root / ".generations") / (site.root / ".venv-prod").readlink().name
    store.remove_tree(folder)
    store.remove_tree(folder.with_name(f"{folder.name}.d"))
    site.gov("repair").ok()
    found = trial_run.baseline(Workspace(site.root))
    assert set(found.loaded) == set(known["loaded"])
    assert dict(found.classes) == known["classes"]
