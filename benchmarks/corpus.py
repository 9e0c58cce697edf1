"""Real nodes, one after the other: does it fit, what would change, why not, and what would help.

    python benchmarks/corpus.py nodes.json [--limit N] [--mixed SEED] [--conflicts conflicts.json]
                                [--cache DIR]

Adds ComfyUI and then every node in order of stars, or in a random order (`--mixed`); locks only
(nothing is installed).  A node that conflicts is explained and left out; lines that fail by
themselves are dropped and the node stays.  What a fix breaks is counted once more without the
resolver, from the index's metadata (`broken.py`), and compared with what the fix says it breaks.
Times are compared with one plain `uv lock` of the same set in the same run: the one that failed
(it fetches what the cache lacks), and the same once more, when everything is in the cache; then it
fails after the few packages in question, while an explanation has to lock the whole set.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from broken import Broken, Index, Verdict, judge

from governance.boundaries import config
from governance.boundaries.uv import Uv
from governance.conflict.answer import Fix, Report
from governance.conflict.explain import explain
from governance.conflict.notes import noted
from governance.conflict.package_changes import changes, direction
from governance.conflict.problem import CORE, NODE, Owned, Problem
from governance.conflict.solver import Question, Solved, UvSolver
from governance.environments.builds import Builds
from governance.requirements import Declared, Policy, read_node
from governance.truth import resolution
from governance.truth.workspace import Workspace

CORE_PACKAGES = frozenset(config.CORE_PACKAGES)
# Causes that lie in the line itself: without the line, the node may well fit.
ALONE = {"not-on-index", "no-version", "no-wheel", "yanked", "python", "build", "malformed"}
TRUST_SECONDS = 86400
DEADLINE, ON_DEMAND = 120, 600
# In plain locks: the first fix (median, most).
FIRST_FIX = (3.0, 15.0)


@dataclass
class World:
    """The truth as it grows: accepted lines and their lock."""

    folder: Path
    uv: Uv
    base: str
    python: str
    index: Index
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

    def mended(self, lines: Sequence[Owned], fix: Fix) -> Solved:
        """The lock that the fix gives, done by hand from what the fix says."""
        texts = {one.line: one.to for one in fix.replaced}
        kept = [line for line in lines if line not in fix.dropped]
        edited = [replace(line, text=texts.get(line, line.text)) for line in kept]
        question = Question(tuple(enumerate(edited)), fix.overrides, fix.exempt, scoped=fix.scoped)
        return self.solver().solve(question, 600)

    def judged(self, solved: Solved, lines: Iterable[Owned]) -> Verdict:
        return judge(solved.lock, [(line.who, line.text) for line in lines], self.index)

    def accept(self, lines: Sequence[Owned], solved: Solved) -> None:
        self.lines = list(lines)
        self.lock = solved
        self.lock_bytes = solved.text.encode()


@dataclass(frozen=True)
class Price:
    """What a fix says it breaks, beside what is broken by the index's metadata."""

    number: int
    said: int
    broken: tuple[Broken, ...]
    unjudged: frozenset[str]
    locks: bool = True

    @property
    def is_understated(self) -> bool:
        return len(self.broken) > self.said


@dataclass
class Row:
    """What happened to one node; `plain` and `repeated` are the seconds of one `uv lock` of its
    set, and of the same lock once more (only where it failed).  `on_demand` are the causes alone,
    with more time, where the report was cut.
    """

    node: str
    repo: str
    outcome: str
    plain: float
    repeated: float = 0.0
    report: Report | None = None
    note: str = ""
    prices: tuple[Price, ...] = ()
    on_demand: Report | None = None


def main() -> int:
    options = _options()
    corpus = json.loads(options.nodes.read_text())
    expected = {row["node"]: row for row in _read(options.conflicts)}
    folder = Path(tempfile.mkdtemp(prefix="gov-corpus-"))
    try:
        world = _world(folder, options.cache or folder / "cache")
        rows = list(_run(world, corpus, options))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _sums(rows, expected)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("nodes", type=Path)
    parser.add_argument("--limit", type=int, default=None, help="only the first N nodes")
    parser.add_argument("--mixed", type=int, default=None, help="random order, by this seed")
    parser.add_argument("--conflicts", type=Path, default=None, help="the true culprits")
    parser.add_argument("--cache", type=Path, default=None, help="uv's cache (default: a new one)")
    return parser.parse_args()


