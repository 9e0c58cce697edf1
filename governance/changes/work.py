"""One transaction under way: its record, its stages and its draft, loaded once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from governance.changes import checkouts, draft, steps
from governance.changes.checkouts import Staged
from governance.changes.draft import COMFYUI, Draft
from governance.changes.session import Session
from governance.changes.staging import Stages
from governance.changes.steps import Step
from governance.code.capture import LINK, State
from governance.truth import ledger
from governance.truth.documents import ABORTED, NEEDS_RESOLUTION, Plugin, Transaction
from governance.truth.workspace import Workspace

# Kinds of changes that need no second command.
AT_ONCE = frozenset({"init", "remove", "enable", "disable", "edit", "rollback", "undo"})


@dataclass
class Work:
    """`discard_local` allows that edited files of nodes are overwritten (a copy stays)."""

    session: Session
    tx: Transaction
    discard_local: bool = False
    _opened: dict[str, bool] = field(default_factory=dict)

    @property
    def workspace(self) -> Workspace:
        return self.session.workspace

    @cached_property
    def stages(self) -> Stages:
        return Stages(self.workspace, self.tx.txid)

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        return steps.of(self.tx.steps)

    @property
    def draft(self) -> Draft:
        """Anew each time: what a run adds to the record changes it."""
        return draft.of(self.workspace, self.tx)

    @cached_property
    def states(self) -> dict[str, State | None]:
        """The code of everything that is or will be loaded, as it lies on the disk."""
        return checkouts.states(self.workspace, self.draft.plugins)

    def codes(self) -> dict[str, str | None]:
        """The code that ComfyUI loads once this change is made, by place."""
        made = self.draft
        places = {COMFYUI: None, **{plugin.id: plugin for plugin in made.loaded}}
        return {place: self._code(made, place, plugin) for place, plugin in places.items()}

    def _code(self, made: Draft, place: str, plugin: Plugin | None) -> str | None:
        now = self.states.get(place)
        if place in made.code and (now is None or now.kind != LINK):
            return made.code[place].code
        return now.code if now is not None else None

    def staged(self) -> list[Staged]:
        """The code that moves, staged.  Raises Refused where edits of the user's are in the way."""
        made = self.draft
        carried = {node for node, part in self.tx.nodes.items() if part.get("carried")}
        if self.tx.comfyui.get("carried"):
            carried.add(COMFYUI)
        if self.discard_local or self.tx.audit.get("discard_local"):
            carried |= set(made.code)
        return checkouts.stage(self.stages, made, self.states, from_disk=carried)

    @property
    def is_transient(self) -> bool:
        """A change that one command makes from its beginning to its end: the history tells of it.
        It gets a record only where it stops on the way, so that it can be looked at or resolved;
        from then on it goes on as any other."""
        return self.is_at_once and not (self.workspace.root / self._record).is_file()

    @property
    def is_at_once(self) -> bool:
        return self.tx.kind in AT_ONCE

    @property
    def _record(self) -> str:
        return ledger.path(self.workspace, self.tx.txid)

    def save(self) -> None:
        if not self.is_transient or self.tx.status in (NEEDS_RESOLUTION, ABORTED):
            ledger.save(self.workspace, self.tx)


def open_work(session: Session, txid: str) -> Work:
    """The transaction as its record has it; kept by the session, since one command writes it."""
    known = session.opened.get(txid)
    if isinstance(known, Work):
        return known
    made = Work(session, ledger.load(session.workspace, txid))
    session.opened[txid] = made
    return made


def changed_places(work: Work, before: Mapping[str, str | None]) -> list[str]:
    """Places whose code on the disk is not what it was."""
    now = {place: found.code if found else None for place, found in work.states.items()}
    return [place for place, code in before.items() if now.get(place) != code]
