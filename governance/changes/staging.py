"""The stages of a decision: plan, lock, build, each with its inputs and outputs in a work folder.

Every stage leaves a receipt with the digest of what made it, written last, so that a decision
repeated after a failure redoes only what is missing, and a promote whose base has not moved finds
the very lock and generation that were observed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from governance.base.errors import Damaged, GovError
from governance.boundaries import store
from governance.boundaries.uv import Locked, Uv
from governance.changes.draft import Draft
from governance.conflict import shared
from governance.conflict.shared import OwnerChange
from governance.environments import generations, records
from governance.environments.compatibility import Incompatible
from governance.truth import freshness, lockfile, resolution, snapshots
from governance.truth.documents import Generation
from governance.truth.lockfile import Change
from governance.truth.workspace import Workspace


@dataclass(frozen=True)
class Stages:
    """The work folder of one decision, `state/work/<name>/`."""

    workspace: Workspace
    name: str

    @property
    def folder(self) -> Path:
        return self.workspace.work / self.name

    @property
    def plan_receipt(self) -> Path:
        return self.folder / "plan.json"

    @property
    def lock_receipt(self) -> Path:
        return self.folder / "lock.json"

    @property
    def build_receipt(self) -> Path:
        return self.folder / "build.json"

    @property
    def verdict_receipt(self) -> Path:
        return self.folder / "verdict.json"

    @property
    def smoke_receipt(self) -> Path:
        return self.folder / "smoke.json"

    def receipt(self, path: Path) -> dict[str, Any]:
        """A receipt, empty where it is missing or damaged: then the stage is done again."""
        try:
            return store.read_object(path)
        except (OSError, GovError):
            return {}

    def plan(self, draft: Draft) -> resolution.Project:
        """Stage the draft; nothing to do where that is staged already."""
        today = snapshots.truth_as_it_is(self.workspace)
        inputs = _inputs(today, draft)
        # Not locked yet: staged once more, since uv would prefer the versions of whatever lock
        # lies there.
        if self._is_staged(inputs) and self.is_locked():
            return self.project()
        if draft.lock:  # damaged, uv would name no way out
            lockfile.parse(draft.lock, self.workspace.lock)
        for later in (
            self.lock_receipt,
            self.build_receipt,
            self.verdict_receipt,
            self.smoke_receipt,
        ):
            later.unlink(missing_ok=True)
        resolution.stage(self.folder, draft.project, draft.lock)
        receipt = {
            "inputs": inputs,
            "pyproject_sha256": store.digest(draft.project.encoded),
            "upgrade": list(draft.upgrade),
            "wheels_only": list(draft.wheels_only),
        }
        store.write_json(self.plan_receipt, {**receipt, "base": today.digests()})
        if draft.exact or self._needs_no_lock(today, draft):
            self.write_lock_receipt()
        if draft.exact and draft.generation:
            self._take_built(draft.generation)
        return draft.project

    def _take_built(self, name: str) -> None:
        """The generation that a snapshot ran with, whatever uv or Python would build today; a
        damaged one, or one that cannot start any more, is built again."""
        made = generations.usable(self.workspace, name)
        if made is None or made.lock_sha256 != store.file_digest(self.folder / "uv.lock"):
            return
        if generations.is_sound(self.workspace, name):
            self.write_build_receipt(name)

    def _needs_no_lock(self, today: snapshots.Truth, draft: Draft) -> bool:
        """The same project with the lock that gov made from it."""
        same = draft.project.encoded == today.pyproject and draft.lock == today.lock
        return same and not draft.upgrade and freshness.lock_is_current(self.workspace)

    def adopt(self, other: Stages) -> None:
        """Take over what another work folder has locked for the same plan: one lock a decision."""
        if not other.is_locked():
            return
        store.make_folder(self.folder)
        for name in ("pyproject.toml", "uv.lock"):
            store.write(self.folder / name, store.read_bytes(other.folder / name))
        for ours, theirs in (
            (self.plan_receipt, other.plan_receipt),
            (self.lock_receipt, other.lock_receipt),
        ):
            store.write_json(ours, other.receipt(theirs))

    def is_planned(self, draft: Draft) -> bool:
        """Claim: what is staged is this draft on today's truth."""
        return self._is_staged(_inputs(snapshots.truth_as_it_is(self.workspace), draft))

    def project(self) -> resolution.Project:
        path = self.folder / "pyproject.toml"
        return resolution.Project.read(path.read_bytes(), path)

    def is_locked(self) -> bool:
        """Claim: the staged lock is what uv made of the staged project."""
        receipt = self.receipt(self.lock_receipt)
        pyproject = store.file_digest(self.folder / "pyproject.toml")
        lock = store.file_digest(self.folder / "uv.lock")
        return bool(receipt) and receipt == {"pyproject_sha256": pyproject, "lock_sha256": lock}

    def lock(self, uv: Uv) -> Locked:
        """One `uv lock`, none where the staged lock is current."""
        if self.is_locked():
            return Locked(True, False, "")
        plan = self.receipt(self.plan_receipt)
        chosen = plan.get("upgrade", ()), plan.get("wheels_only", ())
        locked = resolution.lock(uv, self.folder, self.project(), *chosen)
        if locked.ok:
            self.write_lock_receipt()
        return locked

    def write_lock_receipt(self) -> None:
        receipt = {
            "pyproject_sha256": store.file_digest(self.folder / "pyproject.toml"),
            "lock_sha256": store.file_digest(self.folder / "uv.lock"),
        }
        store.write_json(self.lock_receipt, receipt)

    def is_built(self) -> bool:
        """Claim: the generation of the staged lock exists."""
        receipt = self.receipt(self.build_receipt)
        same = receipt.get("lock_sha256") == store.file_digest(self.folder / "uv.lock")
        return same and self._manifest(receipt) is not None

    def build(self, uv: Uv) -> Generation:
        """The generation of the staged lock: the built one, else one `uv sync`."""
        if self.is_built():
            return self.generation()
        made = generations.build(self.workspace, uv, self.folder)
        self.write_build_receipt(made.name)
        return made

    def write_build_receipt(self, generation: str) -> None:
        lock = store.file_digest(self.folder / "uv.lock")
        store.write_json(self.build_receipt, {"lock_sha256": lock, "generation": generation})

    def generation(self) -> Generation:
        """Raises GovError where the stage `build` has not been done."""
        found = self._manifest(self.receipt(self.build_receipt))
        if found is None or not self.is_locked():
            raise GovError(
                f"{self.name} is not built",
                hint="run the command from its beginning; every stage is done again as needed",
                code="not_built",
            )
        return found

    def verdict(self) -> dict[str, Any]:
        """What was observed of the staged generation; empty where nothing was."""
        receipt = self.receipt(self.verdict_receipt)
        built = self.receipt(self.build_receipt).get("generation")
        return receipt if receipt.get("generation") == built else {}

    def write_verdict(self, seen: str, verdict: str, reason: str) -> None:
        """`seen` is the digest of what was loaded, packages and code (see observed.digest)."""
        generation = self.receipt(self.build_receipt).get("generation")
        store.write_json(
            self.verdict_receipt,
            {"generation": generation, "seen": seen, "verdict": verdict, "reason": reason},
        )

    def passed_smoke(self, seen: str, wanted: str) -> bool:
        return self.receipt(self.smoke_receipt) == {"seen": seen, "wanted": wanted}

    def write_smoke(self, seen: str, wanted: str) -> None:
        """`wanted` names the smoke test that passed: the operator's command, or "always"."""
        store.write_json(self.smoke_receipt, {"seen": seen, "wanted": wanted})

    def lock_versions(self) -> dict[str, str]:
        """Of the staged lock; a built generation holds them already, which saves the parsing."""
        built = self._manifest(self.receipt(self.build_receipt)) if self.is_built() else None
        if built is not None:
            return built.locked
        path = self.folder / "uv.lock"
        return lockfile.versions(lockfile.parse(path.read_bytes(), path))

    def changes(self) -> list[Change]:
        """What the staged lock would change in prod."""
        prod = generations.prod(self.workspace)
        return lockfile.changes(prod.locked if prod else {}, self.lock_versions())

    def owner_changes(self) -> list[OwnerChange]:
        """Packages of prod that would stay, with files of another package."""
        prod = generations.prod(self.workspace)
        made = self.generation()
        if prod is None:
            return []
        before = (prod.shared_files, lockfile.frozen_versions(prod.packages))
        return shared.owner_changes(
            before, (made.shared_files, lockfile.frozen_versions(made.packages))
        )

    def new_misrecorded(self) -> list[str]:
        """A sentence for each package with a wrong RECORD that prod has not."""
        prod = generations.prod(self.workspace)
        known = prod.misrecorded if prod else []
        return records.sentences(row for row in self.generation().misrecorded if row not in known)

    def new_incompatible(self) -> list[Incompatible]:
        """Demands of packages that the built environment does not meet, though prod does or has
        no such package; the first prod is compared with nothing."""
        if generations.current(self.workspace) is None:
            return []
        prod = generations.prod(self.workspace)
        before = generations.incompatible(self.workspace, prod) if prod else []
        known = {one.key for one in before}
        now = generations.incompatible(self.workspace, self.generation())
        return [one for one in now if one.key not in known]

    def documents(self) -> dict[str, bytes]:
        """The staged bytes, for the commit."""
        return {
            "pyproject.toml": (self.folder / "pyproject.toml").read_bytes(),
            "uv.lock": (self.folder / "uv.lock").read_bytes(),
        }

    def _is_staged(self, inputs: str) -> bool:
        receipt = self.receipt(self.plan_receipt)
        staged = store.file_digest(self.folder / "pyproject.toml")
        return receipt.get("inputs") == inputs and receipt.get("pyproject_sha256") == staged

    def clear(self) -> None:
        store.remove_tree(self.folder)

    def _manifest(self, receipt: dict[str, Any]) -> Generation | None:
        name = receipt.get("generation")
        return generations.usable(self.workspace, name) if isinstance(name, str) else None


def _inputs(today: snapshots.Truth, draft: Draft) -> str:
    parts = (today.pyproject, today.lock, draft.project.encoded, draft.lock or b"")
    chosen = [draft.exact, list(draft.upgrade), list(draft.wheels_only)]
    return store.digest(store.dump_json([*map(store.digest, parts), *chosen]))


def receipt_bytes(
    workspace: Workspace, content: snapshots.Truth, generation: str | None, verb: str, **more: Any
) -> bytes:
    """state/receipt.json: the truth and the generation as the last command left them."""
    try:
        before = store.read_object(workspace.receipt)
    except FileNotFoundError:
        before = {}
    except Damaged:
        store.set_aside(workspace.receipt)
        before = {}
    now = {"schema": 1, **content.digests(), "generation": generation, "by": verb}
    return store.dump_json({**before, **now, **more})


def base_moved(workspace: Workspace, base: dict[str, Any]) -> bool:
    """The truth has other requirements or another lock than at `base`; nodes do not count."""
    now = snapshots.truth_as_it_is(workspace).digests()
    return any(base.get(name) != now[name] for name in ("pyproject_sha256", "lock_sha256"))
