"""Wrong words: exit 2, one `error:` line, one `hint:` line, and nothing touched."""

import pytest
from support.gov import Gov
from support.refusal import assert_refused, assert_told

TXID = "20260131T120000Z-0a1b2c3d"
SNAPSHOT = "20260131T120000Z-snap-0a1b2c"


def test_a_path_that_is_too_long_is_no_bug(settled):
    assert_told(Gov(None)("--root", "a" * 5000, "status"), 2, "File name too long")
    argv = ("node", "check", "/" + "a" * 300)
    assert_refused(settled.site, *argv, code=2, says="File name too long")


def test_a_file_of_pins_without_end(settled):
    argv = ("resolve", settled.conflicting, "--pins-file", "/dev/zero")
    ended = assert_refused(settled.site, *argv, code=2, says="is no pin")
    assert len(ended.out) < 5000


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "VERB"),
        (["frobnicate"], "frobnicate"),
        (["tx"], "VERB"),
        (["tx", "fly"], "fly"),
        (["status", "more"], "more"),
        (["status", "--nope"], "--nope"),
        (["status", "--", "more"], "nothing after --"),
        (["tx", "run"], "node_id"),
        (["tx", "run", "import-sleeps", "--timeout", "soon"], "soon"),
        (["tx", "run", "import-sleeps", "--timeout", "0"], "0"),
        (["tx", "run", "import-sleeps", "--timeout=-1"], "-1"),
        (["tx", "run", "import-sleeps", "--timeout", "nan"], "nan"),
        (["tx", "run", "import-sleeps", "--timeout", "inf"], "inf"),
        (["tx", "promote"], "txid"),
        (["tx", "promote", TXID, "--approve-core"], "--reason"),
        (["tx", "promote", TXID, "--approve-core", "--reason", "  "], "--reason"),
        (["node", "remove", "sample-captioner", "--approve-core"], "--reason"),
        (["resolve", TXID, "--accept", "first"], "first"),
        (["completion", "tcsh"], "tcsh"),
        (["--root"], "--root"),
    ],
)
def test_wrong_usage(settled, argv, says):
    assert_refused(settled.site, *argv, code=2, says=says)


@pytest.mark.parametrize(
    ("argv", "message", "hint"),
    [
        (["status", "more"], "unrecognized arguments: more", "`gov status --help`"),
        (["run", "--port", "1"], "unrecognized arguments: --port", "`gov run -- --port 8188`"),
        (
            ["tx", "run", "x", "--timeout", "soon"],
            "soon is not a number of seconds",
            "tx run --help",
        ),
        (["snapshot", "list", "--", "x"], "nothing after --", "`gov snapshot list --help`"),
    ],
)
def test_wrong_usage_names_the_verb_to_look_up(argv, message, hint):
    ended = Gov(None)("--json", *argv)
    assert message in ended.error["message"]
    assert hint in ended.error["hint"]


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["tx", "run", "nobody"], "unknown_node"),
        (["node", "remove", "nobody"], "unknown_node"),
        (["node", "remove", "../../x", "--purge-code"], "unknown_node"),
        (["tx", "inspect", TXID], "unknown_transaction"),
        (["tx", "abort", TXID], "unknown_transaction"),
        (["tx", "promote", TXID], "unknown_transaction"),
        (["tx", "promote", TXID, "--dry-run"], "unknown_transaction"),
        (["tx", "promote", TXID, "--rebase"], "unknown_transaction"),
        (["resolve", TXID, "--pin", "humanize==4.9.0"], "unknown_transaction"),
        (["resolve", TXID, "--suggest"], "unknown_transaction"),
        (["snapshot", "inspect", SNAPSHOT], "unknown_snapshot"),
        (["rollback", SNAPSHOT], "unknown_snapshot"),
    ],
)
def test_what_is_named_does_not_exist(settled, argv, named):
    says = next(word for word in argv if word in (TXID, SNAPSHOT, "nobody", "../../x"))
    assert_refused(settled.site, *argv, code=2, says=says, named=named)


