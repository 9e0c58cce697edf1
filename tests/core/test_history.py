"""Snapshots are whole and durable before they are indexed, and none is dropped that is needed."""

import json

import pytest

from core.death import dying
from core.house import make_bare
from governance.base.errors import Damaged, GovError, UsageError
from governance.boundaries import store
from governance.operations import recovery
from governance.truth import freshness, ledger, redo, snapshots
from governance.truth.documents import Transaction


def take(space, reason="manual"):
    return snapshots.take(space, reason=reason, generation="old")


def indexed_ids(space):
    return [row["id"] for row in snapshots.index(space)]


def test_a_snapshot_holds_the_truth_byte_for_byte(bare):
    bare.pyproject.write_bytes(b"[tool.gov]\n# \xc3\xa9 \r\n")
    taken = take(bare)
    folder = bare.snapshots / taken.id
    assert [(folder / name).read_bytes() for name in snapshots.FILES] == [
        path.read_bytes() for path in bare.truth
    ]
    meta = json.loads((folder / "meta.json").read_text())
    assert meta["digests"] == snapshots.truth(bare).digests()
    assert meta["generation"] == "old"
    assert snapshots.content(bare, snapshots.load(bare, taken.id)) == snapshots.truth(bare)


def test_killed_anywhere_the_index_names_only_whole_snapshots(tmp_path, monkeypatch):
    space = make_bare(tmp_path / "count")
    with dying(monkeypatch) as clock:
        take(space)
    left = set()
    for at in range(clock.acts + 1):
        space = make_bare(tmp_path / f"kill-{at}")
        with dying(monkeypatch, at):
            take(space)
        for snapshot_id in indexed_ids(space):
            snapshots.content(space, snapshots.load(space, snapshot_id))
        left.add(len(indexed_ids(space)))
        recovery.recover(space)
        unfinished = [p.name for p in space.snapshots.iterdir() if p.name.startswith(".")]
        assert unfinished == [], f"after a kill at {at}"
    assert left == {0, 1}


def test_a_snapshot_that_cannot_be_written_is_an_error_and_leaves_nothing(bare, monkeypatch):
    real = store._create

    def fails(path, data, mode):
        if path.name == "uv.lock":
            raise OSError(28, "No space left on device")
        real(path, data, mode)

    monkeypatch.setattr(store, "_create", fails)
    with pytest.raises(GovError, match="No space left") as caught:
        take(bare)
    assert caught.value.code == "disk"
    assert list(bare.snapshots.iterdir()) == []
    assert snapshots.index(bare) == []


def test_the_snapshots_folder_is_complete_before_the_index_is_written(bare, monkeypatch):
    order = []
    real_move, real_write = store.move, store.write

    def moved(source, target):
        order.append(("whole", sorted(p.name for p in source.iterdir())))
        real_move(source, target)

    def wrote(path, data, **options):
        order.append(("write", path.name))
        real_write(path, data, **options)

    monkeypatch.setattr(store, "move", moved)
    monkeypatch.setattr(store, "write", wrote)
    take(bare)
    assert order[-2:] == [
        ("whole", sorted([*snapshots.FILES, "meta.json"])),
        ("write", "snapshots_index.json"),
    ]


@pytest.fixture
def limited(bare):
    bare.config_path.write_text("[storage]\nsnapshots_keep = 3\n")
    return bare


def test_retention_drops_the_oldest_beyond_the_limit(limited):
    ids = [take(limited).id for _ in range(5)]
    assert snapshots.prune(limited, keep=()) == ids[:2]
    assert indexed_ids(limited) == ids[2:]
    assert sorted(p.name for p in limited.snapshots.iterdir()) == sorted(ids[2:])


def test_retention_keeps_the_target_of_the_running_command(limited):
    ids = [take(limited).id for _ in range(5)]
    snapshots.prune(limited, keep=(ids[0],))
    assert ids[0] in indexed_ids(limited)
    assert (limited.snapshots / ids[0] / "meta.json").is_file()
    assert len(indexed_ids(limited)) == 3


