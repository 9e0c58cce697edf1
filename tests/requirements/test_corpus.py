"""Real requirement files, where GOV_TEST_CORPUS names a nodes.json."""

import json
import os
from pathlib import Path

import pytest

from governance.requirements import Policy, read_node

CORPUS = os.environ.get("GOV_TEST_CORPUS", "")
EXPLAINED = {"git", "url", "torch", "option"}

pytestmark = pytest.mark.skipif(not CORPUS, reason="GOV_TEST_CORPUS names no nodes.json")


def nodes():
    return json.loads(Path(CORPUS).read_text())["nodes"] if CORPUS else []


@pytest.mark.parametrize("node", nodes(), ids=lambda node: node["id"])
def test_every_real_line_is_taken_or_explained(tmp_path, node):
    (tmp_path / "requirements.txt").write_text("\n".join(node["requirements"]))

    declared = read_node(tmp_path, policy=Policy())

    written = [raw for raw in node["requirements"] if raw.strip() and raw.strip()[0] != "#"]
    repeated = sum(line.note.count("line ") for line in declared.lines)
    told = len(declared.lines) + len(declared.skipped) + len(declared.notes) + repeated
    assert told == len(written)
    assert {entry.kind for entry in declared.skipped} <= EXPLAINED
