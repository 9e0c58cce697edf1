"""Any sequence of verbs, with any luck: what must always hold holds after every step."""

import errno
import json
import os
import shutil
import tempfile
import tomllib
from collections import Counter
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support import roads

from governance.base.errors import GovError
from governance.boundaries import store
from governance.changes import ending, nodes, rollback
from governance.changes.gates import Approval
from governance.operations import retention, verify
from governance.truth import ledger, redo, snapshots

from . import figures
from .model_workspace import (
    NODES,
    UNDECLARED,
    Chosen,
    Killed,
    Model,
    demands,
    installed_versions,
    locked_versions,
    node_repositories,
)

LONG = figures.LONG or os.environ.get("GOV_FUZZ") == "long"
# The long form's 1,500 examples in parts, so that they spread over processes.
PARTS, EXAMPLES, STEPS = (15, 100, 40) if LONG else (1, 10, 10)

# The contract's words, not the library's table.
ALLOWED = {
    "running": {"completed", "failed", "needs_resolution", "aborted"},
    "completed": {"promoted", "needs_resolution", "promote_failed", "aborted"},
    "resolved": {"promoted", "needs_resolution", "promote_failed", "resolved", "aborted"},
    "failed": {"promoted", "needs_resolution", "promote_failed", "aborted"},
    "promote_failed": {"promoted", "needs_resolution", "promote_failed", "resolved", "aborted"},
    "needs_resolution": {"resolved", "needs_resolution", "aborted"},
    "promoted": set(),
    "aborted": set(),
}
ENDED = {"promoted", "aborted"}
LUCK = st.sampled_from(["", "", "", "", "fails", "interrupted", "killed"])
strikes = st.one_of(
    st.none(),
    st.tuples(st.integers(0, 14), st.sampled_from(["fails", "interrupted", "killed"])),
)
bad_luck = st.builds(
    lambda lock, sync, observed, undeclared, smoke, strike: Chosen(
        lock=lock,
        sync=sync,
        observed=observed,
        undeclared=undeclared,
        smoke=smoke,
        strikes_after=strike[0] if strike else None,
        strikes_as=strike[1] if strike else "",
    ),
    LUCK,
    LUCK,
    st.sampled_from(["completed", "completed", "completed", "failed", "interrupted", "killed"]),
    st.sampled_from(UNDECLARED),
    st.sampled_from(["ok", "ok", "ok", "bad"]),
    strikes,
)
any_luck = st.one_of(st.just(Chosen()), st.just(Chosen()), bad_luck)
approvals = st.builds(
    Approval,
    core=st.booleans(),
    reason=st.just("chosen"),
    failed_run=st.booleans(),
    accept_skipped=st.booleans(),
)
pins = st.sampled_from(["alpha==1.5", "alpha==2.0", "numpy==1.0", "beta==1.0", "beta==9"])
node_names = st.sampled_from(sorted(NODES))
numbers = st.integers(0, 40)


