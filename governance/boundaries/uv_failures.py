"""What uv's words about a failed call mean: the index, the network or a file is at fault, a build,
or the requirements.

uv (0.11 to 0.13) says `No solution found` of requirements that cannot stand together, and just so
of a package that the index refuses or of which it tells no upload times: those are no conflicts.
What a build printed is not uv's word, and is left out before anything is looked for.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from governance.base.errors import GovError
from governance.base.names import normalise
from governance.boundaries import process

# The index, the network or a file of it is at fault; nothing follows for the requirements.
AT_FAULT = (
    *("index_unreachable", "index_denied", "index_failed", "index_undated", "bad_download"),
    "index_stalled",
)
# What fails so says nothing about the requirements, whatever else is tried.
OUTSIDE = (*AT_FAULT, "timed_out", "disk")
PYPI = "https://pypi.org/simple"

_BUILD_OUTPUT = re.compile(r"\[std(?:err|out)\]\n.*?(?=\n\s*\[std|\n\s*hint: |\Z)", re.DOTALL)
_FULL = re.compile(r"no space left on device|disk quota", re.I)
_DISK = re.compile(r"read-only file system|permission denied", re.I)
_BUILD = re.compile(
    r"Failed to (?:download and )?build `|build backend|Failed to resolve requirements from"
)
_ADDRESS = re.compile(r"(?:Failed to fetch: |for url \(|metadata at )`?(https?://[^\s`)]+)")
_PACKAGE = re.compile(
    r"(?:Hash mismatch for|Failed to (?:download|build|download and build)) `([^`=@ ]+)"
    r"(?:==([^`]+)| @ [^`]*)?`"
)
_FILE = re.compile(r"([A-Za-z0-9][\w.]*?)-(\d[^-]*?)(?:-.*\.whl|\.tar\.\w+|\.zip)$")
_HTTP = re.compile(r"HTTP status (?:client|server) error \((\d+) ?([^)]*)\)")
_DENIED = re.compile(
    r"hint: An index(?: URL)? \(([^)]+)\) (?:could not be queried due to a lack of valid "
    r"authentication credentials \((401[^)]*)\)|returned a (403 Forbidden))"
)
_NOT_FOUND = re.compile(r"(?<![^\s`(])([\w.-]+)(?:\[\S*\])? was not found in the package registry")
_NO_VERSIONS = re.compile(
    r"there\s+are\s+no\s+versions\s+of\s+([\w.-]*\w)(?=[\s,]|$)"
    r"|there\s+is\s+no\s+version\s+of\s+([\w.-]*\w)=="
)
_REQUIRED = re.compile(r"[A-Za-z0-9][\w.-]*")
# The code of an index that tells no upload times where a date is asked.
UNDATED = "index_undated"
_UNDATED = re.compile(r"`([^`]+)` is missing an upload date, but user provided: (\S{10})")
_FILTERED = re.compile(r"`([\w.-]+)` was filtered by `exclude-newer`")


@dataclass(frozen=True)
class _Fault:
    """`what` follows the host; {package} in it is what was asked for."""

    pattern: re.Pattern[str]
    code: str
    what: str
    hint: str


_CERTIFICATE = (
    "where a proxy answers with a certificate of its own, name its file in SSL_CERT_FILE "
    "or set UV_SYSTEM_CERTS=1, then run the command again"
)
_NETWORK = "check the network and the index (`curl -sSI {url}`), then run the command again"
_LATER = "run the command again later; `gov init --index URL` takes another index"


def _fault(pattern: str, code: str, what: str, hint: str) -> _Fault:
    return _Fault(re.compile(pattern, re.IGNORECASE), code, what, hint)


# In this order: a nested message tells the nearer cause last, and the general one first.
_FAULTS = (
    _fault(
        r"network was disabled", "index_unreachable",
        "was not asked for {package}: uv is told to stay offline (UV_OFFLINE)",
        "`unset UV_OFFLINE` lets uv use the network; then run the command again",
    ),
    _fault(
        r"hash mismatch", "bad_download",
        "sent other bytes for {package} than the hash names", _LATER,
    ),
    _fault(
        r"end of file before message length|error decoding response body", "bad_download",
        "broke off in the midst of {package}", _LATER,
    ),
    _fault(
        r"failed to extract archive|invalid zip|invalid tar|invalid gzip", "bad_download",
        "sent something for {package} that is no package file (a proxy's page, perhaps)",
        "look at what it sends with `curl -sSL {url} | head -c 300`; then run the command again",
    ),
    _fault(
        r"(?:failed to parse|invalid) metadata|metadata\S* (?:is|was) (?:invalid|malformed)",
        "bad_download", "sent metadata for {package} that cannot be read", _LATER,
    ),
    _fault(
        r"invalid peer certificate|UnknownIssuer|self.signed certificate", "index_unreachable",
        "shows a certificate that is not trusted here ({package} was asked for)", _CERTIFICATE,
    ),
    _fault(
        r"received corrupt message|tls handshake|InvalidContentType|ssl error", "index_unreachable",
        "speaks no TLS that uv understands ({package} was asked for)",
        "does its address begin with http instead of https, or does a proxy stand between? "
        "`curl -sSI {url}` shows it",
    ),
    _fault(
        r"dns error|failed to lookup address|error resolving dns", "index_unreachable",
        "is no name that the network knows ({package} was asked for)", _NETWORK,
    ),
    _fault(
        r"connection refused", "index_unreachable",
        "accepts no connection ({package} was asked for)", _NETWORK,
    ),
    _fault(
        r"connection reset|connection closed|broken pipe", "index_unreachable",
        "broke off the connection when {package} was asked for", _NETWORK,
    ),
    _fault(
        r"(?:operation|request|connection) timed ?out|deadline has elapsed", "index_unreachable",
        "did not answer in time when {package} was asked for", _NETWORK,
    ),
    _fault(
        r"error sending request|connection error|network (?:is )?unreachable", "index_unreachable",
        "cannot be reached ({package} was asked for)", _NETWORK,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class _Place:
    """Where a failed call was asking, and for what; "" where uv does not say."""

    host: str = ""
    package: str = ""
    url: str = ""
    index: str = ""
    name: str = ""

    @property
    def subject(self) -> str:
        return f"the index at {self.host}" if self.host else "the index"


def is_conflict(log: str) -> bool:
    said = own_words(log)
    return "No solution found" in said and not _BUILD.search(said) and _at_fault(said) is None


def is_unbuildable(log: str) -> bool:
    """A package has to be built to be read, and that fails: another choice may mend it."""
    return _at_fault(own_words(log)) is None and _is_build(log)


def not_there(log: str) -> tuple[str, ...]:
    """Packages of which the index has nothing, or not the one version that is asked for, as uv
    saw it: worth a second look."""
    said = own_words(log)
    found = [*_NOT_FOUND.findall(said), *("".join(one) for one in _NO_VERSIONS.findall(said))]
    filtered = set(_FILTERED.findall(said))
    return tuple(name for name in dict.fromkeys(found) if name not in filtered)


def failure(doing: str, done: process.Completed, project: Path | None = None) -> GovError:
    """The error for a failed call: where an index is at fault its host, the package and a way out;
    else uv's first `error:` line.  `project` is the folder that uv worked on."""
    said = own_words(done.stderr)
    facts = {"exit_code": done.returncode, "log": _shortened(done.stderr)}
    found = None if _FULL.search(done.stderr) else _at_fault(said)
    if found is not None:
        return _index_error(found, _place(said, project), said, facts)
    code, hint = _diagnosis(done.stderr)
    return GovError(f"{doing} failed: {_sentence(done.stderr)}", hint=hint, code=code, facts=facts)


