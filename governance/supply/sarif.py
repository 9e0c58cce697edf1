"""Findings in SARIF 2.1.0 (OASIS), which code hosts and editors read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import governance
from governance.supply import rules as policy
from governance.supply.rows import Row

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"
_MEANING = {
    policy.YOUNG: "A release is younger than policy wants",
    policy.AGE_UNKNOWN: "The age of a release is not known",
    policy.PACKAGE: "A package is blocked by policy",
    policy.NODE: "A node is blocked by policy",
    policy.AUTHOR: "The author of a node is blocked by policy",
    policy.INDEX: "A package comes from another index than policy wants",
    policy.VULNERABLE: "A package has a known vulnerability",
    policy.YANKED: "A release was yanked by its index",
    policy.SOURCE_BUILD: "A package is built from source",
}
_NODES = (policy.NODE, policy.AUTHOR)


def document(
    findings: Sequence[Row], notes: Sequence[Row], unanswered: Sequence[Row], lock: str
) -> bytes:
    """`unanswered` become notifications of a run that did not succeed: none found is not what
    they say.  `lock` is the text of uv.lock, in which the packages have their lines."""
    rows = [(row, "error") for row in findings] + [(row, "note") for row in notes]
    kinds = dict.fromkeys(str(row["kind"]) for row, _ in rows)
    run = {
        "tool": {
            "driver": {
                "name": "gov",
                "version": governance.__version__,
                "rules": [
                    {"id": kind, "shortDescription": {"text": _MEANING[kind]}} for kind in kinds
                ],
            }
        },
        "invocations": [
            {
                "executionSuccessful": not unanswered,
                "toolExecutionNotifications": [
                    {"level": "error", "message": {"text": row["sentence"]}} for row in unanswered
                ],
            }
        ],
        "results": [_result(row, level, lock) for row, level in rows],
    }
    text = json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)
    return (text + "\n").encode()


def _result(row: Row, level: str, lock: str) -> dict[str, Any]:
    about = ":".join(str(row[key]) for key in ("kind", "subject", "version"))
    is_node = row["kind"] in _NODES
    return {
        "ruleId": row["kind"],
        "level": level,
        "message": {"text": row["sentence"]},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": "state/plugins.json" if is_node else "uv.lock"},
                    "region": {"startLine": 1 if is_node else _line(row, lock)},
                },
                "logicalLocations": [{"name": row["subject"], "kind": _kind(is_node)}],
            }
        ],
        "partialFingerprints": {"gov/finding": f"{about}:{row.get('id', '')}"},
        "properties": _properties(row),
    }


def _kind(is_node: bool) -> str:
    return "module" if is_node else "package"


def _line(row: Row, lock: str) -> int:
    """Where the package begins, counted from 1."""
    at = lock.find(f'[[package]]\nname = "{row["subject"]}"\n')
    return lock.count("\n", 0, max(at, 0)) + 1


def _properties(row: Mapping[str, Any]) -> dict[str, Any]:
    left_out = ("kind", "sentence", "known")
    return {f"gov/{name}": value for name, value in row.items() if name not in left_out}
