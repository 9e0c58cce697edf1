"""What counts as a change of a core package."""

from core.house import make_bare
from governance.changes import gates
from governance.conflict.shared import owner_changes


def overwritten(tmp_path, owner, packages=("evil", "numpy")):
    row = {"packages": list(packages), "files": 1, "owner": owner}
    found = owner_changes(([], ["numpy"]), ([row], packages))
    return [gates.describe(c) for c in gates.core_overwritten(make_bare(tmp_path / "w"), found)]


def test_a_core_package_with_the_files_of_another_has_changed(tmp_path):
    """Its version in the lock stays, so that no other gate would ask."""
    told = "numpy its own files -> files of evil"
    assert overwritten(tmp_path, "evil") == [told]


def test_files_of_several_are_not_its_own(tmp_path):
    assert overwritten(tmp_path, "") == ["numpy its own files -> files of several packages"]


def test_its_own_files_and_quarrels_of_others_are_no_change(tmp_path):
    assert overwritten(tmp_path, "numpy") == []
    assert overwritten(tmp_path / "other", "evil", ("evil", "harmless")) == []


def test_a_core_package_that_gets_its_own_files_back_has_changed(tmp_path):
    row = {"packages": ["evil", "numpy"], "files": 1, "owner": "evil"}
    found = owner_changes(([row], ["evil", "numpy"]), ([], ["numpy"]))
    (change,) = gates.core_overwritten(make_bare(tmp_path / "w"), found)
    assert gates.describe(change) == "numpy files of evil -> its own files"
