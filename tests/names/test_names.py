"""Identifiers that become paths."""

import json
import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.base import names
from governance.base.errors import UsageError

NOW = datetime(2026, 1, 31, 12, 0, 5, 999999, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "was-node-suite-comfyui",
        "ComfyUI_LayerStyle",
        "rgthree-comfy",
        "ComfyUI-Impact-Pack",
        "ComfyUI-3D-Pack",
        "efficiency-nodes-comfyui",
        "_private",
        "a",
        "node.v2",
        "console",
        "disabled",
        "x" * 100,
    ],
)
def test_real_names_are_taken_as_they_are(text):
    assert names.node_id(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "../x",
        "a/../../x",
        "/etc",
        "a/b",
        "a\\b",
        ".git",
        ".hidden",
        "-rf",
        "a.",
        "a ",
        " a",
        "a\n",
        "a\0b",
        "a\x1b[2J",
        "nöde",
        "\u0430",  # Cyrillic, and looks like an a
        "a\ud800",
        "x" * 101,
        "x.disabled",
        "X.Disabled",
        "__pycache__",
        "websocket_image_save.py",
        "x.PY",
        "CON",
        "nul",
        "com1.txt",
        "Lpt9",
        "___",
        "~root",
        "a*",
        "a:b",
        "x@1.0",
    ],
)
def test_what_cannot_be_a_folder_and_a_group_is_refused(text):
    with pytest.raises(UsageError) as caught:
        names.node_id(text)
    error = caught.value
    assert error.message.isascii() and error.message.isprintable()
    assert "--id" in error.hint
    json.dumps(error.facts, ensure_ascii=False).encode()


@given(st.text(max_size=120))
def test_an_id_that_passes_is_one_plain_part_of_a_path(text):
    try:
        passed = names.node_id(text)
    except UsageError:
        return
    assert re.fullmatch(r"[\w.-]{1,100}", passed, re.ASCII)
    assert passed[0] not in ".-"
    # PEP 735: a group's name starts and ends with a letter or a digit.
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", names.normalise(passed))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://github.com/ltdrdata/ComfyUI-Impact-Pack", "ComfyUI-Impact-Pack"),
        ("https://github.com/ltdrdata/ComfyUI-Impact-Pack.git", "ComfyUI-Impact-Pack"),
        ("https://github.com/a/b.git/", "b"),
        ("git@github.com:a/b.git", "b"),
        ("git@github.com:b.git", "b"),
        ("ssh://git@host:2222/a/b", "b"),
        ("/srv/nodes/b/", "b"),
        ("/srv/nodes/b.git", "b"),
        ("b", "b"),
    ],
)
def test_the_id_in_a_url(url, expected):
    assert names.node_id_from_url(url) == expected


@pytest.mark.parametrize("url", ["", "/", "https://host/a/..", "/srv/node/.git", "https://h/a%2fb"])
def test_a_url_without_a_usable_name(url):
    with pytest.raises(UsageError):
        names.node_id_from_url(url)


def test_ids_that_would_share_a_group_or_a_folder_are_the_same():
    assert names.normalise("ComfyUI_Layer.Style") == "comfyui-layer-style"
    assert names.same("ComfyUI_LayerStyle", "comfyui-layerstyle")
    assert names.same("a_", "a")
    assert not names.same("a-b", "ab")


def test_new_ids_are_valid_and_their_own():
    assert re.fullmatch(r"20260131T120005Z-[0-9a-f]{8}", names.new_txid(NOW))
    assert re.fullmatch(r"20260131T120005Z-snap-[0-9a-f]{6}", names.new_snapshot_id(NOW))
    assert len({names.new_txid(NOW) for _ in range(50)}) == 50
    elsewhere = NOW.astimezone(timezone(timedelta(hours=8)))
    assert names.new_txid(elsewhere).startswith("20260131T120005Z-")
    assert names.txid(made := names.new_txid(NOW)) == made
    assert names.snapshot_id(made := names.new_snapshot_id(NOW)) == made


@pytest.mark.parametrize(
    "text",
    [
        "",
        "20260131T120005Z-0123456g",
        "20260131T120005Z-0123456",
        "20260131T120005Z-012345678",
        "20260131T120005Z-0123456A",
        "20260131T120005Z-01234567\n",
        "../20260131T120005Z-01234567",
        "20260131T120005Z-01234567/x",
        "\u0662\u0660260131T120005Z-01234567",
        "20260131T120005Z-snap-012345",
        "\ud800",
    ],
)
def test_no_txid(text):
    with pytest.raises(UsageError, match="is not a transaction id"):
        names.txid(text)
    assert not names.is_txid_file(f"{text}.json")


@pytest.mark.parametrize(
    "text", ["20260131T120005Z-01234567", "20260131T120005Z-snap-012345\n", "x", "../x"]
)
def test_no_snapshot_id(text):
    with pytest.raises(UsageError, match="is not a snapshot id"):
        names.snapshot_id(text)


def test_files_of_transactions():
    assert names.is_txid_file("20260131T120005Z-01234567.json")
    for other in ("x.json", "20260131T120005Z-01234567", ".tmp-20260131T120005Z-01234567.json"):
        assert not names.is_txid_file(other)