def _read(path: Path | None) -> list[dict[str, Any]]:
    return json.loads(path.read_text()) if path else []


def _world(folder: Path, cache: Path) -> World:
    version = ".".join(map(str, sys.version_info[:3]))
    settings = resolution.Settings(python=sys.executable, version=version)
    base = resolution.new_project(settings, [])
    index = Index(cache / "metadata-of-wheels")
    space = Workspace(folder / "builds")
    space.candidates.mkdir(parents=True)
    uv = Uv(cache.resolve(), builds=Builds(space))
    return World(folder, uv, base, sys.executable, index)


def _run(world: World, corpus: dict[str, Any], options: argparse.Namespace) -> Iterable[Row]:
    core = _declared(world, corpus["comfyui"]["requirements"], Policy(torch_family=frozenset()))
    yield _add(world, "ComfyUI", "", _owned(core, CORE))
    nodes = sorted(corpus["nodes"], key=lambda node: -(node.get("stars") or 0))
    if options.mixed is not None:
        random.Random(options.mixed).shuffle(nodes)
    for node in nodes[: options.limit]:
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
    row.report = _report(world, node, everything, failed)
    if not row.report.complete:
        row.on_demand = _report(world, node, everything, failed, causes_only=True)
    row.prices = tuple(_prices(world, everything, row.report))
    causes = row.report.causes
    if causes and all(cause.kind in ALONE for cause in causes):
        return _without_bad_lines(world, row, everything)
    return row


def _report(
    world: World,
    node: str,
    everything: Sequence[Owned],
    failed: Solved,
    *,
    causes_only: bool = False,
) -> Report:
    newcomers = frozenset({NODE + node} if world.lines else ())
    return explain(
        Problem(tuple(everything), newcomers=newcomers, log=failed.log),
        world.solver(),
        versions_now=world.lock.versions if world.lock else {},
        lock_now=world.lock.lock if world.lock else None,
        core_packages=CORE_PACKAGES,
        deadline=ON_DEMAND if causes_only else DEADLINE,
        progress=lambda doing: None,
        causes_only=causes_only,
    )


def _prices(world: World, everything: Sequence[Owned], report: Report) -> Iterable[Price]:
    """Every fix weighed; what was broken before it is not its doing."""
    before = world.judged(world.lock, world.lines) if world.lock else None
    known = before.broken if before else frozenset()
    for one in sorted(known, key=str):
        print(f"    not of any fix: {one}")
    for number, fix in enumerate(report.fixes, 1):
        solved = world.mended(everything, fix)
        if not solved.ok:
            yield Price(number, len(fix.violates), (), frozenset(), locks=False)
            continue
        verdict = world.judged(solved, everything)
        broken = tuple(sorted(verdict.broken - known, key=str))
        yield Price(number, len(fix.violates), broken, verdict.unjudged)


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
    for price in row.prices:
        _print_price(price)
    if row.on_demand is not None:
        found = row.on_demand
        told = "complete" if found.complete else "cut again"
        print(f"    (cut by the limits; on demand {len(found.causes)} causes, {told})")


def _print_price(price: Price) -> None:
    if not price.locks:
        print(f"    DOES NOT LOCK by hand: {price.number}.")
    if price.is_understated:
        print(f"    UNDERSTATED: {price.number}. says {price.said}, but {len(price.broken)} break:")
        for one in price.broken:
            print(f"        {one}")


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
    _cut_sums(rows)
    print(f"a working fix offered: {fixed} of {len(explained)}")
    _price_sums("first fixes", [price for row in rows for price in row.prices[:1]])
    _price_sums("all fixes", [price for row in rows for price in row.prices])
    _first_fix(conflicts)
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


def _cut_sums(rows: Sequence[Row]) -> None:
    cut = [row for row in rows if row.on_demand is not None]
    still = [row.node for row in cut if row.on_demand and not row.on_demand.complete]
    print(f"causes cut by the limits: {len(cut)} {[row.node for row in cut]}")
    print(f"    of these not complete on demand, at most 0: {still} {_verdict(len(still), 0)}")


