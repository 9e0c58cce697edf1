"""One scenario, broken at one place: run, let the next command recover, ask the checker."""

import random
from collections import Counter
from dataclasses import dataclass

from . import broken, calls, checker
from .calls import Call
from .scenarios import SCENARIOS, Scenario, prepare
from .stage import Stage


@dataclass(frozen=True)
class Whole:
    """The scenario without harm: what was before, what is after, and the calls between."""

    old: checker.Seen
    new: checker.Seen
    calls: tuple[Call, ...]
    tolerated: tuple[str, ...] = ()


class Trials:
    """All scenarios over one stage; `breaks` names what is left out of gov (a control)."""

    def __init__(self, stage: Stage, breaks: str | None = None) -> None:
        self.stage = stage
        self.env = stage.environ(**(broken.environ(breaks) if breaks else {}))
        self.trace = stage.folder / "trace"
        self._whole: dict[str, Whole] = {}

    def whole(self, scenario: Scenario) -> Whole:
        if scenario.name not in self._whole:
            old, harm = self._before(scenario)
            self.begin(scenario)
            found, done = calls.record(
                scenario.command(self.stage), self.trace, within=self.stage.folder / "live",
                env=self.env, cwd=self.stage.folder,
            )  # fmt: skip
            assert done.code == 0, done.err
            new = self.look()
            assert self.faults() == []
            self._whole[scenario.name] = Whole(old, new, tuple(found), tuple(harm))
        return self._whole[scenario.name]

    def _before(self, scenario: Scenario) -> tuple[checker.Seen, list[str]]:
        """What is old, and what is wrong with it: a cut-off change counts as made."""
        old = self.begin(scenario)
        if scenario.scene == "empty":
            return old, []
        if scenario.scene == "cut off":
            self.stage.gov("clean").ok()
            old = self.look()
        return old, self.faults()

    def begin(self, scenario: Scenario) -> checker.Seen:
        prepare(self.stage, "settled")
        if scenario.scene != "empty":
            prepare(self.stage, scenario.scene)
        self.stage.rewind(scenario.scene)
        return self.look()

    def look(self) -> checker.Seen:
        return checker.look(self.stage.root, self.stage.comfyui)

    def faults(self, **options) -> list[str]:
        return checker.faults_in(self.stage.root, self.stage.comfyui, **options)

    def sample(self, scenario: Scenario, size: int | None, seed: int) -> list[Call]:
        """All calls (None), else as many as the scenario's weight gives it, spread over kinds of
        calls, never two alike while there are others."""
        found = list(self.whole(scenario).calls)
        if size is None:
            return found
        chance = random.Random(f"{seed} {scenario.name}")
        chance.shuffle(found)
        rank: Counter[str] = Counter()
        ranked = []
        for call in found:
            kind = f"{call.name} {'.doit.db' in call.text}"
            rank[kind] += 1
            ranked.append((rank[kind], call))
        ranked.sort(key=lambda pair: pair[0])
        return [call for _, call in ranked[: share(scenario, size)]]

    # --- the harms ------------------------------------------------------------------------

    def kill(self, scenario: Scenario, call: Call) -> list[str] | None:
        """Problems after a kill at this call and a recovery; None where it was not reached."""
        whole = self.whole(scenario)
        self.begin(scenario)
        done = calls.kill(
            scenario.command(self.stage), self.trace, call, env=self.env, cwd=self.stage.folder
        )
        if not done.killed:
            return None
        problems = self._read_on(scenario)
        problems += self._recover(scenario, whole)
        return problems

    def fail(self, scenario: Scenario, call: Call, error: str, *, ever: bool = False):
        """(problems, the ended command) after this call answered `error`."""
        whole = self.whole(scenario)
        self.begin(scenario)
        done = calls.fail(
            scenario.command(self.stage), self.trace, call, error, ever=ever,
            env=self.env, cwd=self.stage.folder,
        )  # fmt: skip
        if "(INJECTED)" not in done.trace:
            return None, done
        return self.judge_failed(scenario, whole, done.code, done.err), done

    def judge_failed(self, scenario: Scenario, whole: Whole, code: int, err: str) -> list[str]:
        """Loud, and what it says is so."""
        problems = told(code, err)
        # A disk that fails for good lets nobody take back what it had begun to let through.
        honest = "in the midst of a change" in err
        problems += self._recover(scenario, whole, code=None if honest else code)
        return problems

    def recovered(self, scenario: Scenario, whole: Whole, *, code: int | None = None) -> list[str]:
        """Problems after a command that ended in any other way than by `kill` and `fail`."""
        return self._read_on(scenario) + self._recover(scenario, whole, code=code)

    def _read_on(self, scenario: Scenario) -> list[str]:
        """Questions are answered whatever was cut off."""
        if scenario.scene == "empty":
            return []
        problems = []
        for question in (("status",), ("snapshot", "list"), ("tx", "inspect", self._any_txid())):
            ended = self.stage.gov(*question)
            if ended.code != 0:
                problems.append(f"{' '.join(question)}: {ended.err}")
        return problems

    def _any_txid(self) -> str:
        return self.stage.names["ready"]

    def _recover(self, scenario: Scenario, whole: Whole, *, code: int | None = None) -> list[str]:
        """The next command, then the same command again: both must do their work."""
        problems = []
        if scenario.scene != "empty":
            ended = self.stage.gov("clean")
            if ended.code != 0:
                return [f"stuck: {ended.err}"]
            found = self.faults(swept=scenario.name != "clean")
            problems += [problem for problem in found if problem not in whole.tolerated]
            problems += checker.mixture(whole.old, whole.new, self.look())
            if code == 0 and not checker.is_new(whole.old, whole.new, self.look()):
                problems.append("it said done, and it is not")
            if code == 1 and self.look().decided != whole.old.decided:
                problems.append("it said failed, and it is done")
        if not problems:
            problems += self._again(scenario, whole)
        return problems

    def _again(self, scenario: Scenario, whole: Whole) -> list[str]:
        """Repeated, the command does what it did not, or says that it is done."""
        ended = self.stage.gov(*scenario.argv(self.stage))
        if ended.code not in (0, 2, 3):
            return [f"again: {ended.code} {ended.err}"]
        now = self.look()
        problems = self.faults() + checker.mixture(whole.old, whole.new, now)
        if not checker.is_new(whole.old, whole.new, now):
            problems.append(f"repeated, it was not done: {ended.code} {ended.err}")
        return problems


def told(code: int, err: str) -> list[str]:
    """One error line and one hint for a failure, none for a success, never a traceback."""
    errors = sum(line.startswith("error:") for line in err.splitlines())
    problems = ["a traceback"] if "Traceback" in err else []
    if code not in (0, 1) or errors != (code != 0):
        problems.append(f"exit {code} with {errors} error lines: {err[-400:]}")
    return problems


def share(scenario: Scenario, size: int) -> int:
    total = sum(each.weight for each in SCENARIOS)
    return max(2, size * scenario.weight // total)
