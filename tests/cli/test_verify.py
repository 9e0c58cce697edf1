"""gov verify, gov repair: is prod as gov left it, and back to that."""

import json

import pytest
from support.refusal import assert_told


def prod_file(site, name):
    place = next((site.root / ".venv-prod/lib").glob("python*")) / "site-packages"
    return place / name


def rewrite(path, text):
    """As pip does it: a new file in the place of the sealed one."""
    path.unlink()
    path.write_text(text)


def test_no_drift(settled):
    told = settled.site.gov("verify").ok()
    assert "no drift" in told.out
    data = settled.site.gov.json("verify", "--full").ok().data
    assert (data["verdict"], data["findings"]) == ("ok", [])


@pytest.mark.parametrize("harm", ["changed", "deleted", "planted"])
def test_drift_in_prod_is_found_and_repaired(workspace, harm):
    path = prod_file(workspace, "numpy/linalg.py")
    path.parent.chmod(0o755)
    good = path.read_text()
    if harm == "planted":
        (path.parent.parent / "evil.pth").write_text("import os\n")
    elif harm == "deleted":
        path.unlink()
    else:
        rewrite(path, good + "# mine\n")
    ended = assert_told(workspace.gov("verify"), 1)
    assert "gov repair" in ended.problems("hint")[0]
    named = "evil.pth" if harm == "planted" else "numpy/linalg.py"
    assert named in json.dumps(workspace.gov.json("verify").data["findings"])
    workspace.gov("repair").ok()
    workspace.gov("verify", "--full").ok()
    assert prod_file(workspace, "numpy/linalg.py").read_text() == good


def test_a_tampered_lock_is_drift(settled):
    path = settled.site.root / "uv.lock"
    path.write_text(path.read_text() + "\n# mine\n")
    ended = assert_told(settled.site.gov("verify"), 1)
    assert "uv.lock" in ended.out


def test_nothing_to_repair(settled):
    assert settled.site.gov("repair").ok().out == "nothing to repair\n"
