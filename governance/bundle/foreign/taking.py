"""`gov import` of what another program wrote: nodes at their commits, versions as wishes, one
transaction beside what is here already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from governance import git
from governance.base.errors import GovError, UsageError
from governance.base.names import node_id_from_url, same
from governance.bundle.foreign import forms, registry_ids
from governance.bundle.foreign.wanted import Repository, Wanted
from governance.bundle.incoming import Account
from governance.changes import batch, begin, checkouts, nodes, steps, updates
from governance.changes.session import Session
from governance.changes.steps import Step
from governance.truth import freshness, registry
from governance.truth.documents import Plugin, Transaction
from governance.truth.resolution import Project
from governance.truth.workspace import Workspace


@dataclass
class _Plan:
    """What becomes of a file, step by step."""

    account: Account
    wanted: list[Step] = field(default_factory=list)
    parts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    comfyui: Mapping[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def foresee(session: Session, path: Path) -> Account:
    """What would be taken; no remote is asked."""
    found = forms.read(path)
    plan = _Plan(Account(lost=list(found.lost)))
    for one in found.repositories:
        plan.account.exact.append(_named(one))
    plan.account.exact += [f"{name} {version or ''}".strip() for name, version in _ids(found)]
    if found.comfyui:
        plan.account.exact.append(f"ComfyUI at {found.comfyui[:12]}")
    _versions(updates.today(session.workspace), found, plan)
    return plan.account


def take(
    session: Session,
    path: Path,
    *,
    discard_local: bool = False,
    timeout: float | None = None,
) -> Transaction:
    """Observe what the file names; the transaction as it ended.

    What cannot be had (a commit that is gone, a host that does not answer) is told as lost, and
    the rest goes on.  Raises UsageError where nothing is left to do.
    """
    workspace = session.workspace
    freshness.refuse_tampered_lock(workspace)
    found = forms.read(path)
    session.say(f"{path.name} is {found.form}")
    plan = _Plan(Account(lost=list(found.lost)))
    local = updates.Local(discard=discard_local)
    for one in found.repositories:
        with _told(plan, one.url):
            _node(session, one, local, plan)
    for name, version in _ids(found):
        with _told(plan, f"{name} {version or ''}".strip()):
            added = registry_ids.add(session, name, version)
            plan.wanted.append(Step(steps.ADD, added))
            plan.account.exact.append(f"{name} {version or ''}".strip())
    if found.comfyui:
        with _told(plan, f"ComfyUI at {found.comfyui[:12]}"):
            _comfyui(session, found.comfyui, local, plan)
    _versions(updates.today(workspace), found, plan)
    return _observed(session, path, plan, discard_local, timeout)


def _observed(
    session: Session, path: Path, plan: _Plan, discard_local: bool, timeout: float | None
) -> Transaction:
    wanted = plan.wanted
    if not wanted and plan.versions:
        wanted = [Step(steps.EDIT, None, {"told": [path.name]})]
    if not wanted:
        lost = f"; {plan.account.lost[0]}" if plan.account.lost else ""
        raise UsageError(
            f"{path.name} holds nothing that is not here already{lost}",
            hint="`gov node list` shows what is here",
            code="nothing_to_do",
            facts={"brought": plan.account.to_json()},
        )
    work = begin.begin(
        session,
        wanted,
        kind="import",
        parts=plan.parts,
        comfyui=plan.comfyui or None,
        preferences=plan.versions,
        discard_local=discard_local,
    )
    work.tx.brought = {"file": path.name, **plan.account.to_json()}
    work.save()
    return batch.run(session, work, timeout=timeout)


class _told:
    """Around what may fail by itself: the reason is told, and the rest goes on."""

    def __init__(self, plan: _Plan, what: str) -> None:
        self.plan = plan
        self.what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if not isinstance(error, GovError):
            return False
        self.plan.account.lost.append(f"{self.what}: {error.message}")
        return True


# --- nodes ------------------------------------------------------------------------------------


def _named(one: Repository) -> str:
    return f"{one.url} at {one.commit[:12]}" if one.commit else f"{one.url} at its newest commit"


def _ids(found: Wanted) -> list[tuple[str, str | None]]:
    return sorted(found.registry.items())


def _node(session: Session, one: Repository, local: updates.Local, plan: _Plan) -> None:
    workspace = session.workspace
    known = _governed(workspace, one)
    if known is None:
        added = nodes.add(session, one.url, ref=one.commit, node_id=one.name, cwd=Path("/")).plugin
        plan.wanted.append(Step(steps.ADD, added.id))
        _account(plan, added.id, one, str(added.commit))
        return
    if one.commit and str(known.commit).startswith(one.commit):
        plan.account.exact.append(f"{known.id} at {str(known.commit)[:12]}, as it is here")
        if known.last_snapshot is None:
            plan.wanted.append(Step(steps.ADD, known.id))
        return
    found = updates.look_up(session, [known.id], to=one.commit, local=local, all_nodes=False)
    for node, part in found.parts.items():
        plan.wanted.append(Step(steps.UPDATE, node))
        plan.parts[node] = part
        _account(plan, node, one, str(part["commit"]))


def _account(plan: _Plan, node: str, one: Repository, commit: str) -> None:
    if one.commit:
        plan.account.exact.append(f"{node} at {commit[:12]}")
    else:
        plan.account.wished.append(f"{node} at its newest commit, {commit[:12]}: none was named")


def _governed(workspace: Workspace, one: Repository) -> Plugin | None:
    """By its origin, else by the name that it would get."""
    plugins = registry.load(workspace)
    for plugin in plugins:
        if plugin.git_url and git.same_origin(plugin.git_url, one.url):
            return plugin
    name = one.name or node_id_from_url(one.url)
    taken = next((plugin for plugin in plugins if same(plugin.id, name)), None)
    if taken is not None:
        raise UsageError(
            f"the node id {name} is taken by {taken.id} ({taken.git_url or taken.kind})",
            hint=f"gov node add {one.url} --id OTHER",
            code="node_exists",
        )
    return None


def _comfyui(session: Session, ref: str, local: updates.Local, plan: _Plan) -> None:
    now = checkouts.state_of_comfyui(session.workspace)
    if now is not None and now.head and now.head.startswith(ref):
        plan.account.exact.append(f"ComfyUI at {now.head[:12]}, as it is here")
        return
    wanted, part, _ = updates.look_up_comfyui(session, to=ref, local=local)
    plan.wanted += wanted
    plan.comfyui = part
    if wanted:
        plan.account.exact.append(f"ComfyUI at {str(part.get('commit'))[:12]}")


# --- versions ---------------------------------------------------------------------------------


def _versions(project: Project, found: Wanted, plan: _Plan) -> None:
    """A build of another index (`+cu130`) is wished as the version that it is a build of, unless
    this workspace takes packages from that index."""
    tags = " ".join(str(index.get("url", "")) for index in project.indexes)
    for name, version in found.versions.items():
        public, _, build = version.partition("+")
        if build and build not in tags:
            plan.account.lost.append(
                f"{name} {version}: the build {build} comes from another index; {public} is wished"
            )
            version = public
        plan.versions[name] = version
    if plan.versions:
        count = len(plan.versions)
        word = "version" if count == 1 else "versions"
        plan.account.wished.append(f"{count} {word} of packages, where they can be kept")
