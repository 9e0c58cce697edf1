"""Time as it is written into documents.  Questions write none, so datetime is imported late."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


def now() -> datetime:
    from datetime import UTC, datetime

    return datetime.now(UTC)


def stamp(moment: datetime | None = None) -> str:
    """ISO 8601 in UTC, whole seconds: 2026-01-31T12:00:00Z."""
    return (moment or now()).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(text: str) -> datetime:
    """Raises ValueError."""
    from datetime import datetime

    return datetime.fromisoformat(text.replace("Z", "+00:00"))
