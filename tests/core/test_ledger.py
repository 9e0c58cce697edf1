"""The index of transactions is derived: stale, damaged or wrong, it never decides anything."""

import json
import os

import pytest

from governance.base import liveness
from governance.base.errors import Damaged, UsageError
from governance.changes import ending
from governance.truth import ledger


def saved(space, status="completed", node="n"):
    tx = ledger.begin(space, node)
    tx.status = status
    ledger.save(space, tx)
    return tx


def rescanned(space):
    space.transactions_index.unlink(missing_ok=True)
    return ledger.overview(space)


def test_the_index_says_what_the_records_say(bare):
    for status in ("completed", "promoted", "aborted", "failed", "needs_resolution"):
        saved(bare, status)
    assert ledger._current_index(bare) is not None
    indexed = ledger.overview(bare)
    assert indexed == rescanned(bare)
    assert indexed.total == 5
    pending = sorted(row["status"] for row in indexed.pending)
    assert pending == ["completed", "failed", "needs_resolution"]


def test_a_fresh_index_is_used_without_reading_the_records(bare, monkeypatch):
    saved(bare)
    before = ledger.overview(bare)
    monkeypatch.setattr(ledger, "_scan", lambda _: pytest.fail("the records were read"))
    assert ledger.overview(bare) == before


def test_a_row_follows_its_record(bare):
    tx = saved(bare)
    tx.move("aborted")
    ledger.save(bare, tx)
    assert ledger.overview(bare).pending == []
    assert ledger.overview(bare).recent[-1]["status"] == "aborted"
    assert ledger.overview(bare) == rescanned(bare)


def test_a_record_that_was_put_there_by_hand_is_seen(bare):
    tx = saved(bare)
    other = json.loads((bare.transactions / f"{tx.txid}.json").read_text())
    other["txid"] = "20200101T000000Z-0000000b"
    (bare.transactions / f"{other['txid']}.json").write_text(json.dumps(other))
    assert ledger.overview(bare).total == 2


@pytest.mark.parametrize("clock", [0, 2**62])
def test_an_index_from_a_wrong_clock_does_not_count(bare, clock):
    saved(bare)
    value = json.loads(bare.transactions_index.read_text())
    bare.transactions_index.write_text(json.dumps({**value, "folder_mtime_ns": clock, "total": 99}))
    assert ledger.overview(bare).total == 1


def test_a_clock_that_was_set_back_hides_nothing(bare):
    saved(bare)
    os.utime(bare.transactions, ns=(10**18, 10**18))
    saved(bare)
    os.utime(bare.transactions, ns=(10**17, 10**17))
    assert ledger.overview(bare).total == 2
    assert len(ledger.overview(bare).pending) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        "\xff",
        '{"pending": null}',
        "[" * 100_000,
    ],
)
def test_a_damaged_index_is_derived_anew(bare, text):
    saved(bare)
    bare.transactions_index.write_text(text)
    assert ledger.overview(bare).total == 1
    saved(bare)
    assert ledger.overview(bare).total == 2


@pytest.mark.parametrize(
    "wrong", [{"pending": None}, {"recent": 3}, {"total": "x"}, {"pending": [{}]}, {"pending": [1]}]
)
def test_an_index_of_wrong_shape_is_derived_anew(bare, wrong):
    saved(bare)
    value = json.loads(bare.transactions_index.read_text())
    bare.transactions_index.write_text(json.dumps({**value, **wrong}))
    assert ledger.overview(bare) == rescanned(bare)
    bare.transactions_index.write_text(json.dumps({**value, **wrong}))
    saved(bare)
    assert ledger.overview(bare).total == 2


def test_a_damaged_record_is_shown_and_the_others_stay_readable(bare):
    broken, good = saved(bare), saved(bare)
    path = bare.transactions / f"{broken.txid}.json"
    path.write_text("{")
    os.utime(bare.transactions)
    rows = {row["txid"]: row["status"] for row in ledger.overview(bare).pending}
    assert rows == {broken.txid: "damaged", good.txid: "completed"}
    with pytest.raises(Damaged, match=broken.txid):
        ledger.load(bare, broken.txid)
    assert path.read_text() == "{"


def test_other_names_in_the_folder_are_nobodys_record(bare):
    saved(bare)
    for name in ("notes.txt", ".tmp-x.json", "20260101T000000Z-xyz.json", "x.json.orig"):
        (bare.transactions / name).write_text("{")
    assert ledger.overview(bare).total == 1


@pytest.mark.parametrize(
    "wrong", ["", "../plugins", "20260101T000000Z-0000000a/../x", "20260101T000000Z-0000000a"]
)
def test_an_unknown_or_ill_formed_id_is_a_usage_error(bare, wrong):
    with pytest.raises(UsageError):
        ledger.load(bare, wrong)


def test_a_running_transaction_of_a_dead_process_is_interrupted_then_failed(bare):
    tx = ledger.begin(bare, "n")
    ledger.save(bare, tx)
    assert not ledger.is_interrupted(tx)
    assert ending.end_interrupted(bare) == []
    tx.process = {"pid": tx.process["pid"], "start_time": 1}
    ledger.save(bare, tx)
    assert ledger.overview(bare).recent[-1]["interrupted"]
    assert ending.end_interrupted(bare) == [tx.txid]
    ended = ledger.load(bare, tx.txid)
    assert ended.status == "failed"
    assert ended.ended_at


def test_a_process_is_known_by_pid_and_start_time():
    assert liveness.start_time(os.getpid()) == liveness.start_time(os.getpid())
    assert liveness.start_time(2**22 + 1) is None
