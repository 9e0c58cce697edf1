"""Where a repository comes from: a clone URL is hostile input until it has passed here."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from governance.base.errors import GovError, Refused, UsageError
from governance.boundaries import store

# What can be allowed at all; `ext` and other remote helpers run a program of the URL's choice.
KNOWN_PROTOCOLS = ("https", "ssh", "file", "http", "git")

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_REMOTE_HELPER = re.compile(r"([^/\[]*?)::")
_SCP_LIKE = re.compile(r"(?:([^/@:]*)@)?(\[[^]/]*\]|[^/:\[\]]*):(.*)")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\]")
_USER = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.+~-]*")
_DEFAULT_PORTS = frozenset([":22", ":80", ":443"])


@dataclass(frozen=True)
class Source:
    """`url` is stored and shown; `fetch_url` may hold credentials and is neither.

    `protocol` is "https", "ssh", "file", ...; `local` means a folder of this machine, whose `url`
    is its absolute path.
    """

    url: str
    fetch_url: str = field(repr=False)
    protocol: str
    local: bool

    @property
    def username(self) -> str | None:
        return _decoded(urlsplit(self.fetch_url).username) if self._over_http else None

    @property
    def password(self) -> str | None:
        return _decoded(urlsplit(self.fetch_url).password) if self._over_http else None

    @property
    def _over_http(self) -> bool:
        return self.protocol in ("https", "http")


def source(text: str, *, protocols: Sequence[str], cwd: Path) -> Source:
    """Parse what a person typed; relative paths start at `cwd`.

    UsageError for what is no repository address, Refused (code "policy") for a protocol that is
    not in `protocols`.
    """
    _refuse_oddities(text)
    scheme = _SCHEME.match(text)
    _allow(_protocol(text, scheme), protocols)
    if _REMOTE_HELPER.match(text):
        raise _unusable("`::` makes git start a helper program")
    found = _parsed(text, scheme, cwd)
    # A proxy takes another URL as its path: `https://proxy/https://token@host/owner/name`.
    if not found.local and stripped(found.url) != found.url:
        raise _unusable("there are credentials within its path")
    return found


def actual_protocol(url: str, rewriting: Sequence[tuple[str, str]], allowed: Sequence[str]) -> str:
    """The protocol by which git reaches `url`, whose start a `url.BASE.insteadOf` may replace.

    `rewriting`: settings of the user's own git, of which the longest fitting start counts, as in
    git-config(1).  Raises what `source` raises where the mirror's protocol is not allowed.
    """
    fitting = [
        (len(start), key.removeprefix("url.").removesuffix(".insteadof"))
        for key, start in rewriting
        if key.startswith("url.") and start and url.startswith(start)
    ]
    if not fitting:
        return _protocol(url, _SCHEME.match(url))
    length, base = max(fitting, key=lambda one: one[0])
    text = base + url[length:]
    protocol = _protocol(text, _SCHEME.match(text))
    _allow(protocol, allowed)
    return protocol


def _parsed(text: str, scheme: re.Match[str] | None, cwd: Path) -> Source:
    if scheme is None:
        scp_like = _SCP_LIKE.fullmatch(text)
        return _from_scp(scp_like) if scp_like else _from_path(text, cwd)
    if scheme[1].lower() == "file":
        return _from_path(_file_path(text), cwd)
    return _from_url(text)


def stripped(text: str) -> str:
    """`text` (an origin found in a checkout, a line of git's) without credentials in URLs."""
    return re.sub(r"(?<=://)[^/\s]*@", _ssh_user, text)


def same_origin(one: str, other: str) -> bool:
    """Whether both name one repository: over https or ssh, with or without `.git` and the like."""
    return _identity(one) == _identity(other)


def _refuse_oddities(text: str) -> None:
    problem = None
    if not text:
        problem = "it is empty"
    elif text != text.strip():
        problem = "it has blanks at its ends"
    elif text.startswith("-"):
        problem = "it starts with `-`, as an option does"
    elif _has_control_characters(text):
        problem = "it holds control characters"
    if problem:
        raise _unusable(problem)


def _has_control_characters(text: str) -> bool:
    """Line and paragraph separators, too: they break a line of ours in two."""
    kinds = {unicodedata.category(character) for character in text}
    return any(kind[0] == "C" or kind in ("Zl", "Zp") for kind in kinds)


def _protocol(text: str, scheme: re.Match[str] | None) -> str:
    helper = _REMOTE_HELPER.match(text)
    if helper:
        return helper[1].lower() or "::"
    if scheme:
        return scheme[1].lower()
    return "ssh" if _SCP_LIKE.fullmatch(text) else "file"


def _allow(protocol: str, protocols: Sequence[str]) -> None:
    allowed = [name for name in protocols if name in KNOWN_PROTOCOLS]
    if protocol in allowed:
        return
    hint = f"allowed are {', '.join(allowed) or 'none'} (policy.git_protocols in config.toml)"
    if protocol.startswith("git+"):
        hint = f"leave out the `git+` that is meant for pip; {hint}"
    raise Refused(
        f"git protocol {protocol!a} is not allowed",
        hint=hint,
        code="policy",
        facts={"protocol": protocol, "allowed": allowed},
    )


def _from_url(text: str) -> Source:
    try:
        parts = urlsplit(text)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:  # a port that is no number, a broken IPv6 address
        raise _unusable("its host or port cannot be read") from None
    # A refused URL is not repeated in the message: what cannot be parsed cannot be stripped.
    host = parts.netloc.rpartition("@")[2].removesuffix(port)
    _check_host(host.removesuffix(":"), parts.path.strip("/"))
    if parts.query or parts.fragment or "?" in text or "#" in text:
        raise _unusable("a repository's URL has no `?` or `#`")
    address = f"{host.removesuffix(':')}{port}{parts.path}"
    if parts.scheme == "ssh":
        url = f"ssh://{_ssh_prefix(parts)}{address}"
        return Source(url, url, "ssh", local=False)
    url = f"{parts.scheme}://{address}"
    return Source(url, _with_credentials(url, parts), parts.scheme, local=False)


def _from_scp(match: re.Match[str]) -> Source:
    user, host, path = match[1], match[2], match[3]
    if "@" in path.partition("/")[0]:
        raise _unusable("it looks like a password before the `@`")
    _check_host(host, path.strip("/"))
    if path.startswith("-") or (user is not None and not _USER.fullmatch(user)):
        raise _unusable("its user or path cannot be read")
    url = match[0]
    return Source(url, url, "ssh", local=False)


def _from_path(text: str, cwd: Path) -> Source:
    path = os.path.abspath(cwd / store.typed_path(text))  # noqa: PTH100 (links stay as typed)
    if not os.path.isdir(path):  # noqa: PTH112
        raise UsageError(
            f"there is no folder {path}",
            hint="name a local repository by its path, or a remote one by a URL such as "
            "https://host/owner/name",
            code="not_found",
            facts={"path": path},
        )
    return Source(path, path, "file", local=True)


def _file_path(text: str) -> str:
    host, slash, path = text[len("file://") :].partition("/")
    if host.lower() not in ("", "localhost") or not slash:
        raise _unusable("a file:// URL holds an absolute path, as in file:///srv/node")
    decoded = "/" + unquote(path, errors="surrogateescape")
    if _has_control_characters(decoded):
        raise _unusable("it holds control characters")
    return decoded


def _check_host(host: str, path: str) -> None:
    """A host such as `-oProxyCommand=...` would be an option of ssh."""
    if not _HOST.fullmatch(host):
        raise _unusable("its host cannot be read")
    if not path:
        raise _unusable("it names no repository on the host")


def _ssh_prefix(parts: SplitResult) -> str:
    """The user who logs in belongs to the address; a password there is of no use to ssh."""
    user = parts.username
    if user is None:
        return ""
    if not _USER.fullmatch(user):
        raise _unusable("its user cannot be read")
    return f"{user}@"


def _with_credentials(url: str, parts: SplitResult) -> str:
    userinfo, at, _ = parts.netloc.rpartition("@")
    if any(_has_control_characters(unquote(text)) for text in userinfo.split(":")):
        raise _unusable("its credentials hold control characters")
    return url.replace("://", f"://{userinfo}{at}", 1)


def _decoded(text: str | None) -> str | None:
    return None if text is None else unquote(text)


def _ssh_user(match: re.Match[str]) -> str:
    before = match.string[: match.start()]
    user = match[0].removesuffix("@").partition(":")[0]
    return f"{user}@" if before.endswith("ssh://") and _USER.fullmatch(user) else ""


def _identity(text: str) -> str:
    """One spelling for all addresses of a repository: `host[:port]/path` or an absolute path."""
    text = text.strip()
    scheme = _SCHEME.match(text)
    scp_like = None if scheme else _SCP_LIKE.fullmatch(text)
    if scheme and scheme[1].lower() != "file":
        host, _, path = text[scheme.end() :].partition("/")
        host = host.rpartition("@")[2].lower()
        for port in _DEFAULT_PORTS:
            host = host.removesuffix(port)
        return f"{host}/{_bare(unquote(path))}"
    if scp_like:
        return f"{scp_like[2].lower()}/{_bare(scp_like[3])}"
    path = unquote(text[len("file://") :]).removeprefix("localhost") if scheme else text
    return "file:/" + _bare(os.path.realpath(path) if path.startswith("/") else path)


def _bare(path: str) -> str:
    path = re.sub(r"/+", "/", path).strip("/")
    return path.removesuffix("/.git").removesuffix(".git")


def _unusable(problem: str) -> GovError:
    return UsageError(
        f"this cannot be the address of a git repository: {problem}",
        hint="use https://host/owner/name, git@host:owner/name, or the path of a local repository",
        code="bad_git_url",
    )
