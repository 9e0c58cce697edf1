"""Bounded questions to a web server that may be slow, broken, or somebody's login page."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPMessage
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

import governance
from governance.base.errors import GovError

LARGEST_ANSWER_BYTES = 16 << 20
_CHUNK = 1 << 16
_LONGEST_TEXT = 200
_KEPT_OF_AN_ERROR = 4000
_SENT = {"User-Agent": f"gov/{governance.__version__}", "Accept-Encoding": "identity"}


class _Followed(HTTPRedirectHandler):
    """A redirect never leaves https, and never leads to another kind of address."""

    max_redirections = 5

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if not is_allowed(newurl, req.full_url):
            raise URLError(f"it leads on to {shown(newurl)}, which gov does not follow")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def is_allowed(url: str, base: str) -> bool:
    """https always; http only where `base` itself is http."""
    try:
        parts, asked = urlsplit(url), urlsplit(base)
        _ = parts.port
    except ValueError:
        return False
    schemes = ("https", "http") if asked.scheme == "http" else ("https",)
    return parts.scheme in schemes and bool(parts.hostname) and "@" not in parts.netloc


def shown(url: str) -> str:
    """For a sentence: without its query, which may hold a signature, and not longer than a line."""
    plain = "".join(letter for letter in url.partition("?")[0] if letter.isprintable())
    return plain[:_LONGEST_TEXT]


def ask(url: str, *, seconds: float, body: bytes | None = None) -> bytes | None:
    """The bytes of an answer; None for 404.

    Raises GovError with code `registry_denied` (401, 403), `registry_failed` (what is no answer)
    or `registry_unreachable`.
    """
    headers = {"Accept": "application/json"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    try:
        parts = list(stream(url, seconds, LARGEST_ANSWER_BYTES, headers=headers, body=body))
    except NotFound:
        return None
    return b"".join(parts)


class NotFound(Exception):
    """404."""


def stream(
    url: str,
    seconds: float,
    limit: int,
    *,
    total: float | None = None,
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
) -> Iterator[bytes]:
    """The bytes of an answer, piece by piece: `seconds` to its beginning and for each piece,
    `total` for the whole (by default `seconds` too), at most `limit` bytes.

    Raises NotFound, and GovError as `ask` does.
    """
    until = time.monotonic() + (total or seconds)
    sent = {
        "User-Agent": f"gov/{governance.__version__}",
        "Accept-Encoding": "identity",
        **(headers or {}),
    }
    request = Request(url, data=body, headers=sent)
    with _told(url, total or seconds), _opened(request, seconds) as answer:
        declared = _declared(answer)
        if declared is not None and declared > limit:
            raise _too_large(url, limit)
        seen = 0
        while piece := answer.read1(_CHUNK):
            seen += len(piece)
            if seen > limit:
                raise _too_large(url, limit)
            if time.monotonic() > until:
                raise TimeoutError
            yield piece
        if declared is not None and seen < declared:
            raise _failed(url, f"it broke off after {seen:,} of {declared:,} bytes")


@contextmanager
def _told(url: str, seconds: float) -> Iterator[None]:
    """What urllib raises, as errors of ours."""
    try:
        yield
    except HTTPError as error:
        with error:
            raise _of_status(url, error) from None
    except TimeoutError:
        raise _slow(url, seconds) from None
    except URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _slow(url, seconds) from None
        raise _unreachable(url, _why(error.reason)) from None
    except OSError as error:
        raise _unreachable(url, _why(error)) from None
    except (HTTPException, ValueError) as error:
        raise _failed(url, f"what it says is no HTTP ({type(error).__name__})") from None


def _opened(request: Request, seconds: float) -> Any:
    """In a thread of its own: neither a slow name server nor a head that drips in heeds the
    time-out of a socket."""
    found: queue.Queue[Any] = queue.Queue(1)

    def work() -> None:
        try:
            found.put(_opener().open(request, timeout=seconds))
        except Exception as error:
            found.put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        answer = found.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _opener() -> OpenerDirector:
    """Without the handlers of urllib for files, FTP and data."""
    opener = OpenerDirector()
    for make in _HANDLERS:
        opener.add_handler(make())
    return opener


_HANDLERS: tuple[Callable[[], Any], ...] = (
    ProxyHandler,
    HTTPHandler,
    HTTPSHandler,
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    _Followed,
)


def _declared(answer: Any) -> int | None:
    text = answer.headers.get("Content-Length") or ""
    return int(text) if text.isascii() and text.isdigit() else None


# --- what is said of an answer that is none ---------------------------------------------------

_OFFLINE_HINT = (
    "look at the network and at [registry] url in config.toml; with [registry] catalogue gov asks "
    "ComfyUI-Manager's own list instead"
)


def _of_status(url: str, error: HTTPError) -> Exception:
    if error.code == 404:
        return NotFound()
    said = _said(error)
    if error.code in (401, 403):
        return GovError(
            f"{shown(url)} is refused ({error.code}){said}",
            hint="a node that was banned answers so, and so does a proxy that wants a login; "
            "open the address in a browser",
            code="registry_denied",
            facts={"url": shown(url), "status": error.code},
        )
    return _failed(url, f"it answers with {error.code}{said}", status=error.code)


def _said(error: HTTPError) -> str:
    """The registry's own words (schema ErrorResponse), where it has any."""
    import json

    from governance.catalogue.answers import text

    try:
        value = json.loads(error.read(_KEPT_OF_AN_ERROR))
        words = text(value.get("message")) or text(value.get("error"))
    except (OSError, ValueError, AttributeError, HTTPException):
        return ""
    return f": {words[:_LONGEST_TEXT]}" if words else ""


def _failed(url: str, why: str, **facts: Any) -> GovError:
    return GovError(
        f"{shown(url)} gives no answer that gov can use: {why}",
        hint=f"try again later; {_OFFLINE_HINT}",
        code="registry_failed",
        facts={"url": shown(url), **facts},
    )


def unreadable(url: str, why: str) -> GovError:
    """An answer that came whole and is not what was asked for."""
    return _failed(url, why)


def _too_large(url: str, limit: int) -> GovError:
    return _failed(url, f"it is larger than {limit >> 20} MiB")


def _slow(url: str, seconds: float) -> GovError:
    return _unreachable(url, f"no whole answer came within {seconds:g} seconds")


def _unreachable(url: str, why: str) -> GovError:
    return GovError(
        f"cannot reach {shown(url)}: {why}",
        hint=_OFFLINE_HINT,
        code="registry_unreachable",
        facts={"url": shown(url)},
    )


def _why(reason: Any) -> str:
    text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return " ".join(str(text).split())[:_LONGEST_TEXT]
