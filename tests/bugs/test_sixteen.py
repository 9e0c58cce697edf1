"""What the shell version got wrong, and must never come back (CONTRACT, the list of sixteen)."""

import json
import signal
import subprocess
import sys
import time

import pytest
from core.death import dying
from core.house import CHECKOUT

from governance.base.errors import GovError, Refused
from governance.boundaries import uv
from governance.changes import gates, nodes
from governance.environments import generations
from governance.operations import retention
from governance.sample.nodes import NODES
from governance.truth import lockfile, redo, snapshots

TWO = NODES["loads-two-classes"].files


def declaring(*lines):
    return {**TWO, "requirements.txt": "".join(f"{line}\n" for line in lines)}


def command(house, *words, **how):
    """`gov` as a process of its own."""
    argv = [str(house.tool / "bin/python"), str(CHECKOUT / "governance/__main__.py"), *words]
    argv += ["--root", str(house.space.root)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(argv, **pipes, **how)


def test_01_freeze_reads_the_candidate_not_the_ambient_python(governed, monkeypatch):
    """The diff was always empty, the core gate never fired, promote promoted nothing."""
    house = governed
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    txid = house.ran("declares-core", declaring("cowsay", "numpy==2.3.2"))
    tx = house.transaction(txid)
    assert tx["pre_freeze"] == ["numpy==2.4.1", "pillow==12.0.0", "pyyaml==6.0.2"]
    assert tx["diff"]["added"] == ["cowsay==6.1"]
    assert tx["diff"]["changed"] == [{"name": "numpy", "from": "2.4.1", "to": "2.3.2"}]
    assert [row["name"] for row in tx["core_impact"]] == ["numpy"]
    assert not {"pytest", "doit"} & {line.partition("==")[0] for line in tx["post_freeze"]}
    assert house.gov("tx", "promote", txid).code == 3
    house.done("tx", "promote", txid, "--approve-core", "--reason", "wanted")
    assert house.prod_versions()["numpy"] == "2.3.2"


def test_02_promoted_packages_reach_prod_group_by_group(governed):
    """`uv sync --locked --exact` installed no dependency groups."""
    house = governed
    house.promoted("one", declaring("cowsay"))
    house.promoted("two", declaring("colorama"))
    assert {"numpy", "pillow", "pyyaml", "cowsay", "colorama"} == house.prod_versions().keys()
    imported = [str(house.space.prod / "bin/python"), "-I", "-c", "import cowsay, colorama, numpy"]
    assert subprocess.run(imported).returncode == 0


def test_03_a_conflict_is_never_promoted_with_the_dependency_dropped(governed):
    """A failing `uv add` was swallowed."""
    house = governed
    house.added("wants-old", declaring("numpy<1.25", "cowsay"))
    truth = house.truth()
    answer = house.gov("tx", "run", "wants-old")
    assert answer.code == 4
    txid = answer.data["txid"]
    assert answer.data["status"] == "needs_resolution"
    report = json.loads((house.space.root / answer.data["conflict_report"]).read_text())
    assert "numpy" in report["detected_packages"]
    assert house.gov("tx", "promote", txid).code in (3, 4)
    assert house.transaction(txid)["status"] == "needs_resolution"
    assert house.truth() == truth
    assert answer.data["candidate_env"] is None, "reported before any environment is built"


def test_04_the_candidate_has_pip_and_no_freeze_shows_it(governed):
    """A node that installs packages at start could only fail."""
    house = governed
    txid = house.ran("pip-installs")
    tx = house.transaction(txid)
    assert tx["promotion_plan"]["override_additions"] == ["lark"]
    assert any(line.startswith("lark==") for line in tx["post_freeze"])
    told = [*tx["pre_freeze"], *tx["post_freeze"], *tx["observation"]["installed_freeze"]]
    assert [line for line in told if line.startswith("pip")] == []
    house.done("tx", "promote", txid)
    assert "pip" not in house.prod_versions()


def test_05_requirements_and_install_script_of_a_node_are_installed(governed):
    """Neither was."""
    house = governed
    files = {**NODES["install-script-installs"].files, "requirements.txt": "cowsay\n"}
    house.promoted("scripted", files)
    assert {"cowsay", "lark"} <= house.prod_versions().keys()


def test_06_a_server_that_does_not_exit_is_no_failure(governed):
    """It ended as `failed` by time-out."""
    txid = governed.ran("loads-two-classes")
    tx = governed.transaction(txid)
    assert tx["status"] == "completed"
    assert tx["observation"]["verdict"] == "completed"


def conflicted(house):
    """Two nodes that cannot both have their humanize; the txid of the second."""
    files = declaring("humanize>=4.9", "cowsay>=5", "transformers[timm]")
    house.promoted("newer", files, "--approve-core", "--reason", "it brings torch")
    house.added("older", declaring("humanize<4"))
    answer = house.gov("tx", "run", "older")
    assert answer.code == 4, answer.error
    return answer.data["txid"]


def test_07_pins_are_overrides_and_requirements_stay_as_their_authors_wrote_them(governed):
    """`overrides` was a plain group: pins could only add conflicts; all was pinned for ever."""
    import tomllib

    house = governed
    txid = conflicted(house)
    house.done("resolve", txid, "--pin", "humanize==4.9.0", "--pin", "transformers==4.50.3")
    house.done("tx", "promote", txid, "--approve-core", "--reason", "transformers")
    project = tomllib.loads(house.space.pyproject.read_text())
    groups = project["dependency-groups"]
    assert groups["node-newer"] == ["humanize>=4.9", "cowsay>=5", "transformers[timm]"]
    assert groups["node-older"] == ["humanize<4"]
    overrides = project["tool"]["uv"]["override-dependencies"]
    assert "humanize==4.9.0" in overrides
    assert not any("cowsay" in line or "numpy" in line or "tqdm" in line for line in overrides)
    versions = house.prod_versions()
    assert (versions["humanize"], versions["transformers"]) == ("4.9.0", "4.50.3")
    assert "timm" in versions, "an override drops the extras of what it replaces"


def test_08_removed_and_changed_packages_are_part_of_the_plan(governed):
    """They were ignored."""
    house = governed
    house.promoted("first", declaring("cowsay<6", "lark"))
    house.promoted("second", declaring("cowsay"))
    removed = house.done("node", "remove", "first")
    assert removed["removed_packages"] == ["lark==1.2.2"]
    assert house.prod_versions()["cowsay"] == "5.0"
    assert "lark" not in house.prod_versions()
    moved = house.ran("third", declaring("cowsay>=6"))
    changes = house.transaction(moved)["plan"]["changes"]
    assert [(c["name"], c["before"], c["after"]) for c in changes] == [("cowsay", "5.0", "6.1")]
    done = house.done("tx", "promote", moved)
    assert [c["kind"] for c in done["changes"]] == ["changed"]
    assert house.prod_versions()["cowsay"] == "6.1"


def test_09_a_kill_between_the_files_leaves_no_mixture(governed, monkeypatch):
    """Two `cp`s replaced the truth; a kill between them left pyproject and lock apart."""
    house, space = governed, governed.space
    txid = house.ran("declares-two-packages")
    before = house.truth()
    for at in range(0, 200, 4):
        killed = _promote_killed_in_commit(house, txid, monkeypatch, at)
        assert killed, "every kill came before the commit point"
        intended = redo.pending(space) is not None
        redo.recover(space)
        digests = snapshots.truth(space).digests()
        assert digests["lock_sha256"] == generations.prod(space).lock_sha256, f"killed at {at}"
        assert (house.truth() == before) is not intended
        if intended:
            break
    assert house.transaction(txid)["status"] == "promoted"
    assert house.prod_versions()["cowsay"] == "6.1"


def _promote_killed_in_commit(house, txid, monkeypatch, at):
    """Die at this act of the commit itself; whether that act was reached."""
    real, killed = redo.commit, []

    def cut(space, change):
        with dying(monkeypatch, at) as clock:
            real(space, change)
        if clock.acts >= at:
            killed.append(at)
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(redo, "commit", cut)
        assert house.gov("tx", "promote", txid).code in (0, 130)
    return bool(killed)


def test_09_an_interrupt_in_the_build_leaves_old_truth_and_old_prod(governed, monkeypatch):
    """Ctrl-C in sync left new truth and old prod."""
    house = governed
    txid = house.ran("pip-installs")
    before = house.truth()
    real = uv.Uv.sync

    def interrupted(self, project, target, **options):
        real(self, project, target, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(uv.Uv, "sync", interrupted)
        assert house.gov("tx", "promote", txid).code == 130
    assert house.truth() == before
    house.done("tx", "promote", txid)


def test_10_parallel_node_adds_lose_none(governed):
    """No lock: six parallel `node add` left three records."""
    house = governed
    names = [f"node-{number}" for number in range(6)]
    left = {name: house.node(name, TWO) for name in names}
    said_done = set()
    for _ in range(20):
        running = {name: command(house, "node", "add", str(path)) for name, path in left.items()}
        codes = {}
        for name, child in running.items():
            _, err = child.communicate(timeout=120)
            codes[name] = child.returncode
            assert child.returncode in (0, 5), err
        said_done |= {name for name, code in codes.items() if code == 0}
        assert {row["id"] for row in house.plugins()} == said_done
        left = {name: path for name, path in left.items() if name not in said_done}
        if not left:
            break
    assert said_done == set(names)


def test_10_of_two_parallel_promotes_none_is_lost(governed):
    """Both said promoted, one was lost."""
    house = governed
    nodes = {"one": "cowsay", "two": "colorama"}
    txids = {name: house.ran(name, declaring(package)) for name, package in nodes.items()}
    running = {name: command(house, "tx", "promote", txid) for name, txid in txids.items()}
    codes = {}
    for name, child in running.items():
        _, err = child.communicate(timeout=120)
        codes[name] = child.returncode
        assert child.returncode in (0, 5), err
    versions = house.prod_versions()
    for name, package in nodes.items():
        assert (package in versions) == (codes[name] == 0)
        assert (house.transaction(txids[name])["status"] == "promoted") == (codes[name] == 0)


def test_11_a_failed_snapshot_stops_the_promote(governed, monkeypatch):
    """It went unnoticed."""
    from governance.boundaries import store

    house = governed
    txid = house.ran("declares-two-packages")
    before = house.truth()
    real = store._create

    def full(path, data, mode):
        if "snapshots/" in str(path):
            raise OSError(28, "No space left on device")
        real(path, data, mode)

    with monkeypatch.context() as patch:
        patch.setattr(store, "_create", full)
        answer = house.gov("tx", "promote", txid)
    assert (answer.code, answer.error["code"]) == (1, "disk")
    assert house.truth() == before


def test_11_a_rollback_at_the_limit_keeps_its_own_target(make_governed):
    """At the retention limit it pruned it."""
    house = make_governed(storage__snapshots_keep=2)
    house.promoted("declares-two-packages")
    oldest = house.done("snapshot", "list")["snapshots"][0]["id"]
    house.done("rollback", oldest)
    kept = [row["id"] for row in house.done("snapshot", "list")["snapshots"]]
    assert oldest in kept
    assert (house.space.snapshots / oldest / "uv.lock").is_file()
    house.done("rollback", oldest)


@pytest.mark.parametrize("content", ["", "{", '{"a": 1}', "[1]", '[{"id": "x"}]', '[{"id": 3}]'])
def test_12_a_corrupt_registry_is_an_error_and_never_overwritten(governed, content):
    """It was read as empty and overwritten."""
    house = governed
    repository = house.node("loads-two-classes")
    house.space.plugins.write_text(content)
    answer = house.gov("node", "add", repository)
    assert (answer.code, answer.error["code"]) == (1, "damaged")
    assert str(house.space.plugins) in answer.error["message"]
    assert house.space.plugins.read_text() == content
    assert not (house.comfyui / "custom_nodes/loads-two-classes").exists()


def test_13_a_url_is_no_road_around_the_core_gate(governed):
    """`torch @ https://…` passed it.  Only https is taken, so the lock is changed here instead."""
    space = governed.space
    lock = lockfile.parse(space.lock.read_bytes(), space.lock)
    numpy = next(package for package in lock["package"] if package["name"] == "numpy")
    numpy["source"] = {"url": "https://example.invalid/numpy-2.4.1-py3-none-any.whl"}
    lock["package"].append({"name": "torch", "version": "2", "source": {"git": "https://x/t#0"}})
    found = lockfile.changes(generations.prod(space).locked, lockfile.versions(lock))
    core = gates.core_changes(space, found)
    assert [change.name for change in core] == ["numpy", "torch"]
    with pytest.raises(Refused, match="numpy"):
        gates.require_core(core, gates.Approval())


def test_13_a_core_requirement_by_url_is_skipped_and_told_unless_allowed(governed):
    house = governed
    house.added("by-url", declaring("numpy @ https://example.invalid/numpy-2.3.2-py3-none-any.whl"))
    txid = house.gov("tx", "run", "by-url").data["txid"]
    assert [row["kind"] for row in house.transaction(txid)["skipped_requirements"]] == ["url"]
    truth = house.truth()
    assert house.gov("tx", "promote", txid).code == 3
    assert house.truth() == truth


def test_13_a_pin_typed_in_resolve_is_no_road_around_the_core_gate(governed):
    house = governed
    house.added("wants-old", declaring("numpy<1.25"))
    txid = house.gov("tx", "run", "wants-old").data["txid"]
    house.done("resolve", txid, "--pin", "numpy==1.24.4")
    truth = house.truth()
    answer = house.gov("tx", "promote", txid)
    assert (answer.code, answer.error["code"]) == (3, "core_approval")
    assert house.truth() == truth


def test_13_approval_needs_a_reason(governed):
    house = governed
    txid = house.ran("core", declaring("numpy==2.3.2"))
    truth = house.truth()
    for reason in ([], ["--reason", ""], ["--reason", "   "]):
        answer = house.gov("tx", "promote", txid, "--approve-core", *reason)
        assert answer.code == 2, answer.error
    assert house.truth() == truth
    house.done("tx", "promote", txid, "--approve-core", "--reason", "asked for")
    assert house.transaction(txid)["promotion"]["reason"] == "asked for"


@pytest.mark.parametrize(
    "node_id", ["../../x", "..", ".", "a/b", "/tmp/x", "", "a\0b", "x\n", "-x"]
)
def test_14_an_id_never_leads_out_of_custom_nodes(governed, node_id):
    """`--id ../../x` cloned outside, and `--purge-code` would have deleted that path."""
    house = governed
    before = sorted(str(p) for p in house.comfyui.parent.iterdir())
    answer = house.gov("node", "add", house.node("loads-two-classes"), f"--id={node_id}")
    assert (answer.code, answer.error["code"]) == (2, "bad_node_id"), answer.error
    (house.comfyui.parent / "repositories").mkdir(exist_ok=True)
    after = sorted(str(p) for p in house.comfyui.parent.iterdir())
    assert set(after) - set(before) <= {str(house.repositories)}
    assert house.plugins() == []


@pytest.mark.parametrize("node_id", ["../../x", "..", "../models"])
def test_14_purge_deletes_no_path_that_a_record_was_made_to_name(governed, node_id):
    house = governed
    victim = house.comfyui / "custom_nodes" / node_id
    victim.mkdir(exist_ok=True)
    (victim / "precious").write_text("kept")
    record = {"id": node_id, "git_url": "/x", "group": "node-x", "path": str(victim)}
    house.space.plugins.write_text(json.dumps([record]))
    answer = house.gov("node", "remove", "--purge-code", "--", node_id)
    assert answer.code != 0
    assert (victim / "precious").read_text() == "kept"


def test_15_a_failed_checkout_leaves_no_clone(governed):
    """It left an orphan."""
    house = governed
    answer = house.gov("node", "add", house.node("loads-two-classes"), "--ref", "no-such-ref")
    assert answer.code != 0
    assert not (house.comfyui / "custom_nodes/loads-two-classes").exists()
    assert list(house.space.work.iterdir()) == []
    assert house.plugins() == []


def test_15_a_checkout_that_fails_after_the_fetch_leaves_no_clone(governed):
    """A commit that the repository has not: only the clone can find out."""
    house = governed
    answer = house.gov("node", "add", house.node("loads-two-classes"), "--ref", "c0ffee" + "0" * 34)
    assert answer.code != 0
    assert not (house.comfyui / "custom_nodes/loads-two-classes").exists()
    assert list(house.space.work.iterdir()) == []
    assert house.plugins() == []


def test_15_an_add_that_fails_after_its_clone_leaves_none(governed, monkeypatch):
    house = governed

    def full(*_, **__):
        raise GovError("no space", hint="free some", code="disk")

    monkeypatch.setattr(nodes, "register", full)
    assert house.gov("node", "add", house.node("loads-two-classes")).code == 1
    assert not (house.comfyui / "custom_nodes/loads-two-classes").exists()
    assert list(house.space.work.iterdir()) == []


def test_15_a_killed_run_does_not_stay_running(governed):
    """It stayed `running` for ever."""
    house = governed
    house.added("import-sleeps")
    child = command(house, "tx", "run", "import-sleeps")
    txid = _when_observing(house)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert house.transaction(txid)["status"] == "running"
    (row,) = house.done("status")["pending_transactions"]
    assert row["interrupted"]
    house.added("loads-two-classes")
    assert house.transaction(txid)["status"] == "failed"
    house.done("tx", "abort", txid)
    assert list(house.space.candidates.iterdir()) == []


def _when_observing(house):
    """The txid, as soon as ComfyUI was started."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for row in house.done("status")["pending_transactions"]:
            if row["status"] == "running" and list(house.space.logs.glob(f"{row['txid']}.std*")):
                return row["txid"]
        time.sleep(0.1)
    raise AssertionError("ComfyUI was never started")


def test_15_abort_never_overwrites_a_promoted_record(governed):
    house = governed
    txid = house.promoted("declares-two-packages")
    record = (house.space.transactions / f"{txid}.json").read_bytes()
    answer = house.gov("tx", "abort", txid)
    assert (answer.code, answer.error["code"]) == (3, "bad_transition")
    assert (
        f"`gov rollback {house.transaction(txid)['promotion']['pre_snapshot']}`"
        in (answer.error["hint"])
    )
    assert (house.space.transactions / f"{txid}.json").read_bytes() == record


def test_16_work_folders_and_candidates_are_cleaned(governed):
    """They never were."""
    house, space = governed, governed.space
    house.promoted("declares-two-packages")
    aborted = house.ran("loads-two-classes")
    assert (space.candidates / aborted).is_dir()
    house.done("tx", "abort", aborted)
    assert list(space.candidates.iterdir()) == []
    assert list(space.work.iterdir()) == []
    (space.candidates / "20200101T000000Z-0000000a").mkdir()
    assert retention.clean(space) == [".venv-candidate/20200101T000000Z-0000000a"]


def test_16_a_promote_starts_few_programs(governed, monkeypatch):
    """One uv process per package, 24 to 33 Python starts per promote."""
    from governance.boundaries import process

    house = governed
    txid = house.ran("many", declaring("cowsay", "humanize", "lark", "colorama", "tqdm"))
    started = []
    real = process.spawn

    def counted(argv, **options):
        started.append(list(argv))
        return real(argv, **options)

    monkeypatch.setattr(process, "spawn", counted)
    house.forget_uv_calls()
    house.done("tx", "promote", txid)
    assert house.uv_calls("lock", "sync", "add", "remove") == []
    assert len([argv for argv in started if argv[0] != "git"]) <= 3, started
    assert len(house.prod_versions()) == 8