class Governed(RuleBasedStateMachine):
    """`nodes` and `groups` are what the truth should hold; a step that was struck may have been
    made or not, and then one of the two must hold, whole."""

    repositories: Path
    seen: Counter[str]

    @initialize()
    def start(self):
        self.patch = pytest.MonkeyPatch()
        self.folder = Path(tempfile.mkdtemp(prefix="gov-machine-"))
        self.model = Model(self.folder, self.repositories, self.patch)
        self.nodes, self.groups = frozenset(), frozenset()
        self.held = {}
        self.txids, self.statuses = [], {}
        self._note_snapshots()
        self.admit("needs-old-alpha", Chosen())
        self.add("needs-new-alpha", Chosen())
        self.run(0, Chosen())
        assert list(self.statuses.values()) == ["promoted", "needs_resolution"]

    def teardown(self):
        if hasattr(self, "patch"):
            self.patch.undo()
            shutil.rmtree(self.folder)

    # --- steps --------------------------------------------------------------------------------

    @rule(name=node_names, luck=any_luck)
    def add(self, name, luck):
        with self._step("add", luck, nodes_after=self.nodes | {name}):
            source = str(self.repositories / name)
            nodes.add(self.model.session, source, ref=None, node_id=None, cwd=self.folder)

    @rule(name=node_names, luck=any_luck)
    def admit(self, name, luck):
        """The usual way of a node: only its last part may go wrong."""
        if name not in self.nodes:
            self.add(name, Chosen())
        if name in self.nodes:
            self.run(sorted(self.nodes).index(name), Chosen())
            approval = Approval(core=True, reason="chosen", accept_skipped=True)
            self.promote(len(self.txids) - 1, approval, luck)

    @rule(number=numbers, luck=any_luck)
    @precondition(lambda self: self.nodes)
    def run(self, number, luck):
        name = sorted(self.nodes)[number % len(self.nodes)]
        with self._step("run", luck):
            roads.run(self.model.session, name)

    @rule(number=numbers, approval=approvals, luck=any_luck)
    @precondition(lambda self: self.txids)
    def promote(self, number, approval, luck):
        txid = self._txid(number)
        node = self.model.records()[txid]["node_id"]
        with self._step("promote", luck, groups_after=self.groups | {node}):
            roads.promotable(self.model.session, txid, approval)
            roads.promote(self.model.session, txid, approval)
        self._clean_ended(txid)

    @rule(number=numbers, pin=pins, luck=any_luck)
    @precondition(lambda self: self.txids)
    def resolve(self, number, pin, luck):
        with self._step("resolve", luck):
            ending.resolve(self.model.session, self._txid(number), [pin])

    @rule(number=numbers, luck=any_luck)
    @precondition(lambda self: self.txids)
    def abort(self, number, luck):
        txid = self._txid(number)
        with self._step("abort", luck):
            ending.abort(self.model.session, txid)
        self._clean_ended(txid)

    @rule(number=numbers, luck=any_luck)
    def rollback(self, number, luck):
        found = self.model.snapshots()
        chosen = found[number % len(found)]
        after = self.held[chosen]
        with self._step("rollback", luck, nodes_after=after[0], groups_after=after[1]):
            rollback.rollback(self.model.session, chosen)

    @rule(number=numbers, purge=st.booleans(), approval=approvals, luck=any_luck)
    @precondition(lambda self: self.nodes)
    def remove(self, number, purge, approval, luck):
        name = sorted(self.nodes)[number % len(self.nodes)]
        gone = {"nodes_after": self.nodes - {name}, "groups_after": self.groups - {name}}
        with self._step("remove", luck, **gone):
            nodes.remove(self.model.session, name, purge=purge, approval=approval)

    @rule(luck=any_luck)
    def clean(self, luck):
        with self._step("clean", luck):
            retention.clean(self.model.space)

    @rule(luck=any_luck, how=st.sampled_from(["delete", "edit", "plant"]))
    def break_and_repair(self, luck, how):
        damage(self.model.space.prod / "lib/python3.11/site-packages", how)
        with self._step("repair", luck):
            verify.repair(self.model.session)
        while not verify.verify(self.model.space).ok:
            with self._step("repair", Chosen()):
                verify.repair(self.model.session)

    @rule(days=st.integers(-400, 400))
    def the_clock_is_wrong(self, days):
        self.model.moment += timedelta(days=days)

    @contextmanager
    def _step(self, verb, luck, *, nodes_after=None, groups_after=None):
        """Run one verb under `luck`; afterwards the truth is the old one, or the new one."""
        old = (self.nodes, self.groups)
        new = (
            self.nodes if nodes_after is None else frozenset(nodes_after),
            self.groups if groups_after is None else frozenset(groups_after),
        )
        truth = self._truth()
        vars(self.model.chosen).update(vars(luck))
        outcome = "done"
        try:
            with self.model.holding(verb):
                yield
        except GovError as error:
            outcome = error.code
        except (KeyboardInterrupt, Killed) as struck:
            outcome = type(struck).__name__
        vars(self.model.chosen).update(vars(Chosen()))
        self.seen[f"{verb}: {outcome}"] += 1
        if outcome == "Killed":
            self.model.forget_process()
        committed = self.model.space.intent.exists()
        with self.model.holding("recover"):
            pass
        found = self._believed()
        if outcome == "done" or committed:
            assert found == new, (verb, outcome)
        elif outcome in ("Killed", "KeyboardInterrupt", "disk"):
            assert found in (old, new), (verb, outcome)
        else:
            assert self._truth() == truth, (verb, outcome)
        self.nodes, self.groups = found
        self._follow()

    # --- what is there, by other eyes than the library's ----------------------------------------

    def _truth(self):
        space = self.model.space
        return [path.read_bytes() for path in space.truth] + [os.readlink(space.prod)]

    def _believed(self):
        return truth_of(self.model.pyproject(), list(self.model.plugins().values()))

    def _txid(self, number):
        return self.txids[number % len(self.txids)]

    def _follow(self):
        """Statuses move as the contract says; new snapshots are noted."""
        for txid, record in sorted(self.model.records().items(), key=lambda item: item[1]["txid"]):
            before, now = self.statuses.get(txid, "running"), record["status"]
            assert now == before or now in ALLOWED[before], f"{txid}: {before} -> {now}"
            if txid not in self.statuses:
                self.txids.append(txid)
            self.statuses[txid] = now
        assert set(self.statuses) == set(self.model.records()), "a transaction is lost"
        self._note_snapshots()

    def _note_snapshots(self):
        for snapshot in self.model.snapshots():
            if snapshot not in self.held:
                self.held[snapshot] = snapshot_truth(self.model.space.snapshots / snapshot)

    def _clean_ended(self, txid):
        """As the command line does after a promote or an abort."""
        if self.statuses.get(txid) in ENDED:
            ending.clean(self.model.space, txid)

    # --- invariants -----------------------------------------------------------------------------

    @invariant()
    @precondition(lambda self: hasattr(self, "model"))
    def all_is_well(self):
        self.prod_is_its_lock()
        self.the_registry_and_the_groups_are_one()
        self.snapshots_are_whole()
        self.nothing_is_left_lying_about()
        self.the_index_of_transactions_is_true()
        self.verify_is_content()

    def prod_is_its_lock(self):
        space = self.model.space
        locked = locked_versions(space.lock.read_bytes())
        assert installed_versions(space.prod) == locked
        wanted = demands(self.model.pyproject())
        assert set(wanted) == set(locked)
        for name, specifiers in wanted.items():
            assert all(specifier.contains(locked[name]) for specifier in specifiers)

    def the_registry_and_the_groups_are_one(self):
        plugins = self.model.plugins()
        promoted = {row["group"] for row in plugins.values() if row["last_snapshot"]}
        groups = set(self.model.pyproject()["dependency-groups"]) - {"core"}
        assert promoted == groups
        for row in plugins.values():
            lines = self.model.pyproject()["dependency-groups"].get(row["group"], [])
            assert row["managed_deps"] == lines or row["group"] not in groups

    def snapshots_are_whole(self):
        for snapshot in self.model.snapshots():
            folder = self.model.space.snapshots / snapshot
            meta = json.loads((folder / "meta.json").read_text())
            for name, key in zip(snapshots.FILES, SNAPSHOT_KEYS, strict=True):
                assert store.file_digest(folder / name) == meta["digests"][key]

    def nothing_is_left_lying_about(self):
        space = self.model.space
        assert not space.intent.exists()
        assert not list(space.root.rglob(".tmp-*"))
        for path in space.generations.iterdir():
            name = path.name.removesuffix(".d").removesuffix(".pycache")
            assert (space.generations / f"{name}.d/manifest.json").is_file(), path
        for path in space.candidates.iterdir():
            assert path.name.removesuffix("-smoke") in self._open(), path
        for path in space.work.iterdir():
            assert path.name in self._open() or path.name.split("-")[0] in RETRIED, path

    def the_index_of_transactions_is_true(self):
        found = ledger.overview(self.model.space)
        assert found.total == len(self.statuses)
        still_open = {row["txid"]: row["status"] for row in found.pending}
        assert still_open == {t: s for t, s in self.statuses.items() if s not in ENDED}

    def verify_is_content(self):
        report = verify.verify(self.model.space, full=True)
        assert report.ok, report

    def _open(self):
        return {txid for txid, status in self.statuses.items() if status not in ENDED}


