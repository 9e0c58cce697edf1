"""What a resolution chooses, whatever kinds a fix is made of."""

import pytest

from governance.base.errors import UsageError
from governance.changes import choice
from governance.conflict.problem import Owned
from governance.truth.documents import Transaction

LINE = Owned("humanize<4", "node:a", "requirements.txt", 2, "humanize").to_json()
EDIT = {"line": LINE, "to": "humanize"}
EDITED = {"owner": "node:a", "text": "humanize<4", "to": "humanize"}
SCOPED = {"version": "1.0", "package": "legacy", "dependency": "humanize"}


@pytest.fixture
def tx():
    made = Transaction(txid="t", node_id="a", status="needs_resolution")
    made.resolution["of-a-later-version"] = ["kept"]
    return made


def report(**fix):
    base = {"pins": ["lark==1.1.9"], "dropped": ["tqdm"], "without": ["colorama"]}
    return {"txid": "t", "resolution": base, "suggestions": [{"number": 1, **fix}]}


def test_a_fix_comes_with_all_that_was_chosen_when_it_was_found(tx):
    fix = {
        "typed": ["lark==1.2.2"],
        "pins": ["lark[more]==1.2.2"],
        "overrides": ["all", "of", "it"],
    }
    chosen = choice.of_fix(tx, report(**fix), 1)
    assert chosen["pins"] == ["lark==1.2.2"], "one pin for each package"
    assert chosen["overrides"] == ["lark[more]==1.2.2"]
    assert (chosen["dropped"], chosen["without"]) == (["tqdm"], ["colorama"])


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("dropped", [LINE], ["tqdm", "humanize<4"]),
        ("replaced", [EDIT], [EDITED]),
        ("scoped", [SCOPED], [SCOPED]),
        ("without", ["cowsay"], ["colorama", "cowsay"]),
        ("of-a-later-version", ["new", "kept"], ["kept", "new"]),
    ],
)
def test_any_kind_of_a_fix_is_taken(tx, kind, value, expected):
    chosen = choice.of_fix(tx, report(**{kind: value}), 1)
    choice.put(tx, chosen)
    assert tx.resolution[kind] == expected
    assert choice.number_of(tx, report(**{kind: value})) == 1


def test_another_choice_is_no_suggestion(tx):
    choice.put(tx, {"pins": ["cowsay==5.0"]})
    assert tx.resolution["of-a-later-version"] == []
    assert choice.number_of(tx, report(dropped=[LINE])) is None


def test_another_commit_is_not_applied(tx):
    with pytest.raises(UsageError, match="another commit of a"):
        choice.of_fix(tx, report(ref="1234"), 1)
    assert choice.number_of(tx, report(ref="1234")) is None


def test_forget_keeps_what_the_run_was_told(tx):
    tx.audit["resolution"] = {"without": ["colorama"]}
    fix = {"dropped": [LINE], "replaced": [EDIT], "scoped": [SCOPED]}
    choice.put(tx, choice.of_fix(tx, report(**fix), 1))
    choice.forget(tx)
    assert choice.of(tx) == {
        "pins": [],
        "dropped": [],
        "exempt": [],
        "overrides": [],
        "without": ["colorama"],
        "replaced": [],
        "scoped": [],
        "sources": [],
        "added": [],
        "of-a-later-version": [],
    }
