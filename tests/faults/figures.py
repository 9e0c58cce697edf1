"""What the harness has counted, kept across processes; `python -m tests.faults.report` shows it."""

import json
import os
from pathlib import Path

LONG = os.environ.get("GOV_FAULTS") == "long"
PLACE = Path(__file__).resolve().parents[2] / ".pytest_cache" / "faults"


def size(short: int, long: int) -> int:
    """How many in CI, and with GOV_FAULTS=long."""
    return long if LONG else short


def note(part: str, test: str, **counts: int) -> None:
    """Remember what `test` counted for `part`; its next run replaces it."""
    PLACE.mkdir(parents=True, exist_ok=True)
    form = "long" if LONG else "short"
    name = "".join(c if c.isalnum() else "-" for c in f"{form}-{part}-{test}")
    row = {"form": form, "part": part, "test": test, "counts": counts}
    (PLACE / f"{name[-150:]}.json").write_text(json.dumps(row))


def told(bad: object) -> str:
    """Every bad case in full, for the message of a failed assertion."""
    return json.dumps(bad, indent=1, default=str)


def rows() -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sorted(PLACE.glob("*.json"))]


def table() -> str:
    """One line a part and form: sums over its tests."""
    sums: dict[tuple[str, str], dict[str, int]] = {}
    for row in rows():
        own = sums.setdefault((str(row["part"]), str(row["form"])), {})
        for name, count in row["counts"].items():
            own[name] = own.get(name, 0) + count
    lines = ["| part | form | figures |", "|---|---|---|"]
    for (part, form), counts in sorted(sums.items()):
        told = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        lines.append(f"| {part} | {form} | {told} |")
    return "\n".join(lines)
