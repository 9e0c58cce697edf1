"""The audit log: a line cannot be changed, left out or cut off without a trace."""

import json
import os
import shutil
import subprocess

import pytest
from support.gov import Gov

from core.death import dying
from core.house import PYPROJECT, make_bare
from governance.base import clock, names
from governance.base.errors import GovError, Refused
from governance.boundaries import store
from governance.changes import audit
from governance.operations import recovery
from governance.truth import history, log, redo, signing, snapshots

keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")


def entry(space, verb="pin", **facts):
    return audit.entry(
        identity=names.new_txid(clock.now()),
        verb=verb,
        steps=[verb],
        changes=(),
        code=(),
        who=audit.made(space),
        facts=facts,
    )


def change(space, number):
    text = f"{PYPROJECT}# {number}\n".encode()
    record = redo.Record("pin", {"pyproject.toml": text}, entry=entry(space, reason=f"r{number}"))
    with recovery.exclusive(space, "pin"):
        redo.commit(space, record)


def lines(space):
    return space.history.read_bytes().splitlines(keepends=True)


def problems(space):
    return [problem.sentence for problem in log.problems(log.read(space.history), log.heads(space))]


@pytest.fixture
def three(bare):
    for number in (1, 2, 3):
        change(bare, number)
    return bare


def test_each_line_holds_the_digest_of_the_one_before_and_of_the_truth(three):
    rows = [json.loads(line) for line in lines(three)]
    assert [row["n"] for row in rows] == [1, 2, 3]
    told = [store.digest(line.rstrip(b"\n")) for line in lines(three)]
    assert [row["prev"] for row in rows] == ["", *told[:2]]
    assert rows[2]["where"] == str(three.root)
    assert rows[2]["who"]["user"]
    assert rows[1]["truth"]["after"] == rows[2]["truth"]["before"]
    assert rows[2]["truth"]["after"]["pyproject.toml"] == store.file_digest(three.pyproject)
    assert problems(three) == []
    assert log.notes(log.read(three.history)) == []


def tampered(number, change):
    def act(found):
        found[number - 1] = change(found[number - 1])

    return act


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (tampered(2, lambda line: line.replace(b"r2", b"r9")), "line 2 was changed after line 3"),
        (tampered(1, lambda line: line.replace(b"r1", b"r9")), "line 1 was changed after line 2"),
        (tampered(3, lambda line: line.replace(b"r3", b"r9")), "line 3 is not as log_head.json"),
        (tampered(3, lambda line: line.replace(b",", b", ", 1)), "line 3 is not as"),
        (tampered(2, lambda line: b"garbage\n"), "line 2 is none that gov wrote"),
        (tampered(3, lambda line: line[:40]), "line 3 is cut off in its midst"),
        (lambda found: found.pop(1), "line 2 does not follow the one before it: a line was taken"),
        (lambda found: found.pop(0), "line 1 does not follow the one before it"),
        (lambda found: found.pop(), "line 3 is missing: log_head.json saw 3 lines"),
        (lambda found: found.insert(1, b'{"id":"x"}\n'), "line 2 is none that gov wrote"),
        (lambda found: found.insert(1, found[0]), "line 1 was changed"),
        (list.clear, "line 1 is missing: log_head.json saw 3 lines"),
    ],
)
def test_verify_names_the_line(three, act, told):
    found = lines(three)
    act(found)
    three.history.write_bytes(b"".join(found))
    assert problems(three)[0].startswith(told)


def test_a_log_that_was_made_anew_in_full_is_told_by_the_snapshots(three):
    snapshots.take(three, reason="manual", generation=None)
    later = json.loads(next(three.snapshots.glob("*/meta.json")).read_text())["log"]
    assert later == {"lines": 3, "sha256": store.digest(lines(three)[-1].rstrip(b"\n"))}
    rows = [json.loads(line) for line in lines(three)]
    three.history.unlink()
    three.log_head.unlink()
    for row in rows:
        own = ("n", "prev", "truth", "where")
        rest = {name: value for name, value in row.items() if name not in own}
        log.append(three, log.placed(three, {**rest, "reason": "forged"}, {}))
    assert len(problems(three)) == 1
    assert "line 3 is not as snapshot" in problems(three)[0]


def test_lines_of_an_earlier_gov_are_held_as_one(bare):
    for number in (1, 2):
        store.append_line(bare.history, {"id": str(number), "verb": "pin"})
    assert problems(bare) == []
    change(bare, 3)
    change(bare, 4)
    assert (problems(bare), log.unchained(log.read(bare.history))) == ([], 2)
    assert len(history.rows(bare)) == 4
    found = lines(bare)
    bare.history.write_bytes(b"".join(found).replace(b'"1"', b'"7"'))
    assert problems(bare)[0] == "line 2 was changed after line 3 was written"


