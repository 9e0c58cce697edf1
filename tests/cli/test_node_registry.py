"""Nodes by their id at the Comfy Registry: found, taken in as ComfyUI-Manager would, updated."""

import hashlib
import json
import shutil
import time

import pytest
from support import registry as loopback
from support.fingerprint import differences, fingerprint
from support.refusal import assert_refused
from support.registry import zipped

from governance.code.repository import Repository
from governance.sample import world as sample

LOADS = """\
class Published{number}:
    CATEGORY = "sample"
    RETURN_TYPES = ("STRING",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):
        return {{"required": {{}}}}

    def run(self):
        return ("{number}",)


NODE_CLASS_MAPPINGS = {{"Published{number}": Published{number}}}
"""
ID = "Sample-Pack"
NODE = ID.lower()


def code(number, requirements="cowsay\n", **files):
    return {"__init__.py": LOADS.format(number=number), "requirements.txt": requirements, **files}


@pytest.fixture
def registry():
    with loopback.serving() as made:
        made.add(ID, description="a pack for the tests", repository="https://example.invalid/o/p")
        made.publish(ID, "1.0.0", code(1), dependencies=["cowsay"])
        yield made


@pytest.fixture
def site(settled, registry):
    site = settled.site
    site.set(registry__url=registry.url, registry__timeout_seconds=5)
    return site


def record(site, node=NODE):
    rows = json.loads((site.root / "state/plugins.json").read_text())
    return {row["id"]: row for row in rows}[node]


def history(site):
    return [
        json.loads(line) for line in (site.root / "state/history.jsonl").read_text().splitlines()
    ]


# --- node add ---------------------------------------------------------------------------------


def test_an_id_is_taken_in_as_manager_would(site, registry):
    told = site.gov("node", "add", ID).ok()
    assert f"added {NODE} 1.0.0 from the registry" in told.out
    folder = site.nodes / NODE
    assert (folder / ".tracking").read_text().split("\n") == ["__init__.py", "requirements.txt"]
    row = record(site)
    assert (row["kind"], row["git_url"]) == ("registry", "")
    assert row["registry"] == {
        "id": ID,
        "version": "1.0.0",
        "repository": "https://example.invalid/o/p",
        "publisher": "sample",
        "sha256": hashlib.sha256(registry.archives[f"{ID}/1.0.0"]).hexdigest(),
        "code": row["code"],
    }
    assert registry.asked("/install") == [f"GET /nodes/{ID}/install?version=1.0.0"]
    assert history(site)[-1]["registry"] == f"{ID}@1.0.0"
    assert f"from the registry: {NODE} 1.0.0" in site.gov("status").ok().out
    assert f"{NODE} registry 1.0.0" in " ".join(site.gov("node", "list").ok().out.split())


def test_it_runs_is_promoted_and_is_rolled_back(site):
    site.gov("node", "add", f"{ID}@1.0").ok()
    data = site.gov.json("tx", "run", NODE).ok().data
    assert data["observation"]["nodes"][NODE]["classes"] == ["Published1"]
    site.gov("tx", "promote", "last").ok()
    site.gov("node", "remove", NODE, "--purge-code").ok()
    assert not (site.nodes / NODE).exists()
    site.gov("undo").ok()
    assert (site.nodes / NODE / ".tracking").is_file(), "it comes back without the registry"


@pytest.mark.parametrize(
    ("status", "says"),
    [("Flagged", "is flagged"), ("Pending", "is pending"), ("Whatever", "is whatever")],
)
def test_what_is_not_active_is_told(site, registry, status, says):
    registry.publish(ID, "1.0.1", code(1), status=status, status_reason="looks odd")
    told = site.gov("node", "add", ID).ok()
    assert f"{ID}@1.0.1 {says} at the registry (looks odd)" in told.problems("warning")[0]


def test_what_is_deprecated_is_told(site, registry):
    registry.publish(ID, "1.0.1", code(1), deprecated=True)
    assert "deprecated" in site.gov("node", "add", ID).ok().problems("warning")[0]


