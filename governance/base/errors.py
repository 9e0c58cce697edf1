"""Errors that reach a person: a stable code, one sentence, one way out, and the facts.

The exit codes are those of the contract (docs/04_cli_reference.md).  An error is raised once,
where the facts are known, and told once, by the command line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_REFUSED = 3
EXIT_NEEDS_RESOLUTION = 4
EXIT_BUSY = 5
EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class GovError(Exception):
    """It failed; truth and prod are as they were before (exit 1).

    `code` is stable and meant for scripts, `message` names the culprit, `hint` says what to do,
    `facts` holds JSON values only.
    """

    exit_code: ClassVar[int] = EXIT_FAILED
    default_code: ClassVar[str] = "failed"

    def __init__(
        self,
        message: str,
        *,
        hint: str,
        code: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or self.default_code
        self.facts: dict[str, Any] = dict(facts or {})


class UsageError(GovError):
    """Wrong usage, bad configuration, or what was named does not exist (exit 2)."""

    exit_code = EXIT_USAGE
    default_code = "usage"


class Refused(GovError):
    """Refused by a gate: core approval, failed run, moved base, policy (exit 3)."""

    exit_code = EXIT_REFUSED
    default_code = "refused"


class NeedsResolution(GovError):
    """The lock has a conflict and a report was written (exit 4)."""

    exit_code = EXIT_NEEDS_RESOLUTION
    default_code = "lock_conflict"


class Busy(GovError):
    """Another command holds the workspace; `facts` name it: pid, verb, since (exit 5)."""

    exit_code = EXIT_BUSY
    default_code = "busy"


class Damaged(GovError):
    """A document is not what was written; it is named and left as it is (exit 1)."""

    default_code = "damaged"
