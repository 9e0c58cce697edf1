"""node add, remove, check."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from governance.cli import tables
from governance.cli.decision import approval, deciding
from governance.cli.outcome import Outcome


def node_add(arguments: Namespace) -> Outcome:
    with deciding(arguments) as decision:
        added = decision.run(
            "node_add",
            url=arguments.git_url,
            ref=arguments.ref,
            node_id=arguments.node_id,
            cwd=Path.cwd(),
        )
    plugin = added.plugin
    verb = "adopted" if added.adopted else "added"
    return Outcome(
        {"node": plugin.to_json(), "adopted": added.adopted},
        [
            f"{verb} {plugin.id} at {(plugin.commit or '?')[:12]} from {plugin.git_url}",
            f"next: gov tx run {plugin.id}",
        ],
        added.warnings,
    )


def node_remove(arguments: Namespace) -> Outcome:
    allowed = approval(arguments)
    with deciding(arguments) as decision:
        from governance.truth import registry

        registry.find(registry.load(decision.space), arguments.node_id)
        done = decision.run(
            f"node_remove:{arguments.node_id}", purge=arguments.purge_code, approval=allowed
        )
    removed = [f"{c.name}=={c.before}" for c in done.changes if c.after is None]
    data = {
        "node_id": done.plugin.id,
        "pre_snapshot": done.pre_snapshot,
        "removed_packages": removed,
        "changes": [change.to_json() for change in done.changes],
        "generation": done.generation,
        "purged": done.purged,
    }
    parts = tables.changes(done.changes, title=f"{done.plugin.id} removed; prod")
    code = "its folder is deleted" if done.purged else f"its code stays at {done.plugin.path}"
    back = f"back with: gov rollback {done.pre_snapshot}"
    return Outcome(data, [*parts, code, back])


def node_check(arguments: Namespace) -> Outcome:
    from governance.cli import check_report

    return check_report.check(arguments)
