"""A lock that failed on packages that the index does not have: does the index tell the truth?

For uv a log-in page, an empty page and a 404 for everything are packages without versions, and so
a conflict.  gov asks for the same pages once more and looks at them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from governance.base.errors import GovError
from governance.boundaries import uv_failures
from governance.boundaries.uv import Uv
from governance.catalogue import index_page
from governance.catalogue.index_page import MISSING

_MOST_PACKAGES = 2
_MOST_OTHERS = 2


def require_honest(uv: Uv, folder: Path, log: str) -> None:
    """Raises GovError (code `index_failed`) where the index of `folder`'s project answers a
    question about a package that uv did not find with something else."""
    absent = uv_failures.not_there(log)
    rows = uv_failures.indexes(folder) if absent else []
    known = index_page.credentials(rows)
    for package in absent[:_MOST_PACKAGES]:
        for row in _asked(folder, rows, package):
            url = str(row["url"])
            wrong = index_page.look(url, package, known)
            if wrong == MISSING and _has_nothing(folder, rows, url, absent, known):
                wrong = "404 whatever it is asked, also"
            if wrong and wrong != MISSING:
                uv.forget_page(package)
                raise _lied(url, package, wrong)


def _asked(folder: Path, rows: list[dict[str, Any]], package: str) -> Iterator[dict[str, Any]]:
    """The index that the project takes the package from; else all that are open to any."""
    sources = _project(folder).get("sources", {})
    named = sources.get(package, {}).get("index") if isinstance(sources, dict) else None
    for row in rows:
        is_meant = row.get("name") == named if named else not row.get("explicit")
        if is_meant and str(row.get("url")).startswith("http") and row.get("format") != "flat":
            yield row


def _has_nothing(
    folder: Path,
    rows: list[dict[str, Any]],
    url: str,
    absent: tuple[str, ...],
    known: Mapping[str, str],
) -> bool:
    """It has none of the others that it should have; where there are few, it answers no root."""
    others = [name for name in _others(folder, rows, url) if name not in absent][:_MOST_OTHERS]
    # A web site's own address in place of its index answers at its root, and for nothing else.
    asked = others if len(others) == _MOST_OTHERS else [*others, ""]
    return all(index_page.look(url, name, known) == MISSING for name in asked)


def _others(folder: Path, rows: list[dict[str, Any]], url: str) -> Iterator[str]:
    """Packages that were locked from that index; of a single one, what is asked for at all."""
    lock = folder / "uv.lock"
    text = lock.read_text() if lock.is_file() else ""
    pattern = rf'name = "([^"]+)"\nversion = [^\n]*\nsource = {{ registry = "{re.escape(url)}'
    yield from re.findall(pattern, text)
    if len(rows) == 1:
        yield from (name for name, _ in uv_failures.asked_for(folder))


def _project(folder: Path) -> dict[str, Any]:
    import tomllib

    document = tomllib.loads((folder / "pyproject.toml").read_text())
    return dict(document.get("tool", {}).get("uv", {}))


def _lied(url: str, package: str, wrong: str) -> GovError:
    login = "log in to the network with a browser; " if "log-in" in wrong else ""
    page = f"{uv_failures.without_user(url).rstrip('/')}/{package}/"
    return uv_failures.lied(
        url,
        package,
        f"answers with {wrong} when {package} is asked for",
        hint=f"{login}`curl -sSL {page}` shows what it says; then run the command again, or take "
        "another index with `gov init --index URL`",
    )