def lied(url: str, package: str, what: str, *, code: str = "index_failed", hint: str) -> GovError:
    """An index that gives a wrong answer with a straight face; `what` follows its host."""
    place = _Place(_host(url), package, url)
    message = f"{place.subject} {what}"
    return GovError(message, hint=hint, code=code, facts={"host": place.host, "package": package})


def asked(project: Path) -> str:
    """The index of a project, for a sentence of which nothing more is known."""
    return _Place(_host(_of_lock("", project))).subject


def own_words(log: str) -> str:
    """Without what a build printed."""
    return _BUILD_OUTPUT.sub("", log)


def indexes(project: Path | None) -> list[dict[str, Any]]:
    """The indexes that a project's pyproject.toml names; uv's own where it names no default."""
    try:
        text = (project / "pyproject.toml").read_text() if project is not None else ""
        found = list(tomllib.loads(text).get("tool", {}).get("uv", {}).get("index", []))
    except (OSError, ValueError):
        found = []
    has_default = any(one.get("default") for one in found)
    return found if has_default else [*found, {"name": "", "url": PYPI, "default": True}]


def asked_for(project: Path) -> Iterator[tuple[str, str]]:
    """(package, line) of each requirement in the groups of a project's pyproject.toml."""
    document = tomllib.loads((project / "pyproject.toml").read_text())
    for group in document.get("dependency-groups", {}).values():
        for line in group:
            if isinstance(line, str) and (found := _REQUIRED.match(line)):
                yield normalise(found[0]), line


