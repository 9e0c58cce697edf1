"""gov tx promote: the candidate becomes prod, behind every gate."""

import json
import subprocess

import pytest
from support.fingerprint import truth_and_prod
from support.refusal import assert_refused, assert_told


def imports(site, *modules):
    done = subprocess.run(
        [site.python, "-I", "-c", f"import {', '.join(modules)}"], capture_output=True, text=True
    )
    return done.returncode == 0


@pytest.fixture
def site(settled):
    return settled.site


def test_what_is_reported_is_installed_imported_and_recorded(settled):
    site = settled.site
    assert not imports(site, "colorama")
    told = site.gov("tx", "promote", settled.completed).ok()
    assert "promoted: shares-cowsay; prod is generation" in told.out
    assert imports(site, "colorama", "cowsay", "humanize")
    data = site.gov.json("tx", "inspect", settled.completed).data
    assert (data["status"], data["candidate_state"]) == ("promoted", "cleaned")
    rows = {r["id"]: r for r in json.loads((site.root / "state/plugins.json").read_text())}
    assert rows["shares-cowsay"]["last_txid"] == settled.completed
    assert rows["shares-cowsay"]["last_snapshot"] == data["promotion"]["pre_snapshot"]
    assert sorted(rows["shares-cowsay"]["managed_deps"]) == ["colorama", "cowsay>=5"]


def test_the_document_holds_what_the_contract_promises(settled):
    data = settled.site.gov.json("tx", "promote", settled.completed, "--keep").ok().data
    assert (data["txid"], data["status"]) == (settled.completed, "promoted")
    assert data["generation"] == (settled.site.root / ".venv-prod").readlink().name
    added = {"name": "colorama", "before": None, "after": "0.4.6", "kind": "added"}
    assert data["changes"] == [added]
    rows = settled.site.gov.json("snapshot", "list").data["snapshots"]
    assert [row["id"] for row in rows[-2:]] == [data["pre_snapshot"], data["post_snapshot"]]
    assert (settled.site.root / ".venv-candidate" / settled.completed).is_dir()


def test_a_dry_run_shows_the_plan_and_changes_nothing(settled):
    from support.fingerprint import fingerprint

    before = fingerprint(settled.site.root)
    told = settled.site.gov("tx", "promote", settled.completed, "--dry-run").ok()
    assert "colorama" in told.out
    assert fingerprint(settled.site.root) == before


def test_a_core_change_needs_approval_with_a_reason(settled):
    site = settled.site
    ended = assert_refused(site, "tx", "promote", settled.core, code=3, says="numpy 2.4.1 -> 2.3.2")
    assert ended.error["code"] == "core_approval"
    assert "--approve-core" in ended.error["hint"]
    site.gov("tx", "promote", settled.core, "--approve-core", "--reason", "tried it").ok()
    promotion = site.gov.json("tx", "inspect", settled.core).data["promotion"]
    assert promotion["reason"] == "tried it"
    assert [row["name"] for row in promotion["approved_core"]] == ["numpy"]


def test_a_failed_run_needs_to_be_allowed(settled):
    site = settled.site
    assert_refused(site, "tx", "promote", settled.failed, code=3, named="failed_run")
    site.gov("tx", "promote", settled.failed, "--allow-failed-run").ok()
    promotion = site.gov.json("tx", "inspect", settled.failed).data["promotion"]
    assert promotion["allowed_failed_run"] is True


@pytest.mark.parametrize("name", ["promoted", "aborted", "conflicting"])
def test_what_is_over_or_unresolved_cannot_be_promoted(settled, name):
    argv = ("tx", "promote", getattr(settled, name))
    assert_refused(settled.site, *argv, code=3, named="bad_transition")


def test_skipped_lines_need_to_be_accepted(site):
    txid = site.run("odd-requirements")
    ended = assert_refused(site, "tx", "promote", txid, code=3, named="skipped_requirements")
    assert "git+" in json.dumps(ended.error["facts"])
    site.gov("tx", "promote", txid, "--accept-skipped").ok()
    assert imports(site, "cowsay", "lark")


