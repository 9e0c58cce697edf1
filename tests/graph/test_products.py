"""What runs and what does not when the products of the truth are asked for."""

import json
import os

import pytest

TABLE_OF_CONTENTS = ("init", "lock", "sync", "freeze", "snapshot", "promote")


def ran(done):
    """The tasks that were carried out, as the reporter tells them."""
    return [line[3:] for line in done.stderr.splitlines() if line.startswith(".  ")]


def skipped(done):
    return [line[3:] for line in done.stderr.splitlines() if line.startswith("-- ")]


@pytest.fixture
def settled(make_governed):
    """Everything is up to date and doit knows it."""
    return make_governed(_make_all)


def _make_all(house):
    assert house.doit().returncode == 0


def edited(house, *lines):
    """A node group typed by hand."""
    text = house.space.pyproject.read_text()
    quoted = ", ".join(json.dumps(line) for line in lines)
    text = text.replace("[tool.uv]", f"node-hand = [{quoted}]\n\n[tool.uv]", 1)
    house.space.pyproject.write_text(text)


@pytest.mark.parametrize("words", [("nope",), ("promote:nope",), ("sync", "--nope"), ("--nope",)])
def test_a_wrong_command_line_is_told_as_ours_are(governed, words):
    done = governed.doit(*words)
    assert done.returncode == 2
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert "nope" in error
    assert "CmdOption" not in error
    assert hint.startswith("hint: `bin/doit list --all`")


def test_the_list_reads_like_a_table_of_contents(governed):
    done = governed.doit("list")
    assert done.returncode == 0, done.stderr
    rows = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line.strip())
    for name in TABLE_OF_CONTENTS:
        assert len(rows[name].split()) >= 4, f"{name}: {rows[name]}"


def test_the_first_run_makes_the_freeze_and_the_second_does_nothing(governed):
    first = governed.doit()
    assert first.returncode == 0, first.stderr
    assert "freeze" in ran(first)
    assert "numpy==2.4.1" in governed.space.freeze.read_text()
    governed.forget_uv_calls()
    second = governed.doit()
    assert (second.returncode, ran(second)) == (0, [])
    assert skipped(second) == ["lock", "sync", "freeze"]
    assert governed.uv_calls() == []


def test_no_run_starts_uv_where_nothing_changed(governed):
    assert governed.doit().returncode == 0
    assert governed.uv_calls() == []


def test_touching_a_state_file_reruns_only_what_depends_on_it(settled):
    assert settled.doit("snapshot").returncode == 0
    record = {"id": "hand", "git_url": "/nowhere", "group": "node-hand"}
    settled.space.plugins.write_text(json.dumps([record]))
    done = settled.doit("lock", "sync", "freeze", "snapshot")
    assert done.returncode == 0, done.stderr
    assert ran(done) == ["snapshot"]
    assert settled.uv_calls() == []


def test_a_new_mtime_alone_reruns_nothing(settled):
    for path in settled.space.truth:
        os.utime(path)
    assert ran(settled.doit()) == []


def test_a_lost_product_is_made_again_alone(settled):
    settled.space.freeze.unlink()
    done = settled.doit()
    assert (done.returncode, ran(done)) == (0, ["freeze"])
    assert settled.space.freeze.is_file()
    assert settled.uv_calls() == []


def test_a_stale_product_is_made_again_though_its_inputs_did_not_change(settled):
    """Targets are checked by their content, not by being there."""
    settled.space.freeze.write_text("# generation another\n")
    assert ran(settled.doit()) == ["freeze"]
    assert "numpy==2.4.1" in settled.space.freeze.read_text()


def test_deleting_the_database_costs_only_time(settled):
    before = settled.truth()
    for path in settled.space.root.glob(".doit.db*"):
        path.unlink()
    done = settled.doit()
    assert done.returncode == 0, done.stderr
    assert settled.truth() == before
    assert settled.uv_calls() == []
    assert ran(settled.doit()) == []


def test_info_says_in_words_why_it_would_run(settled):
    assert "up-to-date" in settled.doit("info", "sync").stdout
    edited(settled, "cowsay")
    told = settled.doit("info", "lock").stdout
    assert "uv.lock is what was locked from this pyproject.toml" in told