def test_a_refusal_is_a_line_and_no_change(bare):
    change(bare, 1)
    with pytest.raises(Refused), recovery.exclusive(bare, "tx promote"):
        raise Refused("no: https://u:pw@host", hint="h", code="core", facts={"txid": "T"})
    row = json.loads(lines(bare)[-1])
    told = {"code": "core", "message": "no: https://***@host"}
    assert (row["verb"], row["outcome"], row["error"]) == ("tx promote", "refused", told)
    assert (row["txid"], row["n"], problems(bare)) == ("T", 2, [])
    assert [one["verb"] for one in history.rows(bare)] == ["pin"]
    assert history.newest(bare, 10)[1] == 1


def test_a_hand_edit_between_two_changes_is_told(bare):
    change(bare, 1)
    bare.lock.write_text("version = 1\n# edited\n")
    change(bare, 2)
    assert log.notes(log.read(bare.history)) == ["before line 2, uv.lock changed without gov"]


def test_killed_anywhere_there_is_a_change_and_its_line_or_neither(tmp_path, monkeypatch):
    def acted(space):
        record = redo.Record("pin", {"pyproject.toml": b"new"}, entry=entry(space))
        redo.commit(space, record)

    space = make_bare(tmp_path / "count")
    change(space, 0)
    with dying(monkeypatch) as counted:
        acted(space)
    seen = set()
    for at in range(counted.acts + 1):
        space = make_bare(tmp_path / str(at))
        change(space, 0)
        with dying(monkeypatch, at):
            acted(space)
        with recovery.exclusive(space, "next"):
            pass
        state = (space.pyproject.read_bytes() == b"new", len(lines(space)) == 2)
        assert state[0] == state[1], f"after a kill at {at}"
        assert problems(space) == [], f"after a kill at {at}"
        change(space, 3)
        assert problems(space) == [], f"one change after a kill at {at}"
        seen.add(state[0])
    assert seen == {False, True}


def test_killed_in_a_refusal_the_log_is_whole(tmp_path, monkeypatch):
    error = Refused("no", hint="h", code="core")
    for at in range(12):
        space = make_bare(tmp_path / str(at))
        change(space, 0)
        with dying(monkeypatch, at):
            audit.refused(space, "tx promote", error)
        change(space, 1)
        assert problems(space) == [], f"after a kill at {at}"


# --- signatures -------------------------------------------------------------------------------


@pytest.fixture
def key(tmp_path, monkeypatch):
    return made_key(tmp_path / "id_ann", monkeypatch)


def made_key(path, monkeypatch):
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)]
    subprocess.run(words, check=True)
    monkeypatch.setenv("GOV_SIGNING_KEY", str(path))
    return path


def allowed(folder, *keys):
    file = folder / "signers"
    rows = [f"{key.name} {key.with_name(key.name + '.pub').read_text()}" for key in keys]
    file.write_text("".join(rows))
    return file


@keygen
def test_signed_lines_are_checked_on_a_copy(bare, tmp_path, key):
    change(bare, 1)
    change(bare, 2)
    copy = tmp_path / "copy.jsonl"
    shutil.copy(bare.history, copy)
    signed = log.signatures(copy.read_bytes(), allowed(tmp_path, key))
    assert (signed.by_line, signed.problems) == ({"1": "id_ann", "2": "id_ann"}, [])
    assert problems(bare) == []


@keygen
def test_a_line_that_was_signed_by_another_key_or_not_at_all_is_told(bare, tmp_path, monkeypatch):
    change(bare, 1)
    first = made_key(tmp_path / "id_ann", monkeypatch)
    change(bare, 2)
    made_key(tmp_path / "id_eve", monkeypatch)
    change(bare, 3)
    monkeypatch.delenv("GOV_SIGNING_KEY")
    change(bare, 4)
    signed = log.signatures(log.read(bare.history), allowed(tmp_path, first))
    assert (signed.by_line, signed.unsigned) == ({"2": "id_ann"}, [1])
    assert [problem.line for problem in signed.problems] == [3, 4]


@keygen
def test_a_forged_line_does_not_fit_its_signature(bare, tmp_path, key):
    change(bare, 1)
    row = json.loads(lines(bare)[0])
    forged = store.json_line({**row, "reason": "forged"})
    signed = log.signatures(forged, allowed(tmp_path, key))
    assert [problem.line for problem in signed.problems] == [1]


