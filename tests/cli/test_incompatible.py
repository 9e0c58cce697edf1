"""The whole price of an override: what it keeps from getting what it requires, told and asked."""

import json

import pytest
from support.refusal import assert_refused
from support.worlds import make_site

from governance.sample.wheels import Wheel, build

CV = "cv-needs-new"
UNMET = f"{CV} 5.0 requires numpy>=2, but numpy 1.26.4 is installed"
WHOSE = f"{UNMET}: kept apart by your override of numpy, chosen for new-numpy"
ACCEPT = "--accept-incompatible"


@pytest.fixture(scope="session")
def nodes(world):
    """Two that no numpy suits, and others that bring what needs a newer numpy than the pin's."""
    build(Wheel(CV, "5.0", requires=("numpy>=2",)), world.wheels)
    build(Wheel("stats-needs-new", "1.0", requires=("numpy>=2.3",)), world.wheels)
    lines = {
        "old-numpy": "numpy<2\n",
        "new-numpy": "numpy>=2.1\n",
        "plain-cv": f"{CV}\n",
        "same-cv": f"{CV}\nlark\n",
        "both": f"{CV}\nstats-needs-new\n",
    }
    for name, text in lines.items():
        world.add(name, {"requirements.txt": text})


@pytest.fixture
def site(nodes, beginnings, world):
    """Prod has numpy 1.26.4, held by an override that came with the node new-numpy."""
    return beginnings(_held, world)


def _held(folder, world):
    site = make_site(folder, world)
    site.promote("old-numpy", "--approve-core", "--reason", "old")
    txid = site.run("new-numpy")
    site.gov("resolve", txid, "--pin", "numpy==1.26.4").ok()
    site.gov("tx", "promote", txid).ok()
    return site


def inspected(site, txid):
    return site.gov.json("tx", "inspect", txid).ok().data


def known(site):
    """The notes of a verify that finds nothing, less what it says of clones."""
    data = site.gov.json("verify").ok().data
    assert data["findings"] == []
    return [note for note in data["notes"] if " requires " in note]


def test_what_an_earlier_override_lets_pass_is_told_asked_and_known(site):
    txid = site.run("plain-cv")
    data = inspected(site, txid)
    [row] = data["plan"]["incompatible"]
    assert (row["package"], row["version"], row["requires"]) == (CV, "5.0", "numpy>=2")
    assert (row["found"], row["overrides"]) == ("1.26.4", ["numpy==1.26.4"])
    assert (row["chosen_for"], row["sentence"]) == (["new-numpy"], WHOSE)
    assert f"  incompatible: {WHOSE}\n" in site.gov("tx", "inspect", txid).out
    assert (
        f"next: gov tx promote {txid} {ACCEPT}" in site.gov("tx", "promote", txid, "--dry-run").out
    )
    # Neither the word for other findings, nor that for core packages.
    others = ("--accept-findings", "--approve-core", "--reason", "x")
    ended = assert_refused(site, "tx", "promote", txid, *others, code=3, says=WHOSE)
    assert ended.error["code"] == "incompatible"
    assert ended.error["facts"]["incompatible"] == [row]
    assert "gov why numpy" in ended.error["hint"] and ACCEPT in ended.error["hint"]
    site.gov("tx", "promote", txid, ACCEPT).ok()
    assert inspected(site, txid)["promotion"]["accepted_incompatible"] == [row]
    last = json.loads((site.root / "state/history.jsonl").read_text().splitlines()[-1])
    assert last["approvals"] == {"accepted_incompatible": [row]}
    assert known(site) == [WHOSE]

    # Prod's own does not ask again, and what was prod once comes back as it was.
    again = site.run("same-cv")
    assert inspected(site, again)["plan"]["incompatible"] == []
    site.gov("tx", "promote", again).ok()
    assert known(site) == [WHOSE]
    site.gov("rollback", "@2").ok()
    assert known(site) == []
    site.gov("undo").ok()
    assert known(site) == [WHOSE]


@pytest.mark.thorough
def test_what_a_resolution_breaks_still_asks_and_each_is_named(nodes, workspace):
    """`resolve` told what its fix breaks; that the operator took it is no word for prod."""
    workspace.promote("both")
    txid = workspace.run("old-numpy")
    workspace.gov("resolve", txid, "--pin", "numpy==1.26.4").ok()
    approved = ("tx", "promote", txid, "--approve-core", "--reason", "x")
    ended = workspace.gov(*approved)
    why = ": kept apart by your override of numpy, chosen for old-numpy"
    more = "stats-needs-new 1.0 requires numpy>=2.3, but numpy 1.26.4 is installed"
    assert (ended.code, ended.out) == (3, "")
    assert ended.problems("warning") == [f"warning: {UNMET}{why}", f"warning: {more}{why}"]
    [error] = ended.problems("error")
    assert error == f"error: 2 requirements would not be met, the first: {UNMET}{why}"
    assert "starting ComfyUI" not in ended.err, "it was asked after minutes of observing"
    assert len(inspected(workspace, txid)["plan"]["incompatible"]) == 2
    workspace.gov(*approved, ACCEPT).ok()
    assert len(workspace.gov.json("verify").ok().data["notes"]) == 2


def test_the_policy_decides(site):
    txid = site.run("plain-cv")
    site.set(policy__incompatible="refuse")
    ended = assert_refused(site, "tx", "promote", txid, ACCEPT, code=3, named="incompatible")
    assert 'incompatible = "ask"' in ended.error["hint"]
    site.set(policy__incompatible="allow")
    site.gov("tx", "promote", txid).ok()
    assert len(inspected(site, txid)["promotion"]["accepted_incompatible"]) == 1
    site.set(policy__incompatible="refuse")
    site.gov("rollback", "@1").ok()
    site.gov("undo").ok()  # what was prod comes back, whatever the policy says now
    assert known(site) == [WHOSE]


def test_what_nobody_was_asked_about_is_a_finding_until_somebody_accepts_it(site):
    """An earlier gov let it in, and said `no drift`."""
    txid = site.run("plain-cv")
    site.gov("tx", "promote", txid, ACCEPT).ok()
    receipt = site.root / "state/receipt.json"
    rows = json.loads(receipt.read_text())
    assert rows.pop("incompatible") == [{"package": CV, "requires": "numpy>=2"}]
    receipt.write_text(json.dumps(rows))
    manifest = next(site.root.glob(f".generations/{rows['generation']}.d/manifest.json"))
    of_old = json.loads(manifest.read_text())
    assert of_old.pop("incompatible")
    manifest.chmod(0o644)
    manifest.write_text(json.dumps(of_old))
    ended = site.gov.json("verify")
    finding = {"kind": "incompatible", "path": "numpy", "detail": WHOSE}
    assert (ended.code, ended.data["findings"]) == (1, [finding])
    assert "gov why numpy" in ended.error["hint"] and ACCEPT in ended.error["hint"]
    assert site.gov.json("repair").code == 1, "no build mends it"
    site.gov("tx", "promote", site.run("same-cv")).ok()
    assert site.gov.json("verify").data["findings"] == [finding], "nobody has accepted it yet"
    site.gov("tx", "promote", site.run("loads-two-classes"), ACCEPT).ok()
    assert known(site) == [WHOSE]
    last = json.loads((site.root / "state/history.jsonl").read_text().splitlines()[-1])
    assert [row["package"] for row in last["approvals"]["accepted_incompatible"]] == [CV]
