"""What looks like a secret is not written down: into no log, no record, no report.

A variable is secret by its name.  Of an address it is the user part, and what a query calls a
token.  A secret shorter than eight characters is let through: it would blot out words.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

MASK = "***"
_SHORTEST = 8
# Of a line without end so much waits for more: a secret may not be there in full yet.
_LONGEST_LINE = 8 * 1024

_SECRET = re.compile(
    r"TOKEN(?!IZER)|SECRET|PASSW|PASSPHRASE|CREDENTIAL|COOKIE|PRIVATE|AUTH(?!OR(?!I))|SESSION|API_?KEY"
    r"|ACCESS_?KEY|WEBHOOK|SIGNATURE|BEARER"
    r"|(?:^|_)(?:KEYS?|PASS|PAT|DSN|OTP|JWT|SALT|NETRC|PGPASSFILE)(?:_|$)"
    r"|KEY$|_PWD$|^DATABASE_URL$|_DATABASE_URL$",
    re.IGNORECASE,
)
_OF_TOOLS = re.compile(r"^GNUPG|^GPG|^SSH_|^DBUS_|^KUBE|^CI_", re.IGNORECASE)
_OF_SERVICES = tuple(
    f"{name}_"
    for name in (
        *("AWS", "AZURE", "GOOGLE", "GCP", "GCLOUD", "GITHUB", "GH", "GITLAB", "OPENAI"),
        *("ANTHROPIC", "WANDB", "DOCKER", "NPM", "TWINE", "HUGGING_FACE", "VAULT", "REPLICATE"),
        *("CIVITAI", "RUNPOD", "SLACK", "DISCORD", "STRIPE", "SENTRY", "HEROKU", "BOTO"),
    )
)
_WITH_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s@]*@", re.IGNORECASE)
_USER_PART = re.compile(r"(?<=://)[^/@\s]+@")
_PASSWORD = re.compile(r"://[^/@\s:]*:([^/@\s]+)@")
_IN_QUERY = re.compile(
    r"([?&](?:[\w.-]*(?:token|secret|passw|credential|signature|api_?key|access_?key)[\w.-]*"
    r"|auth|key|sig|pat|jwt)=)[^&#\s'\"]+",
    re.IGNORECASE,
)
# Who may clone over ssh is no secret, and part of the address.
_PLAIN_USER = re.compile(r"git@")
_ASSIGNED = re.compile(r"(--?)?([A-Za-z][\w.-]*)=(.*)", re.DOTALL)
# Of desktops: which kind of session this is.
_SESSION = re.compile(r"XDG_SESSION_\w+|DESKTOP_SESSION|SESSION_MANAGER")


def is_secret(name: str, value: str) -> bool:
    """Of a variable: by its name, or as an address with a password in it."""
    if name == "TOKENIZERS_PARALLELISM":
        return False
    named = name.upper().startswith(_OF_SERVICES) or _SECRET.search(name) or _OF_TOOLS.search(name)
    return bool(named or _WITH_PASSWORD.search(value))


def text(said: str) -> str:
    """Without what is secret in addresses, and without the secrets of our own environment."""
    return masker()(said)


def without_credentials(said: str) -> str:
    """Addresses alone: the user part and the tokens of a query."""
    if "://" not in said and "=" not in said:
        return said
    said = _USER_PART.sub(lambda user: user[0] if _PLAIN_USER.fullmatch(user[0]) else "***@", said)
    return _IN_QUERY.sub(rf"\1{MASK}", said)


def words(argv: Sequence[str]) -> list[str]:
    """A command line: also the value of an option or a variable whose name is that of a secret
    (`--hf-token X`, `API_KEY=X`)."""
    mask = masker()
    masked, hidden = [], False
    for word in argv:
        masked.append(MASK if hidden and not word.startswith("-") else mask(_assigned(word)))
        hidden = word.startswith("--") and "=" not in word and _names_secret(word)
    return masked


def tree(value: Any) -> Any:
    """A JSON value with every text of it masked."""
    return _tree(value, masker())


def masker() -> Callable[[str], str]:
    """As `text`, for many texts: the environment is looked through once."""
    secrets = sorted(set(_secrets(os.environ)), key=len, reverse=True)
    if not secrets:
        return without_credentials
    found = re.compile("|".join(map(re.escape, secrets)))
    return lambda said: found.sub(MASK, without_credentials(said))


class Stream:
    """Masks what a program prints, line by line: a secret is never cut in two by a read."""

    def __init__(self) -> None:
        self._mask = masker()
        self._rest = b""

    def take(self, data: bytes) -> bytes:
        """What is certain by now."""
        whole, end, rest = (self._rest + data).rpartition(b"\n")
        self._rest = rest
        done = self.line(whole + end)
        if len(rest) > 2 * _LONGEST_LINE:
            rest = self.line(rest)  # first: the cut must not go through one
            done, self._rest = done + rest[:-_LONGEST_LINE], rest[-_LONGEST_LINE:]
        return done

    def end(self) -> bytes:
        rest, self._rest = self._rest, b""
        return self.line(rest)

    def line(self, raw: bytes) -> bytes:
        said = raw.decode(errors="surrogateescape")
        return self._mask(said).encode(errors="surrogateescape")


def _tree(value: Any, mask: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {name: _tree(item, mask) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_tree(item, mask) for item in value]
    return value


def _secrets(environ: Mapping[str, str]) -> Iterator[str]:
    for name, value in environ.items():
        candidates = _PASSWORD.findall(value)
        if not candidates and _names_secret(name):
            candidates = [value.strip()]
        yield from (
            text
            for text in candidates
            # The place of a secret (a file of keys, a socket) is none.
            if len(text) >= _SHORTEST and not os.path.lexists(text)
        )


def _names_secret(name: str) -> bool:
    plain = name.strip("-").replace("-", "_").upper()
    known = plain == "TOKENIZERS_PARALLELISM" or _SESSION.fullmatch(plain)
    return not known and bool(_SECRET.search(plain))


def _assigned(word: str) -> str:
    found = _ASSIGNED.fullmatch(word)
    if found is None or not found[3] or not _names_secret(found[2]):
        return word
    return f"{found[1] or ''}{found[2]}={MASK}"
