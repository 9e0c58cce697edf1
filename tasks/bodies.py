"""What the decisions do, each in a few calls of the library; imported as late as can be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.context import current


def adopt(session: Any, *, from_env: str = "", wish: Any = None) -> Any:
    from governance import adoption

    typed = adoption.Wish(from_env=Path(from_env) if from_env else None)
    return adoption.adopt(session, wish or typed)


# --- nodes ------------------------------------------------------------------------------------


def node_add(
    session: Any,
    *,
    url: str,
    ref: str | None = None,
    node_id: str | None = None,
    accept_banned: str | None = None,
    cwd: Path | None = None,
) -> Any:
    from governance.catalogue import ids
    from governance.changes import nodes

    where = cwd or Path.cwd()
    if ids.parse(url) is not None:
        from governance.changes import published  # urllib costs what no clone should pay

        wanted = published.wanted(session.workspace, url, where)
        if wanted is not None:
            accept = accept_banned or None
            return published.add(session, wanted, ref=ref, node_id=node_id, accept=accept)
    return nodes.add(session, url, ref=ref, node_id=node_id, cwd=where)


def node_remove(session: Any, node: str, *, approval: Any, purge: bool = False) -> Any:
    from governance.changes import nodes

    return nodes.remove(session, node, purge=purge, approval=approval)


def node_enable(session: Any, *, nodes: Sequence[str], approval: Any) -> Any:
    from governance.changes import nodes as changing
    from governance.changes import steps

    return changing.switch(session, nodes, steps.ENABLE, approval)


def node_disable(session: Any, *, nodes: Sequence[str], approval: Any) -> Any:
    from governance.changes import nodes as changing
    from governance.changes import steps

    return changing.switch(session, nodes, steps.DISABLE, approval)


def inbox_take(session: Any, *, wanted: Sequence[str], timeout: float | None = None) -> Any:
    """The transaction, None where nothing can be taken in."""
    from governance.operations import inbox

    return inbox.take(session, wanted, timeout=timeout)


def inbox_put_back(session: Any, *, wanted: Sequence[str], approval: Any) -> Any:
    from governance.operations import inbox

    return inbox.put_back(session, wanted, approval)


def node_update(
    session: Any,
    *,
    nodes: Sequence[str] = (),
    to: str | None = "",
    all_nodes: bool = False,
    keep_local: bool = False,
    discard_local: bool = False,
    accept_banned: str | None = None,
    dry_run: bool = False,
    timeout: float | None = None,
    all_or_nothing: bool = False,
) -> Any:
    """(the transaction or None where all are the newest, notes)"""
    from governance.changes import batch, updates

    local = updates.Local(keep_local, discard_local)
    found = updates.look_up(
        session,
        nodes,
        to=to or None,
        local=local,
        all_nodes=all_nodes,
        dry_run=dry_run,
        accept=accept_banned or None,
    )
    if not found.parts:
        return None, found.notes
    work = updates.begun(session, found, local, dry_run=dry_run)
    if dry_run:
        return work, found.notes
    done = batch.run(session, work, timeout=timeout, all_or_nothing=all_or_nothing)
    return done, found.notes


def node_with(session: Any, *, words: Sequence[str], timeout: float | None = None) -> Any:
    from governance.changes import begin, pipeline, steps, updates
    from governance.truth import registry

    node, *lines = words
    registry.find(registry.load(session.workspace), node)
    given = updates.named_lines(session.workspace, node, lines)
    work = begin.begin(session, [steps.Step(steps.WITH, node, {"lines": given})], kind="with")
    return pipeline.run(session, work, timeout=timeout)


def node_without(session: Any, *, words: Sequence[str], timeout: float | None = None) -> Any:
    from governance.base.names import normalise
    from governance.changes import begin, pipeline, steps
    from governance.truth import registry

    node, *packages = words
    registry.find(registry.load(session.workspace), node)
    facts = {"packages": [normalise(package) for package in packages]}
    work = begin.begin(session, [steps.Step(steps.WITHOUT, node, facts)], kind="without")
    return pipeline.run(session, work, timeout=timeout)


# --- the rest of the installation -------------------------------------------------------------


def comfyui_update(
    session: Any,
    *,
    to: str | None = "",
    keep_local: bool = False,
    discard_local: bool = False,
    dry_run: bool = False,
    timeout: float | None = None,
) -> Any:
    """(the transaction or None where it is the newest, notes)"""
    from governance.changes import begin, pipeline, updates

    local = updates.Local(keep_local, discard_local)
    wanted, part, notes = updates.look_up_comfyui(
        session, to=to or None, local=local, dry_run=dry_run
    )
    if not wanted:
        return None, notes
    work = begin.begin(
        session,
        wanted,
        kind="comfyui",
        comfyui=part,
        discard_local=discard_local,
        dry_run=dry_run,
    )
    if dry_run:
        return work, notes
    return pipeline.run(session, work, timeout=timeout), notes


def change(session: Any, *, steps: Sequence[Any], kind: str, timeout: float | None = None) -> Any:
    """Observe a change of any steps."""
    from governance.changes import begin, pipeline

    return pipeline.run(session, begin.begin(session, steps, kind=kind), timeout=timeout)


def torch(session: Any, *, words: Sequence[str], timeout: float | None = None) -> Any:
    from governance.changes import updates

    (backend,) = words
    made = updates.torch_steps(session, backend)
    return change(session, steps=made, kind="torch", timeout=timeout)


def python(session: Any, *, words: Sequence[str], timeout: float | None = None) -> Any:
    from governance.changes import updates
    from governance.changes.settings import Options

    (version,) = words
    step = updates.settings_step(session, Options(python=version), version)
    return change(session, steps=[step], kind="python", timeout=timeout)


def upgrade(
    session: Any,
    *,
    words: Sequence[str] = (),
    all_packages: bool = False,
    timeout: float | None = None,
) -> Any:
    from governance.changes import steps
    from governance.operations.node_check import require_package

    named = [require_package(session.workspace, word) for word in words]
    step = steps.Step(steps.UPGRADE, None, {"packages": [] if all_packages else named})
    return change(session, steps=[step], kind="upgrade", timeout=timeout)


def pin(session: Any, *, words: Sequence[str], timeout: float | None = None) -> Any:
    from governance.changes import steps, updates

    step = steps.Step(steps.PIN, None, {"lines": updates.pinned(words)})
    return change(session, steps=[step], kind="pin", timeout=timeout)


def unpin(session: Any, *, words: Sequence[str], timeout: float | None = None) -> Any:
    from governance.base.names import normalise
    from governance.changes import steps

    step = steps.Step(steps.UNPIN, None, {"packages": [normalise(word) for word in words]})
    return change(session, steps=[step], kind="unpin", timeout=timeout)


def bring(session: Any, path: Path, *, wish: Any = None, timeout: float | None = None) -> Any:
    """The transaction of an import."""
    from governance.bundle import archive, incoming

    found, given = Path(path), wish or incoming.Wish()
    if archive.is_bundle(found):
        return incoming.take(session, found, given, timeout=timeout)
    from governance.bundle.foreign import taking

    return taking.take(session, found, discard_local=given.discard_local, timeout=timeout)


# --- transactions -----------------------------------------------------------------------------


def tx_run(
    session: Any,
    *,
    nodes: Sequence[str],
    timeout: float | None = 0.0,
    all_or_nothing: bool = False,
    added: Sequence[str] = (),
    pins: Sequence[str] = (),
    resolution: Any = None,
) -> Any:
    """`added` are packages for the node that it does not declare."""
    from governance.changes import batch, begin, steps, updates

    wanted = [steps.Step(steps.ADD, node) for node in nodes]
    if added:
        lines = updates.named_lines(session.workspace, nodes[0], added)
        wanted.insert(0, steps.Step(steps.WITH, nodes[0], {"lines": lines}))
    work = begin.begin(session, wanted, kind="add", pins=pins, resolution=resolution)
    return batch.run(session, work, timeout=timeout or None, all_or_nothing=all_or_nothing)


def stage(session: Any, name: str, txid: str, approval: Any) -> Any:
    from governance.changes import pipeline

    return pipeline.STAGES[name](session, txid, approval)


def promote(session: Any, txid: str, *, approval: Any) -> Any:
    from governance.changes import pipeline, promotion

    return promotion.commit(pipeline.promotable(session, txid, approval), approval)


def resolve(session: Any, txid: str, *, pins: Sequence[str] = (), **chosen: Any) -> Any:
    from governance.changes import ending

    return ending.resolve(session, txid, pins, **chosen)


def resolve_try(session: Any, txid: str, *, count: int, until_one: bool = False) -> Any:
    """The numbers of the fixes that were tried."""
    from governance.changes import tries

    return tries.run(session, txid, count=count, until_one=until_one)


def tx_rerun(session: Any, txid: str) -> Any:
    from governance.changes import begin, pipeline
    from governance.truth import ledger

    return pipeline.run(session, begin.again(session, ledger.load(session.workspace, txid)))


def tx_abort(session: Any, txid: str) -> Any:
    from governance.changes import ending

    return ending.abort(session, txid)


def is_planned(txid: str) -> bool:
    from governance.changes.work import open_work

    work = open_work(current().session, txid)
    return work.stages.is_planned(work.draft)


def is_observed(txid: str) -> bool:
    """Looked at only where the stages before are done."""
    from governance.changes import verdicts
    from governance.changes.work import open_work

    work = open_work(current().session, txid)
    return verdicts.is_observed(work) and verdicts.passed_smoke(work)


# --- the way back, and care -------------------------------------------------------------------


def rollback(session: Any, snapshot_id: str, *, approval: Any = None, **options: Any) -> Any:
    from governance.changes import rollback as way_back

    return way_back.rollback(session, snapshot_id, approval, **options)


def undo(session: Any, *, approval: Any, discard_local: bool = False) -> Any:
    from governance.changes import rollback as way_back

    return way_back.undo(session, approval, discard_local=discard_local)


def repair(session: Any, *, fetch: bool = False) -> Any:
    from governance.operations import verify

    return verify.repair(session, fetch=fetch)


def clean(session: Any, *, dry_run: bool = False) -> Any:
    from governance.operations import retention

    return retention.clean(session.workspace, dry_run=dry_run)
