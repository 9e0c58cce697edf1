"""doit's own settings for this graph, and its database, which is a cache."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from governance.base.errors import GovError
from tasks.context import current
from tasks.reporter import Sentences


def _database() -> str:
    try:
        path = current().workspace.root / ".doit.db"
    except GovError:
        return ".doit.db"
    _discard_damaged(path)
    return str(path)


def _discard_damaged(path: Path) -> None:
    """doit's database is a cache: one that cannot be read costs time, not a traceback."""
    if not path.is_file():
        return
    try:
        with closing(sqlite3.connect(path)) as database:
            database.execute("pragma quick_check").fetchone()
    except sqlite3.OperationalError:
        pass  # another doit writes to it just now
    except sqlite3.DatabaseError:
        path.unlink(missing_ok=True)


def config() -> dict[str, Any]:
    return {
        "backend": "sqlite3",
        "dep_file": _database(),
        "default_tasks": ["lock", "sync", "freeze"],
        "reporter": Sentences,
        "verbosity": 2,
    }


DOIT_CONFIG = config()
