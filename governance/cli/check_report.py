"""`gov node check` told: fits, fits but changes these, or conflicts with cause and fixes."""

from __future__ import annotations

import shlex
from argparse import Namespace
from pathlib import Path

from governance.base.errors import EXIT_NEEDS_RESOLUTION, EXIT_OK, NeedsResolution
from governance.cli import conflicts, inspection, tables
from governance.cli.outcome import Outcome, Part
from governance.cli.report import Voice
from governance.operations import node_check
from governance.truth import workspace


def check(arguments: Namespace) -> Outcome:
    space = workspace.find(arguments.root)
    voice = Voice(quiet=arguments.quiet)
    session = voice.session(space)
    done = node_check.check(
        session, arguments.what, ref=arguments.ref, cwd=Path.cwd(), every_cause=arguments.everything
    )
    conflicts = done.verdict == node_check.CONFLICTS
    return Outcome(
        done.to_json(),
        _told(done, arguments),
        [*filter(None, [done.unfit]), *(cause.sentence for cause in done.notes)],
        EXIT_NEEDS_RESOLUTION if conflicts else EXIT_OK,
        _error(done) if conflicts else None,
    )


_WORDS = {
    node_check.FITS: "fits: nothing that prod has would change",
    node_check.CHANGES: "fits, but changes packages that prod has",
    node_check.CONFLICTS: "conflicts with today's truth",
}


def _told(done: node_check.Checked, arguments: Namespace) -> list[Part]:
    parts: list[Part] = [f"{done.node_id} {_WORDS[done.verdict]}"]
    parts += [f"  skipped {e.origin} {e.raw.strip()} ({e.reason})" for e in done.declared.skipped]
    if done.report is not None:
        told = conflicts.screen(
            done.report.to_json(), None, whole=arguments.everything, in_full=_in_full(arguments)
        )
        return [*parts, *told]
    if done.steps:
        parts += tables.changes([s.to_json() for s in done.steps], title="prod would change")
    shared = {"shared_files": [entry.to_json() for entry in done.shared]}
    return [*parts, *inspection.shared_files(shared, done.node_id)]


def _in_full(arguments: Namespace) -> str:
    ref = f" --ref {shlex.quote(arguments.ref)}" if arguments.ref else ""
    return f"gov node check {shlex.quote(arguments.what)}{ref} --all"


def _error(done: node_check.Checked) -> NeedsResolution:
    return NeedsResolution(
        f"{done.node_id} does not lock with today's truth",
        hint="nothing was changed; `gov node add` and `gov tx run` it to resolve it",
    )