# --- which ------------------------------------------------------------------------------------


def _at_fault(said: str) -> _Fault | None:
    return _refused(said) or _undated(said) or _status(said) or _named(said)


def _named(said: str) -> _Fault | None:
    return next((fault for fault in _FAULTS if fault.pattern.search(said)), None)


def _refused(said: str) -> _Fault | None:
    """The hint stands below every failed lock; it tells why only where a package was not found."""
    denied = _DENIED.search(said)
    if denied is None or not _NOT_FOUND.search(said):
        return None
    return _denied(denied[2] or denied[3])


def _denied(status: str) -> _Fault:
    hint = (
        "look whether the address is right; where it wants a log-in: `export {variable}_USERNAME="
        "USER {variable}_PASSWORD=TOKEN`, then run the command again"
    )
    return _fault("", "index_denied", f"refuses {{package}} ({status.strip()})", hint)


def _undated(said: str) -> _Fault | None:
    if "No solution found" not in said:
        return None
    dates = {_package_of(file): date for file, date in _UNDATED.findall(said)}
    hidden = [name for name in _FILTERED.findall(said) if name in dates]
    if not hidden:
        return None
    what = (
        f"tells no upload times, so that no version of {hidden[0]} counts as there on "
        f"{dates[hidden[0]]}, the resolution date"
    )
    hint = "`gov init --resolution-date none` takes packages whatever their date"
    return _fault("", UNDATED, what, hint)


def _status(said: str) -> _Fault | None:
    found = _HTTP.search(said)
    if found is None:
        return None
    status = f"{found[1]} {found[2]}".strip()
    if found[1] in ("401", "403", "407"):
        return _denied(status)
    if found[1] == "511":
        what = f"is behind a network's log-in page ({status} for {{package}})"
        hint = "log in to the network with a browser (`curl -sSL {url}` shows its page), then run "
        return _fault("", "index_failed", what, f"{hint}the command again")
    if found[1] in ("404", "410"):
        return _fault("", "index_failed", f"lists {{package}} and does not have it ({status})",
                      _LATER)  # fmt: skip
    return _fault("", "index_failed", f"fails when {{package}} is asked for ({status})", _LATER)


def _index_error(fault: _Fault, place: _Place, said: str, facts: dict[str, Any]) -> GovError:
    variable = f"UV_INDEX_{re.sub(r'[^A-Z0-9]', '_', place.name.upper())}"
    url = place.url or place.index
    given = {"package": place.package or "a package", "url": url, "variable": variable}
    facts = {**facts, "host": place.host, "package": place.package}
    # An index that has no name takes no credentials by variable.
    hint = fault.hint if place.name or "{variable}" not in fault.hint else _NETWORK
    return GovError(
        f"{place.subject} {fault.what.format(**given)}",
        hint=hint.format(**given),
        code=fault.code,
        facts=facts,
    )