def _price_sums(name: str, prices: Sequence[Price]) -> None:
    understated = sum(price.is_understated for price in prices)
    overstated = sum(price.locks and len(price.broken) < price.said for price in prices)
    unlocked = sum(not price.locks for price in prices)
    unjudged = sorted(frozenset[str]().union(*(price.unjudged for price in prices)))
    verdict = _verdict(understated, 0)
    print(f"{name}: understated prices {understated} of {len(prices)}, at most 0: {verdict}")
    print(f"{name}: overstated {overstated}; do not lock by hand {unlocked}")
    print(f"{name}: not judged: {len(unjudged)} ({', '.join(unjudged) or '-'})")


def _first_fix(chosen: Sequence[tuple[Row, Report]]) -> None:
    known = [(report.fix_seconds, row.plain) for row, report in chosen]
    ratios = [seconds / plain for seconds, plain in known if seconds is not None]
    if not ratios:
        return
    found = (("median", statistics.median(ratios)), ("most", max(ratios)))
    for (what, value), limit in zip(found, FIRST_FIX, strict=True):
        verdict = _verdict(value, limit)
        print(f"first fix in plain locks, {what}: {value:.1f}, at most {limit:g}: {verdict}")


def _verdict(found: float, limit: float) -> str:
    return "ok" if found <= limit else "OVER"


@dataclass(frozen=True)
class Judged:
    """A row beside the list: `is_right` is None where that cannot be told; `why` says what was
    not judged."""

    row: Row
    is_right: bool | None
    why: tuple[str, ...] = ()


def _culprit_sums(rows: Sequence[Row], expected: dict[str, Any]) -> None:
    by_repo = {row.repo: row for row in rows}
    known = [(by_repo[repo], truth) for repo, truth in expected.items() if repo in by_repo]
    if not known:
        return
    judged = [_judged(row, truth, rows) for row, truth in known]
    single = [row.node for row, truth in known if _has_single_override(row, truth)]
    surprises = [row.node for row in rows if row.outcome == "conflict" and row.repo not in expected]
    for words, verdict in (("named", True), ("missed", False), ("not judged", None)):
        nodes = [one.row.node for one in judged if one.is_right is verdict]
        print(f"true culprits {words}: {len(nodes)} of {len(known)} {nodes}")
    for one in judged:
        for why in one.why:
            print(f"    not judged: {one.row.node}: {why}")
    for row, truth in known:
        print(f"    {row.node}: named {', '.join(_parties(row))}; the list: {truth['culprits']}")
    print(f"the known single override offered: {len(single)} of {len(known)} {single}")
    print(f"conflicts that the list does not know: {surprises}")
    print(f"of the list, not among these nodes: {sorted(expected.keys() - by_repo.keys())}")


def _judged(row: Row, truth: dict[str, Any], rows: Sequence[Row]) -> Judged:
    """`package: node SPEC; other SPEC ...`: that package, and of the nodes in play just those.

    The list names only lines about the package itself; who brings it through others was confirmed
    by runs, but cannot be judged by the list.  A name of the list that is no node's here might be
    one that is spelt otherwise: then the row is not counted as right.
    """
    if row.report is None or row.outcome != "conflict":
        return Judged(row, None, (f"it is no conflict here ({row.outcome})",))
    package, _, text = truth["culprits"].partition(":")
    causes = row.report.causes
    lines = {line for cause in causes for line in cause.lines}
    others = {line.who for line in lines if line.name == package} - {row.node}
    in_play = {one.node for one in rows[: rows.index(row)] if one.outcome != "conflict"}
    expected = {node for node in in_play if _is_named(node, text)}
    if {cause.package for cause in causes} != {package} or others != expected:
        return Judged(row, False)
    through = [f"{one.who} {one.text}" for one in lines if one.name != package]
    unknown = [name for name in _mentioned(text) if not any(_is_named(r.node, name) for r in rows)]
    why = [f"{name} is on the list and no node here" for name in unknown]
    why += [f"{party} asks through another package" for party in sorted(through)]
    return Judged(row, None if unknown or not expected else True, tuple(why))


def _mentioned(text: str) -> list[str]:
    """The nodes that the list names: words with a capital or a hyphen that are no requirement."""
    words = re.findall(r"(?<![\w\[<>=.-])[A-Za-z][\w-]*(?![\w\[])", text)
    return [word for word in dict.fromkeys(words) if re.search(r"[A-Z-]", word)]


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
