"""What policy says of a transaction's packages and nodes: looked up with its lock, kept in its
record, required by the gates.

The rules that uv can keep are in the draft (supply.project); whatever a lock holds is looked at
afterwards all the same, since a person may have freed a package from a date, and a bundle brings a
lock of its own.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from governance.base.errors import GovError
from governance.boundaries import store
from governance.changes import gates, steps, verdicts
from governance.changes.gates import Approval
from governance.changes.ruled import rules
from governance.environments import generations
from governance.supply import advisories, authors, packages, project, withdrawn
from governance.supply import rules as policy
from governance.supply.rows import Row, counted, gating, marked
from governance.supply.rules import Rules
from governance.truth import lockfile, registry, resolution
from governance.truth.documents import Plugin

if TYPE_CHECKING:
    from governance.changes.session import Session
    from governance.changes.steps import Step
    from governance.changes.work import Work

# So long an answer of a service or an index holds for the same lock: a promote just after its run
# does not ask twice, one of the next day does.
_FRESH_SECONDS = 3600.0
_RECEIPT = "supply.json"
_NO_TIMES = "is missing an upload date"
_MOST_LOCKS = 6


# --- the lock that keeps them ----------------------------------------------------------------


def prepare(work: Work) -> None:
    """Before the first lock: learn which packages come along that only one index may bring, from
    a lock in which that index is asked before all others."""
    given = rules(work.workspace)
    made = work.draft
    if not given.indexes or made.exact or "names" in work.tx.supply:
        return
    asked = project.discovering(given, made.project)
    work.tx.supply["names"] = list(_along(work, given, asked)) if asked else []


def _along(work: Work, given: Rules, asked: resolution.Project) -> tuple[str, ...]:
    """Where that lock fails, the true one will, or is looked at."""
    with tempfile.TemporaryDirectory(prefix="gov-names-") as name:
        folder = Path(name)
        resolution.stage(folder, asked, work.draft.lock)
        try:
            locked = resolution.lock(work.session.uv, folder, asked)
        except GovError:
            return ()
        return project.along(given, lockfile.read(folder / "uv.lock"), asked) if locked.ok else ()


def learns(work: Work) -> bool:
    """Whether the lock brought other such packages along than were known: then it is made anew."""
    given, tx = rules(work.workspace), work.tx
    if not given.indexes or work.draft.exact:
        return False
    now = list(
        project.along(given, lockfile.read(work.stages.folder / "uv.lock"), work.stages.project())
    )
    tries = int(tx.supply.get("locks", 0)) + 1
    if now == tx.supply.get("names", []) or tries > _MOST_LOCKS:
        tx.supply.pop("locks", None)
        return False
    tx.supply |= {"names": now, "locks": tries}
    return True


def gives_up_age(work: Work, log: str) -> bool:
    """Whether to lock once more without a minimum age, since an index tells no upload times.

    Raises Refused where policy wants the age to be known.
    """
    given = rules(work.workspace)
    has_age = bool(work.draft.project.data["tool"]["gov"].get("policy", {}).get("age"))
    if _NO_TIMES not in log or given.span is None or not has_age:
        return False
    where = _default_index(work.draft.project)
    why = f"{where} tells no upload times, and policy wants releases to be {given.age} old"
    if given.mode(policy.AGE_UNKNOWN) == policy.REFUSE:
        row = _row(given, policy.AGE_UNKNOWN, where, why)
        raise policy.refusal([row], work.tx.txid, policy.REFUSE)
    work.session.say(f"warning: {why}: locking without it")
    work.tx.supply["timeless"] = True
    return True


def _row(given: Rules, kind: str, subject: str, sentence: str) -> Row:
    from governance.supply.rows import row

    return row(given, kind, subject, "", sentence)


def _default_index(made: resolution.Project) -> str:
    return next((str(i["url"]) for i in made.indexes if i.get("default")), "the index")


# --- what is found ----------------------------------------------------------------------------


def require_allowed(work: Work) -> None:
    """Right after the lock, before anything is built: raises Refused for what policy refuses, and
    says what a promote will ask about."""
    found = gating(look(work))
    gates.require_supply(found, Approval(findings=True), work.tx.txid)
    if found:
        work.session.say(f"warning: {counted(found)}; a promote needs --accept-findings")


def look(work: Work) -> list[Row]:
    """All rows of the staged lock and of the nodes that come, kept in the record."""
    given = rules(work.workspace)
    found = [*_of_packages(work, given), *_of_nodes(work, given)]
    if found != work.tx.supply.get("rows", []):
        work.tx.supply["rows"] = found
        work.save()
    return found


def require(work: Work, approval: Approval) -> list[Row]:
    """The gate of them all; the rows that it lets pass with the operator's word."""
    found = gating(look(work))
    gates.require_all(work.workspace, gates.Facts(what=work.tx.txid, supply=found), approval)
    return [dict(one) for one in found]


