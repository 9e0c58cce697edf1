"""A bug of ours: one line to the user, the traceback in the logs of the named workspace."""

import json

import pytest

from core.house import make_bare
from governance.cli import main as cli
from governance.operations import status


@pytest.mark.parametrize("named", ["--root", "GOV_ROOT"])
def test_the_traceback_lies_in_the_named_workspace(bare, tmp_path, monkeypatch, capsys, named):
    other = make_bare(tmp_path / "other")
    monkeypatch.chdir(other.root)

    def broken(_):
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(status, "status", broken)
    words = ["--root", str(bare.root)] if named == "--root" else []
    if named == "GOV_ROOT":
        monkeypatch.setenv("GOV_ROOT", str(bare.root))
    assert cli.main(["status", "--json", *words]) == 70
    told = json.loads(capsys.readouterr().out)["error"]
    (log,) = bare.logs.iterdir()
    assert told["facts"]["log"] == str(log)
    assert "ZeroDivisionError: on purpose" in log.read_text()
    assert list(other.logs.iterdir()) == []
