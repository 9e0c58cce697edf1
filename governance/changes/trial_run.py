"""From a staged generation to an observation of it: the candidate made, ComfyUI started, judged."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from governance import comfyui, observation
from governance.base import names
from governance.base.errors import GovError
from governance.base.progress import Live, silent
from governance.boundaries import process, store
from governance.boundaries.uv import Uv
from governance.changes.staging import Stages
from governance.environments import candidate, generations
from governance.environments.candidate import Candidate
from governance.truth import registry
from governance.truth.lockfile import Change, changes, frozen_versions
from governance.truth.workspace import Workspace

BASELINE = "baseline.json"
_REQUEST_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")
_GPU_DEVICES = ("nvidia0", "nvidiactl", "kfd", "dri/renderD128", "accel")

# Which module a distribution brings is asked of its own metadata (Pillow brings PIL).
_IMPORT_CORE = """
import importlib, re, sys
from importlib.metadata import packages_distributions
norm = lambda name: re.sub("[-_.]+", "-", name).lower()
owners = {module: {norm(d) for d in dists} for module, dists in packages_distributions().items()}
for name in sys.argv[1:]:
    modules = [m for m, dists in owners.items() if name in dists and m.isidentifier()]
    named = [m for m in modules if norm(m) == name]
    for module in named or [m for m in modules if not m.startswith("_")][:1]:
        importlib.import_module(module)
"""


class Asked(NamedTuple):
    """What was installed without being declared, as it was asked for (`lark`,
    `diffusers==0.27.2`); `at` is the node's file and line, "" where nobody knows."""

    text: str
    at: str = ""


@dataclass(frozen=True)
class Watched:
    """`undeclared` are the packages that the program itself changed; `additions` what it asked
    for."""

    observation: observation.Observation
    candidate: Candidate
    undeclared: list[Change]
    additions: list[Asked]


def watch(
    workspace: Workspace,
    stages: Stages,
    uv: Uv,
    *,
    node: str | None,
    timeout: float,
    live: Live = silent,
) -> Watched:
    """Observe the staged generation with `node` (a folder of custom_nodes) and what is promoted."""
    generation = stages.generation().name
    made = _prepare(workspace, stages, uv, generation, node)
    canaries = made.try_fence()
    request = _request(workspace, made, stages.name, node, timeout, live)
    seen = observation.observe(request)
    seen.generation = generation
    stage_baseline(stages, seen)
    seen.isolation = made.isolation() if all(c.stopped for c in canaries) else "none"
    seen.canaries = [asdict(canary) for canary in canaries]
    undeclared = changes(frozen_versions(seen.installed_freeze), frozen_versions(seen.post_freeze))
    return Watched(seen, made, undeclared, _additions(seen, undeclared))


@dataclass(frozen=True)
class Verdict:
    """Of a smoke test."""

    ok: bool
    reason: str


def smoke(
    workspace: Workspace,
    stages: Stages,
    uv: Uv,
    *,
    node: str | None,
    live: Live = silent,
    quick: bool = True,
    without: str | None = None,
) -> Verdict:
    """The core packages import, and ComfyUI starts in the staged generation.

    `without` is a promoted node that is about to go: it is not loaded, and only nodes that loaded
    in prod so far are expected to load.

    `tx.smoke_test_cmd` replaces both.  Runs in a layer of its own: nothing is written.
    """
    generation = stages.generation().name
    name = f"{stages.name}-smoke"
    made = _prepare(workspace, stages, uv, generation, node, name=name)
    try:
        command = workspace.config.text("tx.smoke_test_cmd")
        if command:
            return _own_smoke(workspace, made, command)
        broken = _import_core(workspace, stages, made)
        if broken:
            return Verdict(False, broken)
        timeout = workspace.config.number("tx.timeout_seconds")
        seen = observation.observe(
            _request(
                workspace, made, name, None, timeout, live, also=node, quick=quick, without=without
            )
        )
        if not quick:
            stage_baseline(stages, seen)
        return Verdict(seen.completed, seen.reason)
    finally:
        candidate.discard(workspace, name)


def promoted(workspace: Workspace) -> tuple[str, ...]:
    """Folders of the nodes that have been promoted and are enabled."""
    return tuple(
        plugin.id
        for plugin in registry.load(workspace)
        if plugin.enabled and plugin.last_snapshot is not None
    )


def baseline(workspace: Workspace) -> observation.Baseline | None:
    """What was last seen to load in prod's generation."""
    name = generations.current(workspace)
    if name is None:
        return None
    try:
        value = store.read_object(generations.papers(workspace, name) / BASELINE)
    except (OSError, GovError):
        return None
    return observation.Baseline.from_json(value)


def stage_baseline(stages: Stages, seen: observation.Observation) -> None:
    """Keep what loaded in this trial; it becomes the baseline if its generation becomes prod."""
    store.write_json(stages.folder / BASELINE, seen.baseline().to_json())


def adopt_baseline(workspace: Workspace, stages: Stages, generation: str) -> None:
    """What the staged trial saw is what the next one is compared with."""
    staged = stages.folder / BASELINE
    if staged.is_file():
        papers = generations.papers(workspace, generation)
        store.write(papers / BASELINE, store.read_bytes(staged))