# Work folders that a repeated command goes on with, or `gov clean` takes.
RETRIED = {"init", "remove", "repair", "rollback"}
SNAPSHOT_KEYS = ("pyproject_sha256", "lock_sha256", "plugins_sha256")


def truth_of(pyproject, plugins):
    """Ids that are registered, and ids whose group is in the project."""
    ids = {row["group"]: row["id"] for row in plugins}
    groups = set(pyproject["dependency-groups"]) - {"core"}
    return frozenset(ids.values()), frozenset(ids.get(group, group) for group in groups)


def snapshot_truth(folder):
    plugins = json.loads((folder / "plugins.json").read_text())
    return truth_of(tomllib.loads((folder / "pyproject.toml").read_text()), plugins)


def damage(site, how):
    """What an operator's own hands do to prod."""
    if how == "delete":
        (site / "numpy.py").unlink()
    elif how == "edit":
        (site / "numpy.py").write_text("VERSION = 'mine'\n")
    else:
        (site / "evil.pth").write_text("import os\n")


@pytest.mark.timeout(3600 if LONG else 300)
@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_happens_the_workspace_is_whole(tmp_path, note, part):
    """Prints how often each end was met, so that a machine that only fails is seen."""

    seen_ends = Counter()

    class Machine(Governed):
        repositories = node_repositories(tmp_path)
        seen = seen_ends

    chosen = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=not LONG,
        database=None,
        phases=(Phase.generate, Phase.shrink) if LONG else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    run_state_machine_as_test(Machine, settings=chosen)
    for ended, times in sorted(seen_ends.items()):
        print(f"{ended:45} {times}")
    ended_well = sum(times for name, times in seen_ends.items() if name.endswith(": done"))
    steps = seen_ends.total()
    note("state machine", examples=EXAMPLES, steps=steps, struck_or_refused=steps - ended_well)
    done = {name.partition(":")[0] for name in seen_ends if name.endswith(": done")}
    verbs = {"add", "run", "promote", "resolve", "abort", "rollback", "remove", "clean", "repair"}
    assert done == verbs, "a verb never got to its end"


