"""One call of git: nothing of the surroundings may choose what it runs.

A hook, a filter, a pager, an fsmonitor, an ssh command or an alias in a config file is a program
that runs with git.  Three things keep them out:

- The environment: no GIT_* of the caller's (a `gov` started by a git hook would otherwise work on
  the hook's repository), no config file of the user or the system, protocols by allow-list.
- `SETTINGS` outrank every config file, since they come by GIT_CONFIG_COUNT (git 2.31).
- `_KEPT` and `personal_settings` let through what the user's own access to private repositories
  needs: ssh, certificates, proxies, credential helpers and mirrors (`url.*.insteadOf`); none of it
  comes from a repository.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from governance.base.errors import GovError, Refused
from governance.boundaries import process

if TYPE_CHECKING:
    import subprocess

LOCAL_SECONDS = 30.0
MAX_OUTPUT_BYTES = 64 * 1024 * 1024
MIN_VERSION = (2, 32)  # GIT_CONFIG_GLOBAL
_POLL_SECONDS = 0.1

Progress = Callable[[str], None]
Setting = tuple[str, str]

FULL_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

SETTINGS: tuple[Setting, ...] = (
    ("core.hooksPath", os.devnull),
    ("core.fsmonitor", "false"),
    ("core.attributesFile", os.devnull),
    ("core.pager", "cat"),
    ("core.sshCommand", "ssh -o BatchMode=yes"),
    ("credential.interactive", "false"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("core.fsync", "all"),  # what a snapshot names must outlive a power loss
    ("core.fsyncMethod", "batch"),
    ("advice.detachedHead", "false"),
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", "60"),
)

# They read, or write an index that is theirs alone and objects that nothing names yet.
_QUESTIONS = re.compile(
    "cat-file|diff|diff-tree|for-each-ref|log|ls-files|ls-tree|merge-base|read-tree|rev-list"
    "|rev-parse|status|symbolic-ref|update-index|version|write-tree"
)

# The user's own choice of ssh and certificates, and where git finds its parts.
_KEPT = re.compile(r"GIT_(SSH|SSH_COMMAND|SSH_VARIANT|SSL_\w+|PROXY_SSL_\w+|EXEC_PATH)")
_PERSONAL = r"^(credential|http)\.|^core\.sshcommand$|^url\..*\.insteadof$"
_NOT_INHERITED = frozenset(["SSH_ASKPASS", "LANGUAGE"])


@dataclass(frozen=True)
class Output:
    returncode: int
    stdout: bytes
    stderr: str

    @property
    def ok(self) -> bool:
        return self.returncode == 0

    def text(self) -> str:
        """File names that are not UTF-8 survive, as they do in os.listdir."""
        return self.stdout.decode(errors="surrogateescape")


@dataclass
class Limits:
    """What a piece of work may take: `seconds` from now on, and bytes in `folder`."""

    seconds: float
    max_bytes: int = 0
    folder: Path | None = None
    progress: Progress | None = None
    _started: float = field(default_factory=time.monotonic)

    def check(self) -> None:
        """Raises GovError (timed_out) or Refused (too_large)."""
        if time.monotonic() - self._started > self.seconds:
            raise GovError(
                f"git did not finish within {self.seconds:g} s",
                hint="check the network, or raise policy.clone_timeout_seconds in config.toml",
                code="timed_out",
            )
        if self.folder is not None:
            self.check_size(size_of(self.folder))

    def check_size(self, size: int) -> None:
        if size > self.max_bytes:
            raise Refused(
                f"the repository is larger than {self.max_bytes / 2**20:.0f} MB",
                hint="if you trust it, raise policy.clone_limit_mb in config.toml",
                code="too_large",
                facts={"max_bytes": self.max_bytes},
            )


def run(
    arguments: Sequence[str],
    env: Mapping[str, str],
    *,
    limits: Limits | None = None,
    given: bytes = b"",
) -> Output:
    """Run `git ARGUMENTS` to its end; whatever it returns is for the caller to judge.

    Works outside any repository: the one that is meant is named by GIT_DIR.  In every case the
    child is gone when this returns.  Raises what `Limits.check` raises.
    """
    limits = limits or Limits(LOCAL_SECONDS)
    limits.check()
    with _memory() as stdin, _memory() as stdout, _memory() as stderr:
        stdin.write(given)
        stdin.seek(0)
        child = process.spawn(
            ["git", *arguments],
            cwd=Path("/"),
            env=env,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            may_outlive=bool(_QUESTIONS.fullmatch(arguments[0])),
        )
        try:
            _watch(child, limits, stdout, stderr)
        finally:
            process.stop(child)
        return Output(child.returncode, _content(stdout), _masked(_content(stderr)))


def _masked(said: bytes) -> str:
    """git names addresses with all that stands in them; it is shown and stored."""
    if not said:
        return ""
    from governance.base import masking

    return masking.text(said.decode(errors="replace"))


def environment(protocols: Sequence[str] = (), settings: Sequence[Setting] = ()) -> dict[str, str]:
    """The environment of a call that may reach out by `protocols` only; `settings` come last."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if (not key.startswith("GIT_") or _KEPT.fullmatch(key)) and key not in _NOT_INHERITED
    }
    return kept | {
        "LC_ALL": "C",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_ALLOW_PROTOCOL": ":".join(protocols),
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS_REQUIRE": "never",
        "GCM_INTERACTIVE": "never",
        **_by_environment([*SETTINGS, *_trusted(), *settings]),
    }


