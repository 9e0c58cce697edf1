"""Addresses that the fence saw and the recorder did not, each laid to the node that began it."""

import json

from governance.observation import contacted

CURL = ["curl", "-s", "http://192.0.2.1:99/x"]
SHELL = {"argv": ["/bin/sh", "-c", "curl -s http://192.0.2.2/ || true"], "node": "b", "at": "b:1"}
PROGRAMS = [{"argv": CURL, "node": "a", "at": "a/__init__.py:3", "phase": "start"}, SHELL]


def write(path, *rows):
    lines = [json.dumps({"host": h, "port": p, "argv": argv}) for h, p, argv in rows]
    path.write_text("\n".join([*lines, '{"host": "cut o']))
    return path


def test_who_began_the_program_is_told(tmp_path):
    file = write(
        tmp_path / "contacts",
        ("192.0.2.1", 99, ["/usr/bin/curl", *CURL[1:]]),
        ("192.0.2.1", 99, ["/usr/bin/curl", *CURL[1:]]),
        ("192.0.2.2", 80, ["curl", "-s", "http://192.0.2.2/"]),
        ("192.0.2.3", 80, ["unknown"]),
        ("192.0.2.4", 443, ["python", "main.py"]),
    )
    known = [{"host": "192.0.2.4", "port": 443, "how": ["connect"]}]
    rows = contacted.unseen(file, known, PROGRAMS)
    assert [(row["host"], row["node"], row["at"], row["times"]) for row in rows] == [
        ("192.0.2.1", "a", "a/__init__.py:3", 2),
        ("192.0.2.2", "b", "b:1", 1),
        ("192.0.2.3", None, None, 1),
    ]


def test_no_record_is_no_contact(tmp_path):
    assert contacted.unseen(tmp_path / "none", [], []) == []