def refusal_of(work: Work, folder: Path) -> str | None:
    """Why policy refuses the lock in a folder; nobody else's services are asked."""
    given = rules(work.workspace)
    found = gating(_marked(work, _offline(given, folder)))
    refused = [one for one in found if one["policy"] == policy.REFUSE]
    return counted(refused) if refused else None


def _of_packages(work: Work, given: Rules) -> list[Row]:
    """What was prod once passed the gates then, and the way back needs no network: only what was
    blocked since counts."""
    ran = verdicts.ran(work)
    folder = work.stages.folder
    receipt = work.stages.receipt(folder / _RECEIPT)
    key = {"rules": given.digest, "lock_sha256": store.file_digest(folder / "uv.lock")}
    age = time.time() - float(receipt.get("at", 0))
    if all(receipt.get(name) == value for name, value in key.items()) and age < _FRESH_SECONDS:
        found = list(receipt.get("rows", ()))
    else:
        found = [*_offline(given, folder), *([] if ran else _online(work, given, folder))]
        store.write_json(folder / _RECEIPT, {**key, "at": time.time(), "rows": found})
    return _marked(work, [r for r in found if r["kind"] == policy.PACKAGE] if ran else found)


def _marked(work: Work, found: Iterable[Row]) -> list[Row]:
    prod = generations.prod(work.workspace)
    return marked(found, prod.locked if prod else {})


def _offline(given: Rules, folder: Path) -> list[Row]:
    text = store.read_bytes(folder / "uv.lock").decode(errors="replace")
    if not given.asks_lock and not packages.has_builds(text):
        return []
    lock = lockfile.read(folder / "uv.lock")
    path = folder / "pyproject.toml"
    declared = resolution.Project.read(store.read_bytes(path), path)
    names = [str(package["name"]) for package in packages.of_lock(lock)]
    return packages.look(given, lock, project.pinned(declared, names))


def _online(work: Work, given: Rules, folder: Path) -> list[Row]:
    uv, found = work.session.uv, []
    if given.asks_service:
        work.session.say("looking for known vulnerabilities")
        new = advisories.look(given, uv, folder)
        found += advisories.known_before(new, _of_prod(work, given) if new else ())
    if given.asks_indexes:
        work.session.say("looking for yanked releases")
        found += withdrawn.look(given, uv, lockfile.read(folder / "uv.lock"), work.stages.project())
    return found


def _of_prod(work: Work, given: Rules) -> list[Row]:
    """What prod has today is no reason to refuse a change that leaves it as it is."""
    workspace = work.workspace
    has_lock = workspace.lock.is_file()
    return advisories.look(given, work.session.uv, workspace.root) if has_lock else []


# --- nodes ------------------------------------------------------------------------------------


def _of_nodes(work: Work, given: Rules) -> list[Row]:
    """Of the nodes that come or move with this change; those that stay are `gov audit`'s."""
    if not given.asks_nodes:
        return []
    loaded = {p.id for p in registry.parse_or_none(work.workspace) if registry.is_promoted(p)}
    named = {step.node for step in work.steps if step.kind not in _LEAVING}
    made = work.draft
    coming = [p for p in made.loaded if p.id not in loaded or p.id in named or p.id in made.code]
    return [row for plugin in coming for row in of_node(given, plugin)]


_LEAVING = (steps.REMOVE, steps.DISABLE, steps.WITHOUT)


def of_node(given: Rules, plugin: Plugin) -> list[Row]:
    return authors.look(given, plugin.id, plugin.git_url, plugin.registry)


def require_coming(session: Session, wanted: Sequence[Step]) -> None:
    """Before a transaction begins: the nodes that its steps bring."""
    named = {step.node for step in wanted if step.node and step.kind not in _LEAVING}
    plugins = registry.parse_or_none(session.workspace) if named else []
    for plugin in plugins:
        if plugin.id in named:
            require_node(session, plugin.id, plugin.git_url, plugin.registry)


def require_node(
    session: Session, node: str, git_url: str, known: Mapping[str, Any] | None = None
) -> None:
    """Before anything is fetched: raises Refused for a node that policy refuses, and says what it
    asks about."""
    found = gating(authors.look(rules(session.workspace), node, git_url, known or {}))
    gates.require_supply(found, Approval(findings=True), "")
    for one in found:
        session.say(f"warning: {one['sentence']}; a promote needs --accept-findings")