def test_a_clone_at_another_commit_than_was_observed_is_refused(settled):
    """The requirements of one commit came into prod, and ComfyUI loaded the code of another."""
    site, clone = settled.site, settled.site.nodes / "shares-cowsay"
    author = ("-c", "user.name=x", "-c", "user.email=x@example.invalid")
    commit = ["git", *author, "commit", "-q", "--allow-empty", "-m", "moved"]
    subprocess.run(commit, cwd=clone, check=True)
    argv = ("tx", "promote", settled.completed)
    ended = assert_refused(site, *argv, code=3, says="since it was observed", named="moved_node")
    assert "gov tx run shares-cowsay" in ended.error["hint"]
    subprocess.run(["git", "reset", "-q", "--hard", "HEAD~1"], cwd=clone, check=True)
    site.gov(*argv).ok()


def test_a_moved_base_with_other_versions_is_refused(settled):
    """sample-upscaler moves numpy, with which shares-cowsay was not observed."""
    site = settled.site
    site.gov("tx", "promote", settled.core, "--approve-core", "--reason", "x").ok()
    before = truth_and_prod(site.root)
    ended = site.gov.json("tx", "promote", settled.completed)
    assert (ended.code, ended.error["code"]) == (3, "moved_base")
    assert "numpy 2.4.1 -> 2.3.2" in ended.error["message"]
    assert truth_and_prod(site.root) == before


def test_a_failing_smoke_test_leaves_prod_and_can_be_repeated(settled):
    site = settled.site
    site.set(tx__smoke_test_cmd="sh -c 'exit 3'")
    before = truth_and_prod(site.root)
    ended = assert_told(site.gov("tx", "promote", settled.completed), 1, "exit code 3")
    assert settled.completed in ended.problems("hint")[0]
    assert truth_and_prod(site.root) == before
    assert site.gov.json("tx", "inspect", settled.completed).data["status"] == "promote_failed"
    site.set(tx__smoke_test_cmd="{python} -c 'import colorama'")
    site.gov("tx", "promote", settled.completed).ok()
    assert imports(site, "colorama")


def test_the_candidate_is_not_what_is_promoted(settled):
    """What a plugin leaves in its candidate (a .pth file, a patched module) stays there."""
    site = settled.site
    upper = site.root / ".venv-candidate" / settled.completed / "upper"
    for pth in (upper, *upper.glob("lib/python*/site-packages")):
        (pth / "evil.pth").write_text("import os\n")
    site.gov("tx", "promote", settled.completed).ok()
    assert not list((site.root / ".venv-prod").resolve().rglob("evil.pth"))


def test_what_was_installed_by_url_is_asked_for_as_a_declared_url_is(workspace, world):
    """Undeclared, it came into the node's group as it was typed, past `[policy]`."""
    wheel = next(world.wheels.glob("lark-1.2*.whl"))
    files = {"install.py": _INSTALL_BY_URL.format(wheel=wheel.as_uri())}
    world.add("installs-by-url", files)
    txid = workspace.run("installs-by-url")
    data = workspace.gov.json("tx", "inspect", txid).data
    assert data["diff"]["undeclared"] == ["lark"]
    assert data["promotion_plan"]["override_additions"] == []
    [skipped] = data["skipped_requirements"]
    assert skipped["kind"] == "local-path"
    assert skipped["origin"] == {"file": "installs-by-url/install.py", "line": 4}
    said = f"skipped installs-by-url/install.py:4 lark @ {wheel.as_uri()}"
    assert said in workspace.gov("tx", "inspect", txid).out
    ended = assert_refused(workspace, "tx", "promote", txid, code=3, says="lark @ file://")
    assert ended.error["code"] == "skipped_requirements"
    workspace.gov("tx", "promote", txid, "--accept-skipped").ok()
    assert "lark" not in (workspace.root / "pyproject.toml").read_text()


_INSTALL_BY_URL = """\
import subprocess
import sys

subprocess.run([sys.executable, "-m", "pip", "install", "lark @ {wheel}"], check=True)
"""
