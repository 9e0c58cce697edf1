"""Observe: freeze, install script, start, freeze, start again where something was installed."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from governance import comfyui
from governance.base.errors import GovError, UsageError
from governance.boundaries import process
from governance.observation import (
    alike,
    api,
    contacted,
    events,
    findings,
    loading,
    packages,
    partial,
    recorder,
    settling,
    takeover,
    verdict,
)
from governance.observation.program import Program, Streams, running
from governance.observation.record import (
    COMPLETED,
    FAILED,
    SEEN,
    NodeReport,
    Observation,
    report_nodes,
)
from governance.observation.request import Request, make_folders, own_environ
from governance.observation.verdict import Run
from governance.truth.workspace import require_comfyui

_SEEN = f"{SEEN}; other programs are known by their command line only"
_SEEN_TOO = (
    f"{SEEN}; other programs are known by their command line and by the addresses that they "
    "connect to"
)


@dataclass
class Session:
    """One observation under way: what was asked, what it runs in, what was seen so far.

    `source` is what the code of nodes says before any of it runs, see source.py.
    """

    request: Request
    seen: Observation = field(default_factory=Observation)
    source: dict[str, dict[str, Any]] = field(default_factory=dict)
    phases: list[events.Phase] = field(default_factory=list)

    @property
    def streams(self) -> Streams:
        request = self.request
        return Streams(request.stdout_log, request.stderr_log, request.log_limit, request.live)

    def environ(self, phase: str) -> dict[str, str]:
        request = self.request
        nodes = comfyui.custom_nodes(request.comfyui_dir)
        return {
            **request.environ,
            **own_environ(request.folder),
            recorder.FOLDER: str(self.events_folder(phase)),
            recorder.NODES: _both(nodes),
            recorder.OWN: _both(request.folder),
            recorder.ENVIRONMENT: _both(request.environment),
        }

    def events_folder(self, phase: str) -> Path:
        folder = self.request.folder / "events" / phase.replace(" ", "-")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def read_events(self, phase: str, alive: events.Alive = ()) -> events.Phase:
        read = replace(events.read(self.events_folder(phase), phase), alive=alive)
        self.phases.append(read)
        return read

    def freeze(self) -> list[str]:
        request = self.request
        return packages.freeze(request.environment, request.enter, environ=request.environ)

    @property
    def registered(self) -> dict[str, list[str]]:
        return {name: list(map(str, row.get("classes", ()))) for name, row in self.source.items()}

    def warn(self, text: str) -> None:
        if text not in self.seen.warnings:
            self.seen.warnings.append(text)

    def limit(self, text: str) -> None:
        if text not in self.seen.limits:
            self.seen.limits.append(text)


def observe(request: Request) -> Observation:
    """Raises UsageError where there is no ComfyUI or no such node, GovError where the candidate
    cannot be looked into; what goes wrong inside is a verdict, never an error."""
    began = time.monotonic()
    require_comfyui(request.comfyui_dir)
    _require_node(request)
    make_folders(request.folder)
    gone = [name for name in request.governed if not request.is_there(name)]
    governed = tuple(name for name in request.governed if name not in gone)
    session = Session(replace(request, governed=governed))
    for name in gone:
        session.warn(_absence(request, name))
    session.seen.comfyui_version = comfyui.version(request.comfyui_dir)
    session.seen.network = request.network
    first: list[Callable[[], None]] = [lambda: _look_before(session), request.meanwhile]
    process.side_by_side(lambda act: act(), first)
    for name in request.installed:
        _run_install_script(session, name)
    _start_until_settled(session)
    _record_deeds(session)
    session.seen.times["total"] = round(time.monotonic() - began, 3)
    return session.seen


def _require_node(request: Request) -> None:
    folder = comfyui.custom_nodes(request.comfyui_dir)
    for name in request.subjects:
        if not request.is_there(name):
            raise UsageError(
                f"no node {name} in {folder}",
                hint="add it with `gov node add`, or see `gov status` for the names",
                code="no_node",
                facts={"node": name},
            )


def _absence(request: Request, name: str) -> str:
    """What was promoted and is not there keeps nobody else from being observed."""
    place = comfyui.disabled_place(request.comfyui_dir, name)
    if place is not None:
        return f"{name} was not loaded: it is disabled, its code lies at {place}"
    return f"{name} was not loaded: {comfyui.custom_nodes(request.comfyui_dir) / name} is not there"


def _look_before(session: Session) -> None:
    request = session.request
    found = packages.look_before(
        request.environment,
        takeover.places(request),
        request.subjects,
        request.enter,
        request.environ,
    )
    session.seen.installed_freeze, session.source = found.freeze, found.sources
    if found.has_recorder:
        session.limit(_SEEN if request.contacts is None else _SEEN_TOO)
    for text in found.problems:
        session.limit(text)


def _run_install_script(session: Session, name: str) -> None:
    """As ComfyUI-Manager does: in the node's folder, told where ComfyUI is."""
    request = session.request
    if not session.source.get(name, {}).get("install_script"):
        return
    folder = comfyui.custom_nodes(request.comfyui_dir) / name
    script = comfyui.INSTALL_SCRIPT if len(request.installed) == 1 else f"{name}/install.py"
    phase = "install script" if name == request.subjects[0] else f"install script of {name}"
    environ = {
        **session.environ(phase),
        "COMFYUI_PATH": str(request.comfyui_dir),
        "COMFYUI_FOLDERS_BASE_PATH": str(request.comfyui_dir),
    }
    command = [str(request.python), comfyui.INSTALL_SCRIPT]
    is_outside = folder.is_dir()  # else it is in the layer only
    argv = request.enter(command) if is_outside else request.enter(command, folder)
    cwd = folder if is_outside else request.comfyui_dir
    run = Run()
    log = run.log
    with (
        request.during(lambda: f"running {script}"),
        running(argv, cwd=cwd, environ=environ, streams=session.streams, feed=run.feed) as program,
    ):
        code = program.wait(request.timeout)
    times = session.seen.times
    times["install_script"] = round(times.get("install_script", 0.0) + program.seconds(), 3)
    if code is None:
        session.warn(f"{script} was stopped after {request.timeout:g} s")
    elif run.ended_for:
        session.warn(f"{script} was ended, since {run.ended_for}")
    elif code != 0:
        why = f": {log.last_traceback[-1].strip()}" if log.last_traceback else ""
        session.warn(f"{script} {verdict.exit_words(code)}{why}")
    session.read_events(phase)


