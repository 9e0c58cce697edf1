"""The verdict: a pure reading of what a start showed.  ComfyUI's exit code alone proves nothing."""

from __future__ import annotations

import re
import signal
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from governance import comfyui, sandbox
from governance.observation import alike
from governance.observation.record import Baseline, NodeReport

_NAMED = 20
_QUOTED = 6
_LINES, _LONGEST = 1_000, 300
_OF_LOADING = (comfyui.LEFT_OUT, "times for custom nodes:", "seconds: /")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_MARK = re.compile(r"\W{0,4}(?:\[([^\[\]]{2,40})\]|([\w.-]{3,40}): )")
_LEVELS = frozenset({"debug", "info", "note", "warn", "warning", "error", "critical", "traceback"})


@dataclass
class Run:
    """One start of ComfyUI, as it was watched.

    `own_end`: it ended before it was told to.  `classes` is None where the API did not tell;
    `unlisted` where it failed at telling.  `alive` are the command lines of what ran beside it
    when it was told to end.  `ended_for` is the limit that it was ended for, `lines` what
    it said, by how every start would have written it.
    """

    log: comfyui.Log = field(default_factory=comfyui.Log)
    is_server: bool = True
    quick: bool = False
    ready: bool = False
    ready_seconds: float | None = None
    exit_code: int | None = None
    own_end: bool = False
    timeout: float = 0.0
    classes: dict[str, str] | None = None
    unlisted: bool = False
    ended_for: str = ""
    lines: dict[str, str] = field(default_factory=dict)
    last_loaded: str | None = None
    limits: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    alive: list[tuple[str, ...]] = field(default_factory=list)

    def feed(self, stream: str, line: str) -> None:
        """One line of its output; the fence's own is none of ComfyUI's."""
        if line.startswith(sandbox.ENDED):
            self.ended_for = line.removeprefix(sandbox.ENDED)
        else:
            self.log.feed(stream, line)
            if line.strip() and len(self.lines) < _LINES:
                self.lines.setdefault(alike.plain(line[:_LONGEST]).strip(), line)

    @property
    def timed_out(self) -> bool:
        return not self.ready and not self.own_end

    @property
    def loading(self) -> str | None:
        """The node that was being loaded when it stopped saying anything."""
        return None if self.log.listed else self.last_loaded


def judge(
    run: Run,
    subjects: Collection[str],
    reports: Mapping[str, NodeReport],
    collateral: Collection[str],
    lost_to: str | None = None,
) -> tuple[bool, str]:
    """Completed or not, and why in one sentence; `lost_to` says which classes another took."""
    failed = failed_subjects(run, subjects, reports)
    start, own = _failed_start(run, tuple(reports)), "; ".join(failed.values()) or None
    if start and any(reports[name].loaded is False for name in failed):
        # What is wrong with the node was known before the start failed, too: a slow machine, say.
        return False, f"{own}; {start}"
    failure = start or own or _failed_others(collateral, reports) or lost_to or _failed_list(run)
    return (False, failure) if failure else (True, _success(run, subjects))


def came_up(run: Run, reports: Mapping[str, NodeReport]) -> bool:
    """ComfyUI itself, whatever became of the nodes."""
    return run.ready or _failed_start(run, tuple(reports)) is None


def failed_subjects(
    run: Run, subjects: Collection[str], reports: Mapping[str, NodeReport]
) -> dict[str, str]:
    """The nodes under observation that did not load, each with the reason."""
    found = {name: _failed_node(run, name, reports) for name in subjects}
    return {name: reason for name, reason in found.items() if reason}


def collateral(
    subjects: Collection[str], reports: Mapping[str, NodeReport], baseline: Baseline | None
) -> list[str]:
    """Other nodes that used to load and now do not.

    Without a baseline a smoke test excuses nobody, and an observation blames nobody.
    """
    failed = [name for name, report in reports.items() if report.loaded is False]
    others = [name for name in failed if name not in subjects]
    if baseline is None:
        return [] if subjects else others
    return [name for name in others if name in baseline.loaded]


def compare_classes(
    subjects: Collection[str], classes: Mapping[str, str] | None, baseline: Baseline | None
) -> tuple[list[str], list[str]]:
    """Classes added and lost against the baseline; without one, those of the subjects are new."""
    if classes is None:
        return [], []
    if baseline is None or not baseline.classes:
        return sorted(c for name in subjects for c in comfyui.classes_of(name, classes)), []
    before = set(baseline.classes)
    return sorted(classes.keys() - before), sorted(before - classes.keys())


def warnings(
    run: Run,
    subjects: Collection[str],
    reports: Mapping[str, NodeReport],
    lost: list[str],
    baseline: Baseline | None,
) -> list[str]:
    known = set(map(alike.plain, baseline.said if baseline else ()))
    loaded_before = baseline.loaded if baseline else ()
    found = [
        f"the start-up script of {name} failed: {error}"
        for name, error in run.log.startup_script_errors.items()
    ]
    found += [
        f"{name} did not load either: {report.error}"
        for name, report in reports.items()
        if name not in subjects and report.loaded is False and name not in loaded_before
    ]
    found += [f"ComfyUI's own {name} did not import" for name in run.log.core_failures]
    found += _quotes(
        [
            line
            for line in run.log.said
            if alike.plain(line) not in known and not _is_in_reason(run, line)
        ]
    )
    if run.log.unreadable_classes:
        found.append(f"ComfyUI cannot describe {_list(_unreadable(run.log))}")
    if lost:
        found.append(f"gone against prod: {_list(lost)}")
    if run.classes is not None and not run.log.unreadable_classes:
        found += [
            f"{name} loaded, but registered no node class"
            for name in subjects
            if name in reports and reports[name].loaded and not reports[name].classes
        ]
    return found


