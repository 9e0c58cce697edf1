"""audit: what the gates of a supply chain say of prod."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from governance.base.errors import EXIT_FAILED, EXIT_OK, GovError, UsageError
from governance.boundaries import store
from governance.cli import supply
from governance.cli.outcome import Outcome, Part
from governance.cli.report import Voice
from governance.operations import prod_audit
from governance.operations.prod_audit import Audit
from governance.supply.rows import counted
from governance.truth import workspace


def audit(arguments: Namespace) -> Outcome:
    from governance.changes.session import open_session

    space = workspace.find(arguments.root)
    file: Path | None = arguments.sarif
    if file is not None and not file.absolute().parent.is_dir():
        raise UsageError(
            f"there is no folder {file.absolute().parent}", hint="name a file in a folder that is"
        )
    made = prod_audit.audit(open_session(space, Voice(quiet=arguments.quiet).say))
    parts = [*_parts(made)]
    if file is not None:
        store.write(file.absolute(), made.to_sarif())
        parts.append(f"written: {file}")
    error = _error(made)
    data = {**made.to_json(), "sarif": str(file) if file else None}
    return Outcome(data, parts, (), EXIT_FAILED if error else EXIT_OK, error)


def _parts(made: Audit) -> list[Part]:
    parts = supply.table(made.findings, "found in prod")
    parts += supply.table(made.notes, "worth knowing")
    parts += [f"not known: {row['sentence']}" for row in made.unanswered]
    return [*parts, f"looked at {made.packages} packages and {made.nodes} nodes"]


def _way_out(made: Audit) -> str:
    accepted = "[policy] in config.toml says what is accepted"
    packages = [row["subject"] for row in made.findings if row["version"]]
    if not packages:
        return f"`gov node list` shows the nodes; {accepted}"
    first = packages[0]
    return (
        f"`gov why {first}` shows who asks for it, `gov upgrade {first}` looks for a newer one; "
        f"{accepted}"
    )


def _error(made: Audit) -> GovError | None:
    if made.findings:
        return GovError(
            counted(made.findings),
            hint=_way_out(made),
            code="audit_findings",
            facts={"findings": len(made.findings)},
        )
    if made.unanswered:
        return GovError(
            counted(made.unanswered),
            hint="check the network, or name another service in config.toml's [policy]; then run "
            "the command again",
            code="audit_incomplete",
            facts={"unanswered": [row["sentence"] for row in made.unanswered]},
        )
    return None
