"""Requirements that name a place: repositories, wheels by URL, paths."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from governance.requirements import grammar
from governance.requirements.declaration import Policy

if TYPE_CHECKING:
    from urllib.parse import SplitResult

_SCHEME = re.compile(r"(file(?=:)|[A-Za-z][A-Za-z0-9+.-]+(?=:/))")
_SCP = re.compile(r"[\w.-]+@[\w.-]+:(?!/?/)")
_PATH = re.compile(r"[.~]?[./\\~]|[A-Za-z]:[\\/]|[^\s@;<>=!~\[]*[/\\]")
_ARCHIVE = re.compile(r"[^\s;]+\.(?:whl|zip|tar\.gz|tgz|tar\.bz2|tar\.xz)(?:\[[^\]]*\])?(?=\s|;|$)")
_NAMED = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*\s*(?:\[[^\]]*\])?)\s*@\s*(?P<rest>\S.*)")
_EGG = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*(?:\[[^\]]*\])?)")
_OTHER_VCS = ("hg+", "svn+", "bzr+")
_GIT_SCHEMES = frozenset({"git", "ssh"})
_SAFE_GIT = frozenset({"git+https", "git+ssh"})
_HOST = re.compile(r"(?:[A-Za-z0-9_-]+\.)*[A-Za-z][A-Za-z0-9-]*")
_FOREIGN = ("win", "macosx")


@dataclass(frozen=True)
class Location:
    """`name` may carry extras and is "" where nothing tells it; `url` may be a path."""

    name: str
    url: str
    marker: str

    @property
    def scheme(self) -> str:
        match = _SCHEME.match(self.url)
        return match[1].lower() if match else ""

    @property
    def is_git(self) -> bool:
        scp = _SCP.match(self.url) is not None
        return scp or self.scheme in _GIT_SCHEMES or self.url.lower().startswith("git+")

    def requirement(self) -> str:
        """PEP 508 text."""
        name = re.sub(r"\s+", "", self.name)
        return f"{name} @ {self.url} ; {self.marker}" if self.marker else f"{name} @ {self.url}"


@dataclass(frozen=True)
class Refusal:
    kind: str
    reason: str


def bare(text: str) -> Location | None:
    """A line that begins with its URL or path."""
    if _SCHEME.match(text) or _SCP.match(text) or _PATH.match(text) or _ARCHIVE.match(text):
        return _placed("", text)
    return None


def named(text: str) -> Location | None:
    """`name @ place`."""
    match = _NAMED.fullmatch(text)
    return _placed(match["name"].strip(), match["rest"]) if match else None


def refusal(place: Location, policy: Policy) -> Refusal | None:
    """Why a place is not taken; None where it is."""
    if place.is_git:
        return _git_refusal(place, policy)
    if place.scheme.startswith(_OTHER_VCS):
        return Refusal("url", f"{place.scheme} is not git, the only kind of repository taken")
    if place.scheme in {"http", "https"}:
        return _wheel_refusal(place, policy)
    if place.scheme in {"", "file"}:
        return Refusal("local-path", "a path on this machine is not part of a lock")
    return Refusal("url", f"the protocol {place.scheme} is not taken")


def _placed(name: str, text: str) -> Location:
    url, marker = _parted(text)
    address, _, fragment = url.partition("#")
    kept, egg = _fragment(fragment)
    place = Location(name, f"{address}#{kept}" if kept else address, marker)
    if name:
        return place
    return replace(place, name=egg or _wheel_name(place.url))


def _parted(text: str) -> tuple[str, str]:
    """URL and marker; authors forget the blank that PEP 508 wants before the semicolon."""
    url, _, marker = text.partition(";")
    return url.strip(), marker.strip()


def _fragment(fragment: str) -> tuple[str, str]:
    """What uv needs of it (subdirectory, hash), and the name that `egg=` tells."""
    parts = [part for part in fragment.split("&") if part]
    eggs = [part.partition("=")[2] for part in parts if part.startswith("egg=")]
    match = _EGG.match(eggs[0]) if eggs else None
    kept = "&".join(part for part in parts if not part.startswith("egg="))
    return kept, match["name"] if match else ""


def _git_refusal(place: Location, policy: Policy) -> Refusal | None:
    if not policy.allow_git:
        return Refusal("git", "it names a git repository, and allow_git_requirements is off")
    if place.scheme not in _SAFE_GIT:
        return Refusal("git", "only git+https:// and git+ssh:// are taken")
    if not place.name:
        return Refusal("git", "it does not say which package it is; #egg=name is missing")
    if "@-" in place.url:
        return Refusal("git", "its ref begins with a dash")
    return _address_refusal(place, "git")


def _wheel_refusal(place: Location, policy: Policy) -> Refusal | None:
    if not policy.allow_urls:
        return Refusal("url", "it names a URL, and allow_url_requirements is off")
    if place.scheme != "https":
        return Refusal("url", "only https:// is taken")
    file_name = _file_name(place.url)
    if not file_name.endswith(".whl"):
        return Refusal("url", "only wheels are taken by URL")
    return _file_refusal(place, file_name) or _address_refusal(place, "url")


def _file_refusal(place: Location, file_name: str) -> Refusal | None:
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        name, version, _, tags = parse_wheel_filename(file_name)
        grammar.check_numbers(str(version))
    except (InvalidWheelFilename, grammar.Malformed):
        return Refusal("malformed", "its file name is not that of a wheel")
    if name != grammar.leading_name(place.name):
        return Refusal("malformed", f"the wheel is one of {name}, not of {place.name}")
    if all(tag.platform.startswith(_FOREIGN) for tag in tags):
        return Refusal("url", "the wheel is built for another system than Linux")
    return None


def _address_refusal(place: Location, kind: str) -> Refusal | None:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(place.url)
        _check_address(parts)
    except ValueError:
        return Refusal("malformed", "its URL is not valid")
    if parts.password or (parts.username and not place.scheme.endswith("ssh")):
        return Refusal(kind, "its URL carries credentials")
    return None


def _check_address(parts: SplitResult) -> None:
    """What uv refuses to parse.  Raises ValueError."""
    host = parts.hostname or ""
    host.encode().decode("idna")
    valid = _HOST.fullmatch(host) is not None and parts.port != 0 and parts.path.count("@") < 2
    if not valid:
        raise ValueError


def _wheel_name(url: str) -> str:
    file_name = _file_name(url)
    return file_name.partition("-")[0] if file_name.endswith(".whl") else ""


def _file_name(url: str) -> str:
    from urllib.parse import unquote

    return unquote(url.partition("#")[0].partition("?")[0]).rpartition("/")[2]