def _start_until_settled(session: Session) -> None:
    """A start that installed something is no evidence for the next one: start once more."""
    ran_scripts = "install_script" in session.seen.times
    before = session.freeze() if ran_scripts else session.seen.installed_freeze
    run, after = _start(session, "start")
    if after != before and not run.timed_out and session.request.most_starts > 1:
        first, was_completed = session.seen.reason, session.seen.completed
        _, again = _start(session, "second start")
        if was_completed != session.seen.completed:
            session.warn(f"the first start, which installed packages, differs: {first}")
        if again != after:
            session.warn("the second start installed something again")
        after = again
    session.seen.post_freeze = after


def _start(session: Session, phase: str) -> tuple[Run, list[str]]:
    run = _watch(session, phase)
    run.last_loaded = session.read_events(phase, tuple(run.alive)).last_loaded()
    _conclude(session, run)
    return run, session.freeze()


def _watch(session: Session, phase: str) -> Run:
    request = session.request
    flags = comfyui.read_flags(request.comfyui_dir)
    port = api.free_port()
    reachable = request.door is not None or api.has_loopback()
    quick = request.quick or not reachable
    start = comfyui.Start(
        request.folder / "base", port, request.expected, quick, request.extra_args
    )
    arguments, limits = comfyui.arguments(flags, start)
    limits += [] if reachable else [_NO_LOOPBACK]
    run = Run(
        is_server=comfyui.is_server(flags),
        quick=quick and "--quick-test-for-ci" in flags,
        timeout=request.timeout,
        limits=limits,
    )
    main = comfyui.main_path(request.comfyui_dir)
    argv = request.enter([str(request.python), str(main), *arguments])
    environ = session.environ(phase)
    so_far = functools.partial(
        loading.words, session.events_folder(phase), request.expected, run.log
    )
    with (
        request.during(so_far),
        running(
            argv,
            cwd=request.comfyui_dir,
            environ=environ,
            streams=session.streams,
            feed=run.feed,
        ) as program,
    ):
        _follow(run, program, port, session, phase)
    run.exit_code = program.child.returncode
    run.problems += program.problems
    return run


_NO_LOOPBACK = (
    "the loopback interface of this machine is down: ComfyUI's API was not asked, so its list of "
    "node classes is not known"
)


def _follow(run: Run, program: Program, port: int, session: Session, phase: str) -> None:
    """Until it is up (then a little longer) or over, or the time is."""
    request = session.request

    def where() -> int | None:
        return port if run.is_server else run.log.gui_port

    def is_up() -> bool:
        found = where()
        return found is not None and not run.quick and api.answers(found, request.door)

    run.ready = program.wait_until(is_up, request.timeout)
    if run.ready:
        run.ready_seconds = program.seconds()
        classes, problem = api.fetch_classes(where() or port, request.door)
        run.classes = None if problem else classes
        # Where prod did not tell its classes either, it is no fault of this node's.
        is_known = request.baseline is not None and not request.baseline.classes
        run.unlisted = problem == api.BROKEN and not is_known
        run.problems += [problem] if problem else []
        run.is_server = True
        with request.during(lambda: "ComfyUI is up; watching it settle"):
            settling.wait(program, request, session.events_folder(phase))
        settled = program.seconds() - run.ready_seconds
        session.seen.times["settle"] = round(settled, 3)
        run.alive = program.family()
    run.own_end = program.exit_code() is not None
    run.log.stopping = not run.own_end


