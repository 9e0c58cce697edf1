"""Decisions: one person decided, one commit follows.  Each makes steps; the stages of the road are
tasks with receipts under state/work/<txid>/; the commit owns no target and is never up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tasks import bodies
from tasks.claims import Claim
from tasks.context import act, approval_of, current, here
from tasks.parameters import (
    ACCEPT_BANNED,
    APPROVAL,
    FAILED_RUN,
    GATES,
    LOCAL,
    Param,
    flag,
    text,
    words,
)

Task = dict[str, Any]


def task_adopt() -> Task:
    """take in a ComfyUI that runs: its nodes and the versions of its environment"""
    return _decision("adopt", bodies.adopt, [text("from_env", "its environment", "from-env")])


def task_inbox_take() -> Task:
    """observe what was changed beside gov as one transaction"""
    return _decision("inbox_take", bodies.inbox_take, [], pos_arg="wanted")


def task_inbox_put_back() -> Task:
    """put back what was changed beside gov"""
    return _decision("inbox_put_back", bodies.inbox_put_back, list(APPROVAL), pos_arg="wanted")


# --- nodes ------------------------------------------------------------------------------------


def task_node_add() -> Task:
    """take a node into custom_nodes and register it, or adopt what lies there"""
    named = [text("ref", "what to check out"), text("node_id", "its folder", "id")]
    # Empty and not typed are not the same: an empty ref or id is a mistake of a script.
    optional = [*(param._replace(default=None) for param in named), ACCEPT_BANNED]
    params = [text("url", "where from, or its id at the registry"), *optional]
    return _decision("node_add", bodies.node_add, params)


def task_node_remove() -> Iterator[Task]:
    """take a node and what only it needed out of prod"""
    params = [*APPROVAL, FAILED_RUN, flag("purge", "take its folder away too", "purge-code")]
    yield from _for_each("node_remove", task_node_remove, _node_ids(), bodies.node_remove, params)


def task_node_update() -> Task:
    """observe what is newer of nodes, all in one candidate"""
    params = [
        text("to", "a branch, tag, commit or version"),
        flag("all_nodes", "of all nodes", "all"),
        ACCEPT_BANNED,
    ]
    return _decision("node_update", bodies.node_update, [*params, *LOCAL], "nodes")


def task_node_enable() -> Task:
    """load disabled nodes again"""
    return _decision("node_enable", bodies.node_enable, GATES, "nodes")


def task_node_disable() -> Task:
    """load nodes no more; their code stays"""
    return _decision("node_disable", bodies.node_disable, GATES, "nodes")


def task_node_with() -> Task:
    """give a node packages that it does not declare: NODE PKG..."""
    return _decision("node_with", bodies.node_with, [], "words")


def task_node_without() -> Task:
    """take such packages away again: NODE PKG..."""
    return _decision("node_without", bodies.node_without, [], "words")


# --- the rest of the installation -------------------------------------------------------------


def task_comfyui_update() -> Task:
    """observe ComfyUI at a newer commit, with every promoted node"""
    return _decision(
        "comfyui_update", bodies.comfyui_update, [text("to", "a branch, tag or commit"), *LOCAL]
    )


def task_torch() -> Task:
    """observe torch from another backend"""
    return _decision("torch", bodies.torch, [], "words")


def task_python() -> Task:
    """observe prod with another Python"""
    return _decision("python", bodies.python, [], "words")


def task_upgrade() -> Task:
    """observe newer versions of packages"""
    return _decision("upgrade", bodies.upgrade, [flag("all_packages", "of all", "all")], "words")


def task_pin() -> Task:
    """observe prod with packages held at a version"""
    return _decision("pin", bodies.pin, [], "words")


def task_unpin() -> Task:
    """observe prod with packages set free"""
    return _decision("unpin", bodies.unpin, [], "words")


def task_import() -> Task:
    """observe an installation that comes in a file"""
    return _decision("import", bodies.bring, [text("path", "the file", "file")])


# --- transactions -----------------------------------------------------------------------------


def task_tx_run() -> Task:
    """start ComfyUI with nodes in a candidate, and record what they change"""
    params = [
        Param("timeout", "timeout", float, 0.0, "seconds until ComfyUI must answer"),
        flag("all_or_nothing", "set no failing node aside", "all-or-nothing"),
    ]
    return _decision("tx_run", bodies.tx_run, params, "nodes")


def task_promote_plan() -> Iterator[Task]:
    """stage 1: today's truth with the steps of the transaction"""
    space = here()
    yield from _stage_for_each(
        "promote_plan",
        task_promote_plan,
        "plan",
        None,
        lambda stages: (
            [path for path in (space.pyproject, space.lock) if path.is_file()],
            [stages.plan_receipt, stages.folder / "pyproject.toml"],
            ("the staged plan is today's", bodies.is_planned, stages.name),
        ),
    )


