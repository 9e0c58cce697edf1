"""Documents as values: unknown fields stay, wrong ones are damage, states move by the contract."""

import itertools
import json

import pytest

from governance.base.errors import Damaged, Refused
from governance.boundaries import store
from governance.truth import documents, ledger, registry

TXID = "20260101T000000Z-0000000a"
TRANSACTION = {"txid": TXID, "node_id": "n", "status": "completed"}
PLUGIN = {"id": "n", "git_url": "https://example.invalid/n", "group": "node-n"}

# CONTRACT, "Transaction states"; `failed` only with --allow-failed-run, which is a gate's matter.
ALLOWED = {
    ("running", "completed"),
    ("running", "failed"),
    ("running", "needs_resolution"),
    *(
        (start, end)
        for start in ("completed", "resolved", "failed", "promote_failed")
        for end in ("promoted", "needs_resolution", "promote_failed")
    ),
    *(
        (start, end)
        for start in ("needs_resolution", "promote_failed", "resolved")
        for end in ("resolved", "needs_resolution")
    ),
    *(
        (start, "aborted")
        for start in (
            "running",
            "completed",
            "failed",
            "needs_resolution",
            "resolved",
            "promote_failed",
        )
    ),
}
STATES = sorted(documents.MOVES)


@pytest.mark.parametrize(("start", "end"), list(itertools.product(STATES, STATES)))
def test_states_move_as_the_contract_says(start, end):
    tx = documents.Transaction(txid=TXID, node_id="n", status=start)
    if (start, end) in ALLOWED:
        tx.move(end)
        assert tx.status == end
        return
    with pytest.raises(Refused) as caught:
        tx.move(end)
    assert tx.status == start
    for _, named in sorted(pair for pair in ALLOWED if pair[0] == start):
        assert named in caught.value.hint


def test_unknown_fields_come_back_when_a_record_is_saved(bare):
    path = bare.transactions / f"{TXID}.json"
    path.write_text(json.dumps({**TRANSACTION, "of_tomorrow": {"x": [1, None]}}))
    tx = ledger.load(bare, TXID)
    tx.move("aborted")
    ledger.save(bare, tx)
    assert json.loads(path.read_text())["of_tomorrow"] == {"x": [1, None]}
    assert json.loads(path.read_text())["status"] == "aborted"


def test_unknown_fields_of_a_node_come_back(bare):
    bare.plugins.write_text(json.dumps([{**PLUGIN, "of_tomorrow": 7}]))
    assert json.loads(registry.dump(registry.load(bare)))[0]["of_tomorrow"] == 7


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"schema": 2}, "newer"),
        ({"schema": "1"}, "newer"),
        ({"status": 7}, "'status' is a int"),
        ({"diff": []}, "'diff' is a list"),
        ({"resolution_pins": None}, "'resolution_pins' is a NoneType"),
        ({"commit": 1}, "'commit' is a int"),
    ],
)
def test_a_record_of_wrong_shape_is_damage_and_stays(bare, change, why):
    path = bare.transactions / f"{TXID}.json"
    path.write_text(json.dumps({**TRANSACTION, **change}))
    before = path.read_bytes()
    with pytest.raises(Damaged) as caught:
        ledger.load(bare, TXID)
    assert why in caught.value.message
    assert str(path) in caught.value.message
    assert path.read_bytes() == before


@pytest.mark.parametrize("missing", sorted(TRANSACTION))
def test_a_record_without_a_needed_field_is_damage(bare, missing):
    left = {name: value for name, value in TRANSACTION.items() if name != missing}
    (bare.transactions / f"{TXID}.json").write_text(json.dumps(left))
    with pytest.raises(Damaged, match=missing):
        ledger.load(bare, TXID)


def test_a_document_of_another_kind_is_damage(tmp_path):
    with pytest.raises(Damaged, match="holds a list, not an object"):
        documents.Snapshot.from_json([], tmp_path / "meta.json")


@pytest.mark.parametrize(
    "kind",
    [
        documents.Transaction,
        documents.Plugin,
        documents.Snapshot,
        documents.Conflict,
        documents.Generation,
    ],
)
def test_what_is_written_reads_back_the_same(tmp_path, kind):
    given = {name: name for name in kind.required}
    given |= {"digests": {}} if "digests" in given else {}
    given |= {"packages": ["a==1"]} if "packages" in given else {}
    made = kind.from_json(given, tmp_path / "x.json")
    again = kind.from_json(
        store.parse_json(store.dump_json(made.to_json()), tmp_path / "x"), tmp_path / "x"
    )
    assert again == made
