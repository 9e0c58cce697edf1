"""export, import: an installation out of a workspace, and into one."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from governance.base.errors import UsageError
from governance.boundaries import store
from governance.changes.gates import Approval
from governance.changes.session import Session
from governance.cli.decision import Decision, deciding
from governance.cli.outcome import Outcome, Part
from governance.truth import workspace


def export(arguments: Namespace) -> Outcome:
    from governance.bundle import outgoing
    from governance.cli.report import Voice
    from governance.truth import typed

    space = workspace.find(arguments.root)
    named = arguments.snapshot_id
    snapshot_id = typed.snapshot(space, named) if named else None
    session = Voice(quiet=arguments.quiet).session(space)
    if arguments.format is not None:
        return _in_form(session, arguments, snapshot_id)
    done = outgoing.export(
        session,
        _typed(arguments.file),
        snapshot_id=snapshot_id,
        with_code=arguments.with_code,
        with_wheels=arguments.with_wheels,
    )
    data = {
        "file": str(done.path),
        "sha256": done.sha256,
        "bytes": done.size,
        "nodes": len(done.contents.nodes),
        "with_code": done.contents.has_code,
        "wheels": len(done.contents.wheels),
        "notes": list(done.notes),
    }
    return Outcome(data, _exported(data), done.notes)


def _in_form(session: Session, arguments: Namespace, snapshot_id: str | None) -> Outcome:
    from governance.bundle import formats

    if arguments.with_code or arguments.with_wheels:
        raise UsageError(
            "--format writes one document: it can hold neither code nor packages",
            hint="leave --format away for a bundle: gov export comfy.gov.tar --with-code",
        )
    path = _typed(arguments.file)
    done = formats.write(session, path, arguments.format, snapshot_id=snapshot_id)
    data = {
        "file": str(done.path),
        "format": arguments.format,
        "sha256": done.sha256,
        "bytes": done.size,
        "notes": list(done.notes),
    }
    return Outcome(data, [f"wrote {done.path} ({arguments.format})"], done.notes)


def _exported(data: Mapping[str, Any]) -> list[Part]:
    holds = [f"{data['nodes']} nodes", "their code" if data["with_code"] else "no code"]
    holds.append(f"{data['wheels']} packages" if data["wheels"] else "no packages")
    return [
        f"wrote {data['file']} ({data['bytes'] / 2**20:.1f} MB): {', '.join(holds)}",
        f"  sha256 {data['sha256']}",
        f"next, on the other machine: gov import {Path(data['file']).name}",
    ]


def import_(arguments: Namespace) -> Outcome:
    from governance.bundle import incoming
    from governance.cli import inspection
    from governance.cli.verbs import changing
    from governance.truth.documents import PROMOTED

    path = given(arguments.file)
    wish = incoming.Wish(arguments.index, arguments.python, arguments.discard_local)
    if arguments.dry_run:
        told = {"file": path.name, **_foreseen(arguments, path, wish)}
        return Outcome({"dry_run": True, "brought": told}, inspection.brought(told))
    with deciding(arguments) as decision:
        tx = decision.run("import", path=path, wish=wish, timeout=arguments.timeout)
        seen = changing.ended(decision, arguments, tx)
    if not arguments.promote or tx.status != PROMOTED:
        return seen  # the transaction tells what came
    return seen._replace(parts=[*inspection.brought(tx.brought), *seen.parts])


def _foreseen(arguments: Namespace, path: Path, wish: Any) -> dict[str, Any]:
    from governance.bundle import archive, incoming
    from governance.bundle.foreign import taking
    from governance.cli.report import Voice

    space = workspace.find(arguments.root)
    session = Voice(quiet=arguments.quiet).session(space)
    if archive.is_bundle(path):
        return incoming.foresee(session, path, wish).account.to_json()
    return taking.foresee(session, path).to_json()


def refuse_settings(arguments: Namespace) -> None:
    """What the bundle decides cannot be chosen beside it."""
    for name in ("resolution_date", "torch_backend"):
        if getattr(arguments, name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{option} cannot be given with --from: the bundle decides it",
                hint=f"leave it away; {_AFTERWARDS[name]} changes it afterwards",
            )


_AFTERWARDS = {
    "resolution_date": "`gov init --resolution-date DATE`",
    "torch_backend": "`gov torch NAME`",
}


def brought(decision: Decision, arguments: Namespace, path: Path, allowed: Approval) -> Outcome:
    """The import and, where its run completes, the promote; as `gov init` tells it."""
    from governance.bundle import incoming
    from governance.cli import inspection
    from governance.cli.verbs import tx as tx_verbs
    from governance.truth.documents import COMPLETED
    from governance.truth.resolution import Project

    space = decision.space
    wish = incoming.Wish(arguments.index, arguments.python)
    tx = decision.run("import", path=path, wish=wish)
    seen = tx_verbs.observed(space, tx)
    if tx.status != COMPLETED and not allowed.failed_run:
        return seen
    told = inspection.brought(tx.brought)
    done = tx_verbs.promoted(decision, tx.txid, allowed)
    python = Project.read(store.read_bytes(space.pyproject), space.pyproject).python
    data = {
        **done.data,
        "root": str(space.root),
        "python": python,
        "lock_sha256": store.file_digest(space.lock),
        "brought": tx.brought,
    }
    ready = [f"workspace made: {space.root}", "next: gov run -- --port 8188"]
    return Outcome(data, [*told, *done.parts, *ready], [*seen.warnings, *done.warnings])


def given(file: Path) -> Path:
    """The file that was typed.  Raises UsageError where there is none."""
    path = _typed(file)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not there"
        raise UsageError(
            f"{path} {what}",
            hint="name a file that `gov export FILE` or another program wrote",
            code="not_found",
            facts={"path": str(path)},
        )
    return path


def _typed(file: Path) -> Path:
    return Path.cwd() / store.typed_path(file)
