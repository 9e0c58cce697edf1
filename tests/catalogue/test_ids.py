"""Ids and versions, as they are typed."""

import pytest

from governance.catalogue import ids
from governance.catalogue.ids import Wanted


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("comfyui-kjnodes", Wanted("comfyui-kjnodes")),
        ("a@1.1.2", Wanted("a", "1.1.2")),
        ("a@2.5", Wanted("a", "2.5.0")),
        ("a@2", Wanted("a", "2.0.0")),
        ("a@01.2", Wanted("a", "1.2.0")),
        ("a@1.0.0-beta", Wanted("a", "1.0.0-beta")),
        ("a@latest", Wanted("a")),
        ("a@NIGHTLY", Wanted("a", "nightly")),
        ("a@", None),
        ("@1", None),
        ("a@1@2", None),
        ("a/b", None),
        ("..", None),
        ("a@..", None),
        ("git@host:path", None),
        ("https://host/a", None),
        ("", None),
        ("a b", None),
    ],
)
def test_what_is_typed(typed, found):
    assert ids.parse(typed) == found


def test_versions_compare_as_versions():
    assert ids.is_newer("1.10.0", "1.9.0")
    assert not ids.is_newer("rubbish", "1.9.0")
    assert ids.key("KJNodes", "2.5") == "kjnodes@2.5.0"
