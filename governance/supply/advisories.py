"""Known vulnerabilities of a lock, as `uv audit` tells them (an OSV service answers it)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from governance.base.errors import GovError
from governance.boundaries.uv import Uv
from governance.boundaries.uv_failures import failure
from governance.supply import rules as policy
from governance.supply.rows import Row, row
from governance.supply.rules import Rules

SERVICE = "https://api.osv.dev"


def look(rules: Rules, uv: Uv, folder: Path) -> list[Row]:
    """Of the project and lock in `folder`.  A service that does not answer is a row too."""
    try:
        done = uv.audit(folder, service=rules.service, ignored=rules.accepted)
    except GovError as error:  # uv did not end in time
        return [unanswered(rules, error.message)]
    if done.returncode not in (0, 1):
        return [unanswered(rules, failure("uv audit", done).message)]
    try:
        return list(_rows(rules, json.loads(done.stdout)))
    except (ValueError, LookupError, TypeError) as error:
        return [unanswered(rules, f"what uv says is not understood ({type(error).__name__})")]


def unanswered(rules: Rules, why: str) -> Row:
    service = rules.service or SERVICE
    sentence = f"known vulnerabilities could not be looked up at {service}: {why}"
    return row(rules, policy.VULNERABLE_UNKNOWN, service, "", sentence)


def _rows(rules: Rules, told: Any) -> Iterable[Row]:
    """uv's schema is a preview; what is missing there is an error, never "none"."""
    for one in told["vulnerabilities"]:
        name, version = str(one["dependency"]["name"]), str(one["dependency"]["version"])
        identity = str(one.get("display_id") or one["id"])
        fixed = [str(text) for text in one.get("fix_versions") or ()]
        summary = " ".join(str(one.get("summary") or "").split())[:200]
        sentence = f"{name} {version} is vulnerable: {identity}"
        sentence += f" ({summary})" if summary else ""
        sentence += f", fixed in {', '.join(fixed)}" if fixed else ", not fixed yet"
        yield row(
            rules,
            policy.VULNERABLE,
            name,
            version,
            sentence,
            id=identity,
            ids=sorted({str(one["id"]), identity, *map(str, one.get("aliases") or ())}),
            fixed=fixed,
            link=str(one.get("link") or ""),
        )


def known_before(found: Iterable[Row], before: Iterable[Row]) -> list[Row]:
    """The rows, marked where prod has the same vulnerability of the same package."""
    ids = {(r["subject"], one) for r in before for one in r.get("ids", ())}
    return [
        {**r, "known": r["known"] or any((r["subject"], one) in ids for one in r.get("ids", ()))}
        for r in found
    ]
