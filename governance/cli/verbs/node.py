"""node add, remove, check."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from governance.base.errors import UsageError
from governance.cli import tables
from governance.cli.decision import approval, deciding
from governance.cli.outcome import Outcome
from governance.code.capture import REGISTRY
from governance.truth.documents import Plugin


def node_add(arguments: Namespace) -> Outcome:
    with deciding(arguments) as decision:
        added = decision.run(
            "node_add",
            url=arguments.git_url,
            ref=arguments.ref,
            node_id=arguments.node_id,
            accept_banned=banned(arguments),
            cwd=Path.cwd(),
        )
    plugin = added.plugin
    verb = "adopted" if added.adopted else "added"
    return Outcome(
        {"node": plugin.to_json(), "adopted": added.adopted},
        [f"{verb} {plugin.id} {_whence(plugin)}", f"next: gov tx run {plugin.id}"],
        added.warnings,
    )


def _whence(plugin: Plugin) -> str:
    if plugin.kind == REGISTRY and plugin.registry:
        return f"{plugin.registry['version']} from the registry"
    return f"at {(plugin.commit or '?')[:12]} from {plugin.git_url}"


def banned(arguments: Namespace) -> str | None:
    """Why a banned version is taken; raises UsageError for an empty reason."""
    reason: str | None = arguments.accept_banned
    if reason is not None and not reason.strip():
        raise UsageError(
            "--accept-banned wants a reason", hint="gov node add ID --accept-banned 'read its code'"
        )
    return reason


def node_remove(arguments: Namespace) -> Outcome:
    from governance.truth import registry

    if arguments.dry_run:
        from governance.changes import steps
        from governance.cli import preview

        step = steps.Step(steps.REMOVE, arguments.node_id, {"purge": arguments.purge_code})
        return preview.show(arguments, [step], "remove")
    allowed = approval(arguments)
    with deciding(arguments) as decision:
        registry.find(registry.load(decision.space), arguments.node_id)
        done = decision.run(
            f"node_remove:{arguments.node_id}", purge=arguments.purge_code, approval=allowed
        )
    made = done.promotion
    data = {
        "node_id": done.plugin.id,
        "pre_snapshot": made.pre_snapshot,
        "removed_packages": [f"{c.name}=={c.before}" for c in made.changes if c.after is None],
        "changes": [change.to_json() for change in made.changes],
        "generation": made.generation,
        "purged": done.purged,
        "kept": list(made.kept),
    }
    parts = tables.changes(made.changes, title=f"what prod loses with {done.plugin.id}")
    code = "its folder is deleted" if done.purged else f"its code stays at {done.plugin.path}"
    if made.kept:
        code = f"its folder held files of yours, changed or untracked: it is kept at {made.kept[0]}"
    return Outcome(data, [*parts, code, f"back with: gov rollback {made.pre_snapshot}"])


def node_check(arguments: Namespace) -> Outcome:
    from governance.cli import check_report

    return check_report.check(arguments)