def task_promote_lock() -> Iterator[Task]:
    """stage 2: one uv lock of the plan"""
    yield from _stage_for_each(
        "promote_lock",
        task_promote_lock,
        "lock",
        "promote_plan",
        lambda stages: (
            [stages.folder / "pyproject.toml"],
            [stages.lock_receipt],
            ("the staged lock is that of the plan", stages.is_locked),
        ),
    )


def task_promote_build() -> Iterator[Task]:
    """stage 3: the environment of the staged lock"""
    yield from _stage_for_each(
        "promote_build",
        task_promote_build,
        "build",
        "promote_lock",
        lambda stages: (
            [stages.lock_receipt],
            [stages.build_receipt],
            ("the staged environment is built", stages.is_built),
        ),
    )


def task_promote_observe() -> Iterator[Task]:
    """stage 4: ComfyUI starts with it, where nothing has seen this set of packages and code"""
    yield from _stage_for_each(
        "promote_observe",
        task_promote_observe,
        "observe",
        "promote_build",
        lambda stages: (
            [stages.build_receipt],
            [],
            ("this set of packages and code was observed", bodies.is_observed, stages.name),
        ),
    )


def task_promote() -> Iterator[Task]:
    """stage 5: the gates, the snapshots and the switch of prod and code"""
    yield _group("promote", task_promote)
    for txid, _ in _promotable():
        yield {
            **_decision(f"promote:{txid}", bodies.promote, GATES, None, txid),
            "name": txid,
            "task_dep": [f"promote_observe:{txid}"],
        }


def task_resolve() -> Iterator[Task]:
    """lock a conflicting transaction once more, with pins"""
    params = [
        words("pins", "package==version; may be given several times", "pin"),
        flag("reset", "forget what was chosen"),
    ]
    yield from _for_each("resolve", task_resolve, _pending(), bodies.resolve, params)


def task_resolve_try() -> Iterator[Task]:
    """start ComfyUI with the first fixes of a conflict"""
    params = [
        Param("count", "count", int, 3, "how many fixes"),
        flag("until_one", "the first that comes up is enough", "until-one"),
    ]
    yield from _for_each("resolve_try", task_resolve_try, _pending(), bodies.resolve_try, params)


def task_tx_rerun() -> Iterator[Task]:
    """observe the steps of a transaction once more, on today's truth"""
    yield from _for_each("tx_rerun", task_tx_rerun, _pending(), bodies.tx_rerun, [])


def task_tx_abort() -> Iterator[Task]:
    """end a transaction and clean its candidate"""
    yield from _for_each("tx_abort", task_tx_abort, _pending(), bodies.tx_abort, [])


# --- the way back, and care -------------------------------------------------------------------


def task_rollback() -> Iterator[Task]:
    """bring back a snapshot: its truth, its environment and its code"""
    params = [
        *GATES,
        flag("packages_only", "leave the code as it is", "packages-only"),
        flag("discard_local", "overwrite edited files of nodes", "discard-local"),
    ]
    yield from _for_each("rollback", task_rollback, _snapshot_ids(), bodies.rollback, params)


def task_undo() -> Task:
    """take back the last change of prod"""
    params = [*GATES, flag("discard_local", "overwrite edited files of nodes", "discard-local")]
    return _decision("undo", bodies.undo, params)


