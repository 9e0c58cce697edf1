"""From a staged generation to an observation of it: the candidate made, ComfyUI started, judged."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from governance import comfyui, observation, sandbox
from governance.base import names
from governance.base.errors import GovError
from governance.boundaries import process, store
from governance.boundaries.uv import Uv
from governance.changes import log_end
from governance.changes.session import Session
from governance.changes.staging import Stages
from governance.environments import (
    candidate,
    compiled,
    generations,
    node_code,
    surroundings,
    wheelhouse,
)
from governance.environments.candidate import Candidate
from governance.truth import registry
from governance.truth.documents import Plugin
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

    @property
    def node(self) -> str:
        """The folder of the node that asked; "" where nobody knows."""
        return self.at.partition("/")[0] if "/" in self.at else ""


@dataclass(frozen=True)
class Watched:
    """`undeclared` are the packages that the program itself changed; `additions` what it asked
    for."""

    observation: observation.Observation
    candidate: Candidate
    undeclared: list[Change]
    additions: list[Asked]


@dataclass(frozen=True)
class Load:
    """What is loaded in a trial, by the names of ComfyUI's loader: `subjects` are watched,
    `governed` only expected to load as before, `gone` are not loaded any more.  `code` are the
    files that tell the layer which code to lay in it (see checkouts.lay_plan), `laid` the names
    that only the layer has; `absent` are sentences about nodes whose folder is not there.
    `baseline` is what to compare with, where it is not prod.  Nodes that run elsewhere already
    (`in_use`) have run their install.py, and one start at a time is made of them.  `lying` is the
    code that is loaded from where it lies already."""

    subjects: tuple[str, ...] = ()
    governed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    code: tuple[Path, ...] = ()
    laid: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    baseline: observation.Baseline | None = None
    in_use: bool = False
    lying: tuple[node_code.Place, ...] = ()


def watch(session: Session, stages: Stages, load: Load, *, timeout: float) -> Watched:
    """Observe the staged generation with what is to be loaded in it."""
    workspace = session.workspace
    generation = stages.generation().name
    made = _prepare(workspace, stages, session.uv, generation, load)
    canaries = made.tried.canaries
    request = _request(workspace, made, stages.name, load, timeout, session)
    seen = observation.observe(request)
    _take_imports(workspace, made, load)
    seen.generation = generation
    seen.limits += made.limits()
    seen.warnings += load.absent
    stage_baseline(stages, seen)
    writes = [canary for canary in canaries if canary.action != sandbox.READ]
    seen.isolation = made.isolation() if all(c.stopped for c in writes) else "none"
    open_secrets = [c.path for c in canaries if c.action == sandbox.READ and not c.stopped]
    if open_secrets:
        seen.limits.append(f"these could be read by the node: {', '.join(open_secrets)}")
    seen.canaries = [asdict(canary) for canary in canaries]
    undeclared = changes(frozen_versions(seen.installed_freeze), frozen_versions(seen.post_freeze))
    return Watched(seen, made, undeclared, _additions(seen, undeclared))


@dataclass(frozen=True)
class Verdict:
    """Of a smoke test."""

    ok: bool
    reason: str


def smoke(session: Session, stages: Stages, load: Load) -> Verdict:
    """The core packages import, and ComfyUI starts in the staged generation.

    `tx.smoke_test_cmd` replaces both.  Runs in a layer of its own: nothing is written.
    """
    workspace = session.workspace
    generation = stages.generation().name
    name = f"{stages.name}-smoke"
    made = _prepare(workspace, stages, session.uv, generation, load, name=name)
    try:
        command = workspace.config.text("tx.smoke_test_cmd")
        if command:
            return _own_smoke(workspace, made, command)
        broken = _import_core(workspace, stages, made)
        if broken:
            return Verdict(False, broken)
        timeout = workspace.config.number("tx.timeout_seconds")
        quick = replace(load, governed=(*load.subjects, *load.governed), subjects=())
        request = _request(workspace, made, name, quick, timeout, session, quick=True)
        seen = observation.observe(request)
        _take_imports(workspace, made, load)
        log_end.show(session, name, seen)
        return Verdict(seen.completed, seen.reason)
    finally:
        candidate.discard(workspace, name)


def loaded_now(workspace: Workspace) -> Load:
    """What `gov run` would load."""
    promoted = registry.promoted(workspace)
    return Load(governed=tuple(registry.loader_name(plugin) for plugin in promoted))


def baseline(workspace: Workspace) -> observation.Baseline | None:
    """What prod was last seen to load: in its generation, else in the one before it, without the
    nodes that have gone since (a generation that was built anew has seen nothing yet)."""
    name = generations.current(workspace)
    if name is None:
        return None
    own = _read(generations.papers(workspace, name) / BASELINE)
    if own is not None:
        return own
    last = _read(_last(workspace))
    return last and _of_nodes(last, map(registry.loader_name, _promoted(workspace)))


def _promoted(workspace: Workspace) -> list[Plugin]:
    """None where the registry is damaged, which a rollback is the way out of."""
    return [p for p in registry.parse_or_none(workspace) if registry.is_promoted(p)]


def _last(workspace: Workspace) -> Path:
    """What prod loaded last; of nodes that have gone too, since a rollback may bring them back."""
    return workspace.root / "state" / BASELINE


def _read(path: Path) -> observation.Baseline | None:
    try:
        return observation.Baseline.from_json(store.read_object(path))
    except (OSError, GovError):
        return None


def _of_nodes(known: observation.Baseline, names: Iterable[str]) -> observation.Baseline:
    """Of these nodes only; what ComfyUI itself brings stays."""
    there = set(names)
    return without(known, [name for name in known.loaded if name not in there])


def stage_baseline(stages: Stages, seen: observation.Observation) -> None:
    """Keep what loaded in this trial; it becomes the baseline if its generation becomes prod."""
    store.write_json(stages.folder / BASELINE, seen.baseline().to_json())


def staged_baseline(stages: Stages) -> observation.Baseline:
    """What loaded in this trial.  Raises FileNotFoundError where there was none."""
    return observation.Baseline.from_json(store.read_object(stages.folder / BASELINE))


def adopt_baseline(
    workspace: Workspace,
    stages: Stages,
    generation: str,
    verdict: Mapping[str, Any],
    before: observation.Baseline | None,
    loaded: Iterable[str],
) -> None:
    """What the next trial is compared with.

    The staged trial's, unless it failed where there is a better one.  A set that had been seen
    before is not started again: then it is what this generation was seen with, else what prod was
    `before`, each without the nodes that are not `loaded` any more.
    """
    kept = generations.papers(workspace, generation) / BASELINE
    there = tuple(loaded)
    staged, old = _read(stages.folder / BASELINE), _read(kept)
    # A failed one got here by the operator's yes; one of a crash would only forget what loaded.
    is_new = old is None and (before is None or bool(staged and staged.classes))
    if staged is not None and (verdict.get("verdict") == "completed" or is_new):
        found: observation.Baseline | None = _with_classes(staged, before)
    else:
        known = (old, before, None if old else _read(_last(workspace)))
        # A generation may be older than what prod loaded last: most nodes win, its own at a tie.
        cut = [_of_nodes(one, there) for one in known if one is not None]
        found = max(cut, key=lambda one: len(one.loaded), default=None)
    if found is not None:
        _write(kept, found)
        _write(_last(workspace), _remembering(workspace, found, there))


def _write(path: Path, known: observation.Baseline) -> None:
    """Nothing where it is so already: a rollback finds its own."""
    if _read(path) != known:
        store.write_json(path, known.to_json())


def _remembering(
    workspace: Workspace, found: observation.Baseline, there: Iterable[str]
) -> observation.Baseline:
    """With the nodes that are not there now, as they loaded last."""
    last = _read(_last(workspace))
    if last is None:
        return found
    gone = without(last, [*there, *found.loaded])
    classes = {k: v for k, v in gone.classes.items() if v.startswith("custom_nodes.")}
    return replace(
        found, classes={**classes, **found.classes}, loaded=(*found.loaded, *gone.loaded)
    )


def _with_classes(
    seen: observation.Baseline, before: observation.Baseline | None
) -> observation.Baseline:
    """A start whose API was not asked knows no class: those of what loaded again stay."""
    if seen.classes or before is None:
        return seen
    return replace(seen, classes=_of_nodes(before, seen.loaded).classes)


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
    load: Load,
    *,
    name: str | None = None,
) -> Candidate:
    def copy(target: Path) -> None:
        project = stages.project()
        wheelhouse.sync(
            workspace,
            uv,
            stages.folder,
            target,
            python=project.python,
            link_mode="copy",
            offline=False,
        )

    for node in load.subjects:
        surroundings.refuse_own(workspace, workspace.custom_nodes / node)
    may_write = workspace.config.flag("tx.node_folder_writable")
    sealed = () if may_write else tuple(workspace.custom_nodes / n for n in load.subjects)
    return candidate.prepare(
        workspace,
        name or stages.name,
        generation,
        stages.project(),
        sealed=sealed,
        copy=copy,
        pip=name is None,
        code=load.code,
    )


def _warm(workspace: Workspace, made: Candidate, load: Load) -> None:
    """Byte code of a copy lies elsewhere: it starts cold."""
    if made.is_layered:
        compiled.begin(workspace, made.environment.name, made.byte_code)
        node_code.begin(load.lying, made.python, made.byte_code)


def _take_imports(workspace: Workspace, made: Candidate, load: Load) -> None:
    if made.is_layered:
        compiled.note(workspace, made.environment.name, made.byte_code)
        node_code.note(load.lying, made.byte_code)
        _forget(made.byte_code)


def _forget(byte_code: Path) -> None:
    """Of no use any more, and so many files that who deletes the candidate would wait for it."""
    store.remove_tree(byte_code)


def _request(
    workspace: Workspace,
    made: Candidate,
    name: str,
    load: Load,
    timeout: float,
    session: Session,
    *,
    quick: bool = False,
) -> observation.Request:
    return observation.Request(
        comfyui_dir=made.comfyui_dir,
        python=made.python,
        environment=made.environment,
        subjects=load.subjects,
        governed=load.governed,
        laid=load.laid,
        folder=made.folder,
        stdout_log=workspace.logs / f"{name}.stdout.log",
        stderr_log=workspace.logs / f"{name}.stderr.log",
        timeout=timeout,
        meanwhile=lambda: _warm(workspace, made, load),
        settle=workspace.config.number("tx.settle_seconds") if load.subjects else 0.0,
        install_script=workspace.config.flag("tx.run_install_script") and not load.in_use,
        most_starts=1 if load.in_use else 2,
        quick=quick,
        extra_args=start_arguments(workspace),
        environ=made.environ(),
        enter=made.enter,
        live=session.live,
        during=session.during,
        baseline=load.baseline or _expected(workspace, load.gone),
        contacts=made.contacts,
        door=made.folder / sandbox.DOOR if made.network is not None else None,
        network=made.network_in_force,
        log_limit=int(workspace.config.number("tx.log_limit_mb") * 1024 * 1024),
    )


def _expected(workspace: Workspace, gone: Sequence[str]) -> observation.Baseline | None:
    """The baseline, without the nodes that go: their classes cannot be missed."""
    known = baseline(workspace)
    return known and without(known, gone)


def without(known: observation.Baseline, gone: Sequence[str]) -> observation.Baseline:
    if not gone:
        return known
    modules = {f"custom_nodes.{name.removesuffix('.py')}" for name in gone}
    classes = {name: module for name, module in known.classes.items() if module not in modules}
    loaded = tuple(name for name in known.loaded if name not in gone)
    return replace(known, classes=classes, loaded=loaded)


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
        part.replace("{python}", str(made.python)).replace("{comfyui_dir}", str(made.comfyui_dir))
        for part in shlex.split(command)
    ]
    done = process.run(
        made.enter(filled),
        env=made.environ(),
        cwd=made.comfyui_dir,
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
