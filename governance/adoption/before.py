"""The old installation, started where nothing of it can change, and watched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from governance import comfyui, observation
from governance.changes import log_end, trial_run
from governance.changes.session import Session
from governance.environments import candidate


def watch(
    session: Session, txid: str, environment: Path, nodes: Sequence[str], *, timeout: float
) -> observation.Observation:
    """One start of ComfyUI with its own interpreter and these nodes.

    Raises GovError (code `no_layer`) where it could not be kept as it is.
    """
    workspace = session.workspace
    name = name_of(txid)
    try:  # Ctrl-C while its folders are made leaves none of them, too
        made = candidate.beside(workspace, name, environment)
        found = observation.observe(
            observation.Request(
                comfyui_dir=made.comfyui_dir,
                python=made.python,
                environment=environment,
                subjects=(),
                governed=tuple(nodes),
                folder=made.folder,
                stdout_log=workspace.logs / f"{name}.stdout.log",
                stderr_log=workspace.logs / f"{name}.stderr.log",
                timeout=timeout,
                settle=workspace.config.number("tx.settle_seconds"),
                most_starts=1,
                extra_args=trial_run.start_arguments(workspace),
                environ=made.environ(),
                enter=made.enter,
                live=session.live,
                during=session.during,
                log_limit=int(workspace.config.number("tx.log_limit_mb") * 1024 * 1024),
            )
        )
        log_end.show(session, name, found)
        return found
    finally:
        candidate.discard(workspace, name)


def name_of(txid: str) -> str:
    """Of its candidate and logs."""
    return f"{txid}-before"


def classes_by_node(names: Sequence[str], baseline: observation.Baseline) -> dict[str, list[str]]:
    return {name: comfyui.classes_of(name, baseline.classes) for name in names}