def test_what_is_made_for_another_comfyui_is_told(site, registry):
    registry.publish(ID, "1.0.1", code(1), supported_comfyui_version=">=99")
    assert "made for ComfyUI >=99" in site.gov("node", "add", ID).ok().problems("warning")[0]


def test_banned_is_refused_unless_somebody_says_why(site, registry):
    registry.publish(ID, "1.0.1", code(1), status="Banned")
    ended = assert_refused(site, "node", "add", ID, code=3, named="version_banned")
    assert "--accept-banned" in ended.error["hint"]
    assert registry.asked("/install") == []
    assert_refused(site, "node", "add", ID, "--accept-banned", " ", code=2, says="reason")
    told = site.gov("node", "add", ID, "--accept-banned", "read all of its code").ok()
    assert "is banned" in told.problems("warning")[0]
    assert history(site)[-1]["accepted_banned"] == "read all of its code"


def test_a_banned_node_is_refused_whatever_its_version(site, registry):
    registry.add(ID, status="NodeStatusBanned")
    assert_refused(site, "node", "add", f"{ID}@1.0.0", code=3, named="version_banned")


def test_a_ban_that_the_registry_answers_with_403_is_no_reason_to_look_elsewhere(
    site, registry, catalogue
):
    catalogue({"id": ID, "files": ["https://example.invalid/o/p"], "install_type": "git-clone"})
    registry.fail(f"/nodes/{ID}", 403, json.dumps({"message": "Node banned"}))
    assert_refused(site, "node", "add", ID, code=1, says="Node banned", named="registry_denied")


def test_deleted_cannot_be_had(site, registry):
    registry.publish(ID, "1.0.1", code(1), status="Deleted")
    ended = assert_refused(
        site, "node", "add", ID, "--accept-banned", "x", code=3, named="version_deleted"
    )
    assert "was deleted" in ended.error["message"]


def test_the_same_version_with_other_bytes_is_refused_for_ever(site, registry):
    site.gov("node", "add", ID).ok()
    site.gov("node", "remove", NODE, "--purge-code").ok()
    registry.archives[f"{ID}/1.0.0"] = zipped({"__init__.py": "import os\n"})
    ended = assert_refused(site, "node", "add", ID, code=3, named="archive_changed")
    assert f"{ID}@1.0.0" in ended.error["message"]


@pytest.mark.parametrize(
    "files",
    [{"../../../evil.py": "x"}, {"/tmp/evil.py": "x"}, {"A.py": "", "a.py": ""}],
    ids=["parents", "absolute", "case"],
)
def test_a_hostile_archive_changes_nothing(site, registry, files):
    registry.publish(ID, "1.0.1", files)
    assert_refused(site, "node", "add", ID, code=3, says=f"{ID}@1.0.1", named="archive_unfit")


@pytest.mark.parametrize(
    ("typed", "code", "named"),
    [
        ("no-such-node", 2, "unknown_registry_node"),
        (f"{ID}@9.9.9", 2, "unknown_version"),
        (f"{ID}@..", 2, "not_found"),
        ("..@1.0.0", 2, "not_found"),
        (f"./{ID}", 2, "not_found"),
    ],
)
def test_what_cannot_be_found(site, registry, typed, code, named):
    assert_refused(site, "node", "add", typed, code=code, named=named)
    assert not any(".." in line for line in registry.requests)


def test_a_ref_is_for_repositories(site):
    assert_refused(site, "node", "add", ID, "--ref", "main", code=2, says="--ref")


