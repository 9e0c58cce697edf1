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
