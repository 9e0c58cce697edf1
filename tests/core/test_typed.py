"""What people type for a transaction or a snapshot."""

import json
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from governance.base.errors import UsageError
from governance.truth import ledger, snapshots, typed
from governance.truth.documents import Transaction

FIRST, SECOND, THIRD = (
    "20260101T000000Z-0123abcd",
    "20260102T000000Z-4567abcd",
    "20260103T000000Z-89ab0000",
)


@pytest.fixture
def space(bare):
    for txid, node, status in (
        (FIRST, "anna", "completed"),
        (SECOND, "bert", "completed"),
        (THIRD, "bert", "failed"),
    ):
        ledger.save(bare, Transaction(txid=txid, node_id=node, status=status))
    return bare


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (FIRST, FIRST),
        ("0123abcd", FIRST),
        ("45", None),
        ("67abcd", SECOND),
        ("20260103", THIRD),
        ("last", THIRD),
        ("anna", FIRST),
    ],
)
def test_a_transaction_by_what_is_typed(space, text, wanted):
    if wanted:
        assert typed.transaction(space, text) == wanted
    else:
        with pytest.raises(UsageError):
            typed.transaction(space, text)


@pytest.mark.parametrize("text", ["abcd", "2026", "bert"])
def test_what_stands_for_several_is_refused_with_their_ids(space, text):
    with pytest.raises(UsageError) as caught:
        typed.transaction(space, text)
    assert caught.value.code == "ambiguous"
    assert SECOND in caught.value.message
    assert SECOND in caught.value.facts["found"]


@pytest.mark.parametrize("text", ["0123abce", "20260101T000000Z-0123abce"])
def test_a_slip_of_the_finger_is_answered_with_what_is_near(space, text):
    with pytest.raises(UsageError) as caught:
        typed.transaction(space, text)
    assert caught.value.code == "unknown_transaction"
    assert FIRST in caught.value.message
    assert caught.value.facts["near"][0] == FIRST


def test_what_is_far_from_everything_is_told_with_the_list(space):
    with pytest.raises(UsageError) as caught:
        typed.transaction(space, "20270909T111111Z-ffffffff")
    assert caught.value.code == "unknown_transaction"
    assert "gov status" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        typed.transaction(space, "../x")
    assert caught.value.code == "bad_id"


# --- snapshots ----------------------------------------------------------------------------------


@pytest.fixture
def four(bare, monkeypatch):
    """The ids of four snapshots, the states before three changes and the one of now."""
    ids = []
    for day in range(1, 5):
        moment = datetime(2026, 1, day, tzinfo=UTC)
        monkeypatch.setattr("governance.base.clock.now", lambda moment=moment: moment)
        ids.append(snapshots.take(bare, reason="manual", generation="old").id)
    lines = [
        json.dumps({"id": f"c{n}", "pre": before, "post": after})
        for n, (before, after) in enumerate(pairwise(ids))
    ]
    bare.history.write_text("\n".join(lines))
    return ids


def test_a_snapshot_by_what_is_typed(bare, four):
    assert typed.snapshot(bare, four[1]) == four[1]
    assert typed.snapshot(bare, four[1][-6:]) == four[1]
    assert typed.snapshot(bare, "20260103") == four[2]
    assert typed.snapshot(bare, "last") == four[3]
    assert [typed.snapshot(bare, f"@{n}") for n in range(4)] == four[::-1]


def test_a_snapshot_by_its_name(bare, four):
    snapshots.mark(bare, four[0], name="before-torch")
    assert typed.snapshot(bare, "before-torch") == four[0]
    with pytest.raises(UsageError, match="near it: before-torch"):
        typed.snapshot(bare, "before-troch")


@pytest.mark.parametrize("text", ["@4", "@9999", "@x"])
def test_further_back_than_there_are_changes_is_unknown(bare, four, text):
    with pytest.raises(UsageError) as caught:
        typed.snapshot(bare, text)
    assert caught.value.code == "unknown_snapshot"


def test_a_part_of_several_snapshots_is_ambiguous(bare, four):
    with pytest.raises(UsageError) as caught:
        typed.snapshot(bare, "snap")
    assert caught.value.code == "ambiguous"
