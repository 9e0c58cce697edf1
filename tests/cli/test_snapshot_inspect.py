"""gov snapshot inspect: the meta.json of one snapshot."""

import hashlib
import json


def test_it_is_the_meta_with_the_digests_of_the_three_files(settled):
    folder = settled.site.root / "snapshots" / settled.after
    data = settled.site.gov.json("snapshot", "inspect", settled.after).ok().data
    assert data == json.loads((folder / "meta.json").read_text())
    names = {"pyproject_sha256": "pyproject.toml", "lock_sha256": "uv.lock"}
    names |= {"plugins_sha256": "plugins.json"}
    for key, name in names.items():
        assert data["digests"][key] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert data["nodes"] == ["sample-captioner"]
    assert data["generation"] == (settled.site.root / ".venv-prod").readlink().name
    assert (
        f"id           {settled.after}"
        in settled.site.gov("snapshot", "inspect", settled.after).ok().out
    )


def test_one_that_the_index_does_not_name_does_not_exist(settled):
    """A snapshot counts from its index entry on."""
    index = settled.site.root / "state/snapshots_index.json"
    rows = json.loads(index.read_text())["snapshots"]
    index.write_text(json.dumps({"snapshots": rows[:-1]}))
    ended = settled.site.gov("snapshot", "inspect", settled.after)
    assert ended.code == 2
    assert settled.after in ended.problems("error")[0]
