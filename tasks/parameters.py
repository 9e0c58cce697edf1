"""Options of tasks, as doit takes them."""

from __future__ import annotations

from typing import Any, NamedTuple


class Param(NamedTuple):
    """`long` is what is typed after two dashes."""

    name: str
    long: str
    type: type
    default: Any
    help: str

    def to_doit(self) -> dict[str, Any]:
        return self._asdict()


def flag(name: str, meaning: str, long: str | None = None) -> Param:
    return Param(name, long or name.replace("_", "-"), bool, False, meaning)


def text(name: str, meaning: str, long: str | None = None) -> Param:
    return Param(name, long or name.replace("_", "-"), str, "", meaning)


def words(name: str, meaning: str, long: str) -> Param:
    return Param(name, long, list, [], meaning)


APPROVAL = [
    flag("approve_core", "allow changes of core packages (needs --reason)"),
    text("reason", "why the change of core packages is wanted; recorded"),
]
FAILED_RUN = flag("allow_failed_run", "go on although ComfyUI does not load all that it should")
GATES = [
    *APPROVAL,
    FAILED_RUN,
    flag("accept_skipped", "promote although requirement lines were skipped"),
    flag("accept_findings", "promote although something was found"),
    flag("accept_incompatible", "promote although a package would not get what it requires"),
]
ACCEPT_BANNED = text("accept_banned", "why a version is taken that the registry banned")
LOCAL = [
    flag("keep_local", "carry edited files over"),
    flag("discard_local", "overwrite edited files; a copy is kept"),
]