def _trusted() -> list[Setting]:
    """Folders of others that the operator trusts: git asks the same question once more."""
    from governance.boundaries import operator

    found = operator.safe_directories()
    return [("safe.directory", name) for one in found for name in (one, f"{one}/*")]


def personal_settings() -> list[Setting]:
    """The user's and the system's settings for reaching private repositories."""
    outside = {key: value for key, value in os.environ.items() if not _names_a_repository(key)}
    found = run(
        ["config", "--includes", "--null", "--get-regexp", _PERSONAL],
        outside | {"GIT_DIR": "/nonexistent"},
    )
    pairs = (entry.partition("\n") for entry in found.text().split("\0") if entry)
    return [(key, value if newline else "true") for key, newline, value in pairs]


def object_format(commit: str) -> str:
    """How a repository names its objects, by the length of a full id."""
    return "sha256" if len(commit) == 64 else "sha1"


def check_version() -> None:
    """Raises GovError where git is too old to be kept apart from the user's config."""
    found = run(["version"], environment())
    match = re.search(r"(\d+)\.(\d+)", found.text())
    if match is None or (int(match[1]), int(match[2])) < MIN_VERSION:
        wanted = ".".join(map(str, MIN_VERSION))
        raise GovError(
            f"git {wanted} or newer is needed; this is {found.text().strip() or 'unknown'}",
            hint="install a newer git",
            code="git_too_old",
        )


def size_of(folder: Path) -> int:
    """Bytes of all files below; what vanishes meanwhile counts as nothing.

    Without recursion, for which a repository may be too deep.
    """
    total, stack = 0, [str(folder)]
    while stack:
        for entry in _listed(stack.pop()):
            with suppress(FileNotFoundError):
                if entry.is_dir(follow_symlinks=False):
                    stack.append(entry.path)
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    return total


def _listed(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def printable(text: str) -> str:
    """What a remote host sent may hold escape sequences."""
    return "".join(character for character in text if character.isprintable()).strip()


def _watch(
    child: subprocess.Popen[bytes], limits: Limits, stdout: BinaryIO, stderr: BinaryIO
) -> None:
    seen = 0
    while process.wait(child, _POLL_SECONDS) is None:
        limits.check()
        if max(_length(stdout), _length(stderr)) > MAX_OUTPUT_BYTES:
            raise Refused(
                "the repository lists more files or names than gov is ready to read",
                hint="look at the repository; no ComfyUI node needs that many",
                code="too_large",
            )
        if limits.progress is not None:
            seen = _tell(limits.progress, stderr, seen)


def _tell(progress: Progress, stderr: BinaryIO, seen: int) -> int:
    """Pass on the newest line; git rewrites its progress line with carriage returns."""
    news = os.pread(stderr.fileno(), MAX_OUTPUT_BYTES, seen)
    lines = re.split(r"[\r\n]", news.decode(errors="replace").rstrip("\r\n"))
    if printable(lines[-1]):
        progress(printable(lines[-1]))
    return seen + len(news)


def _memory() -> BinaryIO:
    """A file without a name: it cannot fill up as a pipe does, and its length can be watched."""
    return os.fdopen(os.memfd_create("git"), "w+b", buffering=0)


def _length(stream: BinaryIO) -> int:
    return os.fstat(stream.fileno()).st_size


def _content(stream: BinaryIO) -> bytes:
    return os.pread(stream.fileno(), _length(stream), 0)


def _by_environment(settings: Sequence[Setting]) -> dict[str, str]:
    """Neither `ps` nor an error message shows these, as it would show `-c key=value`."""
    numbered = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings):
        numbered[f"GIT_CONFIG_KEY_{number}"] = key
        numbered[f"GIT_CONFIG_VALUE_{number}"] = value
    return numbered


def _names_a_repository(key: str) -> bool:
    return key.startswith("GIT_") and not key.startswith(("GIT_CONFIG", "GIT_EXEC_PATH"))
