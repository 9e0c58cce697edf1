"""`gov clean` deletes what nothing needs, and tells it before with --dry-run."""

import os
import subprocess
import sys
from pathlib import Path

import tomlkit
from support import roads

from governance.operations import retention
from governance.truth import lockfile

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
    from governance.changes import nodes

    with model.holding("run"):
        source = str(model.repositories / "skips-a-line")
        nodes.add(model.session, source, ref=None, node_id=None, cwd=model.folder)
        tx = roads.run(model.session, "skips-a-line")
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
        (folder / "20260131T120000Z-0a1b2c3d").mkdir()  # recovery sweeps these
    (model.space.snapshots / "20260131T120000Z-snap-0a1b2c").mkdir()
    gone = gov.json("clean").ok().data["deleted"]
    assert len(gone) == 1
    assert [*model.space.work.iterdir(), *model.space.candidates.iterdir()] == []
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
    from governance.changes import nodes

    with model.holding("run"):
        source = str(model.repositories / "skips-a-line")
        nodes.add(model.session, source, ref=None, node_id=None, cwd=model.folder)
        tx = roads.run(model.session, "skips-a-line")
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


def test_what_nothing_needs_leaves_the_workspace_s_own_cache(model, gov):
    lock = lockfile.parse(model.space.lock.read_bytes(), model.space.lock)
    (name, version), *_ = lockfile.versions(lock).items()
    wheels = model.space.uv_cache / "wheels-v9/pypi"
    kept = wheels / name / f"{version}-py3-none-any.http"
    gone = [
        wheels / name / "0.0.1-py3-none-any.http",
        model.space.uv_cache / "wheels-v9/index/0a1b/never-asked/1.0-py3-none-any.msgpack",
        model.space.uv_cache / "sdists-v9/pypi/never-asked/2.0",
    ]
    for path in (kept, *gone):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    would = gov.json("clean", "--dry-run").ok().data["deleted"]
    assert all(path.exists() for path in gone)
    told = gov.json("clean").ok().data["deleted"]
    assert told == would
    named = {line.partition(": ")[2] for line in told if line.startswith(".uv-cache: ")}
    assert named == {f"{name} 0.0.1", "never-asked 1.0", "never-asked 2.0"}
    assert not any(path.exists() for path in gone)


def test_a_cache_elsewhere_may_be_another_s_and_is_left(model, gov, tmp_path):
    theirs = tmp_path / "shared/wheels-v9/pypi/never-asked/1.0-py3-none-any.http"
    theirs.mkdir(parents=True)
    document = tomlkit.parse(model.space.config_path.read_text())
    document["storage"]["uv_cache_dir"] = str(tmp_path / "shared")
    model.space.config_path.write_text(tomlkit.dumps(document))
    gov.json("clean").ok()
    assert theirs.exists()
