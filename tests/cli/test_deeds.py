"""What a node did, as `tx run` and `tx inspect` tell it: each thing once, nothing for nothing."""

from types import SimpleNamespace

import pytest

from governance.cli import inspection
from governance.truth.documents import Transaction

ENVIRONMENT = "/w/.generations/0123-ab"
PIP = [f"{ENVIRONMENT}/bin/python", "-m", "pip", "install", "lark"]


@pytest.fixture
def tell():
    def tell(**seen):
        tx = Transaction(txid="20260101T000000Z-00000000", node_id="n", status="completed")
        tx.observation = seen
        parts = inspection.parts(SimpleNamespace(), tx.to_json())
        return [part.strip() for part in parts if isinstance(part, str)][1:]

    return tell


def by(at="n/__init__.py:3", **facts):
    return {"node": "n", "at": at, **facts}


def test_an_install_is_told_once(tell):
    told = tell(
        installs=[
            by(tool="pip", action="install", requested=["lark"], files=[], command=PIP),
            *[by(tool="pip", action="install", requested=[], files=["r.txt"], outcome="failed")]
            * 2,
        ],
        programs=[by(argv=PIP), by(argv=[f"{ENVIRONMENT}/lib/ffmpeg", "-version"])],
    )
    assert told == [
        "by itself: pip install -r r.txt (failed)  [n/__init__.py:3]",
        "by itself: pip install lark  [n/__init__.py:3]",
        "started .../lib/ffmpeg -version  [n/__init__.py:3]",
    ]


def test_what_is_left_out_is_counted(tell):
    many = [by(tool="pip", action="install", requested=[f"p{n}"]) for n in range(12)]
    told = tell(installs=many)
    assert (len(told), told[-1]) == (11, "by itself: 2 more (--json has all)")


def test_an_address_is_told_where_no_name_was_looked_up(tell):
    told = tell(
        hosts=[
            by(host="pypi.org", port=443, how=["look up"]),
            by(host="203.0.113.80", port=443, how=["connect"]),
            by(host="203.0.113.80", port=443, how=["connect"], at="n/other.py:1"),
            by(host="203.0.113.81", port=443, how=["look up", "connect"]),
        ]
    )
    assert told == [
        "contacted or tried to pypi.org:443  [n/__init__.py:3]",
        "contacted or tried to 203.0.113.80:443  [n/other.py:1]",
        "contacted or tried to 203.0.113.81:443  [n/__init__.py:3]",
    ]


def test_a_node_that_nothing_is_known_of(tell):
    told = tell(nodes={"n": {"loaded": None}, "m": {"loaded": True, "classes": ["A"]}})
    assert told == ["NOT LOADED n", "loaded m: 1 class (A)"]
    broken = {"n": {"loaded": False, "error": "boom"}}
    assert tell(nodes=broken, reason="n: boom", verdict="failed")[1] == "NOT LOADED n"
    assert tell(nodes=broken) == ["NOT LOADED n: boom"]
    assert tell(nodes={"n": {"loaded": True, "classes": []}}) == ["loaded n"]