def test_a_folder_that_is_there_comes_first(site, registry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sample.write_node(tmp_path, ID, {"__init__.py": "one = 1\n"})
    site.gov("node", "add", ID).ok()
    assert record(site, ID)["kind"] == "clone"
    assert registry.requests == []


def test_a_folder_of_that_name_in_another_spelling_is_not_doubled(site):
    (site.nodes / "Sample_Pack").mkdir()
    ended = assert_refused(site, "node", "add", ID, code=2, named="folder_exists")
    assert "gov node add Sample_Pack" in ended.error["hint"]


def test_another_id_is_taken_as_the_folder(site):
    site.gov("node", "add", ID, "--id", "mine").ok()
    assert record(site, "mine")["registry"]["id"] == ID


def test_the_registry_may_know_it_by_another_spelling(site, registry):
    registry.moved["sample_pack"] = ID
    site.gov("node", "add", "sample_pack").ok()
    assert record(site, "sample_pack")["registry"]["id"] == ID


def test_a_check_fetches_and_keeps_nothing(site, registry):
    before = fingerprint(site.root, site.comfyui)
    registry.publish(ID, "2.0.0", code(1, "humanize<4\n"))
    data = site.gov.json("node", "check", f"{ID}@1.0.0").ok().data
    assert (data["node_id"], data["verdict"]) == (NODE, "fits")
    assert site.gov.json("node", "check", ID).data["verdict"] == "conflicts"
    assert registry.asked("/install") == []
    assert not differences(before, fingerprint(site.root, site.comfyui))


@pytest.mark.family(1)
@pytest.mark.parametrize("verb", ["add", "update"])
def test_a_download_that_was_killed_leaves_nothing_to_the_next_command(site, registry, verb):
    if verb == "update":
        site.gov("node", "add", ID).ok()
    registry.publish(ID, "1.0.1", code(1))
    registry.fail("/files", 200, b"x" * 100, wait=30)
    child = site.gov.start("node", verb, ID if verb == "add" else NODE)
    while not registry.asked("/files/Sample-Pack/1.0.1"):
        assert child.poll() is None
        time.sleep(0.02)
    while not list((site.root / "state/work").glob("*.zip")):
        time.sleep(0.02)
    child.kill()
    child.communicate()
    registry.faults.clear()
    site.gov("node", verb, ID if verb == "add" else NODE).ok()
    assert not [p for p in (site.root / "state/work").iterdir() if p.name[:4] in ("add-", "fetc")]


# --- the repository instead -------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path):
    return sample.write_node(tmp_path, "ComfyUI-Sample-Repo", code(1))


@pytest.fixture
def catalogue(site, tmp_path, registry):
    """A function that writes Manager's list, with these entries, where the settings look."""

    def write(*entries, **classes):
        folder = tmp_path / "manager"
        folder.mkdir(exist_ok=True)
        (folder / "custom-node-list.json").write_text(json.dumps({"custom_nodes": entries}))
        rows = {url: [names, {}] for url, names in classes.items()}
        (folder / "extension-node-map.json").write_text(json.dumps(rows))
        site.set(registry__url=registry.url, registry__catalogue=str(folder))
        return folder

    return write


def test_nightly_is_a_clone_of_the_repository(site, registry, repository):
    registry.add(ID, repository=str(repository))
    site.gov("node", "add", f"{ID}@nightly").ok()
    row = record(site)
    assert (row["kind"], row["git_url"]) == ("clone", str(repository))
    assert row["registry"] == {
        "id": ID,
        "version": "nightly",
        "repository": str(repository),
        "publisher": "sample",
    }
    assert (site.nodes / NODE / ".git/.cnr-id").read_text() == ID
    assert registry.asked("/install") == []


def test_where_only_the_repository_is_known_it_is_cloned(site, registry, repository):
    registry.add("repo-only", repository=str(repository))
    site.gov("node", "add", "repo-only").ok()
    assert record(site, "repo-only")["kind"] == "clone"


def test_what_only_managers_list_knows_is_cloned_as_by_its_url(site, catalogue, repository):
    catalogue({"id": "listed", "files": [str(repository)], "install_type": "git-clone"})
    told = site.gov("node", "add", "Listed").ok()
    assert "ComfyUI-Manager's list names it" in told.problems("warning")[0]
    assert record(site, repository.name)["git_url"] == str(repository)


def test_without_a_registry_managers_list_answers(site, catalogue, repository):
    catalogue({"title": "T", "files": [str(repository)], "install_type": "git-clone"})
    site.set(
        registry__url="http://127.0.0.1:9", registry__catalogue=str(repository.parent / "manager")
    )
    for typed, says in (("x", "does not know it either"), (f"{repository.name}@1", "clones it")):
        ended = assert_refused(site, "node", "add", typed, code=1, named="registry_unreachable")
        assert says in ended.error["hint"]
    told = site.gov("node", "add", repository.name).ok()
    assert "did not answer" in told.problems("warning")[0]


def test_a_name_that_two_repositories_have(site, catalogue):
    urls = [f"https://example.invalid/{owner}/same" for owner in "ab"]
    catalogue(*({"files": [url], "install_type": "git-clone"} for url in urls))
    ended = assert_refused(site, "node", "add", "same", code=2, named="ambiguous_id")
    assert all(url in ended.error["message"] for url in urls)


def test_what_is_no_repository_is_told(site, catalogue):
    catalogue({"id": "one-file", "files": ["https://e.invalid/x.py"], "install_type": "copy"})
    assert_refused(site, "node", "add", "one-file", code=2, named="no_repository")


# --- search and info --------------------------------------------------------------------------


def test_search_asks_the_registry_and_says_so(site, registry):
    before = fingerprint(site.root, site.comfyui)
    registry.publish("other-pack", "2.0.0", status="Flagged")
    told = site.gov("node", "search", "pack").ok().out
    assert "the Comfy Registry" in told and ID in told and "flagged" in told
    data = site.gov.json("node", "search", "pack").ok().data
    assert data["source"] == "registry"
    assert [row["id"] for row in data["found"]] == [ID, "other-pack"]
    assert registry.asked("/install") == []
    assert not differences(before, fingerprint(site.root, site.comfyui))


def test_search_without_a_registry_asks_managers_list_and_says_so(site, registry, catalogue):
    url = "https://example.invalid/o/p"
    catalogue(
        {"id": "by-id", "title": "Painter", "files": ["https://example.invalid/x/y"]},
        {"title": "Other", "files": [url], "install_type": "git-clone"},
        {"title": 3, "files": 3},
        "rubbish",
        **{url: ["PainterNode"]},
    )
    registry.fail("/nodes", 500, "broken")
    ended = site.gov.json("node", "search", "painter").ok()
    assert ended.data["source"] == "catalogue"
    assert [row["url"] for row in ended.data["found"]] == ["https://example.invalid/x/y", url]
    assert "answers with 500" in ended.document["warnings"][0]


def test_search_that_finds_nothing(site):
    assert "nothing is called 'zzz'" in site.gov("node", "search", "zzz").ok().out
    assert_refused(site, "node", "search", " ", code=2)


@pytest.mark.parametrize("verb", ["search", "info", "add"])
def test_nobody_answers(site, verb):
    site.set(registry__url="http://127.0.0.1:9")
    ended = assert_refused(site, "node", verb, ID, code=1, named="registry_unreachable")
    assert "catalogue" in ended.error["hint"]


def test_info_tells_what_is_known_and_installed(site, registry):
    registry.publish(ID, "1.1.0", code(2), supported_comfyui_version=">=0.3.50", changelog="faster")
    registry.publish(ID, "1.2.0", code(2), status="Banned", createdAt="2026-02-01T00:00:00Z")
    site.gov("node", "add", f"{ID}@1.1.0").ok()
    registry.requests.clear()
    told = site.gov("node", "info", ID).ok().out
    assert "1.2.0 (banned)" in told and "faster" in told
    assert f"{NODE}: registry 1.1.0, pending" in told
    data = site.gov.json("node", "info", ID).ok().data
    assert [row["version"] for row in data["versions"]] == ["1.2.0", "1.0.0", "1.1.0"]
    assert data["node"]["repository"] == "https://example.invalid/o/p"
    assert [row["id"] for row in data["installed"]] == [NODE]
    assert registry.asked("/install") == []


def test_info_from_managers_list(site, catalogue):
    catalogue({"id": "listed", "title": "Listed", "files": ["https://example.invalid/o/listed"]})
    ended = site.gov.json("node", "info", "listed").ok()
    assert ended.data["source"] == "catalogue"
    assert "does not know" in ended.document["warnings"][0]


def test_info_of_what_nobody_knows(site):
    assert_refused(site, "node", "info", "nowhere", code=2, named="unknown_registry_node")
    assert_refused(site, "node", "info", "../x", code=2, named="bad_registry_id")


def test_a_catalogue_that_is_none(site, registry, tmp_path):
    (tmp_path / "list.json").write_text("[]")
    site.set(registry__url="http://127.0.0.1:9", registry__catalogue=str(tmp_path / "list.json"))
    assert_refused(site, "node", "search", "x", code=2, named="bad_catalogue")
    site.set(registry__catalogue=str(tmp_path / "nowhere"))
    assert_refused(site, "node", "search", "x", code=2, named="bad_catalogue")


@pytest.mark.parametrize("url", ["", "api.comfy.org", "file:///x", "https://u:p@h", "https://[x"])
def test_a_registry_url_that_is_none(site, url):
    site.set(registry__url=url)
    assert_refused(site, "node", "search", "x", code=2, named="bad_config")


# --- other versions ---------------------------------------------------------------------------


@pytest.fixture
def promoted(site):
    site.gov("node", "add", ID).ok()
    site.gov("tx", "run", NODE).ok()
    site.gov("tx", "promote", "last").ok()
    return site


def test_another_version_comes_and_goes_with_its_packages(promoted, registry):
    site = promoted
    registry.publish(ID, "1.1.0", code(2, "cowsay\nlark\n", **{"new.py": "x = 1\n"}))
    assert (site.nodes / NODE / "settings.json").write_text("{}")
    told = site.gov("node", "update", NODE, "--dry-run").ok().out
    assert f"{NODE}: 1.0.0 -> 1.1.0" in told and "lark" in told
    assert len(registry.asked("/install")) == 1, "a dry run is not counted"
    data = site.gov.json("node", "update", NODE, "--promote").ok().data
    assert data["status"] == "promoted"
    assert record(site)["registry"]["version"] == "1.1.0"
    assert (site.nodes / NODE / "new.py").is_file() and "lark" in site.installed()
    assert (site.nodes / NODE / ".tracking").read_text().split("\n")[-1] == "new.py"
    assert any(f"update {NODE} 1.1.0" in row["steps"] for row in history(site))
    site.gov("undo").ok()
    assert record(site)["registry"]["version"] == "1.0.0"
    assert not (site.nodes / NODE / "new.py").exists() and "lark" not in site.installed()
    assert (site.nodes / NODE / "settings.json").read_text() == "{}"


def test_outdated_tells_versions_and_bans(promoted, registry):
    site = promoted
    registry.publish(ID, "1.10.0", code(2))
    registry.nodes[ID]["versions"]["1.0.0"]["status"] = "NodeVersionStatusBanned"
    ended = site.gov.json("outdated").ok()
    row = next(row for row in ended.data["outdated"] if row["id"] == NODE)
    assert (row["version"], row["newest"]) == ("1.0.0", "1.10.0")
    assert f"{NODE} 1.0.0 is banned" in ended.document["warnings"]
    assert registry.asked("/bulk/nodes/versions")
    assert "1.10.0" in site.gov("node", "list", "--outdated").ok().out


@pytest.mark.thorough
def test_edited_files_are_refused_kept_or_overwritten(promoted, registry):
    site, file = promoted, promoted.nodes / NODE / "__init__.py"
    registry.publish(ID, "1.1.0", {**code(1), "__init__.py": "# newer\n" + LOADS.format(number=1)})
    file.write_text(file.read_text() + "\n# an edit of mine\n")
    assert_refused(site, "node", "update", NODE, code=3, named="local_changes")
    site.gov("node", "update", NODE, "--keep-local", "--promote").ok()
    assert "# newer" in file.read_text() and "# an edit of mine" in file.read_text()
    registry.publish(ID, "1.2.0", {**code(1), "__init__.py": "# newest\n" + LOADS.format(number=1)})
    assert_refused(site, "node", "update", NODE, code=3, named="local_changes")
    site.gov("node", "update", NODE, "--discard-local", "--promote").ok()
    assert "# an edit of mine" not in file.read_text()


def test_an_update_is_judged_as_an_addition_is(promoted, registry):
    site = promoted
    registry.publish(ID, "1.1.0", code(2), status="Banned")
    assert_refused(site, "node", "update", NODE, code=3, named="version_banned")
    site.gov("node", "update", NODE, "--accept-banned", "needed").ok()
    registry.publish(ID, "1.2.0", {"../x": ""})
    assert_refused(site, "node", "update", NODE, code=3, named="archive_unfit")
    assert_refused(site, "node", "update", NODE, "--to", "7.7", code=2, named="unknown_version")


def test_where_it_is_the_newest_nothing_is_made(promoted, registry):
    registry.requests.clear()
    assert promoted.gov.json("node", "update", NODE).ok().data["txid"] is None
    assert registry.asked("/install") == []


@pytest.mark.thorough
def test_an_update_is_observed_again_where_prod_moved_meanwhile(promoted, registry):
    site = promoted
    registry.publish(ID, "1.1.0", code(2, "cowsay\nlark\n"))
    txid = site.gov.json("node", "update", NODE).ok().data["txid"]
    site.gov("node", "with", NODE, "colorama", "--promote").ok()
    registry.closing.set()
    registry.fail("/", 500)
    site.gov("tx", "promote", txid, "--rebase").ok()
    assert record(site)["registry"]["version"] == "1.1.0"
    assert {"lark", "colorama"} <= set(site.installed())
    site.gov("verify").ok()


def test_without_the_registry_an_update_says_so_and_a_list_does_not_help(promoted, catalogue):
    catalogue({"id": ID, "files": ["https://example.invalid/o/p"], "install_type": "git-clone"})
    promoted.set(registry__url="http://127.0.0.1:9")
    assert_refused(promoted, "node", "update", NODE, code=1, named="registry_unreachable")
    ended = promoted.gov.json("node", "update", "--all")
    assert ended.code == 1, "it is told, not passed over"
    unknown = promoted.gov.json("outdated").ok().data["unknown"]
    assert any("cannot reach" in text for text in unknown)


@pytest.mark.thorough
def test_clean_keeps_what_was_published(promoted, registry):
    """Without it an edit that was promoted could not be told from the author's own text."""
    site, file = promoted, promoted.nodes / NODE / "__init__.py"
    file.write_text(file.read_text() + "\n# an edit of mine\n")
    site.gov("tx", "run", NODE).ok()
    site.gov("tx", "promote", "last").ok()
    kept = record(site)["registry"]["code"]
    assert kept != record(site)["code"]
    for folder in (site.root / "snapshots").iterdir():
        shutil.rmtree(folder)
    (site.root / "state/snapshots_index.json").write_text('{"snapshots": []}')
    site.gov("clean").ok()
    registry.publish(ID, "1.1.0", {**code(1), "__init__.py": "# newer\n" + LOADS.format(number=1)})
    assert_refused(site, "node", "update", NODE, code=3, named="local_changes")
    assert Repository(site.root / f".code/{NODE}.git").has(kept)


@pytest.mark.thorough
def test_an_imported_snapshot_brings_it(site, tmp_path):
    """ComfyUI-Manager's own form names ids of the registry with their versions."""
    path = tmp_path / "snapshot.json"
    path.write_text(json.dumps({"comfyui": None, "cnr_custom_nodes": {ID: "1.0"}, "pips": {}}))
    done = site.gov.json("import", path).ok().data
    assert (done["status"], record(site)["registry"]["version"]) == ("completed", "1.0.0")
    assert done["brought"]["exact"] == [f"{ID} 1.0"]
