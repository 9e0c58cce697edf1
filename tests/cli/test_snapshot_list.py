"""gov snapshot list: oldest first, and what each was taken for."""


def test_every_snapshot_is_listed_with_its_reason(settled):
    rows = settled.site.gov.json("snapshot", "list").ok().data["snapshots"]
    assert [row["reason"] for row in rows] == ["init", "promote_pre", "promote_post"]
    assert [row["id"] for row in rows[1:]] == [settled.before, settled.after]
    assert [row["ref"] for row in rows] == [None, settled.promoted, settled.promoted], (
        "a change of one command has no record that it could name"
    )
    assert all(set(row) >= {"id", "created_at", "reason", "ref"} for row in rows)
    told = settled.site.gov("snapshot", "list").ok().out.splitlines()
    assert told[0].split() == ["snapshot", "created", "reason", "ref", "name"]
    assert [line.split()[0] for line in told[1:]] == [row["id"] for row in rows]


def test_a_missing_index_is_no_snapshots(settled):
    (settled.site.root / "state/snapshots_index.json").unlink()
    assert settled.site.gov("snapshot", "list").ok().out == "no snapshots yet\n"
    assert settled.site.gov.json("snapshot", "list").ok().data == {"snapshots": []}
