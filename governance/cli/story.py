"""What `gov demo` plays: the steps, each with the command, the exit code and what it shows."""

from __future__ import annotations

from typing import NamedTuple

from governance.base.errors import EXIT_NEEDS_RESOLUTION, EXIT_OK, EXIT_REFUSED
from governance.sample.world import DemoNode

COMFYUI = "ComfyUI"
NODES = "nodes"
PACKAGES = "packages"
WORKSPACE = "comfy_env"
GOV = f"{WORKSPACE}/bin/gov"
PYTHON = f"{WORKSPACE}/.venv-prod/bin/python"


class Step(NamedTuple):
    """In `words` stand {gov}, the gov that makes the workspace, {txid}, the newest transaction,
    and {snapshot}, the one from before its promotion."""

    title: str
    says: str
    words: tuple[str, ...]
    expected: int = EXIT_OK


def steps(nodes: tuple[DemoNode, DemoNode, DemoNode], *, offline: bool) -> tuple[Step, ...]:
    captioner, statistics, upscaler = nodes
    return (
        _init(offline=offline),
        *_well_behaved(captioner),
        *_in_conflict(statistics),
        *_touching_core(upscaler),
        *_back(upscaler),
    )


def _init(*, offline: bool) -> Step:
    tiny = ("--index", PACKAGES, "--resolution-date", "none") if offline else ()
    return Step(
        "A workspace for a ComfyUI",
        "Lock what ComfyUI itself needs, build the prod environment, start ComfyUI in it once.",
        ("{gov}", "init", WORKSPACE, f"--comfyui-dir={COMFYUI}", *tiny),
    )


def _well_behaved(node: DemoNode) -> tuple[Step, ...]:
    return (
        _add(node),
        Step(
            "Observe it in a candidate",
            "ComfyUI starts with the node in an environment of its own; prod is not touched.",
            (GOV, "tx", "run", node.name),
        ),
        Step(
            "Look before deciding",
            "The transaction keeps what was seen, and what prod would become.",
            (GOV, "tx", "inspect", "{txid}"),
        ),
        Step(
            "Promote it",
            "The very environment that was observed becomes prod, in one switch.",
            (GOV, "-q", "tx", "promote", "{txid}"),
        ),
        Step(
            "It is really there",
            "Prod's own Python imports the two packages.",
            (PYTHON, "-c", "import cowsay, humanize; print(cowsay.__name__, humanize.__name__)"),
        ),
    )


def _in_conflict(node: DemoNode) -> tuple[Step, ...]:
    return (
        _add(node),
        Step(
            "A conflict is found before anything is built",
            "No version suits both nodes; the report names the lines and the fixes it tried.",
            (GOV, "-q", "tx", "run", node.name),
            EXIT_NEEDS_RESOLUTION,
        ),
        Step(
            "Resolve it",
            f"You know that the node works with {node.pin}, so hold that one for all.",
            (GOV, "-q", "resolve", "{txid}", "--pin", node.pin),
        ),
        Step(
            "Promote what was resolved",
            "Nobody has seen this environment run yet: it is observed first, then it becomes prod.",
            (GOV, "-q", "tx", "promote", "{txid}"),
        ),
    )


def _touching_core(node: DemoNode) -> tuple[Step, ...]:
    return (
        _add(node),
        Step(
            "Observe it in a candidate",
            f"It starts, but it would move {node.core}, a package that everything stands on.",
            (GOV, "-q", "tx", "run", node.name),
        ),
        Step(
            "The gate",
            f"A change of {node.core} is not promoted by accident.",
            (GOV, "-q", "tx", "promote", "{txid}"),
            EXIT_REFUSED,
        ),
        Step(
            "Approve it",
            "With a reason, which is recorded, it passes.",
            (GOV, "-q", "tx", "promote", "{txid}", "--approve-core", "--reason", "tried it"),
        ),
    )


def _back(node: DemoNode) -> tuple[Step, ...]:
    return (
        Step(
            "Snapshots",
            "There is one from before and one from after each promotion.",
            (GOV, "snapshot", "list"),
        ),
        Step(
            "Roll back",
            f"You regret it: back to the snapshot from before, with {node.core} as it was.",
            (GOV, "-q", "rollback", "{snapshot}"),
        ),
        Step(
            "Verify",
            "Every file of prod is as it was built.",
            (GOV, "verify"),
        ),
        Step(
            "Start ComfyUI with prod",
            f"The two promoted nodes load, {node.name} is left out; the flag ends it after that.",
            (GOV, "run", "--", "--quick-test-for-ci"),
        ),
    )


def _add(node: DemoNode) -> Step:
    return Step(
        f"Add {node.name} (nothing is installed)",
        f"It {node.says}.",
        (GOV, "-q", "node", "add", f"{NODES}/{node.name}"),
    )