def _quotes(lines: list[str]) -> list[str]:
    """The first few; one package that is missing may be complained of by every file."""
    more = len(lines) - _QUOTED
    rest = [f"the log says {more} more such lines"] if more > 1 else []
    shown = lines[: _QUOTED if rest else None]
    return [*(f"the log says: {line}" for line in shown), *rest]


def _is_in_reason(run: Run, line: str) -> bool:
    """What it died of is quoted by the reason."""
    last = run.log.last_traceback
    return run.own_end and not run.ready and bool(last) and line.endswith(last[-1].strip())


def _unreadable(log: comfyui.Log) -> list[str]:
    return [
        f"{name} ({error})" if error else name for name, error in log.unreadable_classes.items()
    ]


def new_lines(run: Run, subjects: Collection[str], baseline: Baseline | None) -> list[str]:
    """What prod's start did not say, but for ComfyUI's list of imports and tracebacks' insides.

    Numbers do not count, nor does what others say that mark their lines, as prod's start has them.
    """
    if baseline is None or baseline.lines is None:
        return []
    before = set(map(_without_numbers, baseline.lines))
    others = {mark for line in baseline.lines if (mark := _mark(line))}
    others = {mark for mark in others if not any(_is_of(mark, name) for name in subjects)}
    return [
        line[:_LONGEST]
        for plain, line in run.lines.items()
        if _without_numbers(plain) not in before
        and not line.startswith((" ", "\t"))
        and not any(text in line for text in _OF_LOADING)
        and _mark(plain) not in others
    ]


def _without_numbers(line: str) -> str:
    return _NUMBER.sub("N", line)


def _mark(line: str) -> str | None:
    """The name of who speaks, before what is said: `[rgthree-comfy] Loaded 48 fine nodes`."""
    found = _MARK.match(line)
    name = (found[1] or found[2]) if found else ""
    return name if name and name.lower() not in _LEVELS else None


def _is_of(mark: str, node: str) -> bool:
    """Nodes mark their lines by their name, more or less."""
    one, other = ("".join(filter(str.isalnum, text.lower())) for text in (mark, node))
    return one in other or other in one


def exit_words(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            return f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"was ended by signal {-code}"
    return f"ended with exit code {code}"


def _failed_start(run: Run, expected: tuple[str, ...]) -> str | None:
    if run.ready and run.ended_for:
        return f"ComfyUI came up and was ended, since {run.ended_for}"
    if run.ready:
        return (
            f"ComfyUI came up, then {exit_words(run.exit_code)} by itself" if run.own_end else None
        )
    if run.timed_out:
        return f"ComfyUI did not {_missed_step(run)}"
    if run.exit_code != 0:
        return _crash(run)
    if not run.is_server or (run.quick and (run.log.listed or not expected)):
        return None
    where = f", while it was loading {run.loading}" if run.loading else ""
    return f"ComfyUI ended by itself with exit code 0 before it came up{where}"


def _missed_step(run: Run) -> str:
    limit = f"within {run.timeout:g} s"
    if run.log.gui_port is not None or (run.log.listed and run.is_server):
        return f"answer {limit}, although its nodes were loaded"
    return f"come up {limit}" + (f"; it was still loading {run.loading}" if run.loading else "")


def _crash(run: Run) -> str:
    where = f" while it was loading {run.loading}" if run.loading else ""
    if run.ended_for:
        return f"ComfyUI was ended{where}, since {run.ended_for}"
    if run.log.port_taken:
        said = ": another program took its port"
    else:
        said = f": {run.log.last_traceback[-1].strip()}" if run.log.last_traceback else ""
    return f"{'ComfyUI' if run.is_server else 'main.py'} {exit_words(run.exit_code)}{where}{said}"


def _failed_node(run: Run, node: str, reports: Mapping[str, NodeReport]) -> str | None:
    report = reports[node]
    if report.loaded is False:
        return f"{node} failed to import: {report.error}"
    if report.loaded is None and run.is_server:
        return f"ComfyUI said nothing about {node}, and it registered no node class"
    return None


def _failed_others(names: Collection[str], reports: Mapping[str, NodeReport]) -> str | None:
    if not names:
        return None
    if len(names) > 1:
        return f"{_list(names)} used to load and now do not"
    (name,) = names
    error = reports[name].error if name in reports else None
    return f"{name} used to load and now does not" + (f": {error}" if error else "")


def _failed_list(run: Run) -> str | None:
    """One class whose description is no JSON takes the list of all classes away."""
    if not run.unlisted:
        return None
    last = run.log.last_traceback
    why = f": {last[-1].strip()}" if last else ""
    return f"ComfyUI came up, but the list of all node classes fails with it{why}"


def _success(run: Run, subjects: Collection[str]) -> str:
    if not run.is_server:
        return "main.py ended by itself with exit code 0"
    return "ComfyUI came up" + (f" with {_list(subjects)} loaded" if subjects else "")


def _list(names: Collection[str]) -> str:
    shown = sorted(names)[:_NAMED]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