def start_arguments(workspace: Workspace) -> tuple[str, ...]:
    """What every start of ComfyUI gets: the configured arguments, and --cpu without a GPU."""
    configured = workspace.config.texts("comfyui.args")
    wanted = workspace.config.text("comfyui.cpu")
    known = comfyui.read_flags(workspace.comfyui_dir)
    on_cpu = wanted == "always" or (wanted == "auto" and not _has_gpu())
    if on_cpu and "--cpu" in known and "--cpu" not in configured:
        return (*configured, "--cpu")
    return configured


def _prepare(
    workspace: Workspace,
    stages: Stages,
    uv: Uv,
    generation: str,
    node: str | None,
    *,
    name: str | None = None,
) -> Candidate:
    def copy(target: Path) -> None:
        project = stages.project()
        uv.sync(stages.folder, target, python=project.python, link_mode="copy", offline=False)

    folder = workspace.custom_nodes / node if node is not None else None
    own = workspace.config.flag("tx.node_folder_writable") and name is None
    if folder is not None:
        store.refuse_link(folder)  # where it leads, the node could write
    writable = (folder,) if folder is not None and own else ()
    return candidate.prepare(
        workspace,
        name or stages.name,
        generation,
        stages.project(),
        writable=writable,
        copy=copy,
        pip=name is None,
    )


def _request(
    workspace: Workspace,
    made: Candidate,
    name: str,
    node: str | None,
    timeout: float,
    live: Live,
    *,
    also: str | None = None,
    quick: bool = False,
    without: str | None = None,
) -> observation.Request:
    others = (*promoted(workspace), also)
    governed = tuple(n for n in others if n is not None and n not in (node, without))
    return observation.Request(
        comfyui_dir=workspace.comfyui_dir,
        python=made.python,
        environment=made.environment,
        node=node,
        governed=tuple(dict.fromkeys(governed)),
        folder=made.folder,
        stdout_log=workspace.logs / f"{name}.stdout.log",
        stderr_log=workspace.logs / f"{name}.stderr.log",
        timeout=timeout,
        settle=0.0 if node is None else workspace.config.number("tx.settle_seconds"),
        install_script=workspace.config.flag("tx.run_install_script"),
        quick=quick,
        extra_args=start_arguments(workspace),
        environ=made.environ(),
        enter=made.enter,
        live=live,
        baseline=_expected(workspace, without) if without or not quick else None,
        exclude=candidate.own_packages(),
        log_limit=int(workspace.config.number("tx.log_limit_mb") * 1024 * 1024),
    )


def _expected(workspace: Workspace, without: str | None) -> observation.Baseline | None:
    """The baseline; without a node that goes, its classes cannot be missed."""
    known = baseline(workspace)
    if known is None or without is None:
        return known
    loaded = tuple(name for name in known.loaded if name != without)
    return observation.Baseline({}, loaded, known.said)


def _import_core(workspace: Workspace, stages: Stages, made: Candidate) -> str | None:
    """Import every core package that the lock holds; what went wrong, else None."""
    wanted = {names.normalise(name) for name in workspace.config.texts("policy.core_packages")}
    present = sorted(wanted & stages.lock_versions().keys())
    argv = [str(made.python), "-c", _IMPORT_CORE, *present]
    timeout = workspace.config.number("tx.timeout_seconds")
    done = process.run(made.enter(argv), env=made.environ(), timeout=timeout)
    if done.ok:
        return None
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return f"a core package does not import: {lines[-1]}"


def _own_smoke(workspace: Workspace, made: Candidate, command: str) -> Verdict:
    filled = [
        part.replace("{python}", str(made.python)).replace(
            "{comfyui_dir}", str(workspace.comfyui_dir)
        )
        for part in shlex.split(command)
    ]
    done = process.run(
        made.enter(filled),
        env=made.environ(),
        cwd=workspace.comfyui_dir,
        timeout=workspace.config.number("tx.timeout_seconds"),
    )
    return Verdict(done.ok, f"tx.smoke_test_cmd ended with exit code {done.returncode}")


def _additions(seen: observation.Observation, undeclared: Sequence[Change]) -> list[Asked]:
    """The undeclared packages as the node asked for them; by name, or by the URL that they came
    from, where it is not known.

    A dependency that came with a request is left to the resolver.
    """
    changed = {change.name: _placed(change) for change in undeclared if change.after is not None}
    taken = [asked for asked in _requests(seen) if _name(asked.text) in changed]
    explained = {_name(asked.text) for asked in taken}
    left = [name for name in sorted(changed) if name not in explained]
    by_url = [name for name in left if changed[name] != name]
    taken += [Asked(changed[name]) for name in (by_url if taken else left)]
    return list({asked.text: asked for asked in reversed(taken)}.values())[::-1]


def _placed(change: Change) -> str:
    """By its name alone, another package might come from the index."""
    came_by_url = change.after is not None and change.after.startswith("@")
    return f"{change.name} {change.after}" if came_by_url else change.name


def _requests(seen: observation.Observation) -> Iterator[Asked]:
    for install in seen.installs:
        if install.get("action") == "install" and install.get("outcome") != "failed":
            for text in install.get("requested", []):
                yield Asked(text, install.get("at") or "")


def _name(request: str) -> str:
    found = _REQUEST_NAME.match(request.strip())
    return names.normalise(found[0]) if found else ""


def _has_gpu() -> bool:
    return any(os.path.exists(f"/dev/{device}") for device in _GPU_DEVICES)  # noqa: PTH110