def test_info_of_a_task_that_would_not_run_exits_zero_else_one(settled):
    assert settled.doit("info", "lock").returncode == 0
    edited(settled, "cowsay")
    assert settled.doit("info", "lock").returncode == 1


def test_a_hand_edit_is_locked_and_synced_once(settled):
    edited(settled, "cowsay")
    done = settled.doit()
    assert done.returncode == 0, done.stderr
    assert ran(done) == ["lock", "sync", "freeze"]
    assert settled.uv_calls("lock", "sync") == ["lock", "sync"]
    assert settled.prod_versions()["cowsay"] == "6.1"
    assert "cowsay==6.1" in settled.space.freeze.read_text()
    settled.forget_uv_calls()
    assert ran(settled.doit()) == []
    assert settled.uv_calls() == []


def test_a_hand_edit_of_a_core_package_waits_for_approval(settled):
    edited(settled, "numpy==2.3.2")
    prod = settled.prod_versions()
    done = settled.doit()
    assert done.returncode == 3, done.stderr
    assert "numpy 2.4.1 -> 2.3.2" in done.stderr
    assert settled.prod_versions() == prod
    unreasoned = settled.doit("sync", "--approve-core")
    assert unreasoned.returncode == 2
    assert "--reason" in unreasoned.stderr
    assert settled.prod_versions() == prod
    approved = settled.doit("sync", "--approve-core", "--reason", "the node needs it")
    assert approved.returncode == 0, approved.stderr
    assert settled.prod_versions()["numpy"] == "2.3.2"


def test_a_hand_edit_that_does_not_lock_changes_nothing(settled):
    edited(settled, "numpy<1.25")
    lock, prod = settled.space.lock.read_bytes(), os.readlink(settled.space.prod)
    done = settled.doit()
    assert done.returncode == 4, done.stderr
    assert "error:" in done.stderr
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr
    assert (settled.space.lock.read_bytes(), os.readlink(settled.space.prod)) == (lock, prod)


@pytest.mark.parametrize("also_edited", [False, True])
def test_a_tampered_lock_is_an_error_never_a_silent_re_lock(settled, also_edited):
    tampered = settled.space.lock.read_text().replace('version = "2.4.1"', 'version = "2.3.2"')
    settled.space.lock.write_text(tampered)
    if also_edited:
        edited(settled, "cowsay")
    prod = os.readlink(settled.space.prod)
    for words in ([], ["lock"], ["sync"]):
        done = settled.doit(*words)
        assert done.returncode == 1, (words, done.stderr)
        assert "changed outside gov" in done.stderr
    assert settled.space.lock.read_text() == tampered
    assert os.readlink(settled.space.prod) == prod
    assert settled.uv_calls("lock", "sync") == []


def test_an_unknown_task_is_wrong_usage(governed):
    assert governed.doit("nonsense").returncode == 2


def test_outside_a_workspace_it_is_one_clean_line(governed, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(governed, "space", type(governed.space)(tmp_path / "empty"))
    done = governed.doit("list")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_a_busy_workspace_is_exit_five(governed):
    from governance.truth import workspace

    with workspace.writing(governed.space, "tx run"):
        done = governed.doit("freeze")
    assert done.returncode == 5, done.stderr
    assert "tx run" in done.stderr


def test_a_damaged_registry_is_an_error_and_stays(settled):
    settled.space.plugins.write_text("{")
    done = settled.doit("snapshot")
    assert done.returncode == 1, done.stderr
    assert "plugins.json" in done.stderr
    assert settled.space.plugins.read_text() == "{"
    assert settled.doit("list").returncode == 0


def test_misspelt_options_are_refused(settled):
    edited(settled, "numpy==2.3.2")
    done = settled.doit("sync", "--aprove-core")
    assert done.returncode == 2, done.stderr


def test_verify_attests_and_drift_fails(settled):
    assert settled.doit("verify").returncode == 0
    planted = settled.site() / "evil.pth"
    planted.write_text("import os\n")
    done = settled.doit("verify")
    assert done.returncode == 1
    report = json.loads(settled.space.verify_report.read_text())
    assert report["verdict"] == "drift"
    assert any("evil.pth" in finding["path"] for finding in report["findings"])


def test_smoke_attests(settled):
    assert settled.doit("smoke").returncode == 0
    assert json.loads(settled.space.smoke_report.read_text())["verdict"] == "ok"
