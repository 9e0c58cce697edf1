"""export, import: an installation out of a workspace, and into one."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from governance.base.errors import UsageError
from governance.boundaries import store
from governance.cli.decision import deciding
from governance.cli.outcome import Outcome, Part
from governance.truth import workspace


def export(arguments: Namespace) -> Outcome:
    from governance.bundle import outgoing
    from governance.changes.session import open_session
    from governance.cli.report import Voice
    from governance.truth import typed

    space = workspace.find(arguments.root)
    named = arguments.snapshot_id
    snapshot_id = typed.snapshot(space, named) if named else None
    session = open_session(space, Voice(quiet=arguments.quiet).say)
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
    from governance.cli.verbs import changing

    path = given(arguments.file)
    wish = incoming.Wish(arguments.index, arguments.python, arguments.discard_local)
    with deciding(arguments) as decision:
        if arguments.dry_run:
            found = incoming.foresee(decision.session(), path, wish)
            told = {"file": found.name, **found.account.to_json()}
            return Outcome({"dry_run": True, "brought": told}, account(told))
        tx = decision.run("import", path=path, wish=wish, timeout=arguments.timeout)
        seen = changing.ended(decision, arguments, tx)
    return seen._replace(parts=[*account(tx.brought), *seen.parts])


def account(told: Mapping[str, Any]) -> list[Part]:
    """What is taken exactly, what as a wish, what is lost."""
    rows: list[Part] = [f"from {told.get('file')}"]
    for name, head in _HEADS:
        rows += _listed(head, told.get(name, []))
    return rows


_HEADS = (("exact", "taken exactly"), ("wished", "taken as a wish"), ("lost", "lost"))


def _listed(head: str, sentences: Sequence[str]) -> list[Part]:
    if not sentences:
        return [f"  {head}: nothing"]
    return [f"  {head}:", *(f"    {sentence}" for sentence in sentences)]


def given(file: Path) -> Path:
    """The file that was typed.  Raises UsageError where there is none."""
    path = _typed(file)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not there"
        raise UsageError(
            f"{path} {what}",
            hint="name a file that `gov export FILE` wrote",
            code="not_found",
            facts={"path": str(path)},
        )
    return path


def _typed(file: Path) -> Path:
    return Path.cwd() / store.typed_path(file)
