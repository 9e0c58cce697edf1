"""What a package index answers when gov itself asks: a page of a package's files, or none.

uv takes any page for a list of files (simple API, PEP 503 and 691): a proxy's log-in page is then a
package without versions.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from governance.base.errors import GovError
from governance.catalogue import connection

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
MISSING = "404"

_ACCEPTED = f"{JSON_TYPE}, text/html;q=0.2"
_SECONDS = 10.0
_FILES = re.compile(r"<a\b[^>]*\bhref[^>]*\.(?:whl|tar\.\w+|zip|egg|exe)\b", re.IGNORECASE)
_LOGIN = re.compile(r"<form\b|<input\b|password|\b(?:log|sign)[ -]?(?:in|on)\b", re.IGNORECASE)
_HTML = re.compile(r"<(?:!doctype html|html|body|head)\b", re.IGNORECASE)


def look(url: str, package: str, credentials: Mapping[str, str]) -> str | None:
    """What is wrong with the page of `package`; "" for nothing, MISSING where there is none, None
    where gov cannot tell.  With package "" the index's own page is asked for."""
    address = f"{_plain(url).rstrip('/')}/" + (f"{package}/" if package else "")
    headers = {"Accept": _ACCEPTED}
    known = credentials.get(urlsplit(address).netloc)
    if known:
        headers["Authorization"] = f"Basic {known}"
    limit = connection.LARGEST_ANSWER_BYTES
    try:
        parts = connection.stream(address, _SECONDS, limit, headers=headers)
        # The page of a whole index may be of any size: that it begins is enough.
        body = next(parts, b"") if not package else b"".join(parts)
    except connection.NotFound:
        return MISSING
    except GovError:
        return None
    return _problem(body.decode(errors="replace"), package)


def credentials(indexes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """For HTTP, by host: as uv takes them from an index's address, or from
    UV_INDEX_<NAME>_USERNAME and _PASSWORD."""
    found = {}
    for index in indexes:
        parts = urlsplit(str(index.get("url", "")))
        name = "".join(c if c.isalnum() else "_" for c in str(index.get("name", ""))).upper()
        user = os.environ.get(f"UV_INDEX_{name}_USERNAME", unquote(parts.username or ""))
        if user:
            password = os.environ.get(f"UV_INDEX_{name}_PASSWORD", unquote(parts.password or ""))
            pair = base64.b64encode(f"{user}:{password}".encode()).decode()
            found[parts.netloc.rpartition("@")[2]] = pair
    return found


def _plain(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _problem(text: str, package: str) -> str:
    if not text.strip():
        return "an empty page"
    if text.lstrip().startswith("{"):
        return _of_json(text)
    if _FILES.search(text) or not package:
        return ""
    if _LOGIN.search(text):
        return "a log-in page"
    named = package in text.lower().replace("_", "-") or "links for" in text.lower()
    if _HTML.search(text) and named:
        return ""  # a package whose files were all taken back
    return "a page that lists no files" if _HTML.search(text) else "what is no page at all"


def _of_json(text: str) -> str:
    try:
        is_page = isinstance(json.loads(text).get("files"), list)
    except ValueError:
        is_page = False
    return "" if is_page else "what is no list of files"
