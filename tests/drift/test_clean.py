"""`gov clean` deletes what nothing needs, and tells it before with --dry-run."""

import os
import subprocess
import sys
from pathlib import Path

from governance.operations import retention

HOLD = """
import sys, pathlib
sys.path.insert(0, sys.argv[2])
from governance.environments import generations
from governance.truth import workspace
space = workspace.Workspace(pathlib.Path(sys.argv[1]))
with generations.in_use(space, sys.argv[3]):
    print("held", flush=True)
    sys.stdin.read()
"""


def generations(model):
    return {path.name[:-2] for path in model.space.generations.glob("*.d")}


def spare(model):
    """Two further nodes, so that older generations are no longer needed."""
    oldest = generations(model)
    for name in ("skips-a-line", "needs-nothing", "needs-old-alpha"):
        model.admit(name)
    return oldest


def test_a_dry_run_tells_what_a_run_does(model, gov):
    spare(model)
    before = generations(model)
    told = gov.json("clean", "--dry-run").ok().data["deleted"]
    assert generations(model) == before
    assert gov.json("clean").ok().data["deleted"] == told
    gone = {Path(path).name for path in told if path.startswith(".generations/")}
    assert gone and generations(model) == before - gone
    assert gov.json("verify", "--full").ok()


def test_prod_and_its_parent_stay(model, gov):
    spare(model)
    prod = model.space.generation
    parent = retention.generations.manifest(model.space, prod).parent
    gov.json("clean").ok()
    gov.json("clean").ok()
    assert {prod, parent} <= generations(model)


def test_a_generation_in_use_by_a_process_stays(model, gov):
    spare(model)
    doomed = next(
        Path(path).name
        for path in gov.json("clean", "--dry-run").data["deleted"]
        if path.startswith(".generations/")
    )
    root = str(Path(retention.__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(model.space.root), root, doomed],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        gov.json("clean").ok()
        assert doomed in generations(model)
        holder.stdin.close()
        holder.wait(20)
    gov.json("clean").ok()
    assert doomed not in generations(model)


def test_what_a_pending_transaction_names_stays(model, gov):
    from governance.changes import nodes, run

    with model.holding("run"):
        source = str(model.repositories / "skips-a-line")
        nodes.add(model.session, source, ref=None, node_id=None, cwd=model.folder)
        tx = run.run(model.session, "skips-a-line")
    wanted = tx.observation["generation"]
    for name in ("needs-nothing", "needs-old-alpha"):
        model.admit(name)
    gov.json("clean").ok()
    assert wanted in generations(model)
    assert (model.space.candidates / tx.txid).is_dir()
    assert (model.space.work / tx.txid).is_dir()
    gov.json("tx", "abort", tx.txid).ok()


def test_leftovers_go(model, gov):
    for folder in (model.space.work, model.space.candidates):
        (folder / "20260131T120000Z-0a1b2c3d").mkdir()
    (model.space.snapshots / "20260131T120000Z-snap-0a1b2c").mkdir()
    gone = gov.json("clean").ok().data["deleted"]
    assert len(gone) == 3
    assert not any(os.path.lexists(model.space.root / path) for path in gone)


def test_a_folder_that_is_nobodys_is_told_and_left(model, gov):
    """In .generations only what has papers of ours is ours."""
    strange = model.space.generations / "mine"
    strange.mkdir()
    (strange / "file.txt").write_text("precious")
    gov.json("clean").ok()
    assert (strange / "file.txt").is_file()


def test_what_an_unreadable_transaction_was_building_stays(model, gov):
    """Its record tells nothing any more; the receipt in its work folder does."""
    from governance.changes import nodes, run

    with model.holding("run"):
        source = str(model.repositories / "skips-a-line")
        nodes.add(model.session, source, ref=None, node_id=None, cwd=model.folder)
        tx = run.run(model.session, "skips-a-line")
    (model.space.transactions / f"{tx.txid}.json").write_text("{")
    for name in ("needs-nothing", "needs-old-alpha"):
        model.admit(name)
    gov.json("clean").ok()
    assert tx.observation["generation"] in generations(model)


def test_of_the_logs_the_newest_stay(model, gov):
    model.space.logs.joinpath("bug-20200101T000000Z.log").write_text("")
    os.utime(model.space.logs / "bug-20200101T000000Z.log", (1, 1))
    for number in range(102):
        model.space.logs.joinpath(f"20260101T000000Z-{number:08x}.stdout.log").write_text("")
    gov.json("clean").ok()
    left = {path.name for path in model.space.logs.iterdir()}
    assert "bug-20200101T000000Z.log" not in left, "it is the oldest, whatever its name"
    assert len({name.partition(".")[0] for name in left}) == 100