def _is_build(log: str) -> bool:
    return _diagnosis(log)[0] == "build_failed"


def _diagnosis(log: str) -> tuple[str, str]:
    said = own_words(log)
    if _FULL.search(log) or _DISK.search(said):
        return "disk", "free some space or mend the permissions, then run the same command again"
    if _BUILD.search(said):
        return "build_failed", "the package has no wheel for this machine and its build failed"
    return "uv_failed", "-v shows the whole text of uv"


def _sentence(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    said = next((line for line in lines if line.startswith(("error:", "×"))), "")
    causes = [line.partition("cause:")[2].strip() for line in lines if "cause:" in line]
    sentence = said.removeprefix("error:").strip(" ×") or (lines[-1] if lines else "no message")
    return f"{sentence} ({causes[-1]})" if causes else sentence


def _shortened(log: str) -> str:
    """What failed stands at the beginning, why at the end; between them a compiler's output."""
    return log if len(log) <= 12000 else f"{log[:4000]}\n[...]\n{log[-8000:]}"


# --- where ------------------------------------------------------------------------------------


def _place(said: str, project: Path | None) -> _Place:
    address, named, denied = _ADDRESS.search(said), _PACKAGE.search(said), _DENIED.search(said)
    gone = [*_FILTERED.findall(said), *not_there(said)]
    package = f"{named[1]} {named[2] or ''}".strip() if named else ""
    package = next(iter(gone), package) if denied or not named else package
    url = without_user(address[1]) if address else ""
    file = "" if url else _file_in_lock(package, project)
    asked = url or (denied[1] if denied else _of_lock(package.partition(" ")[0], project))
    row = _index_of(asked, project)
    index, name = without_user(str(row.get("url", asked))), str(row.get("name", ""))
    return _Place(_host(asked), _package_in(url) or package, url or file, index, name)


def _package_in(url: str) -> str:
    """`lark 1.2.2` of a file's address, `lark` of a page's."""
    last = urlsplit(url).path.rstrip("/").rpartition("/")[2].removesuffix(".metadata")
    file = _FILE.match(last)
    return f"{file[1].replace('_', '-')} {file[2]}" if file else last


def _package_of(file: str) -> str:
    """As uv spells it in a sentence: normalised."""
    return re.sub(r"[-_.]+", "-", _package_in(f"file:///{file}").partition(" ")[0]).lower()


def _host(url: str) -> str:
    """For a sentence; an address on the disk is named whole."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] if parts.scheme in ("http", "https") else url


def without_user(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def _file_in_lock(package: str, project: Path | None) -> str:
    """The first file of `lark 1.2.2` that the lock names."""
    name, _, version = package.partition(" ")
    start = re.escape(f"{name.replace('-', '_')}-{version}")
    found = re.search(rf'url = "(https?://[^"]*/{start}[-.][^"]*)"', _lock_text(project))
    return without_user(found[1]) if found and version else ""


def _lock_text(project: Path | None) -> str:
    try:
        return (project / "uv.lock").read_text() if project is not None else ""
    except (OSError, ValueError):
        return ""


def _of_lock(package: str, project: Path | None) -> str:
    """The index that a package comes from, as the lock says; else the project's own."""
    head = rf'name = "{re.escape(package)}"\nversion = [^\n]*\n'
    found = re.search(rf'{head}source = {{ registry = "([^"]+)"', _lock_text(project))
    if found is not None:
        return found[1]
    return next(str(one.get("url")) for one in indexes(project) if one.get("default"))


def _index_of(url: str, project: Path | None) -> Mapping[str, Any]:
    """Files may lie on another host than the pages: then the project's own index is meant."""
    rows = indexes(project)
    same = [one for one in rows if _host(str(one.get("url"))) == _host(url)]
    return (same or [one for one in rows if one.get("default")])[0]
