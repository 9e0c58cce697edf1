"""What lies in site-packages, where a node may have put anything."""

import json

import pytest
from support.pipes import talking_pipe

from governance.base.errors import GovError
from governance.observation import looker, packages


@pytest.fixture
def site(tmp_path):
    made = tmp_path / "lib/python3.11/site-packages"
    (made / "evil-1.0.dist-info").mkdir(parents=True)
    return made


def freeze(tmp_path, answer):
    """As if the candidate's Python answered that."""
    return packages.freeze(tmp_path, lambda argv: ["printf", "%s", answer])


def test_a_pipe_in_place_of_metadata_is_not_waited_for(site):
    talking_pipe(site / "evil-1.0.dist-info/METADATA", "Name: piped\nVersion: 2\n\n")
    assert looker.look(site) == [["evil", "1.0", None]]


def test_a_name_and_a_version_are_of_bounded_length(site):
    text = f"Name: {'a' * 5000}\nVersion: {'1' * 5000}\n\n"
    (site / "evil-1.0.dist-info/METADATA").write_text(text)
    [[name, version, _]] = looker.look(site)
    assert max(len(name), len(version)) <= 200


@pytest.mark.parametrize(
    "answer", ["", "[" * 100_000, "{}", "[1]", '[["a", "1"]]', '[["a", 1, 0]]']
)
def test_an_answer_of_another_program_is_an_error_of_the_candidate(site, tmp_path, answer):
    """Python itself lies in the layer, and a node may replace it."""
    with pytest.raises(GovError, match="cannot look into") as caught:
        freeze(tmp_path, answer)
    assert caught.value.code == "bad_environment"


def test_credentials_in_where_a_package_came_from_are_left_out(site, tmp_path):
    url = "https://me:hunter2@example.invalid/a.whl"
    answer = json.dumps([["a", "1", {"url": url}], ["b", "1", {"url": url, "vcs_info": {}}]])
    found = freeze(tmp_path, answer)
    assert [line.partition(" ")[0] for line in found] == ["a", "b"]
    assert "hunter2" not in str(found)


# --- before a start -----------------------------------------------------------------------------


def before(tmp_path, answer):
    return packages.look_before(tmp_path, {}, (), lambda argv: ["printf", "%s", answer])


def test_one_look_tells_packages_and_nodes_and_lays_the_recorder(site, tmp_path):
    node = tmp_path / "node"
    node.mkdir()
    (node / "__init__.py").write_text("NODE_CLASS_MAPPINGS = {'A': 1}\n")
    inside = packages.inside.look(
        {"site_packages": str(site), "places": {"node": str(node)}, "subjects": ["node"]}
    )
    found = before(tmp_path, json.dumps(inside))
    assert found.freeze == ["evil==1.0"]
    assert found.sources["node"]["classes"] == ["A"]
    assert (found.has_recorder, found.problems) == (True, [])
    assert {path.name for path in site.iterdir()} == {
        "evil-1.0.dist-info",
        *packages.RECORDER_FILES,
    }


def test_a_step_that_fails_takes_nothing_from_the_others(site, tmp_path):
    (site / packages.RECORDER_FILES[0]).mkdir()
    inside = packages.inside.look({"site_packages": str(site), "places": {}, "subjects": []})
    found = before(tmp_path, json.dumps(inside))
    assert found.freeze == ["evil==1.0"]
    assert not found.has_recorder
    assert "could not be recorded: IsADirectoryError" in found.problems[0]


@pytest.mark.parametrize("answer", ["", "[]", '{"failed": []}', '{"failed": {}, "packages": [1]}'])
def test_another_answer_before_a_start_is_an_error(site, tmp_path, answer):
    with pytest.raises(GovError, match="cannot look into"):
        before(tmp_path, answer)


def test_sources_that_are_none_are_told(site, tmp_path):
    found = before(tmp_path, '{"failed": {}, "packages": [], "sources": {"a": 1}}')
    assert found.sources == {}
    assert "its answer tells of no node" in found.problems[0]