@pytest.mark.parametrize(
    "bad", ["", "x", "../../etc/passwd", f"{TXID}.json", f"{TXID}\n", "é" * 300]
)
@pytest.mark.parametrize("verb", [["tx", "inspect"], ["tx", "abort"], ["rollback"]])
def test_what_is_no_id_at_all(settled, verb, bad):
    assert_refused(settled.site, *verb, bad, code=2, named="bad_id")


def test_control_characters_in_an_argument_never_reach_the_terminal(settled):
    told = settled.site.gov("tx", "inspect", "\x1b]0;taken\x07")
    assert told.code == 2
    assert "\x1b" not in told.err


@pytest.mark.parametrize(
    "pin", ["humanize", "humanize>=4", "humanize==", "a b==1", "humanize==4.9.0;x", "-r x", ""]
)
def test_a_pin_that_is_none(settled, pin):
    assert_refused(settled.site, "resolve", settled.conflicting, f"--pin={pin}", code=2)


def test_no_pin_and_no_terminal_to_ask_on(settled):
    assert_refused(settled.site, "resolve", settled.conflicting, code=2, named="no_pins")


def test_a_suggestion_that_there_is_not(settled):
    for number in (0, 99, -1):
        accept = f"--accept={number}"
        assert_refused(
            settled.site, "resolve", settled.conflicting, accept, code=2, named="unknown_suggestion"
        )


def test_a_pins_file_that_cannot_be_read(settled, tmp_path):
    (tmp_path / "latin").write_bytes(b"humanize==4.9.0 # \xe9\n")
    (tmp_path / "none").write_text("# nothing but this\n")
    for name in ("nowhere", ".", "latin", "none"):
        given = ("--pins-file", tmp_path / name)
        ended = assert_refused(settled.site, "resolve", settled.conflicting, *given, code=2)
        assert str(tmp_path / name) in ended.error["message"]


def test_a_line_of_a_pins_file_that_is_no_pin(settled, tmp_path):
    (tmp_path / "pins").write_text("# mine\nhumanize==4.9.0\n\nhumanize=4\n")
    given = ("--pins-file", tmp_path / "pins")
    ended = assert_refused(settled.site, "resolve", settled.conflicting, *given, code=2)
    assert f"{tmp_path / 'pins'}:4: 'humanize=4'" in ended.error["message"]
    assert ended.error["facts"] == {"text": "humanize=4"}


@pytest.mark.parametrize("verb", ["status", "node", "tx", "resolve", "rollback", "run", "verify"])
def test_outside_any_workspace(tmp_path, monkeypatch, verb):
    from governance.truth import workspace

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(workspace, "CHECKOUT", tmp_path)
    words = {
        "node": ["node", "add", "x"],
        "tx": ["tx", "run", "x"],
        "resolve": ["resolve", TXID],
        "rollback": ["rollback", SNAPSHOT],
    }
    told = assert_told(Gov(None)(*words.get(verb, [verb])), 2, "no workspace")
    assert "gov init" in told.problems("hint")[0]
    for root in (tmp_path / "nowhere", tmp_path):
        assert_told(Gov(None)(*words.get(verb, [verb]), "--root", root), 2, str(root))
        assert_told(Gov(root)(*words.get(verb, [verb])), 2, str(root))
    assert list(tmp_path.iterdir()) == []


def test_a_program_of_its_own_says_it_the_same_way(settled):
    """What runs in process above is what a shell sees."""
    typed = ("tx", "inspect", TXID)
    assert settled.site.gov.process(*typed)[1:] == settled.site.gov(*typed)[1:]
    typed = ("tx", "inspect", TXID, "--json")
    assert settled.site.gov.process(*typed)[1:] == settled.site.gov(*typed)[1:]
