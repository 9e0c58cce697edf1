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


def test_many_installs_of_one_place_are_one_line(tell):
    row = {"tool": "pip", "action": "install", "files": []}
    rows = [by(**row, requested=[f"p{n}", "q"]) for n in (1, 2, 3, 4, 4)]
    assert tell(installs=[*rows, by(**row, requested=["last"], at="n/b.py:1")]) == [
        "by itself: pip install in 4 calls: p1 q; p2 q; p3 q; p4 q  [n/__init__.py:3]",
        "by itself: pip install last  [n/b.py:1]",
    ]


def other(name, **facts):
    return {"node": name, "at": f"{name}/__init__.py:1", "known": False, **facts}


def test_what_the_node_did_is_never_cut_off(tell):
    many = [
        by(tool="pip", action="install", requested=[f"p{n}"], at=f"n/{n}.py:1") for n in range(12)
    ]
    started = [other("m", argv=["git", str(n)]) for n in range(40)] + [by(argv=["make", "all"])]
    told = tell(subjects=["n"], installs=many, programs=started)
    assert [line.split()[-2] for line in told[:12]] == [f"p{n}" for n in range(12)]
    assert told[12] == "started make all  [n/__init__.py:3]"
    assert told[13:] == [
        *(f"started git {n}  [m/__init__.py:1]" for n in range(4)),
        "started 36 more (--json has all)",
    ]


def test_what_prod_does_already_is_one_line(tell):
    known = [other(f"m{n}", argv=["git", "--version"]) | {"known": True} for n in range(18)]
    failing = {f"m{n}": {"loaded": n > 8, "classes": [f"C{n}"]} for n in range(18)}
    told = tell(
        subjects=["n"],
        nodes={"n": {"loaded": True, "classes": ["A"]}, **failing},
        programs=known,
        hosts=[other("m3", host="pypi.org", port=443, how=["look up"]) | {"known": True}],
        warnings=[f"m{n} did not load either: no torch" for n in range(9)]
        + ["m9 is slow", "n is odd", "n is odd"],
    )
    assert told == [
        "loaded n: 1 class (A)",
        "warning: n is odd",
        *(f"warning: m{n} did not load either: no torch" for n in range(4)),
        "warning: m9 is slow",
        "warning: 5 more nodes did not load either (--json has all)",
        "loaded 9 more nodes: m9, m10, m11, ...",
        "19 actions of 18 other nodes, as in prod (--json has all)",
    ]


def test_what_cannot_be_compared_is_said(tell):
    told = tell(subjects=["n"], programs=[other("m", argv=["git"]) | {"known": None}])
    assert told == [
        "1 action of 1 other node, not compared: prod's are not known yet (--json has all)"
    ]


def test_a_finding_comes_first_and_its_command_once(tell):
    row = {"node": "n", "kind": "root", "what": "sudo ls", "at": "n/__init__.py:3"}
    told = tell(
        subjects=["n"],
        findings=[{**row, "sentence": "n wanted to be root: sudo ls"}],
        programs=[by(argv=["sh", "-c", "sudo  ls"]), by(argv=["sudo", "-V"])],
        nodes={"n": {"loaded": True}},
    )
    assert told == [
        "FINDING: n wanted to be root: sudo ls  [n/__init__.py:3]",
        "loaded n",
        "started sudo -V  [n/__init__.py:3]",
    ]


def test_many_files_are_told_by_their_folder(tell):
    files = [by(path=f"/c/custom_nodes/n/web/{n}.js", where="its own folder") for n in range(9)]
    told = tell(subjects=["n"], writes=files)
    assert told == [
        "wrote or tried to custom_nodes/n/web/: 9 files (0.js, 1.js, 2.js, ...)  [n/__init__.py:3]"
    ]


def test_an_action_is_told_once_with_its_places(tell):
    rows = [by(argv=["git", "log"], at=f"n/{n}.py:1") for n in (1, 2, 2, 3, 4, 5)]
    assert tell(subjects=["n"], programs=[*rows, by(argv=["make"])]) == [
        "started git log  [n/1.py:1, n/2.py:1, n/3.py:1 and 2 more]",
        "started make  [n/__init__.py:3]",
    ]


def test_all_others_together_get_few_lines(tell):
    names = [f"m{n}" for n in range(18)]
    told = tell(
        subjects=["n"],
        nodes={name: {"loaded": name != "m3", "error": "odd"} for name in ("n", *names)},
        programs=[other(name, argv=[name]) for name in names] + [by(argv=["make"])],
        hosts=[other(name, host=name) for name in names],
        writes=[other(name, path=f"/{name}") for name in names],
        findings=[other(name, kind="root", what="su", sentence=name) for name in names],
    )
    assert told == [
        "loaded n",
        "started make  [n/__init__.py:3]",
        *(f"FINDING: m{n}  [m{n}/__init__.py:1]" for n in range(4)),
        "FINDING: 14 more (--json has all)",
        "NOT LOADED m3: odd",
        "started m0  [m0/__init__.py:1]",
        "started m1  [m1/__init__.py:1]",
        "9 more lines about other nodes (--json has all)",
        "loaded 17 more nodes: m0, m1, m2, ...",
    ]


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
