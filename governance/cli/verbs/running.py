"""run and stop."""

from __future__ import annotations

from argparse import Namespace

from governance.base.errors import Refused
from governance.cli.outcome import Outcome
from governance.cli.report import Voice
from governance.operations import recovery, status
from governance.truth import workspace

_STDERR = 2


def run(arguments: Namespace) -> Outcome:
    from governance.environments import generations
    from governance.operations import left_behind, runtime

    space = workspace.find(arguments.root)
    voice = Voice(quiet=arguments.quiet)
    with recovery.exclusive(space, "run") as recovered:
        for sentence in recovered:
            voice.say(sentence)
        runtime.require_idle(space)
        left_behind.settle(space)  # of a run whose gov was killed
        start = runtime.prepare(space, arguments.arguments, all_nodes=arguments.all_nodes)
        warnings = status.warnings(space)
        if arguments.strict and warnings:
            raise _not_as_promoted(warnings)
        generations.require_sound(space, start.generation)
    for warning in warnings:
        voice.say(f"warning: {warning}")
    if start.left_out:
        voice.say("left out, not promoted: " + ", ".join(start.left_out) + " (--all-nodes)")
    for limit in start.limits:
        voice.say(limit)
    # With --json our stdout holds one document and nothing else.
    code = runtime.run(space, start, stdout=_STDERR if arguments.json else None)
    if (left := left_behind.sentence(space)) and left not in warnings:
        voice.say(f"warning: {left}")
    data = {
        "exit_code": code,
        "generation": start.generation,
        "left_out": list(start.left_out),
    }
    return Outcome(data, exit_code=code, passed_on=True)


def _not_as_promoted(warnings: list[str]) -> Refused:
    return Refused(
        f"not all is as it was promoted: {warnings[0]}",
        hint="settle that first, or run it without --strict",
        code="not_as_promoted",
        facts={"warnings": warnings},
    )


def stop(arguments: Namespace) -> Outcome:
    from governance.operations import runtime

    pid = runtime.stop(workspace.find(arguments.root))
    if pid is None:
        return Outcome({"pid": None}, ["no ComfyUI of this workspace runs"])
    return Outcome({"pid": pid}, [f"ComfyUI (pid {pid}) has ended"])