@pytest.mark.parametrize("role", ["pre_snapshot", "post_snapshot"])
def test_retention_keeps_what_a_pending_transaction_names(limited, role):
    ids = [take(limited).id for _ in range(5)]
    tx = ledger.begin(limited, "node")
    tx.promotion[role] = ids[1]
    tx.status = "promote_failed"
    ledger.save(limited, tx)
    snapshots.prune(limited, keep=())
    assert indexed_ids(limited) == [ids[1], ids[3], ids[4]]
    tx.status = "aborted"
    ledger.save(limited, tx)
    take(limited)
    snapshots.prune(limited, keep=())
    assert ids[1] not in indexed_ids(limited)


def test_killed_while_pruning_no_entry_lacks_its_folder(tmp_path, monkeypatch):
    for at in range(8):
        space = make_bare(tmp_path / f"kill-{at}")
        space.config_path.write_text("[storage]\nsnapshots_keep = 1\n")
        for _ in range(3):
            take(space)
        with dying(monkeypatch, at):
            snapshots.prune(space, keep=())
        for snapshot_id in indexed_ids(space):
            snapshots.content(space, snapshots.load(space, snapshot_id))


@pytest.mark.parametrize("name", [*snapshots.FILES])
def test_a_snapshot_whose_files_are_not_those_of_its_meta_is_damaged(bare, name):
    taken = take(bare)
    (bare.snapshots / taken.id / name).write_bytes(b"other")
    with pytest.raises(Damaged, match=taken.id):
        snapshots.content(bare, taken)
    (bare.snapshots / taken.id / name).unlink()
    with pytest.raises(Damaged, match=name):
        snapshots.content(bare, taken)


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"snapshots": {}}', '{"snapshots": [1]}', '{"snapshots": [{}]}', ""]
)
def test_a_damaged_index_is_an_error_and_never_overwritten(bare, text):
    bare.snapshots_index.write_text(text)
    for act in (lambda: take(bare), lambda: snapshots.prune(bare, keep=())):
        with pytest.raises(Damaged, match="snapshots_index"):
            act()
    assert bare.snapshots_index.read_text() == text
    if text:  # asked before any action, which then names the file
        assert not freshness.truth_is_snapshotted(bare)


@pytest.mark.parametrize("wrong", ["20260101T000000Z-snap-00000a", "../../etc", "", "x/y", ".."])
def test_an_unknown_or_ill_formed_id_is_a_usage_error(bare, wrong):
    with pytest.raises(UsageError):
        snapshots.load(bare, wrong)


def test_a_folder_without_an_index_entry_is_no_snapshot(bare):
    written = snapshots.write(
        bare, snapshots.truth(bare), reason="promote_post", generation=None, ref=None
    )
    with pytest.raises(UsageError, match=written.id):
        snapshots.load(bare, written.id)


@pytest.mark.parametrize("name", ["pyproject.toml", "uv.lock", "state/plugins.json"])
def test_a_missing_file_of_the_truth_is_named(bare, name):
    (bare.root / name).unlink()
    with pytest.raises(GovError) as caught:
        snapshots.truth(bare)
    assert caught.value.code == "truth_missing"
    assert str(bare.root / name) in caught.value.message


def test_the_truth_of_a_pending_intent_is_the_new_one(bare, monkeypatch):
    monkeypatch.setattr(redo, "_apply", lambda *_: None)
    redo.commit(bare, redo.Record("x", {"uv.lock": b"version = 2\n"}))
    assert snapshots.truth(bare).lock == b"version = 2\n"
    assert bare.lock.read_bytes() == b"version = 1\n"


def test_a_damaged_registry_is_kept_as_evidence(bare):
    bare.plugins.write_text("{")
    taken = snapshots.take(
        bare, reason="rollback_pre", generation=None, content=snapshots.truth_as_it_is(bare)
    )
    assert (bare.snapshots / taken.id / "plugins.json").read_text() == "{"


def test_a_transaction_has_a_place_for_both_snapshots():
    assert {"pre_snapshot", "post_snapshot"} <= Transaction(
        txid="x", node_id="n", status="running"
    ).promotion.keys()
