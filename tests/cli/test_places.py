"""From any folder, by any road, on any path."""

import os
import subprocess
import sys

import pytest
from support.gov import MAIN, Gov
from support.refusal import assert_told
from support.worlds import make_site


def root_told(ended):
    return ended.ok().data["root"]


def test_root_is_taken_before_and_after_the_verb(settled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = settled.site.root
    for argv in (
        ("--root", root, "status"),
        ("status", "--root", root),
        (f"--root={root}", "status"),
    ):
        assert root_told(Gov(None)(*argv, "--json")) == str(root)


def test_root_wins_over_the_environment(settled, tmp_path):
    root = settled.site.root
    assert root_told(Gov(tmp_path)("status", "--root", root, "--json")) == str(root)


def test_from_a_folder_inside(settled, monkeypatch):
    monkeypatch.chdir(settled.site.root / "state/logs")
    assert root_told(Gov(None)("status", "--json")) == str(settled.site.root)


def test_by_its_own_launcher_from_anywhere(settled, tmp_path):
    done = Gov(tmp_path).process(
        "status", "--json", program=settled.site.root / "bin/gov", cwd=tmp_path
    )
    assert root_told(done) == str(settled.site.root)
    link = tmp_path / "gov"
    link.symlink_to(settled.site.root / "bin/gov")
    assert root_told(Gov(None).process("status", "--json", program=link)) == str(settled.site.root)


def test_through_a_symlinked_workspace(settled, tmp_path):
    """Named by the link, it is the real one, and its decisions say so."""
    link = tmp_path / "link"
    link.symlink_to(settled.site.root)
    gov = Gov(link)
    assert root_told(gov.json("status")) == str(settled.site.root)
    gov("tx", "promote", settled.completed).ok()
    assert os.readlink(settled.site.root / ".venv-prod").startswith(".generations/")
    gov("rollback", settled.before).ok()
    assert root_told(gov.json("init")) == str(settled.site.root)


def test_a_modules_name_in_the_current_folder_is_not_imported(settled, tmp_path):
    for name in ("governance", "tasks", "json", "doit"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(99)\n")
    settled.site.gov.process("tx", "abort", settled.core, cwd=tmp_path).ok()


@pytest.mark.family(1)
@pytest.mark.parametrize("name", ["with a blank é", "--dash 'quote\" $HOME;x"])
def test_the_whole_life_on_an_odd_path(tmp_path, world, name):
    """Programs of their own, as a shell starts them."""
    (tmp_path / name).mkdir()
    site = make_site(tmp_path / name, world)
    gov = site.root / "bin/gov"

    def typed(*argv):
        return Gov(None).process(*argv, "--json", program=gov, cwd=tmp_path).ok().data

    typed("node", "add", world.repos / "sample-captioner")
    txid = typed("tx", "run", "sample-captioner")["txid"]
    done = typed("tx", "promote", txid)
    assert list((site.root / ".venv-prod").resolve().rglob("cowsay/__init__.py"))
    typed("rollback", done["pre_snapshot"])
    assert not list((site.root / ".venv-prod").resolve().rglob("cowsay/__init__.py"))
    Gov(None).process("run", "--", "--quick-test-for-ci", program=gov, cwd="/").ok()


def test_a_current_folder_that_was_deleted_is_told(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f'cd "{gone}" && rmdir "{gone}" && exec {sys.executable} -I {MAIN} status'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-2:] == [
        "error: the current folder was deleted",
        'hint: change to another one: cd "$HOME"',
    ]


def test_a_name_that_is_not_utf8_is_told_and_nothing_is_made(tmp_path):
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/lat\xe9")
    os.mkdir(odd)
    ended = Gov(tmp_path)("init", f"{odd}/env", "--comfyui-dir", tmp_path)
    assert_told(ended, 2, "lat\\udce9")
    assert os.listdir(odd) == []
