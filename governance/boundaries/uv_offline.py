"""What uv cannot have without the network, all of it at once.

uv itself stops at the first package that it does not find in its cache.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from governance.base.errors import GovError
from governance.boundaries.uv_failures import asked_for, indexes

VARIABLE = "UV_OFFLINE"
_ON = ("1", "true", "yes", "on", "t", "y")
# As uv says it with -v, of what a sync would download.
_UNCACHED = re.compile(r"Identified uncached distribution: (\S+?)==(\S+)")
_NAMED = 20


def is_on(environ: Mapping[str, str]) -> bool:
    return environ.get(VARIABLE, "").lower() in _ON


def require_pages(cache: Path, project: Path) -> None:
    """Raises GovError (code `offline_missing`) where an index's page of a package that the project
    itself asks for is not in the cache: without it nobody knows its versions.  A folder of packages
    has no pages."""
    if any(not _is_simple(index) for index in indexes(project)):
        return
    # What names an address or a folder has no page.
    wanted = {name for name, line in asked_for(project) if " @ " not in line}
    pages = {path.stem for path in cache.glob("simple-v*/**/*.rkyv")}
    if missing := sorted(wanted - pages):
        _refuse("the versions of", missing)


def require_files(log: str) -> None:
    """The same for what a dry run says that it would download."""
    if missing := sorted(f"{name} {version}" for name, version in _UNCACHED.findall(log)):
        _refuse("the files of", missing)


def _is_simple(index: Mapping[str, Any]) -> bool:
    return str(index.get("url")).startswith("http") and index.get("format") != "flat"


def _refuse(what: str, missing: Sequence[str]) -> NoReturn:
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    raise GovError(
        f"uv is told to stay offline, and {what} {len(missing)} packages are not in its cache: "
        f"{', '.join(missing[:_NAMED])}{more}",
        hint="run it again without --offline (`unset UV_OFFLINE`) where there is a network",
        code="offline_missing",
        facts={"missing": list(missing)},
    )
