"""gov node check: would this node fit?  Asked of a clone, a folder or an id; changes nothing."""

import re
import shlex

import pytest
from support.fingerprint import fingerprint
from support.refusal import assert_refused, assert_told

from governance.sample import world as sample


@pytest.fixture
def node(tmp_path):
    """Write a repository with these requirements; a second call is a further commit."""

    def write(text, name="asked"):
        return sample.write_node(
            tmp_path, name, {"__init__.py": "NODE_CLASS_MAPPINGS = {}\n", "requirements.txt": text}
        )

    return write


def test_a_node_that_fits(settled, node):
    told = settled.site.gov("node", "check", node("humanize\n")).ok()
    assert told.out == "asked fits: nothing that prod has would change\n"


def test_what_fits_is_not_decided_by_the_users_own_uv_toml(settled, node, tmp_path, monkeypatch):
    """An index, a date or a constraint there changed what was locked, and the truth did not say."""
    (tmp_path / "home/.config/uv").mkdir(parents=True)
    (tmp_path / "home/.config/uv/uv.toml").write_text(
        'constraint-dependencies = ["colorama<0.4.6"]'
    )
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    data = settled.site.gov.json("node", "check", node("colorama\n")).ok().data
    assert [row["after"] for row in data["changes"]] == ["0.4.6"]


def test_a_node_that_moves_a_core_package_down(settled, node):
    data = settled.site.gov.json("node", "check", node("numpy<2.4\ncolorama\n")).ok().data
    assert data["verdict"] == "changes"
    first, second = data["changes"]
    assert (first["name"], first["direction"], first["core"]) == ("numpy", "down", True)
    assert first["asked_by"] == ["core", "node-asked"]
    assert (second["name"], second["direction"]) == ("colorama", "added")
    told = settled.site.gov("node", "check", node("numpy<2.4\ncolorama\n")).ok()
    assert "asked fits, but changes packages that prod has" in told.out
    assert "down   numpy     2.4.1   2.3.2  core  core, asked" in told.out


def test_a_conflict_names_lines_and_tried_fixes(settled, node):
    ended = settled.site.gov("node", "check", node("# old\nhumanize<4\n"))
    assert_told(ended, 4, "asked does not lock")
    assert "\nhumanize: asked <4 against sample-captioner >=4.9\n" in ended.out
    assert "fix 1: " in ended.out
    assert "gov resolve" not in ended.out, "there is no transaction to resolve yet"
    again = re.search(r"^every line, with file and chain: gov (.*)$", ended.out, re.M)
    whole = settled.site.gov(*shlex.split(again[1])).out
    assert "    asked requirements.txt:2             humanize<4\n" in whole
    assert "    sample-captioner requirements.txt:2  humanize>=4.9\n" in whole
    assert "fix 1: " in whole
    data = settled.site.gov.json("node", "check", node("# old\nhumanize<4\n")).data
    assert data["verdict"] == "conflicts"
    told = [(fix["number"], fix["losses"]) for fix in data["conflict"]["suggestions"]]
    assert told == [(1, ["range"]), (2, ["installed"])]


def test_nothing_is_changed_by_it(settled, node):
    fitting, failing = node("colorama\n"), node("humanize<4\n", "failing")
    before = fingerprint(settled.site.root, settled.site.comfyui)
    settled.site.gov("node", "check", fitting).ok()
    assert settled.site.gov("node", "check", failing).code == 4
    assert settled.site.gov("node", "check", f"file://{failing}").code == 4
    assert fingerprint(settled.site.root, settled.site.comfyui) == before


def test_by_url_and_ref(settled, node):
    repository = node("colorama\n")
    sample.git(repository, "tag", "v1")
    node("humanize<4\n")
    check = settled.site.gov.json
    assert check("node", "check", f"file://{repository}").code == 4
    found = check("node", "check", f"file://{repository}", "--ref", "v1").ok().data
    assert (found["node_id"], found["verdict"]) == ("asked", "fits")
    assert found["commit"] == sample.git(repository, "rev-parse", "v1")


def test_by_id_of_a_governed_node(settled):
    found = settled.site.gov.json("node", "check", "sample-statistics")
    assert (found.code, found.data["node_id"]) == (4, "sample-statistics")
    again = settled.site.gov.json("node", "check", "sample-statistics", "--ref", "main")
    assert (again.code, again.data["node_id"]) == (4, "sample-statistics")


def test_an_earlier_commit_that_fits_is_a_fix(settled, node):
    """Not the newest of them: what fits is before the last two changes of the lines."""
    repository = node("colorama\n")
    fitting = sample.git(repository, "rev-parse", "HEAD")
    node("humanize==3.14.0\n")
    node("humanize<4\n")
    data = settled.site.gov.json("node", "check", repository).data
    first, second, *_ = data["conflict"]["suggestions"]
    assert first["kind"] == "relax-line", "the code stays what upstream has"
    assert (second["kind"], second["ref"], second["losses"]) == ("ref", fitting, ["older"])
    told = settled.site.gov("node", "check", repository).out
    assert f"gov node add {repository} --ref {fitting[:12]}" in told
    typed = ("node", "add", repository, "--ref", fitting[:12])
    settled.site.gov(*typed).ok()
    assert settled.site.gov.json("tx", "run", "asked").ok().data["status"] == "completed"


def test_what_only_warns_is_told(settled, node):
    told = settled.site.gov("node", "check", node("transformers[gone]\nwithdrawn==1.0\n")).ok()
    assert told.problems("warning") == [
        "warning: asked asks for transformers[gone], but transformers 4.57.1 has no such extra"
    ]


def test_a_line_that_an_earlier_resolution_outvotes(settled, node):
    settled.site.gov("resolve", settled.conflicting, "--pin", "humanize==4.9.0").ok()
    settled.site.gov("tx", "promote", settled.conflicting).ok()
    told = settled.site.gov("node", "check", node("humanize<4\n")).ok()
    assert told.problems("warning") == [
        "warning: asked wants humanize<4 (requirements.txt:1), "
        "but an earlier resolution holds humanize==4.9.0"
    ]
    quiet = settled.site.gov("node", "check", node("humanize<5\n")).ok()
    assert quiet.problems("warning") == []


def test_packages_that_install_the_same_files(settled, node):
    told = settled.site.gov("node", "check", node("opencv-python\nopencv-contrib-python\n")).ok()
    assert "opencv-contrib-python and opencv-python install the same files" in told.out
    assert "gov tx run asked --without opencv-python" in told.out


@pytest.mark.parametrize(
    ("what", "code", "says"),
    [
        (["nowhere"], 1, "there is no folder nowhere, and no answer from the registry"),
        (["./nowhere"], 2, "there is no folder"),
        (["http://host/x"], 3, "http"),
        (["{three}", "--ref", "gone"], 2, "has no branch, tag or commit 'gone'"),
    ],
)
def test_what_cannot_be_checked(settled, what, code, says):
    three = settled.site.world.repos / "three-packages"
    argv = [word.format(three=three) for word in what]
    assert_refused(settled.site, "node", "check", *argv, code=code, says=says)
