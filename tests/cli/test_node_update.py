"""gov node update: newer code and its packages, tried in a candidate, promoted together."""

import pytest
from support.fingerprint import differences, fingerprint
from support.refusal import assert_refused

NODE = "sample-captioner"
BROKEN = "raise ImportError('broken by its newest commit')\n"


@pytest.fixture
def site(settled):
    return settled.site


def newer(repository, mark="newer"):
    init = repository.folder / "__init__.py"
    text = init.read_text().replace("import cowsay", f"import cowsay\nimport lark  # {mark}")
    return repository.commit(init=text, requirements="cowsay\nhumanize>=4.9\nlark\n")


def test_code_and_packages_come_and_go_together(site, upstream):
    repository = upstream(NODE)
    commit = newer(repository)
    data = site.gov.json("node", "update", NODE).ok().data
    assert data["status"] == "completed"
    assert data["steps"] == [{"kind": "update", "node": NODE}]
    part = data["nodes"][NODE]
    assert (part["from"], part["commit"], part["count"]) == (repository.first, commit, 1)
    assert part["direct_additions"] == ["cowsay", "humanize>=4.9", "lark"]
    assert site.head(NODE) == repository.first, "nothing moves before the promotion"
    assert "lark" not in site.installed()
    done = site.gov.json("tx", "promote", "last").ok().data
    assert done["code"] == [{"place": NODE, "before": repository.first, "after": commit}]
    assert site.head(NODE) == commit
    assert "import lark" in (site.nodes / NODE / "__init__.py").read_text()
    assert "lark" in site.installed()
    site.gov("undo").ok()
    assert site.head(NODE) == repository.first
    assert "import lark" not in (site.nodes / NODE / "__init__.py").read_text()
    assert "lark" not in site.installed()


def test_a_dry_run_shows_commits_and_packages_and_changes_nothing(site, upstream):
    newer(upstream(NODE))
    before = fingerprint(site.root, site.comfyui)
    told = site.gov("node", "update", NODE, "--dry-run").ok().out
    assert f"{NODE}: " in told and "1 new commit" in told and "lark" in told
    data = site.gov.json("node", "update", NODE, "--dry-run").ok().data
    assert data["dry_run"] is True
    assert [change["name"] for change in data["changes"]] == ["lark"]
    assert not differences(before, fingerprint(site.root, site.comfyui))


@pytest.mark.thorough
def test_promote_does_both_in_one_command(site, upstream):
    commit = newer(upstream(NODE))
    told = site.gov("node", "update", NODE, "--promote").ok().out
    assert f"promoted: {NODE}" in told
    assert site.head(NODE) == commit


def test_where_nothing_is_newer_nothing_is_made(site):
    before = fingerprint(site.root, site.comfyui)
    assert site.gov.json("node", "update", NODE).ok().data["txid"] is None
    assert "newest" in site.gov("node", "update", "--all").ok().out
    assert not differences(before, fingerprint(site.root, site.comfyui))


@pytest.mark.thorough
def test_an_older_commit_can_be_named(site, upstream):
    repository = upstream(NODE)
    newer(repository)
    site.gov("node", "update", NODE, "--promote").ok()
    site.gov("node", "update", NODE, "--to", repository.first, "--promote").ok()
    assert site.head(NODE) == repository.first
    assert "lark" not in site.installed()


def test_edited_files_are_refused_kept_or_overwritten_as_said(site, upstream):
    repository, file = upstream(NODE), site.nodes / NODE / "__init__.py"
    commit = newer(repository)
    file.write_text(file.read_text() + "\n# an edit of mine\n")
    told = assert_refused(site, "node", "update", NODE, code=3, says="__init__.py")
    assert told.error["code"] == "local_changes"
    assert "--keep-local" in told.error["hint"]
    site.gov("node", "update", NODE, "--keep-local", "--promote").ok()
    assert site.head(NODE) == commit
    assert "# an edit of mine" in file.read_text() and "import lark" in file.read_text()
    newer(repository, "newer still")
    site.gov("node", "update", NODE, "--discard-local", "--promote").ok()
    assert "# an edit of mine" not in file.read_text()
    site.gov("undo").ok()
    assert "# an edit of mine" in file.read_text(), "a copy of it was kept"


@pytest.mark.thorough
def test_what_git_does_not_track_stays(site, upstream):
    settings = site.nodes / NODE / "settings.json"
    settings.write_text("{}")
    newer(upstream(NODE))
    site.gov("node", "update", NODE, "--promote").ok()
    site.gov("undo").ok()
    assert settings.read_text() == "{}"


def test_of_all_nodes_those_that_fail_are_set_aside(settled, upstream):
    site = settled.site
    site.gov("tx", "promote", settled.completed).ok()
    good = newer(upstream(NODE))
    broken = upstream("shares-cowsay")
    broken.commit(init=BROKEN)
    ended = site.gov.json("node", "update", "--all")
    data = ended.ok().data
    assert [row["node"] for row in data["steps"]] == [NODE]
    [aside] = data["set_aside"]
    assert aside["step"]["node"] == "shares-cowsay"
    assert "broken by its newest commit" in aside["reason"]
    site.gov("tx", "promote", data["txid"]).ok()
    assert (site.head(NODE), site.head("shares-cowsay")) == (good, broken.first)


def test_where_none_of_them_fits_one_report_has_a_fix_for_all(settled, upstream):
    site = settled.site
    site.gov("tx", "promote", settled.completed).ok()
    for node in (NODE, "shares-cowsay"):
        upstream(node).commit(requirements="cowsay\nnumpy<1.25\n")
    ended = site.gov.json("node", "update", "--all")
    assert (ended.code, ended.data["status"], ended.data["set_aside"]) == (
        4,
        "needs_resolution",
        [],
    )
    txid = ended.data["txid"]
    best = site.gov.json("resolve", txid, "--suggest").ok().data["suggestions"][0]
    assert {one["line"]["who"] for one in best["replaced"]} == {NODE, "shares-cowsay"}
    site.gov("resolve", txid, "--accept", "1").ok()


@pytest.mark.thorough
def test_all_or_nothing_sets_none_aside(settled, upstream):
    site = settled.site
    site.gov("tx", "promote", settled.completed).ok()
    newer(upstream(NODE))
    upstream("shares-cowsay").commit(init=BROKEN)
    ended = site.gov.json("node", "update", "--all", "--all-or-nothing")
    assert (ended.code, ended.data["status"], ended.data["set_aside"]) == (1, "failed", [])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), "usage"),
        (("no-such-node",), "unknown_node"),
        ((NODE, "shares-cowsay", "--to", "main"), "usage"),
        (("--all", "--to", "main"), "usage"),
        ((NODE, "--to", "no-such-branch"), "unknown_ref"),
    ],
)
def test_what_cannot_be_updated_is_refused(site, words, code):
    before = fingerprint(site.root, site.comfyui)
    ended = site.gov.json("node", "update", *words)
    assert (ended.code, ended.error["code"]) == (2, code)
    assert ended.error["hint"]
    assert not differences(before, fingerprint(site.root, site.comfyui))