@pytest.mark.parametrize("how", ["fails", "killed"])
@pytest.mark.parametrize("verb", ["add", "remove"])
def test_code_moves_with_its_record_wherever_it_is_struck(tmp_path, verb, how, monkeypatch):
    """At every write: the node is registered and there, or neither; nothing is stuck."""
    model = Model(tmp_path / "inside", node_repositories(tmp_path / "repositories"), monkeypatch)
    source = str(model.repositories / "needs-nothing")
    ends = set()
    for point in range(26 if verb == "remove" else 9):
        acts = {
            "add": lambda: nodes.add(
                model.session, source, ref=None, node_id=None, cwd=model.folder
            ),
            "remove": lambda: nodes.remove(
                model.session, "needs-nothing", purge=True, approval=Approval()
            ),
        }
        with model.holding("before"):
            if (verb == "remove") != ("needs-nothing" in model.plugins()):
                acts["add" if verb == "remove" else "remove"]()
        try:
            with model.holding(verb):
                vars(model.chosen).update(strikes_after=point, strikes_as=how)
                acts[verb]()
        except (GovError, Killed):
            pass
        vars(model.chosen).update(vars(Chosen()))
        with model.holding("recover"):
            pass
        registered = "needs-nothing" in model.plugins()
        assert (model.space.custom_nodes / "needs-nothing").is_dir() == registered, point
        assert not [p for p in model.space.work.iterdir() if p.name.startswith(("add-", "purge-"))]
        ends.add(registered)
    assert ends == {True, False}, "it was never struck, or never finished"


def test_a_promote_on_a_disk_that_fails_for_good_is_finished_later(tmp_path, monkeypatch):
    """Neither forward nor back: the record, which is part of the change, is left to recovery."""
    model = Model(tmp_path / "inside", node_repositories(tmp_path / "repositories"), monkeypatch)

    drop = redo._drop_intent

    def failing(space):
        if store.read_object(space.intent)["verb"] == "tx promote":
            raise OSError(errno.EIO, "Input/output error", str(space.intent))
        drop(space)

    with monkeypatch.context() as patch:
        patch.setattr(redo, "_drop_intent", failing)
        with pytest.raises(GovError, match="in the midst of a change"):
            model.admit("needs-alpha")
    (txid,) = model.records()
    with model.holding("recover"):
        pass
    assert not model.space.intent.exists()
    assert model.records()[txid]["status"] in ("completed", "promoted")
    assert verify.verify(model.space, full=True).ok
