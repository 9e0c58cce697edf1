"""adopt, and init --adopt."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from governance.cli import adoption_report
from governance.cli.decision import Decision, approval, deciding
from governance.cli.outcome import Outcome
from governance.cli.verbs import tx as tx_verbs
from governance.truth import workspace


def adopt(arguments: Namespace) -> Outcome:
    from governance import adoption, installation

    options = installation.Options(
        python=arguments.python,
        torch_backend=arguments.torch_backend,
        index=arguments.index,
        approval=approval(arguments),
    )
    installation.check(options)
    wish = adoption.Wish(options, arguments.from_env, arguments.timeout)
    if arguments.dry_run:
        found = adoption.look(workspace.find(arguments.root), wish)
        return adoption_report.survey(found.to_json())
    with deciding(arguments) as decision:
        return _adopted(decision, arguments, wish)


def init(arguments: Namespace, options: Any, folder: Path) -> Outcome:
    """A workspace made for it where there is none."""
    from governance import adoption, installation

    wish = adoption.Wish(options, arguments.from_env)
    adoption.check(wish)
    space = installation.prepare(folder, arguments.comfyui_dir)
    with deciding(arguments, space) as decision:
        done = _adopted(decision, arguments, wish)
    return done._replace(data={**done.data, **_of_init(done.data, str(space.root))})


def _of_init(data: Any, root: str) -> dict[str, Any]:
    """What `gov init` tells of every workspace; the lock becomes uv.lock with the promotion."""
    settings = [step["settings"] for step in data.get("steps", []) if "settings" in step]
    python = next((one["python"] for one in settings), None)
    generation = data.get("plan", {}).get("generation")
    return {"root": root, "python": python, "lock_sha256": None, "generation": generation}


def _adopted(decision: Decision, arguments: Namespace, wish: Any) -> Outcome:
    from governance.truth.documents import COMPLETED

    done = decision.run("adopt", wish=wish)
    if done.transaction is None:
        nothing = "every node is governed already"
        data = {"txid": None, "status": None, "adoption": done.survey.to_json()}
        return Outcome(data, [nothing], done.survey.notes)
    seen = tx_verbs.observed(decision.space, done.transaction)
    if done.transaction.status != COMPLETED:
        return seen
    seen = seen._replace(parts=adoption_report.ended(seen.data), warnings=[])
    if not getattr(arguments, "promote", False):
        return seen
    made = tx_verbs.promoted(decision, done.transaction.txid, approval(arguments))
    return made._replace(parts=[*seen.parts[:-1], *made.parts])
