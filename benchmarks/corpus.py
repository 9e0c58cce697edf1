"""Real nodes, one after the other: does it fit, what would change, why not, and what would help.

    python benchmarks/corpus.py nodes.json [--limit N] [--conflicts conflicts.json] [--cache DIR]

Adds ComfyUI and then every node in order of stars, locks only (nothing is installed).  A node that
conflicts is explained and left out; lines that fail by themselves are dropped and the node stays.
Times are compared with one plain `uv lock` of the same set in the same run: the one that failed
(it fetches what the cache lacks), and the same once more, when everything is in the cache; then it
fails after the few packages in question, while an explanation has to lock the whole set.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from governance.boundaries import config
from governance.boundaries.uv import Uv
from governance.conflict.answer import Fix, Report
from governance.conflict.explain import explain
from governance.conflict.notes import noted
from governance.conflict.package_changes import changes, direction
from governance.conflict.problem import CORE, NODE, Owned, Problem
from governance.conflict.solver import Question, Solved, UvSolver
from governance.requirements import Declared, Policy, read_node
from governance.truth import resolution

CORE_PACKAGES = frozenset(config.CORE_PACKAGES)
# Causes that lie in the line itself: without the line, the node may well fit.
ALONE = {"not-on-index", "no-version", "no-wheel", "yanked", "python", "build", "malformed"}
TRUST_SECONDS = 86400


@dataclass
class World:
    """The truth as it grows: accepted lines and their lock."""

    folder: Path
    uv: Uv
    base: str
    python: str
    lines: list[Owned] = field(default_factory=list)
    lock: Solved | None = None
    lock_bytes: bytes | None = None

    def solver(self) -> UvSolver:
        return UvSolver(
            self.uv,
            base=self.base,
            python=self.python,
            folder=self.folder / "probes",
            lock=self.lock_bytes,
            trust_seconds=TRUST_SECONDS,
        )

    def try_lock(self, lines: Sequence[Owned]) -> Solved:
        return self.solver().solve(Question(tuple(enumerate(lines))), 600)

    def accept(self, lines: Sequence[Owned], solved: Solved) -> None:
        self.lines = list(lines)
        self.lock = solved
        self.lock_bytes = solved.text.encode()


@dataclass
class Row:
    """What happened to one node; `plain` and `repeated` are the seconds of one `uv lock` of its
    set, and of the same lock once more (only where it failed).
    """

    node: str
    repo: str
    outcome: str
    plain: float
    repeated: float = 0.0
    report: Report | None = None
    note: str = ""


def main() -> int:
    options = _options()
    corpus = json.loads(options.nodes.read_text())
    expected = {row["node"]: row for row in _read(options.conflicts)}
    folder = Path(tempfile.mkdtemp(prefix="gov-corpus-"))
    try:
        world = _world(folder, options.cache or folder / "cache")
        rows = list(_run(world, corpus, options.limit))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _sums(rows, expected)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("nodes", type=Path)
    parser.add_argument("--limit", type=int, default=None, help="only the first N nodes")
    parser.add_argument("--conflicts", type=Path, default=None, help="the true culprits")
    parser.add_argument("--cache", type=Path, default=None, help="uv's cache (default: a new one)")
    return parser.parse_args()


def _read(path: Path | None) -> list[dict[str, Any]]:
    return json.loads(path.read_text()) if path else []


def _world(folder: Path, cache: Path) -> World:
    version = ".".join(map(str, sys.version_info[:3]))
    settings = resolution.Settings(python=sys.executable, version=version)
    return World(folder, Uv(cache.resolve()), resolution.new_project(settings, []), sys.executable)


def _run(world: World, corpus: dict[str, Any], limit: int | None) -> Iterable[Row]:
    core = _declared(world, corpus["comfyui"]["requirements"], Policy(torch_family=frozenset()))
    yield _add(world, "ComfyUI", "", _owned(core, CORE))
    nodes = sorted(corpus["nodes"], key=lambda node: -(node.get("stars") or 0))
    for node in nodes[:limit]:
        declared = _declared(world, node["requirements"], Policy())
        yield _add(world, node["id"], node["repo"], _owned(declared, NODE + node["id"]))


def _declared(world: World, raw: Sequence[str], policy: Policy) -> Declared:
    folder = Path(tempfile.mkdtemp(dir=world.folder))
    (folder / "requirements.txt").write_text("\n".join(raw))
    return read_node(folder, policy=policy)


def _owned(declared: Declared, owner: str) -> list[Owned]:
    return [
        Owned(line.text, owner, line.origin.file, line.origin.line, line.name)
        for line in declared.lines
    ]


def _add(world: World, node: str, repo: str, lines: list[Owned]) -> Row:
    everything = [*world.lines, *lines]
    solved = world.try_lock(everything)
    if solved.ok:
        row = _fits(world, node, repo, everything, solved)
    else:
        row = _explained(world, node, repo, everything, solved)
    _print(row)
    return row


def _fits(world: World, node: str, repo: str, lines: Sequence[Owned], solved: Solved) -> Row:
    before = world.lock.versions if world.lock else {}
    changed = [c for c in changes(before, solved.versions) if c.before is not None]
    shown = ", ".join(f"{c.name} {c.before} -> {c.after} {direction(c)}" for c in changed[:4])
    notes = [f"{len(changed)} versions: {shown}"] if changed else []
    mine = [line for line in lines if line.owner == NODE + node]
    notes += [cause.sentence for cause in noted(solved.log, mine) if cause.lines]
    world.accept(lines, solved)
    outcome = "changes" if changed else "fits"
    return Row(node, repo, outcome, solved.seconds, note="; ".join(notes))


def _explained(
    world: World, node: str, repo: str, everything: Sequence[Owned], failed: Solved
) -> Row:
    row = Row(node, repo, "conflict", failed.seconds)
    row.repeated = world.try_lock(everything).seconds
    row.report = explain(
        Problem(
            tuple(everything),
            newcomers=frozenset({NODE + node} if world.lines else ()),
            log=failed.log,
        ),
        world.solver(),
        versions_now=world.lock.versions if world.lock else {},
        lock_now=world.lock.lock if world.lock else None,
        core_packages=CORE_PACKAGES,
        deadline=120,
        progress=lambda doing: None,
    )
    causes = row.report.causes
    if causes and all(cause.kind in ALONE for cause in causes):
        return _without_bad_lines(world, row, everything)
    return row


def _without_bad_lines(world: World, row: Row, everything: Sequence[Owned]) -> Row:
    bad = {line for cause in row.report.causes for line in cause.lines} if row.report else set()
    kept = [line for line in everything if line not in bad]
    solved = world.try_lock(kept)
    if solved.ok:
        world.accept(kept, solved)
        row.outcome = "lines dropped"
    return row


def _print(row: Row) -> None:
    report = row.report
    runs = f"{report.runs:3d} runs {report.seconds:6.2f} s" if report else " " * 17
    print(f"{row.node[:34]:34} {row.outcome:13} {row.plain:6.2f} s {runs}  {row.note}", flush=True)
    if report is None:
        return
    for cause in report.causes:
        print(f"    {cause.kind}: {cause.sentence}")
        for chain in cause.chains:
            if len(chain) > 1:
                print("        " + " > ".join(chain))
    for number, fix in enumerate(report.fixes, 1):
        print(f"    {number}. {_fix_words(fix)}")
    if not report.complete:
        print("    (cut by the time limit)")


def _fix_words(fix: Fix) -> str:
    parts = [*fix.pins, *(f"exempt {name}" for name in fix.exempt), fix.ref]
    parts += [f"without {line.text}" for line in fix.dropped]
    changed = [change for change in fix.changes if change.before is not None]
    cost = "; ".join(fix.violates) or "breaks nothing known"
    what = " ".join(part for part in parts if part)
    return (
        f"{fix.kind}: {what} [{cost}; changes {len(changed)}, core: {', '.join(fix.core) or '-'}]"
    )


def _sums(rows: Sequence[Row], expected: dict[str, Any]) -> None:
    explained = [(row, row.report) for row in rows if row.report is not None]
    conflicts = [(row, report) for row, report in explained if row.outcome == "conflict"]
    fixed = sum(bool(report.fixes) for _, report in explained)
    print()
    for outcome in ("fits", "changes", "lines dropped", "conflict"):
        print(f"{outcome}: {sum(row.outcome == outcome for row in rows)}")
    _culprit_sums(rows, expected)
    print(f"a working fix offered: {fixed} of {len(explained)}")
    _cost_sums("conflicts", conflicts)
    _cost_sums("all explained", explained)


_MOMENTS = (
    ("first cause", "cause_seconds"),
    ("all causes", "all_causes_seconds"),
    ("first fix", "fix_seconds"),
)


def _cost_sums(name: str, chosen: Sequence[tuple[Row, Report]]) -> None:
    if not chosen:
        return
    runs = [report.runs for _, report in chosen]
    print(f"{name}: resolver runs median {statistics.median(runs)}, most {max(runs)}")
    for kind in ("plain", "repeated"):
        for what, key in _MOMENTS:
            known = [(getattr(report, key), getattr(row, kind)) for row, report in chosen]
            ratios = [seconds / lock for seconds, lock in known if seconds is not None]
            if ratios:
                times = f"{statistics.median(ratios):.1f} (median), {max(ratios):.1f} (most)"
                print(f"{name}: {what} in {kind} locks: {times}")


def _culprit_sums(rows: Sequence[Row], expected: dict[str, Any]) -> None:
    by_repo = {row.repo: row for row in rows}
    known = [(by_repo[repo], truth) for repo, truth in expected.items() if repo in by_repo]
    if not known:
        return
    accepted = {row.node for row in rows if row.outcome != "conflict"}
    right = [row.node for row, truth in known if _names_culprits(row, truth, accepted)]
    single = [row.node for row, truth in known if _has_single_override(row, truth)]
    surprises = [row.node for row in rows if row.outcome == "conflict" and row.repo not in expected]
    print(f"true culprits named: {len(right)} of {len(known)} {right}")
    for row, truth in known:
        print(f"    {row.node}: named {', '.join(_parties(row))}; the list: {truth['culprits']}")
    print(f"the known single override offered: {len(single)} of {len(known)} {single}")
    print(f"conflicts that the list does not know: {surprises}")


def _names_culprits(row: Row, truth: dict[str, Any], accepted: set[str]) -> bool:
    """`package: node SPEC; other SPEC ...`: that package, and of the nodes in play just those.

    The list names only lines about the package itself.  Who brings it through others is shown
    beside the list (each was confirmed by runs) and is not counted here.
    """
    package, _, text = truth["culprits"].partition(":")
    causes = row.report.causes if row.report else ()
    others = {line.who for c in causes for line in c.lines if line.name == package} - {row.node}
    expected = {node for node in accepted if _is_named(node, text)}
    return {cause.package for cause in causes} == {package} and others == expected != set()


def _parties(row: Row) -> list[str]:
    causes = row.report.causes if row.report else ()
    lines = dict.fromkeys(line for cause in causes for line in cause.lines)
    return [f"{line.who} {line.text}" for line in lines]


def _is_named(node: str, text: str) -> bool:
    short = re.sub(r"^comfyui[-_]", "", node.lower())
    return re.search(rf"\b{re.escape(short)}\b", text.lower()) is not None


def _has_single_override(row: Row, truth: dict[str, Any]) -> bool:
    fixes = row.report.fixes if row.report else ()
    single = {fix.typed[0].partition("==")[0] for fix in fixes if fix.kind == "override"}
    return single >= set(truth["single_override_fixes"])


if __name__ == "__main__":
    started = time.monotonic()
    code = main()
    print(f"{time.monotonic() - started:.0f} s in all")
    sys.exit(code)