def test_without_a_key_a_change_is_refused_where_the_policy_says_so(bare, monkeypatch):
    monkeypatch.delenv("GOV_SIGNING_KEY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(bare.root / "nowhere"))
    bare.config_path.write_text('[policy]\nrequire_signature = "refuse"\n')
    bare.__dict__.pop("config", None)
    before = bare.pyproject.read_bytes()
    with pytest.raises(Refused) as caught:
        change(bare, 1)
    assert caught.value.code == "signature_required"
    assert bare.pyproject.read_bytes() == before
    assert [json.loads(line)["outcome"] for line in lines(bare)] == ["refused"]


@keygen
def test_a_key_that_is_not_allowed_cannot_change_anything(bare, tmp_path, monkeypatch):
    good = made_key(tmp_path / "id_ann", monkeypatch)
    signers = allowed(tmp_path, good)
    bare.config_path.write_text(
        f'[policy]\nrequire_signature = "refuse"\nallowed_signers = "{signers}"\n'
    )
    bare.__dict__.pop("config", None)
    change(bare, 1)
    made_key(tmp_path / "id_eve", monkeypatch)
    with pytest.raises(Refused) as caught:
        change(bare, 2)
    assert caught.value.code == "not_allowed_signer"
    assert len(history.rows(bare)) == 1


@keygen
def test_a_key_that_cannot_sign_is_an_error(bare, tmp_path, monkeypatch):
    (tmp_path / "broken").write_text("no key\n")
    monkeypatch.setenv("GOV_SIGNING_KEY", str(tmp_path / "broken"))
    with pytest.raises(GovError) as caught:
        signing.sign(bare, b"x", "")
    assert caught.value.code == "not_signed"
    assert os.fspath(tmp_path / "broken") in caught.value.message


# --- as it is typed ---------------------------------------------------------------------------


def test_gov_log_shows_changes_and_refusals(three):
    with pytest.raises(Refused), recovery.exclusive(three, "tx promote"):
        raise Refused("not this", hint="h", code="core")
    gov = Gov(three.root)
    told = gov("log").ok().out
    assert "pin (r2)" in told
    assert "refused: not this" in told
    head = log.head(three)
    assert f"4 lines, head 4:{head.digest}" in told
    assert "r2" not in gov("log", "--limit", "1").ok().out
    data = gov.json("log").ok().data
    assert [entry["line"] for entry in data["entries"]] == [1, 2, 3, 4]
    assert data["head"] == {"lines": 4, "sha256": head.digest}
    assert gov("log", "show").ok().out == told


def test_gov_log_verify_names_the_line(three, tmp_path):
    gov = Gov(three.root)
    assert "the audit log is whole: 3 lines" in gov("log", "verify").ok().out
    head = log.head(three)
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(three.history.read_bytes())
    found = lines(three)
    three.history.write_bytes(b"".join(found).replace(b"r2", b"r9"))
    ended = gov("log", "verify")
    assert ended.code == 1
    assert "line 2 was changed after line 3 was written" in ended.problems("error")[0]
    ended = gov.json("log", "verify")
    assert ended.error["facts"] == {"line": 2}
    assert [problem["line"] for problem in ended.data["problems"]] == [2]
    elsewhere = Gov(None)
    elsewhere("log", "verify", copy).ok()
    copy.write_bytes(b"".join(found[:2]))
    elsewhere("log", "verify", copy).ok()  # nothing beside it knows of more
    ended = elsewhere("log", "verify", copy, "--head", f"3:{head.digest}")
    assert "line 3 is missing: --head saw 3 lines" in ended.problems("error")[0]
    assert elsewhere("log", "verify", copy, "--head", "3").code == 2
    assert elsewhere("log", "verify", tmp_path / "none").code == 2


@keygen
def test_gov_log_verify_checks_who_signed(bare, tmp_path, key):
    change(bare, 1)
    copy = tmp_path / "copy.jsonl"
    shutil.copy(bare.history, copy)
    signers = allowed(tmp_path, key)
    gov = Gov(None)
    told = gov("log", "verify", copy, "--allowed-signers", signers).ok().out
    assert "1 signed line, by id_ann" in told
    signers.write_text("")
    ended = gov("log", "verify", copy, "--allowed-signers", signers)
    assert (ended.code, "line 1 is signed by nobody" in ended.err) == (1, True)
    assert gov("log", "verify", copy, "--allowed-signers", tmp_path / "none").code == 2