def _conclude(session: Session, run: Run) -> None:
    """The last start's findings are the observation's."""
    request, seen = session.request, session.seen
    reports = report_nodes(request.expected, run.log, run.classes or {})
    seen.nodes = reports
    seen.subjects = list(request.subjects)
    seen.collateral = verdict.collateral(request.subjects, reports, request.baseline)
    taken = _note_takeovers(session, run, reports)
    seen.partial = _left_out(session, run, reports)
    is_completed, seen.reason = verdict.judge(
        run, request.subjects, reports, seen.collateral, takeover.sentence(taken)
    )
    if is_completed:
        seen.reason += "".join(
            f"; {r['node']} in part: {partial.sentence(r)}" for r in seen.partial
        )
    seen.collateral += takeover.robbed(taken, (*request.subjects, *seen.collateral))
    seen.failed_subjects = {
        **takeover.culprits(taken, request.subjects),
        **verdict.failed_subjects(run, request.subjects, reports),
    }
    seen.verdict = COMPLETED if is_completed else FAILED
    seen.run_exit_code = run.exit_code
    seen.came_up, seen.ready = verdict.came_up(run, reports), run.ready
    seen.starts += 1
    seen.classes = run.classes or {}
    seen.said = list(run.log.said)
    seen.lines = list(run.lines)
    seen.new_lines = verdict.new_lines(run, request.subjects, request.baseline)
    seen.classes_added, seen.classes_lost = verdict.compare_classes(
        request.subjects, run.classes, request.baseline
    )
    if run.ready_seconds is not None:
        seen.times["ready"] = round(run.ready_seconds, 3)
    for text in run.limits:
        session.limit(text)
    lost = seen.classes_lost
    for text in verdict.warnings(run, request.subjects, reports, lost, request.baseline):
        session.warn(text)
    for text in run.problems:
        session.warn(text)


def _note_takeovers(
    session: Session, run: Run, reports: Mapping[str, NodeReport]
) -> list[takeover.Row]:
    """What prod would lose to another node is a reason to fail, and is given back; that a new
    class is not served is a warning."""
    request, classes = session.request, run.classes or {}
    taken = takeover.find(request, classes, session.registered)
    loaded = [name for name in request.subjects if reports[name].loaded]
    hidden = takeover.shadowed(loaded, classes, session.registered)
    hidden = [row for row in hidden if row not in taken]
    session.seen.taken_over = [*taken, *hidden]
    for text in takeover.shadow_sentences(hidden):
        session.warn(text)
    return taken


def _left_out(
    session: Session, run: Run, reports: Mapping[str, NodeReport]
) -> list[dict[str, Any]]:
    request = session.request

    def absent(modules: Sequence[str]) -> list[str]:
        place, nodes = request.environment, request.comfyui_dir
        try:
            return packages.absent(place, nodes, modules, request.enter, request.environ)
        except GovError as error:
            session.limit(f"what is missing could not be looked up: {error.message}")
            return []

    start = partial.Start(run.classes, run.log, reports, session.source, request.baseline, absent)
    return partial.find(start, request.subjects)


def _record_deeds(session: Session) -> None:
    seen = session.seen
    places = events.Places(
        comfyui.custom_nodes(session.request.comfyui_dir), session.request.environment
    )
    found = events.deeds(session.phases, places)
    seen.installs, seen.programs = found.installs, found.programs
    seen.hosts, seen.writes = found.hosts, found.writes
    if session.request.contacts is not None:
        seen.hosts += contacted.unseen(session.request.contacts, seen.hosts, seen.programs)
    seen.findings = findings.find(found, places.custom_nodes)
    _mark_known(session)
    if found.cut:
        session.limit("so much was done that the record of it is cut")
    for entry in found.installs:
        if entry["outcome"] == "failed" and not entry["known"]:
            asked = " ".join((*entry["requested"], *(f"-r {name}" for name in entry["files"])))
            session.warn(f"{entry['tool']} {entry['action']} {asked} failed ({entry['at']})")


def _mark_known(session: Session) -> None:
    """What prod does already: True or False, None where prod's baseline does not tell."""
    seen, baseline = session.seen, session.request.baseline
    did = None if baseline is None or baseline.did is None else frozenset(baseline.did)
    for kind in alike.KINDS:
        for row in getattr(seen, kind):
            row["known"] = None if did is None else alike.key(kind, row) in did


def _both(folder: Path) -> str:
    """As it is named and as it is: programs may see either."""
    return os.pathsep.join(dict.fromkeys((str(folder), str(folder.resolve()))))
