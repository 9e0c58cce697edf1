"""Every combination tried: a workspace for each ComfyUI and Python, in it a run for each company.

The workspace is made as `gov init` makes it, nodes come in as by `gov node add`, and a run is that
of `gov tx run`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from governance import installation
from governance.base import names
from governance.base.errors import GovError, UsageError
from governance.base.progress import During, Live, Say
from governance.boundaries import config, store
from governance.boundaries.config import Config
from governance.boundaries.uv import Uv
from governance.changes import begin, nodes, pipeline, steps, trial_run
from governance.changes.session import Session, open_session
from governance.changes.steps import Step
from governance.ci import sources
from governance.ci.bench import Bench
from governance.ci.results import BROKEN, Result, Try, of_transaction
from governance.ci.sources import Code, Sources
from governance.ci.workflows import Workflow
from governance.operations import recovery
from governance.truth import registry
from governance.truth.resolution import this_minor
from governance.truth.workspace import Workspace


@dataclass(frozen=True)
class Matrix:
    """What is tried with what; `others` come along in a second run of each workspace."""

    node: Code
    versions: tuple[Code, ...]
    pythons: tuple[str, ...]
    others: tuple[Code, ...] = ()
    workflows: tuple[Workflow, ...] = ()

    @property
    def companies(self) -> tuple[tuple[Code, ...], ...]:
        return ((), self.others) if self.others else ((),)


@dataclass(frozen=True)
class Terms:
    """How it is tried: the options of `gov init`, the settings, seconds until ComfyUI answers."""

    settings: Config
    options: installation.Options = field(default_factory=installation.Options)
    timeout: float | None = None


def matrix(
    named: Sources,
    path: Path,
    *,
    comfyuis: Sequence[str],
    others: Sequence[str],
    pythons: Sequence[str],
    workflows: Sequence[Workflow],
    url: str,
) -> Matrix:
    """Words as typed, each once.  Raises what Sources raises, and UsageError (code `node_exists`)
    where two nodes would lie in one folder."""
    node = named.node(path)
    beside = tuple(named.other(text) for text in dict.fromkeys(others))
    for at, code in enumerate(beside):
        twin = next((c for c in (node, *beside[:at]) if names.same(c.name, code.name)), None)
        if twin is not None:
            raise UsageError(
                f"{twin.named} and {code.named} are both called {code.name}",
                hint="leave one of them out of --with",
                code="node_exists",
                facts={"node_id": code.name},
            )
    words: Sequence[str | None] = list(dict.fromkeys(comfyuis)) or [None]
    versions = tuple(named.comfyui(text, url) for text in words)
    return Matrix(node, versions, tuple(dict.fromkeys(pythons)), beside, tuple(workflows))


def require_pythons(bench: Bench, specs: Sequence[str]) -> tuple[str, ...]:
    """What was typed, else this Python's minor version.  Raises UsageError (code `bad_python`)."""
    uv = Uv(bench.uv_cache)
    for spec in specs:
        try:
            uv.find_python(spec)
        except UsageError as error:
            raise UsageError(
                error.message,
                hint="install it (`uv python install` can), or leave it out of --python",
                code="bad_python",
            ) from None
    return tuple(specs) or (this_minor(),)


@dataclass(frozen=True)
class Telling:
    """Where the tries tell how they go."""

    say: Say
    live: Live
    during: During


def run(matrix: Matrix, bench: Bench, terms: Terms, telling: Telling) -> Iterator[Result]:
    for version in matrix.versions:
        for python in matrix.pythons:
            telling.say(f"ComfyUI {version.name}, Python {python}: making a workspace")
            yield from _in_workspace(matrix, version, python, bench, terms, telling)


def _in_workspace(
    matrix: Matrix, version: Code, python: str, bench: Bench, terms: Terms, telling: Telling
) -> Iterator[Result]:
    """What keeps a workspace from being made fails each of its tries, and no other."""
    tries = [
        Try(version.name, version.commit, python, tuple(code.name for code in company))
        for company in matrix.companies
    ]
    started = time.monotonic()
    try:
        space = _prepared(version, python, bench, terms)
        with recovery.exclusive(space, "ci"):
            session = open_session(space, telling.say, telling.live, telling.during)
            done = installation.initialise(session, replace(terms.options, python=python))
            setup = time.monotonic() - started
            for one, company in zip(tries, matrix.companies, strict=True):
                result = _tried(session, one, matrix, company, terms)
                yield replace(
                    result,
                    findings=(*done.warnings, *result.findings),
                    setup_seconds=round(setup, 1),
                    root=str(space.root) if bench.is_kept else None,
                )
    except GovError as error:
        setup = round(time.monotonic() - started, 1)
        for one in tries:
            yield Result(one, BROKEN, error.message, setup_seconds=setup, hint=error.hint)


def _prepared(version: Code, python: str, bench: Bench, terms: Terms) -> Workspace:
    """The folders, config.toml and a ComfyUI of its own, since a workspace governs one alone."""
    folder = bench.runs / _folder_name(f"comfyui-{version.name}-python-{python}")
    sources.lay(version, folder / "ComfyUI")
    root = store.make_folder(folder / "comfy_env")
    given = {key.replace(".", "__"): value for key, value in terms.settings.values.items()}
    given["comfyui_dir"] = str(folder / "ComfyUI")
    given["storage__uv_cache_dir"] = str(bench.uv_cache)
    store.write(root / "config.toml", config.template(**given).encode())
    return installation.prepare(root, folder / "ComfyUI")


def _folder_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")


def _tried(
    session: Session, one: Try, matrix: Matrix, company: tuple[Code, ...], terms: Terms
) -> Result:
    started, node = time.monotonic(), matrix.node
    named = f" with {', '.join(one.beside)}" if one.beside else ""
    session.say(f"ComfyUI {one.version}, Python {one.python}: trying {node.name}{named}")
    try:
        for code in (node, *company):
            _add(session, code)
        wanted = [Step(steps.ADD, code.name) for code in (node, *company)]
        work = begin.begin(session, wanted, kind="add")
        tx = pipeline.run(session, work, timeout=terms.timeout)
        result = of_transaction(session.workspace, one, node.name, tx)
        if result.passed:
            known = trial_run.staged_baseline(work.stages).classes
            result = result.judged(matrix.workflows, known)
    except GovError as error:
        txid = error.facts.get("txid")
        result = Result(one, BROKEN, error.message, hint=error.hint, txid=txid)
    result = result.without(f"{session.workspace.root.parent}/")
    return replace(result, seconds=round(time.monotonic() - started, 1))


def _add(session: Session, code: Code) -> None:
    """Adopted, since it lies there already: it is tried as it lies, whatever a remote has."""
    if any(plugin.id == code.name for plugin in registry.load(session.workspace)):
        return
    sources.lay(code, session.workspace.custom_nodes / code.name)
    nodes.add(session, code.name, ref=None, node_id=None, cwd=Path.cwd())