def task_repair() -> Task:
    """build anew what verify found broken, from the lock"""
    return _decision(
        "repair", bodies.repair, [flag("fetch", "compare with the index first", "fetch")]
    )


def task_prune() -> Task:
    """delete environments, candidates, work folders and logs beyond retention"""
    return _decision("prune", bodies.clean, [flag("dry_run", "show what would go", "dry-run")])


# --- shapes -----------------------------------------------------------------------------------

Body = Callable[..., Any]
Facts = Callable[[Any], tuple[list[Any], list[Any], tuple[Any, ...]]]


def _decision(
    name: str, body: Body, params: list[Param], pos_arg: str | None = None, about: str | None = None
) -> Task:
    """A task that is never up to date.  `about` is the first argument of the body."""
    known = [param.name for param in params] + ([pos_arg] if pos_arg else [])
    made: Task = {
        "actions": [(_act, [name, body, known, about])],
        "params": [param.to_doit() for param in params],
        "uptodate": [False],
    }
    return {**made, "pos_arg": pos_arg} if pos_arg else made


def _act(name: str, body: Body, known: list[str], about: str | None, **options: Any) -> Any:
    """What doit parsed, or what `gov` gave in its place."""
    typed = {key: options[key] for key in known if key in options}
    allowed = {key: typed.pop(key) for key in _APPROVALS if key in typed}
    if allowed:
        typed["approval"] = approval_of(**allowed)

    def done(session: Any, **given: Any) -> Any:
        return body(session, *([about] if about is not None else []), **given)

    return act(name, done, **typed)


_APPROVALS = (
    "approve_core",
    "reason",
    "allow_failed_run",
    "accept_skipped",
    "accept_findings",
    "accept_incompatible",
)


def _for_each(
    basename: str, creator: Callable[..., Any], names: list[str], body: Body, params: list[Param]
) -> Iterator[Task]:
    yield _group(basename, creator)
    for name in names:
        yield {**_decision(f"{basename}:{name}", body, params, None, name), "name": name}


def _group(basename: str, creator: Callable[..., Any]) -> Task:
    """So that the group is listed with its sentence even while it has no members."""
    return {"basename": basename, "name": None, "doc": creator.__doc__}


def _stage_for_each(
    basename: str, creator: Callable[..., Any], stage: str, after: str | None, facts: Facts
) -> Iterator[Task]:
    yield _group(basename, creator)
    for txid, stages in _promotable():
        file_dep, targets, claim = facts(stages)
        yield {
            "name": txid,
            "actions": [(_run_stage, [basename, stage, txid])],
            "task_dep": [f"{after}:{txid}"] if after else [],
            "file_dep": file_dep,
            "targets": targets,
            "uptodate": [Claim(*claim)],
        }


def _run_stage(basename: str, stage: str, txid: str) -> Any:
    approval = current().given.get(f"promote:{txid}", {}).get("approval")

    def staged(session: Any) -> Any:
        return bodies.stage(session, stage, txid, approval)

    return act(f"{basename}:{txid}", staged)


def _promotable() -> Iterator[tuple[str, Any]]:
    for row in _overview():
        if row["status"] in _PROMOTABLE:
            from governance.changes.staging import Stages  # only paid for where one is pending

            yield row["txid"], Stages(here(), row["txid"])


_PROMOTABLE = ("completed", "resolved", "failed", "promote_failed")


def _pending() -> list[str]:
    return [row["txid"] for row in _overview() if row["status"] != "damaged"]


def _overview() -> list[dict[str, Any]]:
    from governance.truth import ledger

    return ledger.overview(here()).pending


def _node_ids() -> list[str]:
    from governance.base.errors import GovError
    from governance.truth import registry

    try:
        return [str(record["id"]) for record in registry.records(here()) if "id" in record]
    except GovError:
        return []  # the action of any other task tells what is wrong


def _snapshot_ids() -> list[str]:
    from governance.base.errors import GovError
    from governance.boundaries import store

    try:
        rows = store.read_object(here().snapshots_index)["snapshots"]
        return [str(row["id"]) for row in rows]
    except (GovError, FileNotFoundError, KeyError, TypeError):
        return []  # the action of any other task tells what is wrong
